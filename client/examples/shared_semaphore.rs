//! A lock with several holders: at most two exports of one customer at a time, and none during maintenance.
//!
//! `cargo run -p tenure-client --example shared_semaphore` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use tenure_client::{Attempted, Client};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;

    let mut exports = Vec::new();
    for worker in ["worker-1", "worker-2", "worker-3"] {
        let session = client.session("acme", worker).await?;
        // The first holder fixes the limit.
        match session.try_acquire("export/customer-5").shared(2).await? {
            Attempted::Granted(permit) => {
                println!("{worker} exports, under token {}", permit.token());
                exports.push(permit);
            }
            Attempted::Held(refusal) => {
                println!("{worker} has to come back: {}", refusal.reason.name());
            }
        }
    }

    // The last of them turns its share into an exclusive lock, without letting go in between.
    drop(exports.pop());
    let last = exports.pop().expect("two of three were granted");
    last.upgrade(Duration::from_secs(5)).await?;
    println!("maintenance, {} under token {}", last.mode(), last.token());
    last.downgrade(2).await?;
    println!(
        "others may come: {} under token {}",
        last.mode(),
        last.token()
    );
    last.release().await?;
    Ok(())
}
