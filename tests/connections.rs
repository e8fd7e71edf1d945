//! Connections: in which order one is answered and how soon, how many there may be, and how a server parts from them when
//! it stops. What is said on them is no matter here.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{Client, PATIENCE, Process, TestServer, config, exclusive, millis, shared, within};
use tenure::config::Config;
use tenure_protocol::{ErrorCode, Reply, Request, Target, reply, request};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ORG: &str = "acme";
const PATH: &str = "doc/1";

// What one asks, and when it is answered.

#[tokio::test]
async fn what_is_asked_in_one_write_is_done_in_its_order() {
    let server = TestServer::with(Config {
        // Fewer than are sent: the rest is read later, and nothing is lost.
        in_flight_max: 3,
        ..config()
    })
    .await;
    let mut client = server.connect().await;
    let one = client.open(ORG, "anna").await.number;
    let other = client.open(ORG, "ben").await.number;
    let release = |session| {
        Request::LockRelease(request::Release {
            session,
            path: PATH,
            scope: tenure_protocol::ReleaseScope::Session,
            token: None,
        })
    };
    let mut requests = Vec::new();
    for _ in 0..200 {
        for session in [one, other] {
            requests.push(Request::LockAcquire(exclusive(session, PATH)));
            requests.push(release(session));
        }
    }
    let mut token = 0;
    for id in client.send_all(requests).await {
        match client.answer(id).await.unwrap() {
            Reply::LockAcquire(reply::Acquire::Granted { grant }) => {
                assert!(token < grant.token);
                token = grant.token;
            }
            Reply::LockRelease(released) => assert_eq!(released, reply::Release::Ended),
            other => panic!("out of order: {other:?}"),
        }
    }
}

/// More than one hold of a shard's mutex takes, and more than the connection writes at once.
#[tokio::test]
async fn a_burst_of_many_batches_is_answered_without_a_pause() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let mut longest = Duration::ZERO;
    for burst in [65, 500, 5000] {
        let status = request::Status {
            org: ORG,
            path: PATH,
        };
        let ids = client
            .send_all((0..burst).map(|_| Request::LockStatus(status)))
            .await;
        let began = Instant::now();
        for id in ids {
            client.answer(id).await.expect("a status is told");
        }
        longest = longest.max(began.elapsed());
    }
    // Whoever is forgotten is found when the clock is looked at, every few seconds.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

// What a connection is, and how many there may be.

#[tokio::test]
async fn a_connection_too_many_is_turned_away_until_another_has_gone() {
    let server = TestServer::with(Config {
        connections_max: 3,
        ..config()
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.connect().await);
    }
    let mut turned_away = Client::connect(server.addr).await;
    let goodbye = turned_away.ended().await.unwrap();
    assert_eq!(goodbye, ErrorCode::TooManyConnections);
    for client in &mut clients {
        client.ping().await;
    }
    drop(clients.pop());
    let let_in = async {
        loop {
            let mut client = Client::connect(server.addr).await;
            let hello = request::Hello {
                version: 1,
                client: "test",
                key: None,
            };
            client.send(Request::Hello(hello)).await;
            if client.hear().await && client.heard().len() == 1 {
                let is_in = matches!(client.heard()[0], tenure_protocol::FromServer::Reply { .. });
                if is_in {
                    return client;
                }
            }
            tokio::time::sleep(millis(10)).await;
        }
    };
    let mut client = within(PATIENCE, "another is let in", let_in).await;
    client.ping().await;
}

