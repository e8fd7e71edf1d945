//! A load on a companion that runs: so many people send messages at the same time, each over a connection of their own, while
//! one listens. Says how many were stored a second, how long a send took, and how long a message took to be heard.
//!
//! ```console
//! $ tenure-chat --rate-send 100000 --rate-read 100000
//! $ cargo run --release -p tenure-chat --example load -- 100 1000
//! ```
//!
//! Arguments: people, messages in all, chats (10), address (127.0.0.1:7430), file of the development key.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal: what goes wrong ends it"
)]

mod caller;

use std::sync::Arc;
use std::time::{Duration, Instant};

use caller::{Caller, Tokens, part};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::Barrier;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().unwrap())
    };
    let (people, messages, chats) = (number(0, 100), number(1, 1000), number(2, 10));
    let address = arguments.get(3).map_or("127.0.0.1:7430", String::as_str);
    let key = arguments
        .get(4)
        .map_or("tenure-chat-development.key", String::as_str);
    let tokens = Tokens::of(key);
    let token = |id: &str| tokens.token(id);

    let mut maker = Caller::new(address, token("maker")).await;
    let mut ids = Vec::new();
    for _ in 0..chats {
        let (status, chat) = maker
            .ask("POST", "/v1/chats", &json!({"audience": "org"}))
            .await;
        assert_eq!(status, 201, "{chat}");
        ids.push(chat["id"].as_str().unwrap().to_owned());
    }
    let each = messages / people;
    let hearing = tokio::spawn(hear(
        Caller::new(address, token("reader")).await,
        people * each,
    ));
    tokio::time::sleep(Duration::from_secs(1)).await;

    let start = Arc::new(Barrier::new(people + 1));
    let mut sending = Vec::new();
    for person in 0..people {
        let caller = Caller::new(address, token(&format!("p{person}"))).await;
        let (start, chat) = (Arc::clone(&start), ids[person % chats].clone());
        sending.push(tokio::spawn(send(caller, chat, each, start)));
    }
    start.wait().await;
    let began = Instant::now();
    let mut took = Vec::new();
    for sent in sending {
        took.extend(sent.await.unwrap());
    }
    let whole = began.elapsed();
    println!(
        "{people} people, {} messages in {chats} chats: {:.0} sends/s; a send: p50 {:?}, p99 {:?}, longest {:?}",
        took.len(),
        took.len() as f64 / whole.as_secs_f64(),
        part(&mut took, 50),
        part(&mut took, 99),
        part(&mut took, 100),
    );
    let (heard, mut late) = tokio::time::timeout(Duration::from_secs(60), hearing)
        .await
        .unwrap()
        .unwrap();
    println!(
        "heard {heard}; from storing to hearing: p50 {:?}, p99 {:?}",
        part(&mut late, 50),
        part(&mut late, 99)
    );
}

async fn send(
    mut caller: Caller,
    chat: String,
    count: usize,
    start: Arc<Barrier>,
) -> Vec<Duration> {
    let path = format!("/v1/chats/{chat}/messages");
    let mut took = Vec::with_capacity(count);
    start.wait().await;
    for number in 0..count {
        let began = Instant::now();
        let message = json!({"client_msg_id": format!("m-{number}"), "body": "What is the state of order 4711?"});
        let (status, answer) = caller.ask("POST", &path, &message).await;
        assert_eq!(status, 201, "{answer}");
        took.push(began.elapsed());
    }
    took
}

/// Hears so many messages; how long each took from being stamped.
async fn hear(mut caller: Caller, count: usize) -> (usize, Vec<Duration>) {
    caller.write("GET", "/v1/feed", "").await;
    let mut late = Vec::with_capacity(count);
    let mut line = String::new();
    while late.len() < count {
        line.clear();
        assert!(
            caller.stream.read_line(&mut line).await.unwrap() > 0,
            "the feed ended"
        );
        assert!(!line.starts_with("event: lost"), "something was lost");
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let data: Value = serde_json::from_str(data).unwrap();
        if let Some(at) = data["message"]["created_at"].as_str() {
            let at = humantime::parse_rfc3339(at).unwrap();
            late.push(at.elapsed().unwrap_or_default());
        }
    }
    (late.len(), late)
}
