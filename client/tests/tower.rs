//! The layer: a handler runs with its lock or not at all, and whoever is turned away learns who has it.
//!
//! Against the scripted server of `peer`, and without HTTP on a socket. What must hold: a request for which the lock was
//! not to be had never reaches the handler, unless one asked for that.

#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use peer::{Peer, grant, granted, session};
use serde_json::Value;
use tenure_client::tower::{HeldLock, LockLayer, RequestLock, WhenUnavailable};
use tenure_protocol::Reply;
use tower::{Layer, ServiceExt, service_fn};

/// Says which token it was called with.
async fn handler(request: Request<String>) -> Result<Response<String>, Infallible> {
    let held = request.extensions().get::<HeldLock>();
    let text = held.map_or_else(
        || "no lock".to_owned(),
        |held| format!("{} {}", held.0.path(), held.0.token()),
    );
    Ok(Response::new(text))
}

fn edit() -> Request<String> {
    Request::put("/quotes/123").body(String::new()).unwrap()
}

fn by_path(parts: &http::request::Parts) -> Option<RequestLock> {
    let quote = parts.uri.path().strip_prefix("/quotes/")?;
    let lock = RequestLock::of_owner("acme", "ada", format!("doc/quote-{quote}"));
    Some(lock.name("Ada"))
}

#[tokio::test]
async fn a_handler_runs_with_its_lock() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let service = LockLayer::new(client, by_path)
        .ttl(Duration::from_secs(60))
        .layer(service_fn(handler));
    let (response, ()) = tokio::join!(service.oneshot(edit()), async {
        line.open(11).await;
        line.grant(5).await;
        line.released().await;
        let asked = line.expect("session.close").await;
        line.reply(
            asked.id,
            Reply::SessionClose(tenure_protocol::reply::Done {}),
        )
        .await;
    });
    assert_eq!(response.unwrap().into_body(), "doc/quote-123 5");
}

#[tokio::test]
async fn a_request_without_its_lock_is_told_who_has_it() {
    for (status, expected) in [(None, 423), (Some(StatusCode::CONFLICT), 409)] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let which = move |_: &http::request::Parts| {
            Some(RequestLock::of_session(ada.clone(), "doc/quote-123"))
        };
        let mut layer = LockLayer::new(client, which);
        if let Some(status) = status {
            layer = layer.status(status);
        }
        let service = layer.layer(service_fn(handler));
        let (response, ()) = tokio::join!(service.oneshot(edit()), async {
            let asked = line.expect("lock.acquire").await;
            let refusal = peer::refused(peer::held_by("bob", "Bob"));
            line.reply(asked.id, refusal).await;
        });
        let response = response.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let problem: Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(problem["status"], expected);
        assert_eq!(problem["detail"], "Bob holds the lock");
        assert_eq!(problem["path"], "doc/quote-123");
        assert_eq!(problem["holder"]["owner"], "bob");
        assert_eq!(problem["waiters"], 2);
    }
}

#[tokio::test]
async fn a_request_that_needs_no_lock_passes() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let service = LockLayer::new(client.clone(), by_path).layer(service_fn(handler));
    let request = Request::get("/health").body(String::new()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.body(), "no lock");
    line.expect_silence().await;
}

#[tokio::test]
async fn without_a_lock_server_it_is_refused_or_handled_as_one_likes() {
    let peer = Peer::bind().await;
    let client = peer.options().connect_lazily();
    let layer = LockLayer::new(client, by_path);
    let service = layer.clone().layer(service_fn(handler));
    let response = service.oneshot(edit()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let service = layer
        .when_unavailable(WhenUnavailable::PassThrough)
        .layer(service_fn(handler));
    let response = service.oneshot(edit()).await.unwrap();
    assert_eq!(response.body(), "no lock");
}

#[tokio::test]
async fn a_lock_lives_as_long_as_somebody_has_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let which = move |_: &http::request::Parts| Some(RequestLock::of_session(ada.clone(), "doc/a"));
    // A handler that leaves work behind takes the lock with it.
    let (keep, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let service =
        LockLayer::new(client, which).layer(service_fn(move |request: Request<String>| {
            let held = request.extensions().get::<HeldLock>().cloned();
            keep.send(held.unwrap()).unwrap();
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        }));
    let (response, ()) = tokio::join!(service.oneshot(edit()), async {
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, granted(grant(5))).await;
    });
    response.unwrap();
    line.expect_silence().await;
    drop(kept.recv().await);
    line.released().await;
}
