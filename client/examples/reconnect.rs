//! Restart the server while this runs: the lock goes on under the same token, and one is told what was kept and lost.
//!
//! `cargo run -p tenure-client --example reconnect` beside `tenure serve`.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens"
)]

use std::time::Duration;

use tenure_client::{Client, ConnectionEvent};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:7420".to_owned());
    // A service that has to start while the lock server is away would use `connect_lazily`.
    let client = Client::builder(address)
        .name("reconnect-example")
        .back_off(Duration::from_millis(100), Duration::from_secs(2))
        .connect()
        .await?;

    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                ConnectionEvent::Connected { server, connection } => {
                    println!("connected to {server}, as number {connection}");
                }
                ConnectionEvent::Resumed(report) => {
                    println!("{} holds kept, lost: {:?}", report.kept, report.lost);
                }
                ConnectionEvent::Disconnected { why } => println!("disconnected: {why}"),
                ConnectionEvent::Closed { why } => println!("closed: {why}"),
                // Others may be added.
                _ => {}
            }
        }
    });

    let ada = client.session("acme", "ada").name("Ada").await?;
    let lock = ada.acquire("doc/quote-123").await?;
    for _ in 0..60 {
        println!(
            "held: {}, token {}, {:?} left",
            lock.is_held(),
            lock.token(),
            lock.remaining()
        );
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            loss = lock.lost() => {
                println!("lost: {loss}");
                break;
            }
        }
    }
    client.close().await;
    Ok(())
}
