//! The server: sockets, time, admin HTTP and the command line around the engine. No lock rule at all.

pub mod access;
pub mod admin;
pub mod config;
pub mod error;
pub mod metrics;
pub mod server;
pub mod telemetry;
pub mod tls;
