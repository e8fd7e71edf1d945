//! What the black-box tests stand on: a server in this process on a port of its own, a client that speaks the wire and
//! nothing else, a link that can be cut, and a way to run long tests at the same time.
//!
//! Rule: nothing in here waits without a limit, and nothing knows a rule of locks.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test file is a crate of its own and uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod board;
mod client;
mod dice;
mod following;
mod link;
mod proxy;
mod server;
#[macro_use]
mod together;
mod viewing;

use std::time::Duration;

use tokio::time::timeout;

pub(crate) use board::Board;
pub(crate) use client::{
    Answer, Client, Session, exclusive, for_a_second, happening, shared, waiting, with_wait,
};
pub(crate) use dice::{Dice, seeds};
pub(crate) use following::Following;
pub(crate) use link::Link;
pub(crate) use proxy::{Proxy, Way};
pub(crate) use server::{Process, TestServer, config, key};
pub(crate) use together::{Together, together};
pub(crate) use viewing::{AtPath, Watching, entering};

/// Long enough for anything that takes no time on a busy machine; whoever waits longer waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An answer comes in any case, and is late only where machine and disk are busy with other things.
pub(crate) const ANSWERED: Duration = Duration::from_secs(40);

/// How long a wait is asked for where its length does not matter.
pub(crate) const WAIT_MS: u64 = 60_000;

/// What the future gives, or a panic that says what has not happened.
pub(crate) async fn within<F: Future>(limit: Duration, what: &str, future: F) -> F::Output {
    match timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
