//! kill -9, in the middle of sends, of companion, lock server and database: what was answered with 201 is in the history
//! exactly once and in order, and every subscriber has heard of it, or was told `lost` and finds it on reading anew.
//!
//! Rule of these tests: each sender sends until it is answered, as the document of the routes says, and each listener
//! comes back to where it was, as browsers do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{Companion, Person, Place, Told, on_killable_postgres, outbox_has, until};

on_both!(
    what_was_answered_survives_kill_minus_9,
    locks_and_what_is_to_be_told_survive_a_lock_server_that_keeps,
);

/// Senders at a time, and messages of each.
const SENDERS: usize = 4;
const MESSAGES: usize = 60;

/// How often each is killed.
const KILLS: usize = 3;

/// Messages by who has sent them and what they call them: id and number.
type Messages = BTreeMap<String, (String, i64)>;

async fn what_was_answered_survives_kill_minus_9(mut place: Place) {
    let mut killed = place.companion_process(&[]).await;
    let steady = place.companion(&[]).await;
    let crowd = Crowd::at_work(&killed, &steady).await;
    for _ in 0..KILLS {
        sleep(Duration::from_millis(300)).await;
        killed.kill();
        killed = place.companion_process(&[]).await;
        *crowd.address.lock() = killed.addr;
        sleep(Duration::from_millis(300)).await;
        place.tenure.kill();
        sleep(Duration::from_millis(200)).await;
        place.tenure.start_again().await;
    }
    crowd.look_whether_whole(&steady).await;
}

#[test]
fn what_was_answered_survives_kill_minus_9_of_postgres() {
    on_killable_postgres(async |place: Place, mut postgres| {
        let (here, there) = (place.companion(&[]).await, place.companion(&[]).await);
        let crowd = Crowd::at_work(&here, &there).await;
        for _ in 0..KILLS {
            sleep(Duration::from_millis(300)).await;
            postgres.kill();
            sleep(Duration::from_millis(300)).await;
            postgres = tokio::task::spawn_blocking(move || {
                postgres.start_again();
                postgres
            })
            .await
            .unwrap();
        }
        let waited = crowd.look_whether_whole(&there).await;
        assert!(waited > 0, "nobody has noticed that the database was away");
    });
}

async fn locks_and_what_is_to_be_told_survive_a_lock_server_that_keeps(place: Place) {
    let mut place = place.with_durable_tenure().await;
    let killed = place.companion_process(&[]).await;
    let steady = place.companion(&[]).await;
    let mut ada = killed.person("ada").with_session().await;
    let bob = steady.person("bob");
    let chat = ada.chat_with(&["bob"]).await;
    let path = format!("/v1/chats/{chat}");
    let adas = ada.hear().await;
    let mut bobs = bob.hear().await;
    bobs.next_named("ready").await;
    let token = ada.lock(&chat).await;
    bobs.next_named("chat.locked").await;
    let doc = json!({"path": "doc/quote-123"});
    let of_doc = ada.post("/v1/locks/acquire", doc.clone()).await.expect(200)["token"].clone();

    // Away is away: messages are stored, and wait to be told; then even who has stored them is gone.
    place.tenure.kill();
    until("it is known that the lock server is away", || async {
        let sent = ada.send(&chat, "a-1", "before the fall").await;
        sent.status == 200 && ada.get(&path).await.expect(200)["locks_known"] == false
    })
    .await;
    let unguarded = ada.send(&chat, "a-2", "in the dark").await.expect(201);
    assert_eq!(unguarded["unguarded"], true);
    drop(adas);
    killed.kill();
    until("two events wait", || outbox_has(&steady, 2..=9)).await;

    place.tenure.start_again().await;
    bobs.next_named("lost").await;
    until("they were told", || outbox_has(&steady, 0..=0)).await;
    // The locks are whose they were, before their browser has come back.
    until("it is known that the lock server is back", || async {
        bob.get(&format!("{path}/lock")).await.status == 200
    })
    .await;
    let held = bob
        .send(&chat, "b-1", "me too")
        .await
        .refused(423, "locked");
    assert_eq!(held["lock"]["holders"][0]["person"], "ada");
    bob.post("/v1/locks/acquire", doc)
        .await
        .refused(409, "held");

    // It comes back to another companion with its session, and has its locks, by the tokens that it knows.
    let ada = ada.at(&steady);
    let kept = ada
        .post(&format!("{path}/lock/heartbeat"), json!({"token": token}))
        .await
        .expect(200);
    assert_eq!(kept["token"], token);
    let kept = ada
        .post(
            "/v1/locks/extend",
            json!({"path": "doc/quote-123", "token": of_doc}),
        )
        .await
        .expect(200);
    assert_eq!(kept["token"], of_doc);
    let message = json!({"client_msg_id": "a-3", "body": "still mine", "lock_token": token});
    ada.post(&format!("{path}/messages"), message)
        .await
        .expect(201);
    loop {
        let told = bobs.next_named("message.created").await;
        if told["message"]["client_msg_id"] == "a-3" {
            break;
        }
    }
    let history = whole(&bob, &chat).await;
    let bodies: Vec<_> = history.iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["before the fall", "in the dark", "still mine"]);
}