/// A connection is a file, and the system may allow fewer than the settings.
#[cfg(unix)]
#[tokio::test]
async fn where_the_system_allows_few_files_a_connection_too_many_is_turned_away_as_well() {
    // All but 256 are for connections.
    let server = Process::with_files("-n 300");
    let mut clients = Vec::new();
    for _ in 0..44 {
        clients.push(Client::introduced(server.addr).await);
    }
    let mut turned_away = Client::connect(server.addr).await;
    let goodbye = turned_away.ended().await.unwrap();
    assert_eq!(goodbye, ErrorCode::TooManyConnections);
    for client in &mut clients {
        client.ping().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_asks_for_as_many_files_as_it_needs() {
    let server = Process::with_files("-S -n 64");
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::introduced(server.addr).await);
    }
    for client in &mut clients {
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_connect_at_once_as_many_are_let_in_as_may() {
    const MAX: usize = 10;
    let server = TestServer::with(Config {
        connections_max: MAX,
        ..config()
    })
    .await;
    let start = Arc::new(tokio::sync::Barrier::new(100));
    let mut coming = JoinSet::new();
    for _ in 0..100 {
        let (start, addr) = (Arc::clone(&start), server.addr);
        coming.spawn(async move {
            start.wait().await;
            let mut client = Client::connect(addr).await;
            let hello = request::Hello {
                version: 1,
                client: "test",
                key: None,
            };
            let mut bytes = bytes::BytesMut::new();
            Request::Hello(hello).encode(1, &mut bytes);
            client.try_send_bytes(&bytes).await;
            within(PATIENCE, "an answer", client.hear()).await;
            client
        });
    }
    let clients = within(PATIENCE, "all were answered", coming.join_all()).await;
    let is_in = |client: &&Client| {
        let first = client.heard().first();
        matches!(first, Some(tenure_protocol::FromServer::Reply { .. }))
    };
    assert_eq!(clients.iter().filter(is_in).count(), MAX);
}

// The end of a server.

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_goodbye_to_all_and_does_not_wait_longer_than_they_need() {
    let server = TestServer::start().await;
    let addr = server.addr;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = server.connect().await;
        let session = client.open(ORG, &format!("u-{number}")).await.number;
        client.take(shared(session, PATH, None)).await;
        clients.push(client);
    }
    let mut stranger = Client::connect(addr).await;
    stranger.send_bytes(&[0, 0]).await;
    // It is among the connections once whoever came after it is.
    server.connect().await.ping().await;

    server.shut_down();
    let began = Instant::now();
    for client in &mut clients {
        assert_eq!(client.ended().await.unwrap(), ErrorCode::ShuttingDown);
    }
    assert_eq!(stranger.ended().await.unwrap(), ErrorCode::ShuttingDown);
    server.stopped(PATIENCE).await;
    // The grace is 10 s.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(
        TcpStream::connect(addr).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_does_not_wait_for_those_who_do_not_read() {
    let server = TestServer::with(Config {
        shutdown_grace_ms: 500,
        ..config()
    })
    .await;
    let mut frozen = Client::connect_narrow(server.addr).await;
    frozen.hello(None).await;
    let session = frozen.open(ORG, "anna").await.number;
    let acquire = request::Acquire {
        metadata: &[7; 4096],
        ..exclusive(session, PATH)
    };
    frozen.take(acquire).await;
    let status = Request::LockStatus(request::Status {
        org: ORG,
        path: PATH,
    });
    frozen.send_all(vec![status; 5000]).await;
    server.connect().await.ping().await;
    server.shut_down();
    let began = Instant::now();
    server.stopped(PATIENCE).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_the_last_frame_also_of_a_connection_that_is_busy() {
    for _ in 0..2 {
        let server = TestServer::start().await;
        let mut busy = JoinSet::new();
        for number in 0..4 {
            let mut client = server.connect().await;
            let session = client.open(ORG, &format!("u-{number}")).await.number;
            busy.spawn(async move {
                let path = format!("doc/{number}");
                let mut bytes = bytes::BytesMut::new();
                for id in 1000..12_000 {
                    Request::LockAcquire(exclusive(session, &path)).encode(id, &mut bytes);
                }
                client.try_send_bytes(&bytes).await;
                // Panics if anything follows a goodbye.
                client.ended().await
            });
        }
        let mut operator = server.connect().await;
        let held = async {
            while operator.list(ORG, Target::All).await.holds.len() < 4 {
                tokio::task::yield_now().await;
            }
        };
        within(PATIENCE, "all are busy", held).await;
        server.shut_down();
        let ended = within(PATIENCE, "all have ended", busy.join_all()).await;
        assert_eq!(ended.len(), 4);
        for goodbye in ended {
            assert_eq!(goodbye.unwrap(), ErrorCode::ShuttingDown);
        }
        drop(operator);
        server.stopped(PATIENCE).await;
    }
}
