//! A database of very many messages, and how long it takes to find some, to take all out, and to put the old ones away.
//!
//! ```console
//! $ cargo run --release -p tenure-chat --example million -- fill sqlite:million.db 1000000
//! $ cargo run --release -p tenure-chat --example million -- search sqlite:million.db
//! $ cargo run --release -p tenure-chat --example million -- export sqlite:million.db
//! $ cargo run --release -p tenure-chat --example million -- archive sqlite:million.db 20
//! ```
//!
//! The seed is fixed, so every run has the same messages: 5 to 20 words each out of 50,000, the n-th most frequent said
//! 1/n times as often as the first; 10,000 chats, of which few are large; people who see 3, 300 or 2,000 of them.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a program for a terminal: what goes wrong ends it"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tenure_chat::archiving::{Begun, Plan, begin};
use tenure_chat::store::{
    Actor, Audience, ChatId, ChatView, Imported, NewChat, NewMessage, NewParticipant, PageRequest,
    Role, SearchRequest, Store, StoreOptions, UnixMs,
};
use tokio_util::sync::CancellationToken;

const CHATS: usize = 10_000;
const WORDS: usize = 50_000;
const DAY_MS: i64 = 86_400_000;
const SEED: u64 = 7;

/// Who sees how many chats; beside them everybody sees the twenty open ones.
const PEOPLE: [(&str, usize); 3] = [("few", 3), ("some", 300), ("many", 2_000)];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [job, url, rest @ ..] = arguments.as_slice() else {
        println!("expected: fill|search|export|archive DATABASE [COUNT|SECONDS]");
        return;
    };
    let number = rest.first().map(|text| text.parse::<usize>().unwrap());
    let store = Store::open(url, StoreOptions::default()).await.unwrap();
    match job.as_str() {
        "fill" => fill(&store, number.unwrap_or(1_000_000)).await,
        "search" => search(&store, number.unwrap_or(300)).await,
        "export" => export(&store).await,
        "archive" => archive(&store, number.unwrap_or(20)).await,
        other => println!("expected fill, search, export or archive, found {other}"),
    }
    store.close().await;
}

/// The n-th of so many, by a distribution in which the n-th comes 1/n times as often as the first.
fn zipf(random: &mut fastrand::Rng, most: usize) -> usize {
    ((most as f64).ln() * random.f64()).exp() as usize
}

/// The n-th most frequent word.
fn word(rank: usize) -> String {
    let syllables = ["ba", "ke", "mi", "no", "tu", "ra", "se", "li", "do", "fu"];
    let digits = rank.to_string();
    digits
        .bytes()
        .map(|digit| syllables[usize::from(digit - b'0')])
        .collect()
}

fn body(random: &mut fastrand::Rng) -> String {
    let words: Vec<_> = (0..random.usize(5..=20))
        .map(|_| word(zipf(random, WORDS)))
        .collect();
    words.join(" ")
}

fn actor(id: &str, role: Role) -> Actor {
    Actor {
        org: "acme".to_owned(),
        id: id.to_owned(),
        name: id.to_owned(),
        role,
    }
}

async fn fill(store: &Store, count: usize) {
    let mut random = fastrand::Rng::with_seed(SEED);
    let began = Instant::now();
    let mut chats = Vec::new();
    for number in 0..CHATS {
        let people = PEOPLE
            .iter()
            .filter(|(_, sees)| (number * 7_919 + 4_001) % CHATS < *sees);
        let new = NewChat {
            audience: if number % 500 == 499 {
                Audience::Org
            } else {
                Audience::Participants
            },
            participants: people.map(|(id, _)| participant(id)).collect(),
            ..NewChat::default()
        };
        let maker = actor(&format!("p{}", zipf(&mut random, 1_000)), Role::Member);
        chats.push(
            store
                .create_chat(&maker, new)
                .await
                .unwrap()
                .into_inner()
                .id,
        );
        if number % 100 == 0 {
            forget_events(store).await;
        }
    }
    forget_events(store).await;
    println!("{CHATS} chats in {:.0?}", began.elapsed());
    // A tenth of the time at a time, so that the old ones of all chats come before the new ones of any.
    let start = UnixMs::now().0 - 730 * DAY_MS;
    let mut sent = 0;
    for part in 0..10 {
        let mut of_chats: BTreeMap<usize, Vec<Imported>> = BTreeMap::new();
        for number in count * part / 10..count * (part + 1) / 10 {
            let chat = zipf(&mut random, CHATS) - 1;
            let at = start + 730 * DAY_MS / count as i64 * number as i64;
            of_chats.entry(chat).or_default().push(Imported {
                sender: participant(&format!("p{}", zipf(&mut random, 1_000))),
                client_msg_id: format!("m-{number}"),
                body: body(&mut random),
                attachments: Vec::new(),
                created_at: UnixMs(at),
            });
        }
        for (chat, messages) in of_chats {
            for messages in messages.chunks(1_000) {
                store.import("acme", chats[chat], messages).await.unwrap();
                sent += messages.len();
            }
        }
        println!("{sent} messages in {:.0?}", began.elapsed());
    }
}

fn participant(id: &str) -> NewParticipant {
    NewParticipant {
        person: id.to_owned(),
        name: id.to_owned(),
    }
}

/// Nobody listens here.
async fn forget_events(store: &Store) {
    loop {
        let rows = store
            .outbox_take(uuid::Uuid::nil(), 500, Duration::from_secs(60))
            .await
            .unwrap();
        if rows.is_empty() {
            return;
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        store.outbox_done(&ids).await.unwrap();
    }
}

/// A percentile of what was measured, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted
        .get(at)
        .map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
}

