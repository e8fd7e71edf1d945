//! The commands for operators, as programs of their own, in a folder of their own: what they answer, how they end, and
//! that killing one in the middle loses nothing and does nothing twice.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]

#[path = "../support/postgres.rs"]
mod postgres;

mod archiving;
mod commands;
mod place;
