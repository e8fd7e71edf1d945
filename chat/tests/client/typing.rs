//! That one types: how seldom it is asked for, who is shown it, and when it ends.
//!
//! Rule: what others are shown is what counts, and it is heard from their feeds.

use std::time::{Duration, Instant};

use tenure_chat::store::Role;
use tenure_client::chat::{ChatId, Event, Events, Recovery};
use tokio::time::sleep;

use crate::proxy::Proxy;
use crate::support::{Person, Place, until};
use crate::{client, id, next, options};

on_both!(
    whoever_types_is_shown_and_asks_seldom,
    a_session_that_is_over_is_followed_by_another,
    what_cannot_be_told_is_not_told_late,
);

/// Who types there, as soon as it is told: their names, and whether it is internal.
async fn who_types(events: &mut Events, chat: ChatId) -> Vec<(String, bool)> {
    loop {
        if let Event::Typing { chat: told, people } = next(events).await {
            assert_eq!(told, chat);
            let people = people.into_iter();
            return people
                .map(|viewer| (viewer.person, viewer.internal))
                .collect();
        }
    }
}

async fn viewers(person: &Person, chat: ChatId) -> i64 {
    let viewers = person.get(&format!("/v1/chats/{chat}/viewers")).await;
    viewers.expect(200)["total"].as_i64().unwrap()
}

async fn whoever_types_is_shown_and_asks_seldom(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let gus = companion.with_role("gus", Role::Guest);
    let chat = id(&ada.chat_with(&["bob", "gus"]).await);
    let typist = options(proxy.addr, &ada).connect().unwrap();
    let (bobs, guss) = (client(&bob), client(&gus));
    let (mut bobs, mut guss) = (bobs.events(), guss.events());
    for events in [&mut bobs, &mut guss] {
        assert_eq!(next(events).await, Event::Ready(Recovery::Fresh));
    }
    let asked = || proxy.asked(&format!("POST /v1/chats/{chat}/typing"));

    // Key strokes for four seconds, which is once and once more.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        typist.typing(chat);
        sleep(Duration::from_millis(20)).await;
    }
    let ada_types = |internal| vec![("ada".to_owned(), internal)];
    assert_eq!(who_types(&mut bobs, chat).await, ada_types(false));
    assert_eq!(who_types(&mut guss, chat).await, ada_types(false));
    until("it was asked twice", || async { asked() == 2 }).await;

    // A message ends it, long before it would end by itself; and what comes next is news.
    typist.send(chat, "there").unwrap().await.unwrap();
    // From the answer on, since a disk may be slow.
    let sent = Instant::now();
    assert_eq!(who_types(&mut bobs, chat).await, []);
    assert_eq!(who_types(&mut guss, chat).await, []);
    assert!(sent.elapsed() < Duration::from_secs(3));
    for _ in 0..10 {
        typist.typing_internally(chat);
    }
    assert_eq!(who_types(&mut bobs, chat).await, ada_types(true));
    assert_eq!(asked(), 3);
    typist.typing(chat);
    assert_eq!(who_types(&mut bobs, chat).await, ada_types(false));
    // Guests were not told of what came before.
    assert_eq!(who_types(&mut guss, chat).await, ada_types(false));
    assert_eq!(asked(), 4);

    // It is one viewer, by one session, which ends with the client.
    assert_eq!(viewers(&bob, chat).await, 1);
    assert!(typist.close().is_empty());
    until("she is nowhere", || async {
        viewers(&bob, chat).await == 0
    })
    .await;
    typist.typing(chat);
    assert_eq!(asked(), 4);
}

async fn a_session_that_is_over_is_followed_by_another(place: Place) {
    let companion = place.companion(&["--idle", "1"]).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = id(&ada.chat_with(&["bob"]).await);
    let typist = client(&ada);
    for _ in 0..3 {
        // Told again every few seconds, by whichever session there is.
        until("she is there", || async {
            typist.typing(chat);
            viewers(&bob, chat).await == 1
        })
        .await;
        let gone = || async { viewers(&bob, chat).await == 0 };
        until("she was idle for long", gone).await;
    }
}

async fn what_cannot_be_told_is_not_told_late(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let (ada, bob) = (companion.person("ada"), companion.person("bob"));
    let chat = id(&ada.chat_with(&["bob"]).await);
    let typist = options(proxy.addr, &ada).connect().unwrap();
    // Nobody hears of what is not there, and of what is not one's own.
    typist.typing("01a1fa84-1eda-7922-8201-5644031292c5".parse().unwrap());
    client(&companion.person("eve")).typing(chat);
    proxy.cut();
    for _ in 0..10 {
        typist.typing(chat);
        sleep(Duration::from_millis(10)).await;
    }
    proxy.mend();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(viewers(&bob, chat).await, 0);
    let sent = typist.send(chat, "at last").unwrap();
    sent.await.unwrap();
    // The next is news, and is told by a companion that is back.
    typist.typing(chat);
    until("she is there", || async { viewers(&bob, chat).await == 1 }).await;
}