fn say(what: &str, mut took: Vec<Duration>, beside: &str) {
    took.sort();
    println!(
        "{what:<46} {:>6} times  p50 {:>8.2} ms  p99 {:>8.2} ms  max {:>8.2} ms  {beside}",
        took.len(),
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        percentile(&took, 1.0)
    );
}

/// Makes up what to look for.
type Asks = fn(&mut fastrand::Rng) -> String;

async fn search(store: &Store, times: usize) {
    let kinds: [(&str, Asks); 5] = [
        ("very common word (1 of the first 5)", |random| {
            word(random.usize(1..=5))
        }),
        ("common word (of the first 100)", |random| {
            word(random.usize(20..=100))
        }),
        ("usual word (500th to 2,000th)", |random| {
            word(random.usize(500..=2_000))
        }),
        ("rare word (past the 20,000th)", |random| {
            word(random.usize(20_000..WORDS))
        }),
        ("two common words", |random| {
            format!(
                "{} {}",
                word(random.usize(1..=20)),
                word(random.usize(20..=200))
            )
        }),
    ];
    let people = [
        ("root", Role::Admin),
        ("many", Role::Member),
        ("some", Role::Member),
        ("few", Role::Member),
    ];
    for (id, role) in people {
        let who = actor(id, role);
        for (kind, text) in &kinds {
            let mut random = fastrand::Rng::with_seed(SEED);
            let (mut took, mut hits) = (Vec::new(), 0);
            let until = Instant::now() + Duration::from_secs(4);
            while took.len() < times && Instant::now() < until {
                let request = SearchRequest {
                    text: text(&mut random),
                    chat: None,
                    page: PageRequest {
                        cursor: None,
                        limit: 20,
                    },
                };
                let began = Instant::now();
                hits += store.search(&who, request).await.unwrap().items.len();
                took.push(began.elapsed());
            }
            let found = hits as f64 / took.len() as f64;
            say(&format!("{id}: {kind}"), took, &format!("{found:.1} found"));
        }
    }
}

async fn export(store: &Store) {
    let root = actor("root", Role::Admin);
    let chats = newest_chats(store, &root).await;
    let mut largest: Vec<(i64, ChatId)> =
        chats.iter().map(|chat| (chat.last_seq, chat.id)).collect();
    largest.sort_unstable();
    println!("largest of the newest chats: {:?}", largest.last().unwrap());
    let began = Instant::now();
    let (mut messages, mut bytes) = (0, 0);
    for (_, chat) in largest {
        let mut after = 0;
        loop {
            let part = store.export(&root, chat, after, 1_000).await.unwrap();
            let Some(last) = part.last() else { break };
            after = last.seq;
            messages += part.len();
            for message in &part {
                bytes += serde_json::to_vec(message).unwrap().len();
            }
        }
    }
    let took = began.elapsed();
    println!(
        "{messages} messages, {bytes} bytes in {took:.1?}: {:.0} messages/s",
        messages as f64 / took.as_secs_f64()
    );
}

async fn newest_chats(store: &Store, root: &Actor) -> Vec<ChatView> {
    let newest = PageRequest {
        cursor: None,
        limit: 100,
    };
    store.chats(root, newest).await.unwrap().items
}

/// One sends to a chat that is archived, one to another, before and while the archive works.
async fn archive(store: &Store, seconds: usize) {
    let root = actor("root", Role::Admin);
    let chats = newest_chats(store, &root).await;
    let newest = chats[0].id;
    let span = Duration::from_secs(seconds as u64);
    say(
        "send, nothing beside",
        send(store, newest, span / 4).await,
        "",
    );
    let stop = CancellationToken::new();
    let Begun::Run(run) = begin(store, Duration::ZERO).await.unwrap() else {
        println!("another run is at work");
        return;
    };
    let plan = Plan {
        older_than: Duration::from_secs(365 * 86_400),
        empty_for: Duration::from_secs(90 * 86_400),
        org: None,
    };
    let working = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let (began, mut steps) = (Instant::now(), Vec::new());
            let tally = run.work(&plan, &stop, |step| {
                if step.done > 0 {
                    steps.push(step.took);
                }
            });
            let tally = tally.await.unwrap();
            (tally, began.elapsed(), steps)
        })
    };
    let took = send(store, newest, span / 2).await;
    say("send, beside the archive", took, "");
    tokio::time::sleep(span / 4).await;
    stop.cancel();
    let (tally, took, steps) = working.await.unwrap();
    say("step of the archive", steps, "");
    println!(
        "{} messages archived in {took:.1?}, {}: {:.0} messages/s",
        tally.messages,
        tally.ended,
        tally.messages as f64 / took.as_secs_f64()
    );
    forget_events(store).await;
}

/// Sends one after another, with a pause of a millisecond, for so long.
async fn send(store: &Store, chat: ChatId, span: Duration) -> Vec<Duration> {
    let who = actor("root", Role::Admin);
    store
        .set_participants(&who, chat, &[participant("root")], &[])
        .await
        .unwrap();
    let until = Instant::now() + span;
    let mut took = Vec::new();
    while Instant::now() < until {
        let message = NewMessage {
            client_msg_id: uuid::Uuid::now_v7().simple().to_string(),
            body: "one that is sent meanwhile".to_owned(),
            ..NewMessage::default()
        };
        let began = Instant::now();
        store.send(&who, chat, message).await.unwrap();
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took
}
