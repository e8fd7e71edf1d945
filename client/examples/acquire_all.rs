//! Several locks, all or nothing: move an item between two boards without a deadlock, in whatever order others ask.
//!
//! `cargo run -p tenure-client --example acquire_all` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use tenure_client::{Client, ErrorKind};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let ada = client.session("acme", "ada").name("Ada").await?;
    let bob = client.session("acme", "bob").name("Bob").await?;

    let both = |session: &tenure_client::Session, first: &str, second: &str| {
        session
            .acquire_all()
            .exclusive(first)
            .exclusive(second)
            .shared("catalog", None)
            .wait(Duration::from_secs(5))
            .into_future()
    };
    let adas = both(&ada, "board/a", "board/b").await?;
    for lock in &adas {
        println!(
            "Ada holds {} {}, with token {}",
            lock.path(),
            lock.mode(),
            lock.token()
        );
    }

    // The other way round: with locks taken one by one, this is where two people wait for each other for ever.
    let waiting = tokio::spawn(both(&bob, "board/b", "board/a"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    match bob
        .acquire_all()
        .exclusive("board/b")
        .wait(Duration::ZERO)
        .await
    {
        Err(error) if error.kind() == ErrorKind::Refused => println!("Bob has to wait: {error}"),
        other => println!("unexpected: {other:?}"),
    }
    drop(adas);
    let bobs = waiting.await.expect("the task does not panic")?;
    println!("Bob holds {}", bobs.len());
    Ok(())
}
