//! Many clients over a bad network: each message is in the history exactly once, and those of a sender in the order in which
//! they were handed over; listeners hear of each exactly once, over every resume.
//!
//! `CHAT_SENDS` says how many messages (1,000); `CHAT_SEED` what the faults are drawn from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_client::chat::{
    ChatClient, ChatId, ConnectionState, Direction, Event, Figures, Message, NewMessage, Sending,
    Sent,
};

use crate::proxy::{Fate, Proxy};
use crate::support::{PATIENCE, Person, Place, until};
use crate::{id, next, options};

on_both!(each_message_is_stored_once_and_in_order_whatever_the_network_does);

/// Clients that send, at the same time.
const CLIENTS: usize = 50;

const CHATS: usize = 10;

/// In a hundred requests.
const FAULTS: u32 = 25;

/// Patience for a run of any length.
const LONG: Duration = Duration::from_secs(1200);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

async fn each_message_is_stored_once_and_in_order_whatever_the_network_does(place: Place) {
    let sends = usize::try_from(number("CHAT_SENDS", 1000)).unwrap();
    let seed = number("CHAT_SEED", 1);
    let companion = place.companion(&[]).await;
    let chats = open_chats(&companion.person("maker")).await;
    let proxy = Proxy::to(companion.addr, FAULTS, seed).await;

    let mut listening = Vec::new();
    for listener in ["l0", "l1"] {
        let client = options(proxy.addr, &companion.person(listener));
        let client = client.connect().unwrap();
        let mut events = client.events();
        assert!(matches!(next(&mut events).await, Event::Ready(_)));
        listening.push(tokio::spawn(listen(client, events, sends)));
    }

    let began = Instant::now();
    let clients: Vec<ChatClient> = (0..CLIENTS)
        .map(|n| {
            let person = companion.person(&format!("s{n}"));
            options(proxy.addr, &person).connect().unwrap()
        })
        .collect();
    let breaking = tokio::spawn(cut_now_and_then(proxy.clone(), clients.clone(), sends));
    let each = sends / CLIENTS;
    let sending = clients.iter().enumerate().map(|(n, client)| {
        let both = [chats[n % CHATS], chats[(n + 1) % CHATS]];
        tokio::spawn(send(client.clone(), both, each))
    });
    let sending: Vec<_> = sending.collect();
    let mut answered: BTreeMap<(ChatId, String, String), Sent> = BTreeMap::new();
    for sent in sending {
        for sent in tokio::time::timeout(LONG, sent).await.unwrap().unwrap() {
            let message = &sent.message;
            let name = (
                message.chat,
                message.sender.clone(),
                message.client_msg_id.clone(),
            );
            assert!(answered.insert(name, sent).is_none());
        }
    }
    let took = began.elapsed();
    breaking.await.unwrap();
    assert_eq!(answered.len(), sends);

    let reader = companion.person("maker");
    let mut stored = BTreeSet::new();
    for chat in &chats {
        let history = whole(&reader, *chat).await;
        in_order(&history);
        for message in &history {
            let name = (*chat, message.sender.clone(), message.client_msg_id.clone());
            // The reply is that of the message that asked.
            let sent = answered.get(&name).expect("nothing else was sent");
            assert_eq!(sent.message.seq, message.seq);
            assert_eq!(sent.message.body, message.body);
            assert!(stored.insert((*chat, message.seq)));
        }
    }
    assert_eq!(stored.len(), sends);
    for heard in listening {
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        let (heard, losses) = heard.expect("all of it is told").unwrap();
        assert_eq!(heard, stored, "after {losses} losses");
    }
    let fates = proxy.fates();
    assert_eq!(fates.len(), 9, "all of it has happened: {fates:?}");
    tell(&clients, sends, took, &fates);
}

/// What the clients have seen, for whoever runs it by hand; and that the faults have shown.
#[expect(clippy::print_stderr, reason = "with `--nocapture`")]
fn tell(clients: &[ChatClient], sends: usize, took: Duration, fates: &BTreeMap<Fate, usize>) {
    let figures: Vec<Figures> = clients.iter().map(ChatClient::figures).collect();
    let sum = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>();
    let (retries, replayed) = (sum(|f| f.retries), sum(|f| f.replayed));
    let opened = sum(|f| f.breaker_opened);
    eprintln!(
        "{sends} messages by {} clients in {took:.1?}: {retries} retries, {replayed} were stored already, \
         the breakers opened {opened} times; {fates:?}",
        clients.len(),
    );
    assert!(retries > 0 && replayed > 0 && opened > 0);
    assert_eq!(sum(|f| f.stored.count), sends as u64);
    assert_eq!(sum(|f| f.failed), 0);
    assert!(figures.iter().all(|figures| figures.queued == 0));
}

