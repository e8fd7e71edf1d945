//! `tenure-chat archive` beside whoever sends, and killed in the middle: everything is there, once, and counted.
//! Every test runs on SQLite, and on PostgreSQL where there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_chat::store::{
    Actor, ChatId, NewMessage, PageRequest, Role, SearchRequest, Store, UnixMs,
};

use crate::place::{Place, actor, chat, old, on_both};

on_both!(
    a_run_that_is_killed_loses_nothing_and_does_nothing_twice,
    a_run_waits_its_turn,
    a_run_that_is_told_to_stop_goes_on_the_next_time,
);

/// Old messages in each of two chats.
const OLD: usize = 2_500;

/// How often it is killed.
const KILLS: u64 = 6;

async fn all(store: &Store, who: &Actor, chat: ChatId) -> Vec<(i64, String)> {
    let mut all: Vec<(i64, String)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.0);
        let part = store.export(who, chat, after, 1_000).await.unwrap();
        if part.is_empty() {
            return all;
        }
        all.extend(
            part.into_iter()
                .map(|message| (message.seq, message.client_msg_id)),
        );
    }
}

/// Messages that the audit log says have moved.
async fn audited(store: &Store) -> i64 {
    let page = PageRequest {
        cursor: None,
        limit: 100,
    };
    let log = store
        .audit(&actor("root", Role::Admin), UnixMs(0), page)
        .await
        .unwrap();
    assert_eq!(log.next, None);
    let moved = log
        .items
        .iter()
        .filter(|line| line.act == "messages.archived");
    moved.map(|line| line.count).sum()
}

async fn a_run_that_is_killed_loses_nothing_and_does_nothing_twice(place: Place) {
    let store = place.open().await;
    let chats = [chat(&store).await, chat(&store).await];
    for chat in chats {
        old(&store, chat, OLD).await;
    }
    let ann = actor("ann", Role::Member);
    let done = Arc::new(AtomicBool::new(false));
    let sending = {
        let (store, ann, done) = (store.clone(), ann.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let message = NewMessage {
                    client_msg_id: format!("new-{sent}"),
                    body: "beside the archive".to_owned(),
                    ..NewMessage::default()
                };
                store.send(&ann, chats[0], message).await.unwrap();
                sent += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            sent
        })
    };
    let mut moved = 0;
    for kill in 0..KILLS {
        let mut child = place.command(&["archive"]).spawn().unwrap();
        // Not before it has begun, and a little later each time.
        let mut so_far = audited(&store).await;
        while so_far == moved {
            tokio::time::sleep(Duration::from_millis(2)).await;
            so_far = audited(&store).await;
            if let Some(status) = child.try_wait().unwrap() {
                // A machine that stood still for so long that its database gave it up.
                assert_eq!(status.code(), Some(2));
                child = place.command(&["archive"]).spawn().unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(5 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        moved = audited(&store).await;
        assert!(
            moved < 2 * OLD as i64,
            "it was killed in the middle, {moved}"
        );
        place.lease_is_over().await;
    }
    place.is_done_for_whoever_was_killed().await;
    let moved = audited(&store).await;
    let last = place.run(&["archive", "--json"]);
    assert_eq!(last.code, 0, "{}", last.stderr);
    done.store(true, Ordering::Relaxed);
    let sent: usize = sending.await.unwrap();
    assert_eq!(
        last.json()["messages"],
        2 * OLD as i64 - 1 - moved,
        "the last of a chat stays"
    );
    assert_eq!(audited(&store).await, 2 * OLD as i64 - 1);
    let old_names = (0..OLD).map(|n| format!("old-{n}"));
    let expected: Vec<_> = old_names
        .clone()
        .chain((0..sent).map(|n| format!("new-{n}")))
        .collect();
    let numbered = |names: Vec<String>| -> Vec<(i64, String)> { (1..).zip(names).collect() };
    assert_eq!(all(&store, &ann, chats[0]).await, numbered(expected));
    assert_eq!(
        all(&store, &ann, chats[1]).await,
        numbered(old_names.collect())
    );
    let search = SearchRequest {
        text: "message 17".to_owned(),
        page: PageRequest {
            cursor: None,
            limit: 10,
        },
        ..SearchRequest::default()
    };
    assert_eq!(store.search(&ann, search).await.unwrap().items.len(), 2);
    assert_eq!(store.recount("acme", None).await.unwrap().wrong, 0);
    let nothing = place.run(&["archive", "--json"]).json();
    assert_eq!(
        (&nothing["messages"], &nothing["chats"], &nothing["ended"]),
        (&Value::from(0), &Value::from(0), &Value::from("complete"))
    );
}

async fn a_run_waits_its_turn(place: Place) {
    let store = place.open().await;
    let chat = chat(&store).await;
    old(&store, chat, 10).await;
    // One that lives makes its lease longer, so it is longer than a killed one's.
    let long = Duration::from_secs(3_600);
    store
        .job_take("archive", uuid::Uuid::nil(), Duration::ZERO, long)
        .await
        .unwrap();
    let began = Instant::now();
    let told = place.run(&["archive"]);
    let took = began.elapsed();
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (1, ""),
        "{}",
        told.stderr
    );
    assert!(
        told.stderr.contains("another run is at work"),
        "{}",
        told.stderr
    );
    assert_eq!(audited(&store).await, 0);
    // What looks only needs no turn.
    assert_eq!(
        place.run(&["archive", "--dry-run", "--json"]).json()["messages"],
        9
    );
    // One that was killed is waited for; its lease is longer than it takes to be asked.
    place.lease_is_over().await;
    let short = 4 * took + Duration::from_secs(2);
    store
        .job_take("archive", uuid::Uuid::nil(), Duration::ZERO, short)
        .await
        .unwrap();
    let told = place.run(&["archive", "--json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(told.json()["messages"], 9);
    assert!(told.stderr.contains("was killed"), "{}", told.stderr);
}

async fn a_run_that_is_told_to_stop_goes_on_the_next_time(place: Place) {
    let store = place.open().await;
    let chat = chat(&store).await;
    old(&store, chat, 6_000).await;
    let mut child = place.command(&["archive", "--json"]).spawn().unwrap();
    while audited(&store).await == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it works");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ended"], "stopped");
    let moved = told["messages"].as_i64().unwrap();
    assert_eq!(
        audited(&store).await,
        moved,
        "what it says it has done is done"
    );
    assert!(moved < 5_999);
    // At once: the turn was given back.
    let rest = place.run(&["archive", "--json"]).json();
    assert_eq!(
        (&rest["messages"], &rest["ended"]),
        (&Value::from(5_999 - moved), &Value::from("complete"))
    );
}
