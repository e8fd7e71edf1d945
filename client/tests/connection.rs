//! A client's connection: made with a hello, kept with pings, given up in silence, and whether another is made after it.
//!
//! Against the scripted server of `peer`. What sessions find on the next connection is in `reconnect.rs`. What must hold:
//! a client goes on by itself as long as that may help, without a storm; when it does not, it says why.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::io;
use std::time::{Duration, Instant};

use peer::{Peer, session, soon};
use tenure_client::{Client, ConnectionEvent, ErrorKind, SessionEnd};
use tenure_protocol::{ErrorCode, Reply, Request};

#[tokio::test]
async fn the_hello_shows_name_and_key_and_the_options_do_not() {
    let peer = Peer::bind().await;
    let options = peer.options().name("crm/3.2").api_key("k-4711");
    assert!(!format!("{options:?}").contains("k-4711"));
    let (client, ()) = tokio::join!(options.connect(), async {
        let mut line = peer.accept_silently().await;
        let asked = line.next().await;
        let Request::Hello(hello) = asked.request() else {
            unreachable!()
        };
        assert_eq!(hello.client, "crm/3.2");
        assert_eq!(hello.key.unwrap().0, "k-4711");
        line.reply(asked.id, Reply::Hello(peer.hello())).await;
    });
    assert!(!format!("{:?}", client.unwrap()).contains("k-4711"));
}

#[tokio::test]
async fn a_first_connection_that_fails_is_an_error() {
    let peer = Peer::bind().await;
    let address = peer.address();
    let (refused, ()) = tokio::join!(Client::connect(address.clone()), async {
        let mut line = peer.accept_silently().await;
        let hello = line.next().await;
        line.error(hello.id, ErrorCode::BadCredentials).await;
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotAllowed);
    let (closed, ()) = tokio::join!(Client::connect(address.clone()), async {
        drop(peer.accept_silently().await);
    });
    assert_eq!(
        socket_error(&closed.unwrap_err()),
        io::ErrorKind::ConnectionAborted
    );
    let options = peer.options().connect_timeout(Duration::from_millis(50));
    let (silent, _line) = tokio::join!(options.connect(), peer.accept_silently());
    assert_eq!(socket_error(&silent.unwrap_err()), io::ErrorKind::TimedOut);
    drop(peer);
    let error = Client::connect(address).await.unwrap_err();
    assert_eq!(socket_error(&error), io::ErrorKind::ConnectionRefused);
}

/// What the socket of a first connection that could not be made has said.
fn socket_error(error: &tenure_client::Error) -> io::ErrorKind {
    assert_eq!(error.kind(), ErrorKind::Connect);
    let source = std::error::Error::source(error).unwrap();
    source.downcast_ref::<io::Error>().unwrap().kind()
}

#[tokio::test]
async fn a_lazy_client_starts_without_a_server() {
    let peer = Peer::bind().await;
    let client = peer.options().connect_lazily();
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let mut events = client.events();
    let mut line = peer.accept().await;
    while !matches!(soon(events.next()).await, Some(ConnectionEvent::Resumed(_))) {}
    let ada = session(&client, &mut line, 11).await;
    assert_eq!(ada.owner(), "ada");
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered() {
    let peer = Peer::bind().await;
    let (_client, mut line) = peer.connect().await;
    line.push(tenure_protocol::Push::ServerPing(
        tenure_protocol::push::Ping {},
    ))
    .await;
    line.expect_silence().await;
    assert_eq!(line.pings, 1);
}

#[tokio::test]
async fn a_silent_server_is_taken_for_dead_and_a_quiet_one_is_pinged() {
    let mut peer = Peer::bind().await;
    peer.heartbeat_ms = 30;
    peer.dead_after_ms = 200;
    let (_client, mut line) = peer.connect().await;
    let quiet = tokio::time::timeout(Duration::from_millis(500), line.next_or_end()).await;
    assert!(quiet.is_err(), "the connection lives on");
    assert!(line.pings >= 5, "{} pings", line.pings);
    // From here on nothing is answered.
    let begin = Instant::now();
    let _next = peer.accept().await;
    assert!(begin.elapsed() >= Duration::from_millis(100));
    drop(line);
}

#[tokio::test]
async fn a_server_that_ends_every_connection_is_not_stormed() {
    let peer = Peer::bind().await;
    let (_client, line) = peer.connect().await;
    drop(line);
    let begin = Instant::now();
    // 20, 40, 80, 160, 200, 200 ms, though each connection is accepted and introduced.
    for _ in 0..6 {
        drop(peer.accept().await);
    }
    assert!(begin.elapsed() >= Duration::from_millis(20 + 40 + 80 + 160 + 200 + 200 - 50));
}

#[tokio::test]
async fn a_goodbye_decides_whether_to_come_back() {
    for code in [
        ErrorCode::ShuttingDown,
        ErrorCode::SlowReader,
        ErrorCode::Internal,
    ] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        line.goodbye(code).await;
        drop(line);
        peer.accept().await;
        drop(client);
    }
    for code in [ErrorCode::BadCredentials, ErrorCode::VersionUnsupported] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let guard = guard.unwrap();
        let mut events = client.events();
        line.goodbye(code).await;
        soon(guard.lost()).await;
        assert_eq!(soon(ada.ended()).await, SessionEnd::ClientClosed);
        let why = loop {
            match soon(events.next()).await {
                Some(ConnectionEvent::Closed { why }) => break why,
                Some(_) => {}
                None => panic!("it is told why"),
            }
        };
        assert_eq!(why.code(), Some(code.number()));
        let error = client.ping().await.unwrap_err();
        assert_eq!(error.code(), Some(code.number()));
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_client_that_is_closed_leaves_its_sessions_to_their_grace() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    soon(client.close()).await;
    assert!(!guard.is_held());
    assert_eq!(soon(ada.ended()).await, SessionEnd::ClientClosed);
    assert_eq!(client.ping().await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(soon(line.next_or_end()).await.is_none());
}
