//! The server: sockets, time, admin HTTP and the command line around the engine. No lock rule at all.

pub mod access;
pub mod admin;
pub mod audit;
mod clock;
pub mod config;
mod connection;
mod dispatch;
pub mod error;
mod gate;
mod history;
mod homes;
pub mod journal;
pub mod metrics;
mod outbox;
mod outlet;
pub mod server;
mod shards;
mod streams;
pub mod telemetry;
pub mod tls;