/// Some who send to one chat, and some who listen to it.
struct Crowd {
    chat: String,
    /// Where senders send to, by now.
    address: Arc<Mutex<SocketAddr>>,
    sending: Vec<JoinHandle<Sent>>,
    hearing: Vec<JoinHandle<Messages>>,
}

/// What one has sent.
struct Sent {
    answered: Messages,
    /// How often something was away.
    refused: usize,
}

impl Crowd {
    /// They send to the first companion, and listen at both.
    async fn at_work(first: &Companion, second: &Companion) -> Self {
        let ada = first.person("s0");
        let people: Vec<String> = (1..SENDERS)
            .map(|n| format!("s{n}"))
            .chain(["near".into(), "far".into()])
            .collect();
        let chat = ada
            .chat_with(&people.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        let address = Arc::new(Mutex::new(first.addr));
        let fixed = Arc::new(Mutex::new(second.addr));
        let hearing = [
            (first.person("near"), Arc::clone(&address)),
            (second.person("far"), fixed),
        ];
        let hearing = hearing.map(|(person, address)| {
            tokio::spawn(Ear::new(person, chat.clone(), address).hear_all())
        });
        let sending = (0..SENDERS).map(|n| {
            let person = first.person(&format!("s{n}"));
            tokio::spawn(send_all(person, chat.clone(), Arc::clone(&address)))
        });
        Self {
            sending: sending.collect(),
            hearing: hearing.into(),
            chat,
            address,
        }
    }

    /// All that was answered is there, once and in order, and was heard. Gives how often a sender was sent away.
    async fn look_whether_whole(self, steady: &Companion) -> usize {
        let (mut answered, mut refused) = (Messages::new(), 0);
        for sent in self.sending {
            let sent = sent.await.unwrap();
            answered.extend(sent.answered);
            refused += sent.refused;
        }
        assert_eq!(answered.len(), SENDERS * MESSAGES);
        until("all was told", || outbox_has(steady, 0..=0)).await;
        // The last word, so that listeners have something to hear.
        let last = steady.person("s0").send(&self.chat, LAST, "all").await;
        let last = last.expect(201);
        answered.insert(name(&last), id_and_seq(&last));

        let history = whole(&steady.person("far"), &self.chat).await;
        let seqs: Vec<i64> = history.iter().map(|m| id_and_seq(m).1).collect();
        let dense: Vec<i64> = (1..=seqs.len() as i64).collect();
        assert_eq!(seqs, dense, "dense, and each once");
        let stored: Messages = history.iter().map(|m| (name(m), id_and_seq(m))).collect();
        assert_eq!(stored.len(), history.len(), "nothing twice");
        assert_eq!(stored, answered, "what is there is what was answered");
        for sender in 0..SENDERS {
            let own = history
                .iter()
                .filter(|message| message["sender"] == format!("s{sender}"));
            let numbers: Vec<usize> = own
                .filter_map(|m| m["body"].as_str()?.parse().ok())
                .collect();
            assert!(numbers.is_sorted(), "the order of s{sender}: {numbers:?}");
        }
        for hearing in self.hearing {
            let heard = hearing.await.unwrap();
            assert_eq!(heard, answered, "what was heard is what was answered");
        }
        refused
    }
}

/// What the last message is called.
const LAST: &str = "last";

/// Sends one after another, each until it is answered.
async fn send_all(person: Person, chat: String, address: Arc<Mutex<SocketAddr>>) -> Sent {
    let mut sent = Sent {
        answered: Messages::new(),
        refused: 0,
    };
    for number in 0..MESSAGES {
        let message = json!({"client_msg_id": format!("m-{number}"), "body": number.to_string()});
        loop {
            let to = person.at_address(*address.lock());
            let path = format!("/v1/chats/{chat}/messages");
            match to.try_ask("POST", &path, Some(message.clone())).await {
                Ok(answer) if [200, 201].contains(&answer.status) => {
                    let stored = answer.json();
                    sent.answered.insert(name(&stored), id_and_seq(&stored));
                    break;
                }
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{}", answer.text);
                    sent.refused += 1;
                }
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
    sent
}

/// One who listens, and comes back wherever it was.
struct Ear {
    person: Person,
    chat: String,
    address: Arc<Mutex<SocketAddr>>,
    heard: Messages,
    /// What has to be told next, unless something was lost.
    next: Option<i64>,
}

impl Ear {
    fn new(person: Person, chat: String, address: Arc<Mutex<SocketAddr>>) -> Self {
        Self {
            person,
            chat,
            address,
            heard: Messages::new(),
            next: Some(1),
        }
    }

    /// Until the last word was heard.
    async fn hear_all(mut self) -> Messages {
        let mut last_id = None;
        let is_last = |(_, client_msg_id): (&str, &str)| client_msg_id == LAST;
        loop {
            let to = self.person.at_address(*self.address.lock());
            let Some(mut feed) = to.try_hear(last_id.clone()).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            while let Some(told) = feed.next().await {
                self.take(&told).await;
                let mut names = self.heard.keys().filter_map(|name| name.split_once(':'));
                if names.any(is_last) {
                    return self.heard;
                }
            }
            last_id = feed.last_id;
        }
    }

    async fn take(&mut self, told: &Told) {
        if told.name == "message.created" {
            let message = &told.data["message"];
            let (id, seq) = id_and_seq(message);
            if let Some(next) = self.next {
                assert_eq!(seq, next, "told twice, or a hole that nobody spoke of");
            }
            self.next = Some(seq + 1);
            self.heard.insert(name(message), (id, seq));
        }
        if told.name == "lost" || told.data["recovery"] == "lost" {
            self.next = None;
            // What is not to be had from the feed is read.
            let all = whole_at(&self.person, &self.chat, &self.address).await;
            self.heard
                .extend(all.iter().map(|m| (name(m), id_and_seq(m))));
        }
    }
}

/// All of a history.
async fn whole(reader: &Person, chat: &str) -> Vec<Value> {
    whole_at(reader, chat, &Mutex::new(reader.addr)).await
}

/// The same, read until it is answered, wherever that is by then: who answered before may have been killed for good.
async fn whole_at(reader: &Person, chat: &str, address: &Mutex<SocketAddr>) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let path = format!("/v1/chats/{chat}/messages?limit=200&after={}", all.len());
        let to = reader.at_address(*address.lock());
        match to.try_ask("GET", &path, None).await {
            Ok(answer) if answer.status == 200 => {
                let part = answer.json();
                all.extend(part["items"].as_array().unwrap().iter().cloned());
                if part["has_newer"] == false {
                    return all;
                }
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            Err(_) => {}
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn id_and_seq(message: &Value) -> (String, i64) {
    let id = message["id"].as_str().unwrap().to_owned();
    (id, message["seq"].as_i64().unwrap())
}

/// Who has sent it, and what they call it.
fn name(message: &Value) -> String {
    format!(
        "{}:{}",
        message["sender"].as_str().unwrap(),
        message["client_msg_id"].as_str().unwrap()
    )
}
