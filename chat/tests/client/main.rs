//! The chat client against a real companion with a real lock server, over a network that cuts, delays and duplicates.
//!
//! Each test has a place of its own, as those of `web/` have; nothing waits without a limit.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message"
)]

#[path = "../support/postgres.rs"]
mod postgres;
#[macro_use]
#[path = "../web/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "what the tests of the routes need, these need in part"
)]
mod support;

mod exporting;
mod faults;
mod proxy;
mod reading;
mod refusals;
mod typing;
mod waiting;

use std::time::Duration;

use tenure_client::chat::{ChatClient, ChatId, ChatOptions, Event, Events, Rate};

use crate::support::{PATIENCE, Person};

/// As fast as it goes.
pub(crate) const UNBOUNDED: Rate = Rate {
    per_second: 1_000_000,
    burst: 1_000_000,
};

/// A client of this person at an address, with short pauses and no limits of its own.
pub(crate) fn options(addr: std::net::SocketAddr, person: &Person) -> ChatOptions {
    ChatClient::builder(format!("http://{addr}"), person.token.as_str())
        .back_off(Duration::from_millis(20), Duration::from_millis(500))
        .breaker(5, Duration::from_millis(100))
        .request_timeout(Duration::from_secs(5))
        .send_rate(UNBOUNDED)
        .read_rate(UNBOUNDED)
}

/// A client right at the companion.
pub(crate) fn client(person: &Person) -> ChatClient {
    options(person.addr, person).connect().unwrap()
}

pub(crate) fn id(chat: &str) -> ChatId {
    chat.parse().unwrap()
}

/// The next event, which has to come.
pub(crate) async fn next(events: &mut Events) -> Event {
    let next = tokio::time::timeout(PATIENCE, events.next()).await;
    next.expect("something is told")
        .expect("the client is there")
        .event
}

/// What comes, in time.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}
