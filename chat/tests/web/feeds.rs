//! Feeds: each event once and in order, or `lost`; what one may hear, and for how long.
//!
//! Knows no more than a browser does: events, and the id of the last.

use std::time::Duration;

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::{Place, until};

on_both!(
    a_feed_goes_on_where_it_was,
    a_feed_that_cannot_go_on_says_so,
    whoever_is_removed_hears_no_more,
    a_feed_ends_with_its_token,
    typing_and_presence_are_told,
);

async fn a_feed_goes_on_where_it_was(place: Place) {
    let (here, there) = (place.companion(&[]).await, place.companion(&[]).await);
    let (ada, bob) = (here.person("ada"), here.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    let secret = ada.chat_with(&[]).await;
    let mut feed = bob.hear().await;
    feed.next_named("ready").await;
    ada.send(&chat, "m-0", "x").await.expect(201);
    feed.next_named("message.created").await;
    feed.next_named("message.notification").await;
    let last_id = feed.last_id.clone();
    drop(feed);
    for number in 1..=20 {
        ada.send(&chat, &format!("m-{number}"), "x")
            .await
            .expect(201);
        ada.send(&secret, &format!("m-{number}"), "x")
            .await
            .expect(201);
    }
    // At the companion where it was, and at one that has never heard of the organisation.
    for companion in [&here, &there] {
        let mut feed = bob.at(companion).hear_from(last_id.clone()).await;
        assert_eq!(feed.next_named("ready").await["recovery"], "exact");
        for seq in 2..=21 {
            let told = feed.next_named("message.created").await;
            assert_eq!(told["message"]["seq"], seq);
            assert_eq!(told["chat"], json!(chat));
        }
    }
}

async fn a_feed_that_cannot_go_on_says_so(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&[]).await;
    let mut feed = ada.hear_from(Some("7:1".into())).await;
    assert_eq!(feed.next_named("ready").await["recovery"], "lost");
    ada.send(&chat, "m-1", "x").await.expect(201);
    assert_eq!(
        feed.next_named("message.created").await["message"]["seq"],
        1
    );
}

async fn whoever_is_removed_hears_no_more(place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    let mut feed = bob.hear().await;
    feed.next_named("ready").await;
    ada.send(&chat, "m-1", "for both").await.expect(201);
    feed.next_named("message.created").await;
    let last_id = feed.last_id.clone();
    let participants = format!("/v1/chats/{chat}/participants");
    ada.post(&participants, json!({"remove": ["bob"]}))
        .await
        .expect(200);
    feed.next_named("participants.changed").await;
    ada.send(&chat, "m-2", "for me").await.expect(201);
    while let Some(told) = feed.next_within(Duration::from_millis(500)).await {
        assert_ne!(told.name, "message.created", "{told:?}");
    }
    let mut feed = bob.hear_from(last_id).await;
    while let Some(told) = feed.next_within(Duration::from_millis(500)).await {
        assert_ne!(told.name, "message.created", "{told:?}");
    }
}

async fn a_feed_ends_with_its_token(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.of_org("acme", "ada", Role::Member, Duration::from_secs(2));
    let mut feed = ada.hear().await;
    feed.next_named("ready").await;
    assert_eq!(feed.next_named("goodbye").await["why"], "token_expired");
    assert!(feed.next().await.is_none());
}

async fn typing_and_presence_are_told(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob").with_session().await;
    let chat = ada.chat_with(&["bob"]).await;
    let mut feed = ada.hear().await;
    feed.next_named("ready").await;
    let path = format!("/v1/chats/{chat}");
    let viewing = json!({"activity": "viewing"});
    let here = ada
        .ask("PUT", &format!("{path}/presence"), Some(viewing))
        .await
        .expect(200);
    assert_eq!(here["collision"], "none");
    let typing = bob
        .ask("POST", &format!("{path}/typing"), None)
        .await
        .expect(200);
    assert_eq!(typing["collision"], "viewing");
    // The level is told as it rises.
    while feed.next_named("collision").await["level"] != "typing" {}
    let viewers = ada.get(&format!("{path}/viewers")).await.expect(200);
    assert_eq!(
        (&viewers["total"], &viewers["typing"]),
        (&json!(2), &json!(1))
    );
    until("the list knows", || async {
        let list = ada.get("/v1/chats").await.expect(200);
        list["items"][0]["viewers"]["typing"] == 1
    })
    .await;
    // A message ends it.
    bob.send(&chat, "b-1", "there").await.expect(201);
    until("nobody types", || async {
        ada.get(&format!("{path}/viewers")).await.expect(200)["typing"] == 0
    })
    .await;
    assert_eq!(
        bob.ask("DELETE", &format!("{path}/presence"), None)
            .await
            .status,
        204
    );
    until("bob has left", || async {
        ada.get(&format!("{path}/viewers")).await.expect(200)["total"] == 1
    })
    .await;
    bob.ask("DELETE", "/v1/sessions", None).await.expect(204);
    bob.ask("POST", &format!("{path}/typing"), None)
        .await
        .refused(410, "session_over");
}
