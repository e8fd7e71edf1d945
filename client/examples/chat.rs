//! A chat in a terminal: what you type is sent, what others say is shown, and what happens to the connection is told.
//!
//! `cargo run -p tenure-client --features chat --example chat -- TOKEN [CHAT [ADDRESS]]` beside `tenure-chat`, which prints a
//! token when it starts. Without a chat it makes one for everybody of the organisation.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens"
)]

use tenure_client::chat::{Audience, ChatClient, ChatId, Event, NewChat, Sending};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let token = arguments.first().ok_or("expected a token, found none")?;
    let address = arguments
        .get(2)
        .map_or("http://127.0.0.1:7430", String::as_str);
    let client = ChatClient::connect(address, token)?;
    let chat: ChatId = match arguments.get(1) {
        Some(chat) => chat.parse()?,
        None => {
            let everybody = NewChat {
                audience: Audience::Org,
                ..NewChat::default()
            };
            client.create_chat(everybody).await?.id
        }
    };
    println!("chat {chat}; end with an empty line");
    tokio::spawn(show(client.clone(), chat));
    tokio::spawn(tell_state(client.clone()));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        match client.send(chat, line) {
            Ok(sending) => {
                tokio::spawn(tell_fate(sending));
            }
            Err(error) => println!("  {error}; again in {:?}", error.retry_after()),
        }
    }
    // What waits for the network would be lost with this process, if it were not kept.
    let waited = tokio::time::timeout(std::time::Duration::from_secs(3), client.flush()).await;
    if waited.is_err() {
        println!("not sent: {}", serde_json::to_string(&client.close())?);
    }
    let figures = client.figures();
    println!("from send to stored: {}", figures.stored);
    println!("from send to heard:  {}", figures.heard);
    Ok(())
}

async fn show(client: ChatClient, chat: ChatId) {
    let mut events = client.events();
    while let Some(told) = events.next().await {
        match told.event {
            Event::MessageCreated(told) if told.chat == chat => {
                if let Some(message) = told.message {
                    println!("{} {}: {}", message.seq, message.sender_name, message.body);
                    // Told together with others, soon.
                    drop(client.mark_read(chat, message.seq));
                }
            }
            Event::Ready(recovery) => println!("  the feed runs: {recovery:?}"),
            Event::Lost { why } => println!("  something was not told: {why}"),
            _ => {}
        }
    }
}

async fn tell_state(client: ChatClient) {
    let mut states = client.states();
    while let Some(state) = states.next().await {
        println!("  {state:?}");
    }
}

async fn tell_fate(sending: Sending) {
    match sending.await {
        Ok(sent) if sent.attempts > 1 => {
            println!(
                "  number {} after {} tries",
                sent.message.seq, sent.attempts
            );
        }
        Ok(_) => {}
        Err(error) => println!("  not sent: {error}"),
    }
}
