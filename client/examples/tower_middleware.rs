//! A lock around an HTTP handler: whoever comes second is answered 423 with the name of whoever was first.
//!
//! Works the same as a layer of axum or any other router that speaks tower.
//! `cargo run -p tenure-client --features tower --example tower_middleware` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use tenure_client::Client;
use tenure_client::tower::{HeldLock, LockLayer, RequestLock};
use tower::{Layer, ServiceExt, service_fn};

async fn save_quote(request: Request<String>) -> Result<Response<String>, Infallible> {
    let lock = request.extensions().get::<HeldLock>();
    let token = lock.map_or(0, |lock| lock.0.token());
    // Time for somebody else to come in between, were it not for the lock.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(Response::new(format!("saved under token {token}")))
}

/// Which lock a request needs, and for whom: in a real service, for whoever is signed in.
fn quote_of(parts: &http::request::Parts) -> Option<RequestLock> {
    let quote = parts.uri.path().strip_prefix("/quotes/")?;
    let user = parts.headers.get("x-user")?.to_str().ok()?;
    Some(RequestLock::of_owner("acme", user, format!("doc/quote-{quote}")).name(user))
}

fn put(user: &str) -> Request<String> {
    Request::put("/quotes/123")
        .header("x-user", user)
        .body("10 %".to_owned())
        .expect("the request is sound")
}

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let service = LockLayer::new(client, quote_of).layer(service_fn(save_quote));

    let (first, second) = tokio::join!(service.clone().oneshot(put("ada")), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        service.clone().oneshot(put("bob")).await
    });
    for response in [first, second] {
        let response = response.expect("the handler does not fail");
        println!("{}: {}", response.status(), response.body());
    }
    Ok(())
}
