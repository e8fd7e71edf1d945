//! What every route promises, on either database: what is stored once, who sees what, and how a refusal looks.
//!
//! Knows the routes and nothing behind them.

use serde_json::json;
use tenure_chat::store::Role;

use crate::support::{Http, Place};

on_both!(
    a_message_is_stored_once_for_good,
    a_stranger_is_told_nothing,
    whoever_has_not_seen_all_is_told_what_was_missed,
    a_history_is_read_in_parts,
    changes_make_an_old_copy_whole,
    marks_only_go_up_and_unread_is_what_is_left,
    participants_come_and_go,
    messages_are_found_and_taken_out,
    refusals_have_one_shape,
    whoever_asks_too_often_is_told_when_to_come_back,
);

async fn a_message_is_stored_once_for_good(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&["bob"]).await;
    let first = ada.send(&chat, "m-1", "hello").await.expect(201);
    assert_eq!(
        (&first["seq"], &first["sender"]),
        (&json!(1), &json!("ada"))
    );
    let again = ada.send(&chat, "m-1", "hello").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200), first);
    ada.send(&chat, "m-1", "good-bye")
        .await
        .refused(422, "mismatch");

    // Another sender's is another message; and at the same time it is stored once all the same.
    let bob = companion.person("bob");
    bob.send(&chat, "m-1", "hello").await.expect(201);
    let sends = (0..8).map(|_| {
        let (bob, chat) = (bob.clone(), chat.clone());
        tokio::spawn(async move { bob.send(&chat, "m-2", "at once").await })
    });
    let mut statuses = Vec::new();
    for send in sends.collect::<Vec<_>>() {
        statuses.push(send.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);

    // A repetition is answered, also while somebody else holds the chat.
    let mut carol = companion.with_role("carol", Role::Admin);
    carol.lock(&chat).await;
    assert_eq!(ada.send(&chat, "m-1", "hello").await.expect(200), first);
    ada.send(&chat, "m-1", "other")
        .await
        .refused(422, "mismatch");
    ada.send(&chat, "m-9", "hello").await.refused(423, "locked");
    let history = ada
        .get(&format!("/v1/chats/{chat}/messages"))
        .await
        .expect(200);
    assert_eq!(history["last_seq"], 3);
}

async fn a_stranger_is_told_nothing(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&[]).await;
    let message = ada.send(&chat, "m-1", "a secret").await.expect(201);
    let message = message["id"].as_str().unwrap();
    let nowhere = uuid::Uuid::now_v7().to_string();
    let hour = std::time::Duration::from_secs(3600);
    let strangers = [
        companion.person("eve"),
        companion.of_org("other", "ada", Role::Admin, hour),
    ];
    for stranger in strangers {
        let feed = stranger.hear().await;
        for chat in [&chat, &nowhere] {
            let asked = [
                ("GET", String::new(), None),
                ("GET", "/messages".into(), None),
                ("GET", format!("/messages/{message}"), None),
                ("GET", "/changes".into(), None),
                ("GET", "/receipts".into(), None),
                ("GET", "/export".into(), None),
                ("GET", "/lock".into(), None),
                ("GET", "/viewers".into(), None),
                ("POST", "/lock".into(), Some(json!({}))),
                ("POST", "/unlock".into(), Some(json!({}))),
                ("POST", "/lock/heartbeat".into(), Some(json!({}))),
                ("POST", "/typing".into(), None),
                (
                    "PUT",
                    "/presence".into(),
                    Some(json!({"activity": "viewing"})),
                ),
                ("PUT", "/marks".into(), Some(json!({"read_seq": 1}))),
                (
                    "POST",
                    "/participants".into(),
                    Some(json!({"add": [{"person": "eve", "name": "Eve"}]})),
                ),
                (
                    "POST",
                    "/messages".into(),
                    Some(json!({"client_msg_id": "e", "body": "hi"})),
                ),
                (
                    "PATCH",
                    format!("/messages/{message}"),
                    Some(json!({"body": "hi"})),
                ),
                ("DELETE", format!("/messages/{message}"), None),
            ];
            for (method, route, body) in asked {
                let path = format!("/v1/chats/{chat}{route}");
                let answer = stranger.ask(method, &path, body).await;
                assert_eq!(answer.status, 404, "{method} {route}: {}", answer.text);
                assert_eq!(answer.json()["code"], "not_found");
            }
        }
        assert_eq!(
            stranger.get("/v1/chats").await.expect(200)["items"],
            json!([])
        );
        assert_eq!(
            stranger.get("/v1/search?q=secret").await.expect(200)["items"],
            json!([])
        );
        ada.send(&chat, &format!("to-{}", stranger.token.len()), "another")
            .await;
        let mut feed = feed;
        assert_eq!(feed.next().await.unwrap().name, "ready");
        let told = feed
            .next_within(std::time::Duration::from_millis(500))
            .await;
        assert!(told.is_none(), "{told:?}");
    }
    // The chat's lock is no document's either.
    let path = json!({"path": format!("chat/{chat}")});
    companion
        .person("eve")
        .post("/v1/locks/acquire", path)
        .await
        .refused(422, "invalid");
}

