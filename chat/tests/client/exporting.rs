//! Taking messages out over a network that cuts: all of them, each once, and never a part for the whole.
//!
//! Rule: what comes out is held against what was sent.

use std::time::Duration;

use serde_json::json;
use tenure_client::chat::{ChatId, ErrorKind, Export};

use crate::proxy::Proxy;
use crate::support::Place;
use crate::{client, id, options, soon};

on_both!(
    an_export_is_all_whatever_the_network_does,
    an_export_that_may_not_go_on_is_not_taken_for_all,
);

/// Messages of each chat.
const EACH: i64 = 120;

/// Messages of one that is large.
const MANY: i64 = 1_600;

/// What comes out. A failure is read on after.
async fn read(export: Export) -> Vec<(ChatId, i64)> {
    let mut stream = export.stream();
    let mut read = Vec::new();
    while let Some(message) = soon(stream.next()).await {
        let Ok(message) = message else { continue };
        assert!(message.body.starts_with(&format!("{} x", message.seq)));
        read.push((message.chat, message.seq));
    }
    read
}

async fn an_export_is_all_whatever_the_network_does(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let mut all = Vec::new();
    for _ in 0..3 {
        let chat = ada.chat_with(&["bob"]).await;
        place.old(&chat, EACH as usize, 4_000).await;
        all.push(id(&chat));
    }
    let hidden = companion.person("eve").chat_with(&[]).await;
    let of = |chat: ChatId, from: i64| (from..=EACH).map(move |seq| (chat, seq));
    let expected: Vec<_> = all.iter().flat_map(|chat| of(*chat, 1)).collect();

    let proxy = Proxy::to(companion.addr, 95, 5).await;
    let bob = options(proxy.addr, &companion.person("bob"))
        .breaker(1000, Duration::from_millis(1))
        .connect()
        .unwrap();
    assert_eq!(read(bob.export_all()).await, expected);
    let one: Vec<_> = of(all[1], 1).collect();
    assert_eq!(read(bob.export(all[1])).await, one);
    // It was cut, more than once, and went on.
    assert!(proxy.asked("GET /v1/export?chat=") > 3);
    assert!(proxy.asked(&format!("GET /v1/chats/{}/export?after=", all[1])) > 0);

    // From where another has ended.
    proxy.set_faults(0);
    let rest: Vec<_> = of(all[1], 50).chain(of(all[2], 1)).collect();
    assert_eq!(read(bob.export_all().after(all[1], 49)).await, rest);
    let rest: Vec<_> = of(all[0], EACH).collect();
    assert_eq!(read(bob.export(all[0]).after(all[0], EACH - 1)).await, rest);
    assert_eq!(read(bob.export(all[0]).after(all[0], EACH)).await, []);
    let nothing = soon(bob.export(id(&hidden)).stream().all()).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn an_export_that_may_not_go_on_is_not_taken_for_all(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = companion.person("ada");
    let chat = ada.chat_with(&["bob"]).await;
    // More than sockets take by themselves.
    place.old(&chat, MANY as usize, 16_000).await;
    let chat = id(&chat);
    let bob = client(&companion.person("bob"));
    let mut stream = bob.export(chat).stream();
    assert_eq!(soon(stream.next()).await.unwrap().unwrap().seq, 1);
    let participants = format!("/v1/chats/{chat}/participants");
    let removed = ada.post(&participants, json!({"remove": ["bob"]})).await;
    removed.expect(200);
    let mut last = 1;
    let error = loop {
        match soon(stream.next()).await.expect("it is not all") {
            Ok(message) => last = message.seq,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(last < MANY, "{last}");
    bob.close();
    let closed = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}
