//! The flow of a chat lock from end to end: taken, seen by others, kept, lost, given back; with feeds that tell all of it.
//!
//! Knows no more than two browsers do: their requests and their feeds.

use std::time::Duration;

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::{Place, until};

on_both!(
    a_chat_is_opened_seen_kept_and_closed,
    a_browser_that_goes_away_loses_its_lock,
    an_old_token_is_refused_where_messages_are_stored,
    whoever_waits_asks_and_is_handed_the_lock,
    a_deploy_loses_no_lock,
);

async fn a_chat_is_opened_seen_kept_and_closed(place: Place) {
    let companion = place.companion(&[]).await;
    let mut ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob").with_session().await;
    let chat = ada.chat_with(&["bob"]).await;
    let (mut adas, mut bobs) = (ada.hear().await, bob.hear().await);
    assert_eq!(adas.next_named("ready").await["recovery"], "fresh");
    bobs.next_named("ready").await;

    let token = ada.lock(&chat).await;
    let locked = bobs.next_named("chat.locked").await;
    assert_eq!(
        (&locked["person"], &locked["token"], &locked["chat"]),
        (&json!("ada"), &json!(token), &json!(chat))
    );
    adas.next_named("chat.locked").await;
    let path = format!("/v1/chats/{chat}");
    let shown = bob.get(&path).await.expect(200);
    assert_eq!(shown["lock"]["holders"][0]["name"], "Ada");
    assert_eq!(shown["lock_token"], token);
    until("the list knows", || async {
        let list = bob.get("/v1/chats").await.expect(200);
        list["items"][0]["lock"]["person"] == "ada"
    })
    .await;

    let held = bob
        .post(&format!("{path}/lock"), json!({}))
        .await
        .refused(423, "locked");
    assert_eq!(held["lock"]["holders"][0]["person"], "ada");
    bob.send(&chat, "b-1", "me too")
        .await
        .refused(423, "locked");
    bob.post(&format!("{path}/unlock"), json!({}))
        .await
        .refused(423, "locked");
    ada.send(&chat, "a-1", "I am at it").await.expect(201);
    bobs.next_named("message.created").await;
    assert_eq!(bobs.next_named("message.notification").await["unread"], 1);

    let kept = ada
        .post(&format!("{path}/lock/heartbeat"), json!({"token": token}))
        .await
        .expect(200);
    assert_eq!(kept["token"], token);
    assert!(kept["remaining_ms"].as_u64().unwrap() > 290_000, "{kept}");
    assert_eq!(ada.lock(&chat).await, token, "the same person keeps it");

    let released = ada
        .post(&format!("{path}/unlock"), json!({}))
        .await
        .expect(200);
    assert_eq!(released["released"], "ended");
    let unlocked = bobs.next_named("chat.unlocked").await;
    assert_eq!(
        (&unlocked["person"], &unlocked["cause"]),
        (&json!("ada"), &json!("released"))
    );
    ada.post(&format!("{path}/lock/heartbeat"), json!({"token": token}))
        .await
        .refused(410, "lock_lost");
    bob.send(&chat, "b-1", "me too").await.expect(201);
    // What one lets go of oneself is no loss.
    while let Some(told) = adas.next_within(Duration::from_millis(300)).await {
        assert_ne!(told.name, "lock.lost", "{told:?}");
    }
}

async fn a_browser_that_goes_away_loses_its_lock(place: Place) {
    let companion = place.companion(&["--grace", "1"]).await;
    let mut ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob");
    let chat = ada.chat_with(&["bob"]).await;
    let adas = ada.hear().await;
    let mut bobs = bob.hear().await;
    ada.lock(&chat).await;
    bobs.next_named("chat.locked").await;
    // As long as the feed is open the lock is kept, without a heartbeat.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(
        bob.get(&format!("/v1/chats/{chat}/lock")).await.expect(200)["held"],
        true
    );
    drop(adas);
    let unlocked = bobs.next_named("chat.unlocked").await;
    assert_eq!(unlocked["person"], "ada");
    let gone = ada
        .post(&format!("/v1/chats/{chat}/lock/heartbeat"), json!({}))
        .await;
    gone.refused(410, "session_over");
}