async fn open_chats(maker: &Person) -> Vec<ChatId> {
    let mut chats = Vec::new();
    for _ in 0..CHATS {
        let new = serde_json::json!({"audience": "org"});
        let chat = maker.post("/v1/chats", new).await.expect(201);
        chats.push(id(chat["id"].as_str().unwrap()));
    }
    chats
}

/// Hands messages over for two chats by turns: some at once, some after the answer to the one before.
async fn send(client: ChatClient, chats: [ChatId; 2], count: usize) -> Vec<Sent> {
    let mut sent = Vec::with_capacity(count);
    let mut on_their_way: Vec<Sending> = Vec::new();
    for number in 0..count {
        let message = NewMessage::text(number.to_string());
        on_their_way.push(client.send(chats[number % 2], message).unwrap());
        if number % 16 == 15 {
            for sending in on_their_way.drain(..) {
                sent.push(sending.await.unwrap());
            }
        }
    }
    for sending in on_their_way {
        sent.push(sending.await.unwrap());
    }
    client.flush().await;
    sent
}

/// Three times there is no network for a while.
async fn cut_now_and_then(proxy: Proxy, clients: Vec<ChatClient>, sends: usize) {
    let stored = || {
        clients
            .iter()
            .map(|client| client.figures().stored.count)
            .sum::<u64>()
    };
    for part in 1..=3 {
        while stored() < (sends * part / 5) as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.cut();
        until("somebody knows that there is no network", || async {
            clients
                .iter()
                .any(|client| client.state() == ConnectionState::Offline)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.mend();
    }
}

/// Hears until so many messages are known. Nothing may be told twice, and what was lost is read.
async fn listen(
    client: ChatClient,
    mut events: tenure_client::chat::Events,
    count: usize,
) -> (BTreeSet<(ChatId, i64)>, usize) {
    let mut told: BTreeSet<(ChatId, i64)> = BTreeSet::new();
    let mut last: BTreeMap<ChatId, i64> = BTreeMap::new();
    let mut known: BTreeSet<(ChatId, i64)> = BTreeSet::new();
    let mut losses = 0;
    while known.len() < count {
        match events.next().await.expect("the client is there").event {
            Event::MessageCreated(created) => {
                let message = created.message.expect("none is so large");
                let at = (message.chat, message.seq);
                assert!(told.insert(at), "told twice: {at:?}");
                let before = last.insert(message.chat, message.seq).unwrap_or(0);
                if losses == 0 {
                    assert_eq!(message.seq, before + 1, "in order, and none left out");
                } else {
                    assert!(message.seq > before, "in order");
                }
                known.insert(at);
            }
            event if event.is_loss() => {
                losses += 1;
                known.extend(read_all(&client).await);
            }
            _ => {}
        }
    }
    (known, losses)
}

async fn read_all(client: &ChatClient) -> BTreeSet<(ChatId, i64)> {
    let mut all = BTreeSet::new();
    let mut chats = client.chats();
    while let Some(chat) = chats.next().await {
        let Ok(chat) = chat else { continue };
        let history = client.history(chat.id).direction(Direction::OldestFirst);
        let mut messages = history.page_size(200).stream();
        while let Some(message) = messages.next().await {
            let Ok(message) = message else { continue };
            all.insert((message.chat, message.seq));
        }
    }
    all
}

/// Numbers are dense; and of each sender the first handed over is the first.
fn in_order(history: &[Message]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (index, message) in history.iter().enumerate() {
        assert_eq!(message.seq, index as i64 + 1);
        let number: i64 = message.body.parse().unwrap();
        let before = last.insert(&message.sender, number);
        assert!(
            before < Some(number),
            "{}: {before:?}, {number}",
            message.sender
        );
    }
}

/// The history as the companion has it, past the network and the client.
async fn whole(reader: &Person, chat: ChatId) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/chats/{chat}/messages?limit=200&after={}", all.len());
        let part = reader.get(&path).await.expect(200);
        let items = part["items"].as_array().unwrap().iter().cloned();
        all.extend(items.map(|item: Value| serde_json::from_value::<Message>(item).unwrap()));
        if part["has_newer"] == false {
            return all;
        }
    }
}
