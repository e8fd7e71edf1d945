//! While the lock server is away: messages are stored as configured, nobody waits, and all catches up by itself.
//!
//! Rule of these tests: away means killed, and back means another life of the lock server, with nothing of the one before.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Place, until};

on_both!(
    messages_are_taken_and_told_later,
    messages_are_refused_if_that_is_wanted
);

async fn messages_are_taken_and_told_later(mut place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    let mut feed = bob.hear().await;
    feed.next_named("ready").await;
    place.tenure.kill();
    let began = Instant::now();
    for number in 1..=10 {
        let message = ada
            .send(&chat, &format!("m-{number}"), "x")
            .await
            .expect(201);
        // The first may have been on its way when the lock server went.
        assert!(number == 1 || message["unguarded"] == true, "{message}");
    }
    let path = format!("/v1/chats/{chat}");
    let refused = ada.post(&format!("{path}/lock"), json!({})).await;
    refused.refused(503, "tenure_away");
    assert!(refused.header("retry-after").is_some());
    let shown = ada.get(&path).await.expect(200);
    assert_eq!(
        (&shown["locks_known"], &shown["lock"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(ada.get("/v1/chats").await.expect(200)["locks_known"], false);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "nobody waits: {:?}",
        began.elapsed()
    );

    place.tenure.start_again().await;
    // It is another life of the stream: the feed says so, and what it tells from there on is whole.
    assert_eq!(feed.next_named("lost").await["why"], "epoch");
    until("the outbox is empty", || async {
        let metrics = ada.get("/metrics").await.text;
        metrics
            .lines()
            .any(|line| line == "tenure_chat_outbox_rows 0")
    })
    .await;
    let history = bob.get(&format!("{path}/messages")).await.expect(200);
    assert_eq!(history["items"].as_array().unwrap().len(), 10);
    let message = ada.send(&chat, "m-11", "x").await.expect(201);
    assert_eq!(message["unguarded"], false);
    while feed.next_named("message.created").await["message"]["seq"] != 11 {}
}

async fn messages_are_refused_if_that_is_wanted(mut place: Place) {
    let companion = place.companion(&["--when-tenure-is-away", "refuse"]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&[]).await;
    let first = ada.send(&chat, "m-1", "x").await.expect(201);
    place.tenure.kill();
    until("it is known that the lock server is away", || async {
        ada.send(&chat, "m-2", "x").await.status == 503
    })
    .await;
    // What was sent before is answered all the same.
    assert_eq!(ada.send(&chat, "m-1", "x").await.expect(200), first);
    place.tenure.start_again().await;
    until("it is back", || async {
        ada.send(&chat, "m-3", "x").await.status == 201
    })
    .await;
}