async fn whoever_has_not_seen_all_is_told_what_was_missed(place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    for number in 1..=3 {
        ada.send(&chat, &format!("m-{number}"), "news")
            .await
            .expect(201);
    }
    let path = format!("/v1/chats/{chat}/messages");
    let message =
        |force| json!({"client_msg_id": "b", "body": "re", "expected_last_seq": 1, "force": force});
    let problem = bob
        .post(&path, message(false))
        .await
        .refused(409, "stale_view");
    assert_eq!(problem["last_seq"], 3);
    let missed: Vec<_> = problem["missed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["seq"].clone())
        .collect();
    assert_eq!(missed, [json!(2), json!(3)]);
    assert_eq!(bob.post(&path, message(true)).await.expect(201)["seq"], 4);
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
            .any(|line| line["actor"] == "bob"),
        "{audit}"
    );
    bob.get("/v1/audit").await.refused(403, "forbidden");
}

async fn a_history_is_read_in_parts(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&[]).await;
    for number in 1..=10 {
        ada.send(&chat, &format!("m-{number}"), "x")
            .await
            .expect(201);
    }
    for (query, seqs, older, newer) in [
        ("limit=3", 8..=10, true, false),
        ("before=8&limit=3", 5..=7, true, true),
        ("after=0&limit=4", 1..=4, false, true),
        ("after=8", 9..=10, true, false),
        ("page=2&limit=4", 3..=6, true, true),
    ] {
        let part = ada
            .get(&format!("/v1/chats/{chat}/messages?{query}"))
            .await
            .expect(200);
        let found: Vec<_> = part["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["seq"].as_i64().unwrap())
            .collect();
        assert_eq!(found, seqs.collect::<Vec<i64>>(), "{query}");
        assert_eq!(
            (&part["has_older"], &part["has_newer"]),
            (&json!(older), &json!(newer)),
            "{query}"
        );
    }
    let around = ada
        .get(&format!("/v1/chats/{chat}/messages?around=5&limit=3"))
        .await
        .expect(200);
    assert!(
        around["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["seq"] == 5)
    );
    let page = ada
        .get(&format!("/v1/chats/{chat}/messages?page=1&limit=4"))
        .await
        .expect(200);
    assert_eq!(
        (&page["totals"]["total"], &page["totals"]["pages"]),
        (&json!(10), &json!(3))
    );
    ada.get(&format!("/v1/chats/{chat}/messages?before=1&after=2"))
        .await
        .refused(400, "bad_request");
}

async fn changes_make_an_old_copy_whole(place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        let message = ada
            .send(&chat, &format!("m-{number}"), "x")
            .await
            .expect(201);
        ids.push(message["id"].as_str().unwrap().to_owned());
    }
    let copy = ada
        .get(&format!("/v1/chats/{chat}/messages"))
        .await
        .expect(200);
    let path = |index: usize| format!("/v1/chats/{chat}/messages/{}", ids[index]);
    ada.ask("PATCH", &path(0), Some(json!({"body": "better"})))
        .await
        .expect(200);
    bob.ask("PATCH", &path(0), Some(json!({"body": "mine"})))
        .await
        .refused(403, "forbidden");
    bob.ask("DELETE", &path(1), None)
        .await
        .refused(403, "forbidden");
    ada.ask("DELETE", &path(1), None).await.expect(200);
    let changes = ada
        .get(&format!(
            "/v1/chats/{chat}/changes?after_rev={}",
            copy["rev"]
        ))
        .await
        .expect(200);
    let messages: Vec<_> = changes["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["kind"] == "message")
        .collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["body"], "better");
    assert!(messages[1]["deleted_at"].is_string() && messages[1]["body"] == "");
    assert_eq!(changes["has_more"], false);
}

async fn marks_only_go_up_and_unread_is_what_is_left(place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&["bob"]).await;
    for number in 1..=5 {
        ada.send(&chat, &format!("m-{number}"), "x")
            .await
            .expect(201);
    }
    assert_eq!(
        bob.get("/v1/unread").await.expect(200),
        json!({"chats": 1, "messages": 5})
    );
    let marks = format!("/v1/chats/{chat}/marks");
    let marked = bob
        .ask(
            "PUT",
            &marks,
            Some(json!({"delivered_seq": 5, "read_seq": 3})),
        )
        .await
        .expect(200);
    assert_eq!(
        marked,
        json!({"delivered_seq": 5, "read_seq": 3, "unread": 2, "changed": true})
    );
    let marked = bob
        .ask("PUT", &marks, Some(json!({"read_seq": 2})))
        .await
        .expect(200);
    assert_eq!(
        (&marked["read_seq"], &marked["changed"]),
        (&json!(3), &json!(false))
    );
    let receipts = ada
        .get(&format!("/v1/chats/{chat}/receipts"))
        .await
        .expect(200);
    assert_eq!(
        (&receipts["delivered_to_all"], &receipts["read_by_all"]),
        (&json!(5), &json!(3))
    );
    let recounted = bob.post("/v1/unread/recount", json!({})).await.expect(200);
    assert_eq!(recounted["drift"], 0);
    bob.ask("PUT", &marks, Some(json!({})))
        .await
        .refused(422, "invalid");
}

