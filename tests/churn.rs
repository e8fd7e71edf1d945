//! Memory is bounded and given back: paths that come once and never again leave nothing behind in the server.
//!
//! `CHURN_PATHS=1000000 cargo test --release --test churn` is the long way; without it there are fewer.

mod support;

use support::{Client, Process, entering, exclusive, millis};
use tenure_protocol::{ReleaseScope, Reply, Request, Target, reply, request};

const ORG: &str = "acme";

/// Requests in flight.
const DEPTH: usize = 64;

/// Paths, unless it is said otherwise.
const PATHS: usize = 200_000;

/// A tenth of the paths, so that whatever has a size of its own has it before memory is looked at.
const WARM_UP: usize = 10;

/// Bytes that may be kept of each path: what an allocator does not give back at once, and less than the path itself.
const KEPT_MAX: usize = 16;

/// The same of each path that somebody was at. What has not been told yet is kept for a tenth of a second, and on a busy
/// machine that may be more at once than it was in the warm-up; but a path that stays would be several hundred.
const KEPT_OF_VIEWERS_MAX: usize = 64;

#[tokio::test]
async fn what_comes_once_leaves_nothing_behind() {
    let paths = std::env::var("CHURN_PATHS").map_or(PATHS, |paths| paths.parse().unwrap());
    let server = Process::start(&[]);
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "owner").await.number;

    churn(&mut client, session, 0..paths / WARM_UP).await;
    let before = server.memory();
    churn(&mut client, session, paths / WARM_UP..paths).await;
    let after = server.memory();

    assert!(client.list(ORG, Target::All).await.holds.is_empty());
    for gauge in ["tenure_locks", "tenure_holds", "tenure_waits"] {
        assert_eq!(
            server.metric(&format!("{gauge} ")).await,
            Some(0),
            "{gauge}"
        );
    }
    if let (Some(before), Some(after)) = (before, after) {
        let kept_max = (paths * KEPT_MAX) as u64;
        assert!(after < before + kept_max, "{before} bytes, then {after}");
    }
}

#[tokio::test]
async fn who_comes_and_goes_leaves_nothing_behind() {
    let paths = std::env::var("CHURN_PATHS").map_or(PATHS / 4, |paths| paths.parse().unwrap());
    let server = Process::start(&[]);
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "owner").await.number;

    come_and_go(&mut client, session, 0..paths / WARM_UP).await;
    let before = server.memory();
    come_and_go(&mut client, session, paths / WARM_UP..paths).await;
    let after = server.memory();

    for gauge in ["tenure_viewers", "tenure_sittings"] {
        let left = server.metric(&format!("{gauge} ")).await;
        assert_eq!(left, Some(0), "{gauge}");
    }
    if let (Some(before), Some(after)) = (before, after) {
        let kept_max = (paths * KEPT_OF_VIEWERS_MAX) as u64;
        assert!(after < before + kept_max, "{before} bytes, then {after}");
    }
}

/// Enters each path and leaves it, and waits until that has been told.
async fn come_and_go(client: &mut Client, session: u64, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    for numbers in numbers.chunks(DEPTH / 2) {
        let paths: Vec<_> = numbers
            .iter()
            .map(|number| format!("doc/{number:020}"))
            .collect();
        let pairs = paths.iter().flat_map(|path| {
            let leave = request::Leave { session, path };
            let enter = Request::PresenceEnter(entering(session, path));
            [enter, Request::PresenceLeave(leave)]
        });
        for id in client.send_all(pairs).await {
            let answer = client.answer(id).await;
            let is_done = matches!(
                &answer,
                Ok(Reply::PresenceEnter(reply::Entered { first: true, .. })
                    | Reply::PresenceLeave(reply::Left { last: true }))
            );
            assert!(is_done, "{answer:?}");
        }
    }
    tokio::time::sleep(millis(500)).await;
}

/// Acquires each path and releases it.
async fn churn(client: &mut Client, session: u64, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    for numbers in numbers.chunks(DEPTH / 2) {
        let paths: Vec<_> = numbers
            .iter()
            .map(|number| format!("doc/{number:020}"))
            .collect();
        let pairs = paths.iter().flat_map(|path| {
            let release = request::Release {
                session,
                path,
                scope: ReleaseScope::Session,
                token: None,
            };
            let acquire = Request::LockAcquire(exclusive(session, path));
            [acquire, Request::LockRelease(release)]
        });
        for id in client.send_all(pairs).await {
            let answer = client.answer(id).await;
            let is_done = matches!(
                &answer,
                Ok(Reply::LockAcquire(reply::Acquire::Granted { .. })
                    | Reply::LockRelease(reply::Release::Ended))
            );
            assert!(is_done, "{answer:?}");
        }
    }
}
