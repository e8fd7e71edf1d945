//! The companion from outside: over HTTP, with a real lock server, on either database.
//!
//! Each test has a lock server, a companion and a database of its own; nothing waits without a limit.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message"
)]

#[path = "../support/postgres.rs"]
mod postgres;
#[macro_use]
mod support;

mod away;
mod contract;
mod crash;
mod crowds;
mod documents;
mod feeds;
mod flow;
mod frozen;
mod guests;
mod links;
mod people;
mod requests;
mod tokens;
mod upkeep;
