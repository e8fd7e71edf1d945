//! Take a lock, use its fencing token, let it go. And see who has it when somebody else does.
//!
//! `cargo run -p tenure-client --example first_lock` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use tenure_client::{Attempted, Client};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;

    // A session is one sitting of one person: a browser tab, a device, a worker.
    let ada = client.session("acme", "ada").name("Ada").await?;
    let bob = client.session("acme", "bob").name("Bob").await?;

    let lock = ada.acquire("doc/quote-123").await?;
    println!(
        "Ada holds {} with token {}, for {:?} at least",
        lock.path(),
        lock.token(),
        lock.remaining()
    );

    match bob.try_acquire("doc/quote-123").await? {
        Attempted::Granted(_) => println!("Bob has it too: that must not be"),
        Attempted::Held(refusal) => {
            let holder = refusal.holder().expect("a lock that is held has a holder");
            println!(
                "Bob is told: {} has had it for {:?}, {} wait",
                holder.display_name(),
                holder.held_for,
                refusal.status.waiters
            );
        }
    }

    lock.release().await?;
    let lock = bob.acquire("doc/quote-123").await?;
    println!("now Bob holds it, with token {}", lock.token());

    // Dropping the guard and the sessions would do the same, without waiting for the server.
    lock.release().await?;
    ada.close().await?;
    bob.close().await
}