async fn participants_come_and_go(place: Place) {
    let companion = place.companion(&[]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = ada.chat_with(&[]).await;
    let participants = format!("/v1/chats/{chat}/participants");
    ada.post(
        &participants,
        json!({"add": [{"person": "bob", "name": "Bob"}]}),
    )
    .await
    .expect(200);
    bob.send(&chat, "b-1", "here I am").await.expect(201);
    ada.post(&participants, json!({"remove": ["bob"]}))
        .await
        .expect(200);
    bob.send(&chat, "b-2", "still here?")
        .await
        .refused(404, "not_found");
    ada.post(
        &participants,
        json!({"add": [{"person": "a/b", "name": "?"}]}),
    )
    .await
    .refused(422, "invalid");
    assert_eq!(
        ada.post(&participants, json!({"remove": ["ada"]}))
            .await
            .status,
        204
    );

    let open = ada
        .post(
            "/v1/chats",
            json!({"audience": "org", "client_chat_id": "c-1"}),
        )
        .await
        .expect(201);
    let again = ada
        .post(
            "/v1/chats",
            json!({"audience": "org", "client_chat_id": "c-1"}),
        )
        .await
        .expect(200);
    assert_eq!(open["id"], again["id"]);
    let open = open["id"].as_str().unwrap();
    bob.send(open, "b-3", "open to all").await.expect(201);
}

async fn messages_are_found_and_taken_out(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&[]).await;
    ada.send(&chat, "m-1", "the quick brown fox")
        .await
        .expect(201);
    ada.send(&chat, "m-2", "the lazy dog").await.expect(201);
    let found = ada.get("/v1/search?q=quick%20fox").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    for path in [format!("/v1/chats/{chat}/export"), "/v1/export".to_owned()] {
        let export = ada.get(&path).await;
        assert_eq!(export.status, 200);
        let lines: Vec<serde_json::Value> = export
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines
                .iter()
                .map(|line| line["seq"].as_i64().unwrap())
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }
    let rest = ada.get(&format!("/v1/chats/{chat}/export?after=1")).await;
    assert_eq!(rest.text.lines().count(), 1);
}

async fn refusals_have_one_shape(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let bearer = format!("Bearer {}", ada.token);
    let json = ("content-type", "application/json");
    let token = ("authorization", bearer.as_str());
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(300 * 1024));
    for (method, path, headers, body, status, code) in [
        ("GET", "/v1/chats", vec![], None, 401, "unauthenticated"),
        (
            "GET",
            "/v1/chats",
            vec![("authorization", "Basic eA==")],
            None,
            401,
            "unauthenticated",
        ),
        (
            "GET",
            "/v1/chats",
            vec![("authorization", "Bearer x.y.z")],
            None,
            401,
            "unauthenticated",
        ),
        (
            "POST",
            "/v1/chats",
            vec![token, json],
            Some("{"),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/v1/chats",
            vec![token],
            Some("{}"),
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            "/v1/chats",
            vec![token, json],
            Some("{\"audience\":\"all\"}"),
            422,
            "invalid",
        ),
        (
            "POST",
            "/v1/chats",
            vec![token, json],
            Some(large.as_str()),
            413,
            "too_large",
        ),
        (
            "GET",
            "/v1/chats?limit=many",
            vec![token],
            None,
            400,
            "bad_request",
        ),
        (
            "GET",
            "/v1/chats/no-id",
            vec![token],
            None,
            404,
            "not_found",
        ),
        (
            "DELETE",
            "/v1/chats",
            vec![token],
            None,
            405,
            "method_not_allowed",
        ),
        ("GET", "/v2/chats", vec![token], None, 404, "not_found"),
        (
            "GET",
            "/v1/feed",
            vec![token, ("last-event-id", "x")],
            None,
            400,
            "bad_request",
        ),
        (
            "DELETE",
            "/v1/sessions",
            vec![token, ("tenure-session", "x")],
            None,
            422,
            "invalid",
        ),
    ] {
        let asked = Http::ask(companion.addr, method, path, &headers, body)
            .await
            .unwrap();
        let answer = asked.whole().await.unwrap();
        let problem = answer.refused(status, code);
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let named = [token, ("x-request-id", "r-42")];
    let asked = Http::ask(companion.addr, "GET", "/v1/me", &named, None)
        .await
        .unwrap();
    assert_eq!(
        asked.whole().await.unwrap().header("x-request-id"),
        Some("r-42")
    );
}

async fn whoever_asks_too_often_is_told_when_to_come_back(place: Place) {
    let companion = place.companion(&["--rate-send", "1"]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    ada.chat_with(&[]).await;
    ada.chat_with(&[]).await;
    let refused = ada.post("/v1/chats", json!({})).await;
    refused.refused(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    bob.chat_with(&[]).await;
    ada.get("/v1/chats").await.expect(200);
}
