//! Two people open the same chat: each sees the other come, type and leave, and is warned before both answer.
//!
//! `cargo run -p tenure-client --example presence` beside `tenure serve`.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens"
)]

use std::time::Duration;

use tenure_client::{Client, PresenceEvent, StreamEvent, Subscription};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    // One subscription tells a service of all its people.
    let chats = client.subscribe("acme", ["chat/**"]).with_presence();
    tokio::spawn(show(chats.await?));

    let ada = client.session("acme", "ada").name("Ada").await?;
    let bob = client.session("acme", "bob").name("Bob").await?;
    let adas = ada.enter("chat/42").await?;
    let mut near = adas.events();
    tokio::spawn(async move {
        while let Some(event) = near.next().await {
            if let PresenceEvent::Collision(collision) = event {
                let names: Vec<_> = collision.by.iter().map(ToString::to_string).collect();
                println!("Ada is told: {} by {names:?}", collision.level.name());
            }
        }
    });

    let bobs = bob.enter("chat/42").await?;
    println!("Bob is one of {} here", bobs.viewers_then());
    // With every key stroke; few of them are sent.
    for _ in 0..20 {
        bobs.typing();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The message ends the typing.
    client
        .publish("acme", "chat/42", "message.new", "Hello!")
        .id("m-1")
        .session(&bob)
        .await?;

    for of in client.viewers("acme", "chat/**").all().await? {
        let names: Vec<_> = of
            .viewers
            .iter()
            .map(|viewer| viewer.display_name())
            .collect();
        println!("at {}: {names:?}", of.path);
    }
    let was_last = bobs.leave().await?;
    println!("Bob leaves; his last tab there: {was_last}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.close().await;
    Ok(())
}

async fn show(mut chats: Subscription) {
    while let Some(event) = chats.next().await {
        match event {
            StreamEvent::ViewersChanged(change) => {
                for viewer in &change.up {
                    println!(
                        "{}: {} is {}",
                        change.path,
                        viewer.display_name(),
                        viewer.activity
                    );
                }
                for owner in &change.gone {
                    println!("{}: {owner} has left", change.path);
                }
            }
            StreamEvent::ViewersLost => println!("read anew who is where"),
            StreamEvent::Happened(happened) => println!("{}", happened.event.name()),
            // Others may be added.
            _ => {}
        }
    }
}
