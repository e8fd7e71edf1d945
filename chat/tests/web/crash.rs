//! kill -9, in the middle of sends, of the companion and of the lock server: what was answered with 201 is in the history
//! exactly once and in order, and every subscriber has heard of it, or was told `lost` and finds it on reading anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Companion, Person, Place, until};

on_both!(what_was_answered_survives_kill_minus_9);

/// Senders at a time, and messages of each.
const SENDERS: usize = 4;
const MESSAGES: usize = 60;

/// How often each of the two is killed.
const KILLS: usize = 3;

async fn what_was_answered_survives_kill_minus_9(mut place: Place) {
    let mut killed = place.companion_process(&[]).await;
    let steady = place.companion(&[]).await;
    let ada = killed.person("s0");
    let people: Vec<String> = (1..SENDERS)
        .map(|n| format!("s{n}"))
        .chain(["reader".into()])
        .collect();
    let chat = ada
        .chat_with(&people.iter().map(String::as_str).collect::<Vec<_>>())
        .await;

    let done = Arc::new(AtomicBool::new(false));
    let hearing = tokio::spawn(hear(
        steady.person("reader"),
        chat.clone(),
        Arc::clone(&done),
    ));
    let addresses = Arc::new(parking_lot::Mutex::new(killed.addr));
    let sending: Vec<_> = (0..SENDERS)
        .map(|n| {
            let person = killed.person(&format!("s{n}"));
            tokio::spawn(send_all(person, chat.clone(), Arc::clone(&addresses)))
        })
        .collect();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(300)).await;
        killed.kill();
        killed = place.companion_process(&[]).await;
        *addresses.lock() = killed.addr;
        tokio::time::sleep(Duration::from_millis(300)).await;
        place.tenure.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        place.tenure.start_again().await;
    }
    let mut answered = BTreeSet::new();
    for sent in sending {
        answered.extend(sent.await.unwrap());
    }
    assert_eq!(answered.len(), SENDERS * MESSAGES);
    until("the outbox is empty", || outbox_is_empty(&steady)).await;
    done.store(true, Ordering::Relaxed);
    // The last word, so that the reader has something to hear.
    steady
        .person("s0")
        .send(&chat, "last", "that is all")
        .await
        .expect(201);
    let heard = hearing.await.unwrap();

    let history = whole(&steady.person("reader"), &chat).await;
    let seqs: Vec<i64> = history
        .iter()
        .map(|message| message["seq"].as_i64().unwrap())
        .collect();
    assert_eq!(
        seqs,
        (1..=seqs.len() as i64).collect::<Vec<_>>(),
        "dense, and each once"
    );
    let ids: BTreeSet<String> = history.iter().map(name).collect();
    assert_eq!(ids.len(), history.len(), "nothing twice");
    assert!(
        answered.is_subset(&ids),
        "missing: {:?}",
        answered.difference(&ids)
    );
    assert_eq!(history.len(), SENDERS * MESSAGES + 1);
    for sender in 0..SENDERS {
        let own = history
            .iter()
            .filter(|message| message["sender"] == format!("s{sender}"));
        let numbers: Vec<usize> = own
            .filter_map(|m| m["body"].as_str()?.parse().ok())
            .collect();
        assert!(numbers.is_sorted(), "the order of s{sender}: {numbers:?}");
    }
    assert!(
        answered.is_subset(&heard),
        "not heard: {:?}",
        answered.difference(&heard)
    );
}

async fn outbox_is_empty(companion: &Companion) -> bool {
    let metrics = companion.person("s0").get("/metrics").await.text;
    metrics
        .lines()
        .any(|line| line == "tenure_chat_outbox_rows 0")
}

/// Sends one after another, each until it is answered; gives what was stored.
async fn send_all(
    person: Person,
    chat: String,
    address: Arc<parking_lot::Mutex<std::net::SocketAddr>>,
) -> BTreeSet<String> {
    let mut answered = BTreeSet::new();
    for number in 0..MESSAGES {
        let message = json!({"client_msg_id": format!("m-{number}"), "body": number.to_string()});
        loop {
            let to = Person {
                addr: *address.lock(),
                ..person.clone()
            };
            let asked = to
                .try_ask(
                    "POST",
                    &format!("/v1/chats/{chat}/messages"),
                    Some(message.clone()),
                )
                .await;
            match asked {
                Ok(answer) if [200, 201].contains(&answer.status) => {
                    answered.insert(name(&answer.json()));
                    break;
                }
                Ok(answer) => assert!([503].contains(&answer.status), "{}", answer.text),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answered
}

/// Hears what is told; what was lost is read anew.
async fn hear(reader: Person, chat: String, done: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    let mut feed = reader.hear().await;
    loop {
        match feed.next().await {
            Some(told) if told.name == "message.created" => {
                heard.insert(name(&told.data["message"]));
                if done.load(Ordering::Relaxed) && told.data["message"]["client_msg_id"] == "last" {
                    return heard;
                }
            }
            Some(told) if told.name == "lost" => {
                heard.extend(whole(&reader, &chat).await.iter().map(name));
            }
            Some(_) => {}
            None => feed = reader.hear_from(feed.last_id.clone()).await,
        }
    }
}

async fn whole(reader: &Person, chat: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/chats/{chat}/messages?limit=200&after={}", all.len());
        let part = reader.get(&path).await.expect(200);
        all.extend(part["items"].as_array().unwrap().iter().cloned());
        if part["has_newer"] == false {
            return all;
        }
    }
}

/// Who has sent it, and what they call it.
fn name(message: &Value) -> String {
    format!(
        "{}:{}",
        message["sender"].as_str().unwrap(),
        message["client_msg_id"].as_str().unwrap()
    )
}