async fn an_old_token_is_refused_where_messages_are_stored(place: Place) {
    let companion = place.companion(&[]).await;
    let mut ada = companion.person("ada").with_session().await;
    let mut mod_ = companion
        .with_role("max", Role::Moderator)
        .with_session()
        .await;
    let chat = ada.chat_with(&["max"]).await;
    let mut adas = ada.hear().await;
    adas.next_named("ready").await;
    let old = ada.lock(&chat).await;
    let path = format!("/v1/chats/{chat}");
    ada.post(&format!("{path}/lock"), json!({"seize": "mine"}))
        .await
        .refused(403, "forbidden");
    let seized = mod_
        .post(&format!("{path}/lock"), json!({"seize": "shift is over"}))
        .await
        .expect(200);
    assert!(seized["token"].as_u64().unwrap() > old);
    let lost = adas.next_named("lock.lost").await;
    assert_eq!(
        (&lost["cause"], &lost["by"], &lost["reason"]),
        (&json!("seized"), &json!("max"), &json!("shift is over"))
    );
    mod_.post(&format!("{path}/unlock"), json!({}))
        .await
        .expect(200);
    // Nobody holds it now, and still: whoever was asleep since is stopped by the token.
    let message = json!({"client_msg_id": "a-1", "body": "late", "lock_token": old});
    let stale = ada
        .post(&format!("{path}/messages"), message)
        .await
        .refused(412, "stale_token");
    assert_eq!(stale["token"], seized["token"]);
    let token = ada.lock(&chat).await;
    let message = json!({"client_msg_id": "a-1", "body": "late", "lock_token": token});
    ada.post(&format!("{path}/messages"), message)
        .await
        .expect(201);
    mod_.session = None;
    let audit = companion
        .with_role("root", Role::Admin)
        .get("/v1/audit")
        .await
        .expect(200);
    assert!(
        audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["act"] == "lock.seized"),
        "{audit}"
    );
}

async fn whoever_waits_asks_and_is_handed_the_lock(place: Place) {
    let companion = place.companion(&[]).await;
    let mut ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob").with_session().await;
    let chat = ada.chat_with(&["bob"]).await;
    let mut adas = ada.hear().await;
    adas.next_named("ready").await;
    ada.lock(&chat).await;
    let path = format!("/v1/chats/{chat}/lock");
    let wish = json!({"wait_ms": 20_000, "note": "may I?"});
    let waiting = tokio::spawn({
        let (bob, path) = (bob.clone(), path.clone());
        async move { bob.post(&path, wish).await }
    });
    let asked = adas.next_named("lock.asked").await;
    assert_eq!(
        (&asked["person"], &asked["note"]),
        (&json!("bob"), &json!("may I?"))
    );
    let own = json!({"path": format!("chat/{chat}")});
    let handed = ada.post("/v1/locks/hand-over", own).await.expect(200);
    assert_eq!(handed["person"], "bob");
    assert!(
        waiting.await.unwrap().expect(200)["token"]
            .as_u64()
            .unwrap()
            > 0
    );
    let lost = adas.next_named("lock.lost").await;
    assert_eq!(lost["cause"], "handed_over");

    // The other way round the answer is no; she waits on, and has it when he lets go.
    let mut bobs = bob.hear().await;
    bobs.next_named("ready").await;
    let waiting = tokio::spawn({
        let (ada, path) = (ada.clone(), path.clone());
        async move {
            ada.post(&path, json!({"wait_ms": 20_000, "note": "and back?"}))
                .await
        }
    });
    let asked = bobs.next_named("lock.asked").await;
    let no = json!({"path": format!("chat/{chat}"), "ask": asked["ask"]});
    bob.post("/v1/locks/decline", no.clone()).await.expect(204);
    bob.post("/v1/locks/decline", no)
        .await
        .refused(422, "invalid");
    bob.post(&format!("/v1/chats/{chat}/unlock"), json!({}))
        .await
        .expect(200);
    waiting.await.unwrap().expect(200);
}

async fn a_deploy_loses_no_lock(place: Place) {
    let (old, new) = (place.companion(&[]).await, place.companion(&[]).await);
    let mut ada = old.person("ada").with_session().await;
    let bob = new.person("bob");
    let chat = ada.chat_with(&["bob"]).await;
    let mut adas = ada.hear().await;
    let mut bobs = bob.hear().await;
    bobs.next_named("ready").await;
    let token = ada.lock(&chat).await;
    bobs.next_named("chat.locked").await;
    ada.send(&chat, "a-1", "before").await.expect(201);
    adas.next_named("message.created").await;
    let last_id = adas.last_id.clone();
    old.stop().await;
    assert_eq!(adas.next_named("goodbye").await["why"], "shutting_down");

    // The browser comes back to another companion, with its session and where it was.
    let ada = ada.at(&new);
    bob.send(&chat, "b-1", "meanwhile")
        .await
        .refused(423, "locked");
    let mut adas = ada.hear_from(last_id).await;
    assert_eq!(adas.next_named("ready").await["recovery"], "exact");
    let path = format!("/v1/chats/{chat}");
    let kept = ada
        .post(&format!("{path}/lock/heartbeat"), json!({"token": token}))
        .await
        .expect(200);
    assert_eq!(kept["token"], token);
    ada.send(&chat, "a-2", "after").await.expect(201);
    let told = adas.next_named("message.created").await;
    assert_eq!(told["message"]["body"], "after");
    assert_eq!(
        bob.get(&format!("{path}/lock")).await.expect(200)["token"],
        token
    );
}
