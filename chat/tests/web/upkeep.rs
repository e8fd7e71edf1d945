//! What is old is put away by the service itself, by one companion of several; and what was said is taken out, also by
//! somebody who reads slowly, or not at all.

use std::time::Duration;

use serde_json::{Value, json};
use tenure_chat::store::Role;

use crate::support::{Companion, Http, Place, until};

on_both!(
    the_service_archives_by_itself,
    an_export_goes_on_where_it_ended,
    who_does_not_read_keeps_nobody_waiting,
);

async fn metric(companion: &Companion, name: &str) -> i64 {
    let metrics = companion.person("ada").get("/metrics").await.text;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

async fn archived(companion: &Companion) -> i64 {
    metric(companion, "tenure_chat_archived_messages_total").await
}

async fn the_service_archives_by_itself(place: Place) {
    const OLD: i64 = 1_000;
    let off = place.companion(&["--archive-every", "off"]).await;
    let ada = off.person("ada");
    let chat = ada.chat_with(&["bob"]).await;
    place.old(&chat, OLD as usize, 10).await;
    let often = ["--archive-every", "1s"];
    let (one, other) = (place.companion(&often).await, place.companion(&often).await);
    until("all of it is in the archive", || async {
        archived(&one).await + archived(&other).await == OLD - 1
    })
    .await;
    // Both have come by more than once.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(archived(&one).await + archived(&other).await, OLD - 1);
    assert_eq!(archived(&off).await, 0);
    let root = off.with_role("root", Role::Admin);
    let log = root.get("/v1/audit").await.expect(200);
    let lines: Vec<&Value> = log["items"].as_array().unwrap().iter().collect();
    let moved = lines
        .iter()
        .filter(|line| line["act"] == "messages.archived");
    let counts: Vec<i64> = moved.map(|line| line["count"].as_i64().unwrap()).collect();
    assert_eq!(counts, [OLD - 1], "one run, of one companion: {log}");
    let completed = async |companion| metric(companion, "tenure_chat_archive_completed_at").await;
    assert!(completed(&one).await + completed(&other).await > 1_700_000_000);
    let export = ada.get(&format!("/v1/chats/{chat}/export")).await;
    assert_eq!(export.text.lines().count() as i64, OLD);
    // It ends when it is told to.
    for companion in [one, other, off] {
        companion.stop().await;
    }
}

async fn an_export_goes_on_where_it_ended(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let mut chats = Vec::new();
    for number in 0..3 {
        let chat = ada.chat_with(&["bob"]).await;
        place.old(&chat, 150 + number, 10).await;
        chats.push(chat);
    }
    let of_others = companion.person("bob").chat_with(&[]).await;
    let lines = async |path: String| -> Vec<(String, i64)> {
        let export = ada.get(&path).await;
        assert_eq!(export.status, 200, "{}", export.text);
        let lines = export.text.lines().map(|line| {
            let message: Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["error"], Value::Null, "{message}");
            (
                message["chat"].as_str().unwrap().to_owned(),
                message["seq"].as_i64().unwrap(),
            )
        });
        lines.collect()
    };
    let whole = lines("/v1/export".to_owned()).await;
    let expected: Vec<_> = (150..)
        .zip(&chats)
        .flat_map(|(last, chat)| (1..=last).map(move |seq| (chat.clone(), seq)))
        .collect();
    assert_eq!(whole, expected);
    for at in [0, 1, 99, 149, 150, 300, 451, 452] {
        let (chat, seq) = &whole[at];
        let rest = lines(format!("/v1/export?chat={chat}&after={seq}")).await;
        assert_eq!(rest, whole[at + 1..], "after {at}");
    }
    let from = lines(format!("/v1/export?chat={}", chats[1])).await;
    assert_eq!(from, whole[150..]);
    // Whoever is not in a chat any more goes on with the next.
    let foreign = lines(format!("/v1/export?chat={of_others}&after=0")).await;
    assert_eq!(foreign, []);
    ada.get("/v1/export?after=3")
        .await
        .refused(400, "bad_request");
    let stranger = companion.person("eve");
    assert_eq!(stranger.get("/v1/export").await.text, "");
    let path = format!("/v1/chats/{}/export", chats[0]);
    stranger.get(&path).await.refused(404, "not_found");
}

async fn who_does_not_read_keeps_nobody_waiting(place: Place) {
    let companion = place.companion(&["--database-connections", "1"]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&["bob"]).await;
    // More than sockets take by themselves.
    place.old(&chat, 1_600, 16_000).await;
    let bearer = format!("Bearer {}", ada.token);
    let path = format!("/v1/chats/{chat}/export");
    let mut slow = Vec::new();
    for _ in 0..4 {
        let headers = [("authorization", bearer.as_str())];
        let asked = Http::ask(companion.addr, "GET", &path, &headers, None)
            .await
            .unwrap();
        assert_eq!(asked.status, 200);
        slow.push(asked);
    }
    let refused = ada.get(&path).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.refused(429, "too_many_requests");
    // The one connection to the database is everybody's meanwhile.
    for number in 0..20 {
        ada.send(&chat, &format!("m-{number}"), "in between")
            .await
            .expect(201);
        ada.get(&format!("/v1/chats/{chat}/messages"))
            .await
            .expect(200);
    }
    let whole = slow.pop().unwrap().whole().await.unwrap();
    let last: Value = serde_json::from_str(whole.text.lines().last().unwrap()).unwrap();
    assert!(last["seq"].as_i64().unwrap() >= 1_600, "{last}");
    assert_eq!(
        whole.text.lines().count() as i64,
        last["seq"].as_i64().unwrap()
    );
    // One has ended, so there is room for one.
    until("there is room again", || async {
        ada.get("/v1/export?chat=ffffffff-ffff-7fff-bfff-ffffffffffff")
            .await
            .status
            == 200
    })
    .await;
    // Whoever was removed gets no more, and is told that it is not all.
    let bob = companion.person("bob");
    let headers = [("authorization", format!("Bearer {}", bob.token))];
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let asked = Http::ask(companion.addr, "GET", &path, &headers, None)
        .await
        .unwrap();
    let gone = json!({"remove": ["bob"]});
    ada.post(&format!("/v1/chats/{chat}/participants"), gone)
        .await
        .expect(200);
    let cut = asked.whole().await.unwrap();
    let last: Value = serde_json::from_str(cut.text.lines().last().unwrap()).unwrap();
    assert!(
        last["error"]
            .as_str()
            .unwrap()
            .contains("go on after the last"),
        "{last}"
    );
    assert!(cut.text.lines().count() < 1_600);
    drop(slow);
}
