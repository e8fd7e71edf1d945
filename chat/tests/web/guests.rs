//! Guests, as customers are: what they are told over HTTP and by their feeds, and that what is internal is not among it.
//!
//! Rule of these tests: that something is not told is seen by what is told after it.

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::{Person, Place, until};

on_both!(
    internal_typing_is_not_shown_to_guests,
    guests_hear_of_chats_that_they_take_part_in_and_of_no_others,
    guests_write_and_hold_no_locks,
);

async fn typing(person: &Person, chat: &str, internal: bool) -> serde_json::Value {
    let path = format!("/v1/chats/{chat}/typing");
    let typing = person.post(&path, json!({"internal": internal})).await;
    typing.expect(200)
}

async fn internal_typing_is_not_shown_to_guests(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada").with_session().await;
    let bob = companion.person("bob");
    let gus = companion.with_role("gus", Role::Guest).with_session().await;
    let chat = ada.chat_with(&["bob", "gus"]).await;
    let path = format!("/v1/chats/{chat}");
    let (mut bobs, mut guss) = (bob.hear().await, gus.hear().await);
    bobs.next_named("ready").await;
    guss.next_named("ready").await;

    let here = json!({"activity": "viewing"});
    let here = gus
        .ask("PUT", &format!("{path}/presence"), Some(here))
        .await;
    here.expect(200);
    assert_eq!(typing(&ada, &chat, true).await["collision"], "viewing");
    let told = bobs.next_named("typing").await;
    assert_eq!(
        (
            &told["count"],
            &told["people"][0]["person"],
            &told["people"][0]["internal"]
        ),
        (&json!(1), &json!("ada"), &json!(true))
    );
    let of = async |person: &Person| {
        let one = person.get(&format!("{path}/viewers")).await.expect(200);
        let shown = person.get(&path).await.expect(200)["viewers"].clone();
        let same = |view: &serde_json::Value| {
            let ada = view["people"].as_array().unwrap().iter();
            let ada = ada
                .clone()
                .find(|viewer| viewer["person"] == "ada")
                .unwrap();
            (
                view["typing"].clone(),
                view["viewing"].clone(),
                ada["activity"].clone(),
                ada["internal"].clone(),
            )
        };
        assert_eq!(same(&one), same(&shown));
        let list = person.get("/v1/chats").await.expect(200)["items"][0]["viewers"].clone();
        (same(&one), list)
    };
    until("the list knows", || async {
        bob.get("/v1/chats").await.expect(200)["items"][0]["viewers"]["typing"] == 1
    })
    .await;
    let (seen, list) = of(&bob).await;
    assert_eq!(seen, (json!(1), json!(1), json!("typing"), json!(true)));
    assert_eq!(list["typing"], 1);
    let (seen, list) = of(&gus).await;
    assert_eq!(seen, (json!(0), json!(2), json!("viewing"), json!(false)));
    assert_eq!((&list["typing"], &list["viewing"]), (&json!(0), &json!(2)));

    // What is for everybody is told, and nothing of the note before it: neither by name, nor by what it changes.
    assert_eq!(typing(&ada, &chat, false).await["collision"], "viewing");
    loop {
        let told = guss.next().await.unwrap();
        match told.name.as_str() {
            "typing" => {
                assert_eq!(told.data["count"], 1, "{told:?}");
                assert_eq!(told.data["people"][0]["internal"], false);
                break;
            }
            "viewers.changed" => {
                let people = told.data["viewers"]["people"].as_array().unwrap();
                let types = people.iter().any(|viewer| viewer["activity"] == "typing");
                assert_eq!(told.data["viewers"]["typing"], i64::from(types), "{told:?}");
                assert!(people.iter().all(|viewer| viewer["internal"] == false));
            }
            "collision" => assert_ne!(told.data["level"], "none", "{told:?}"),
            _ => {}
        }
    }
    gus.post(&format!("{path}/typing"), json!({"internal": true}))
        .await
        .refused(403, "forbidden");
    typing(&gus, &chat, false).await;
    while bobs.next_named("typing").await["count"] != 2 {}
}

