//! A companion that stands still in the middle of what it does: others over the same PostgreSQL wait for it for a while, and
//! then no more.
//!
//! Rule of these tests: it is known to have a transaction open when it stops.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;

use crate::support::{Person, Place, on_postgres};

/// Longer than a transaction may be idle: `postgres.rs` of the store.
const THEN: Duration = Duration::from_secs(25);

#[test]
fn a_companion_that_stands_still_holds_up_nobody_for_long() {
    on_postgres(async |place: Place| {
        let frozen = place.companion_process(&[]).await;
        let other = place.companion(&[]).await;
        let ada = frozen.person("ada");
        let chat = ada.chat_with(&["bob"]).await;
        let sending: Vec<_> = (0..8)
            .map(|n| tokio::spawn(send_for_ever(ada.clone(), chat.clone(), n)))
            .collect();
        let mut watch = PgConnection::connect(&place.database).await.unwrap();
        let id = uuid::Uuid::parse_str(&chat).unwrap();
        loop {
            frozen.signal(Signal::SIGCONT);
            sleep(Duration::from_millis(fastrand::u64(50..200))).await;
            frozen.signal(Signal::SIGSTOP);
            sleep(Duration::from_millis(100)).await;
            let stands_still = stands_still_with(&mut watch, id).await;
            sleep(Duration::from_millis(300)).await;
            // Twice: nothing that it had sent before was still on its way.
            if stands_still && stands_still_with(&mut watch, id).await {
                break;
            }
        }

        let bob = other.person("bob");
        let (began, mut refused) = (Instant::now(), 0);
        loop {
            let sent = bob.send(&chat, "b-1", "is anybody there?").await;
            if sent.status == 201 {
                break;
            }
            sent.refused(503, "store_away");
            assert!(sent.header("retry-after").is_some());
            refused += 1;
            assert!(began.elapsed() < THEN, "held up for ever");
        }
        let held_up = refused > 0 || began.elapsed() > Duration::from_millis(500);
        assert!(held_up, "not at all: {:?}", began.elapsed());

        // What it was about to store was not, and what it stores from now on is in order.
        frozen.signal(Signal::SIGCONT);
        sleep(Duration::from_millis(500)).await;
        for sending in sending {
            sending.abort();
        }
        bob.send(&chat, "b-2", "welcome back").await.expect(201);
        // What was on its way may still be stored; a page is read at one moment.
        let path = format!("/v1/chats/{chat}/messages?page=1&limit=200");
        let page = bob.get(&path).await.expect(200);
        let seqs = page["items"].as_array().unwrap().iter();
        let seqs: Vec<i64> = seqs.map(|item| item["seq"].as_i64().unwrap()).collect();
        let newest = page["totals"]["total"].as_i64().unwrap();
        let dense: Vec<i64> = ((newest - 200).max(0) + 1..=newest).collect();
        assert_eq!(seqs, dense);
        let recount = bob.post("/v1/unread/recount", json!({})).await.expect(200);
        assert_eq!(recount["drift"], 0);
    });
}

/// Whether a transaction that has changed it waits for the next word of its companion. That the chat is locked says less: a
/// commit that takes its time on the disk ends without the companion.
async fn stands_still_with(watch: &mut PgConnection, chat: uuid::Uuid) -> bool {
    let holder = "SELECT pid FROM chats JOIN pg_stat_activity ON backend_xid = chats.xmax \
        WHERE chats.id = $1 AND state = 'idle in transaction'";
    let found = sqlx::query(holder).bind(chat).fetch_all(watch).await;
    !found.unwrap().is_empty()
}

async fn send_for_ever(person: Person, chat: String, sender: usize) {
    for number in 0_u64.. {
        let message = json!({"client_msg_id": format!("{sender}-{number}"), "body": "x"});
        // Whoever stands still does not answer.
        let path = format!("/v1/chats/{chat}/messages");
        let _ = person.try_ask("POST", &path, Some(message)).await;
    }
}
