//! "May I have it?": a waiter leaves a note, the holder declines it or hands over. And a moderator does not ask.
//!
//! `cargo run -p tenure-client --example takeover` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use tenure_client::{Client, WaitProgress};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let ada = client.session("acme", "ada").name("Ada").await?;
    let bob = client.session("acme", "bob").name("Bob").await?;
    let eve = client.session("acme", "eve").name("Eve").await?;

    let adas = ada.acquire("doc/quote-123").await?;
    let asking = tokio::spawn(async move {
        bob.acquire("doc/quote-123")
            .note("may I? It is only a typo")
            .on_progress(|progress| {
                if let WaitProgress::Declined(who) = progress {
                    println!("Bob is told no by {who}, and stays in line");
                }
            })
            .await
    });

    // What an editor would show in a dialog.
    let ask = adas.next_ask().await.expect("the lock is held");
    println!("{} asks Ada: {}", ask.who(), ask.note());
    ask.decline().await?;

    // A minute later, Ada thinks better of it. One step, and nobody comes in between.
    let handed = ask.hand_over().await?;
    println!(
        "Ada hands over, new token {:?}: {}",
        handed.token,
        adas.lost().await
    );
    let bobs = asking.await.expect("the task does not panic")?;
    println!("Bob has it, with token {}", bobs.token());

    // A moderator gets it at once, and the loser is told first, by whom and why.
    let eves = eve
        .acquire("doc/quote-123")
        .seize("the offer is due at noon")
        .await?;
    println!("Bob lost it: {}", bobs.lost().await);
    println!("Eve has it, with token {}", eves.token());
    eves.release().await?;
    Ok(())
}
