//! Stop working when the lock is lost, whoever took it.
//!
//! `cargo run -p tenure-client --example lost_lock` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use tenure_client::{Client, Target};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let worker = client.session("acme", "worker-7").await?;
    let lock = worker.acquire("job/nightly-report").await?;

    // Somewhere else, an operator loses patience.
    let operator = client.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let target = Target::path("job/nightly-report");
        let forced = operator.force_release("acme", target, "it hangs").await;
        println!(
            "the operator has ended {:?}",
            forced.map(|ended| ended.len())
        );
    });

    tokio::select! {
        () = long_work() => println!("done"),
        loss = lock.lost() => println!("stop: {loss}"),
    }
    println!("held: {}, for {:?} more", lock.is_held(), lock.remaining());
    Ok(())
}

async fn long_work() {
    for step in 1.. {
        println!("step {step}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
