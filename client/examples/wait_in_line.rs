//! Wait for a lock that somebody else holds, and see the place in the queue on the way.
//!
//! `cargo run -p tenure-client --example wait_in_line` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use tenure_client::{Client, ErrorKind, WaitProgress};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let ada = client.session("acme", "ada").name("Ada").await?;
    let bob = client.session("acme", "bob").name("Bob").await?;

    let held = ada.acquire("ticket/507f/notes").await?;

    // Not now: half a second is all that Bob has.
    let wait = Duration::from_millis(500);
    match bob.acquire("ticket/507f/notes").wait(wait).await {
        Err(error) if error.kind() == ErrorKind::Refused => println!("Bob gave up: {error}"),
        Err(error) => return Err(error),
        Ok(_) => println!("Ada has left already"),
    }

    // Then he takes the time. Dropping the future would end the wait, at the server too.
    let waiting = tokio::spawn(async move {
        bob.acquire("ticket/507f/notes")
            .wait(Duration::from_secs(60))
            .on_progress(|progress| {
                if let WaitProgress::Place(place) = progress {
                    println!("Bob is number {place} in the queue");
                }
            })
            .await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("Ada is done");
    held.release().await?;

    let lock = waiting.await.expect("the task does not panic")?;
    println!("Bob has it, with token {}", lock.token());
    lock.release().await?;
    Ok(())
}