async fn guests_hear_of_chats_that_they_take_part_in_and_of_no_others(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let bob = companion.person("bob");
    let gus = companion.with_role("gus", Role::Guest);
    let made = ada.post("/v1/chats", json!({"audience": "org"})).await;
    let open = made.expect(201)["id"].as_str().unwrap().to_owned();
    let own = ada.chat_with(&["gus"]).await;
    let (mut bobs, mut guss) = (bob.hear().await, gus.hear().await);
    bobs.next_named("ready").await;
    guss.next_named("ready").await;
    ada.send(&own, "m-0", "for the customer").await.expect(201);
    guss.next_named("message.created").await;
    let last_id = guss.last_id.clone();
    ada.send(&open, "m-1", "among colleagues").await.expect(201);
    bobs.next_named("message.created").await;
    ada.send(&own, "m-1", "and again").await.expect(201);
    let told = guss.next_named("message.created").await;
    assert_eq!(
        (&told["chat"], &told["message"]["seq"]),
        (&json!(own), &json!(2))
    );
    // Nor when they come back.
    let mut again = gus.hear_from(last_id).await;
    assert_eq!(again.next_named("ready").await["recovery"], "exact");
    let told = again.next_named("message.created").await;
    assert_eq!(told["chat"], json!(own));

    for path in ["", "/messages", "/viewers", "/lock", "/export"] {
        let hidden = gus.get(&format!("/v1/chats/{open}{path}")).await;
        hidden.refused(404, "not_found");
    }
    let list = gus.get("/v1/chats").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let found = gus.get("/v1/search?q=colleagues").await.expect(200);
    assert_eq!(found["items"], json!([]));
    assert_eq!(gus.get("/v1/export").await.text.lines().count(), 2);
    assert_eq!(gus.get("/v1/me").await.expect(200)["role"], "guest");
    // One that is open, once they are let in.
    let add = json!({"add": [{"person": "gus", "name": "Gus"}]});
    let added = ada
        .post(&format!("/v1/chats/{open}/participants"), add)
        .await;
    added.expect(200);
    ada.send(&open, "m-2", "welcome").await.expect(201);
    while guss.next_named("message.created").await["chat"] != json!(open) {}
}

async fn guests_write_and_hold_no_locks(place: Place) {
    let companion = place.companion(&[]).await;
    let mut ada = companion.person("ada");
    let gus = companion.with_role("gus", Role::Guest).with_session().await;
    let chat = ada.chat_with(&["gus"]).await;
    ada.lock(&chat).await;
    // The lock says which colleague answers.
    let sent = gus
        .send(&chat, "g-1", "is anybody there?")
        .await
        .expect(201);
    assert_eq!(sent["unguarded"], false);
    let lock = gus.get(&format!("/v1/chats/{chat}/lock")).await.expect(200);
    assert_eq!(lock["held"], true);
    for (path, body) in [
        (format!("/v1/chats/{chat}/lock"), json!({})),
        (format!("/v1/chats/{chat}/unlock"), json!({})),
        ("/v1/locks/acquire".to_owned(), json!({"path": "doc/1"})),
        ("/v1/chats".to_owned(), json!({})),
        (
            format!("/v1/chats/{chat}/participants"),
            json!({"remove": ["ada"]}),
        ),
    ] {
        gus.post(&path, body).await.refused(403, "forbidden");
    }
    for path in ["/v1/locks", "/v1/locks/status?path=doc/1", "/v1/audit"] {
        gus.get(path).await.refused(403, "forbidden");
    }
    let marks = format!("/v1/chats/{chat}/marks");
    let marked = gus.ask("PUT", &marks, Some(json!({"read_seq": 1}))).await;
    marked.expect(200);
}
