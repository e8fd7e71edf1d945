//! What waits without a network: in order, until it can be sent, taken back, given up, or given to another process.
//!
//! Rule: whatever becomes of a message is told, and what is told is so.

use std::time::Duration;

use tenure_client::chat::{ChatClient, ConnectionState, Direction, ErrorKind, Event, Recovery};

use crate::proxy::Proxy;
use crate::support::{Place, until};
use crate::{client, id, next, options, soon};

on_both!(
    what_waits_is_sent_in_order_when_the_network_is_back,
    what_was_not_sent_is_sent_by_another_process_once,
    what_waits_too_long_is_given_up,
    a_feed_ends_with_its_token_and_goes_on_with_another,
    a_companion_that_stops_loses_nothing,
);

async fn texts(client: &ChatClient, chat: tenure_client::chat::ChatId) -> Vec<String> {
    let history = client.history(chat).direction(Direction::OldestFirst);
    let messages = soon(history.stream().all()).await.unwrap();
    messages.into_iter().map(|message| message.body).collect()
}

async fn what_waits_is_sent_in_order_when_the_network_is_back(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let person = companion.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    let ada = options(proxy.addr, &person).connect().unwrap();
    let mut states = ada.states();
    proxy.cut();
    let first = ada.send(chat, "first").unwrap();
    assert!(soon(states.reaches(ConnectionState::Offline)).await);
    let second = ada.send(chat, "second").unwrap();
    let third = ada.send(chat, "third").unwrap();
    let taken = ada.send(chat, "taken back").unwrap();
    assert!(ada.take_back(chat, taken.client_msg_id()));
    assert!(
        !ada.take_back(chat, first.client_msg_id()),
        "it is on its way"
    );
    assert_eq!(soon(taken).await.unwrap_err().kind(), ErrorKind::TakenBack);
    // Whoever asks something else is not kept waiting.
    let error = ada.unread().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
    let figures = ada.figures();
    assert_eq!(figures.queued, 3);
    assert!(figures.oldest_queued.is_some() && figures.breaker_opened == 1);
    proxy.mend();
    // What is handed over while the queue is worked off goes behind it.
    let last = ada.send(chat, "last").unwrap();
    for (sending, seq) in [(first, 1), (second, 2), (third, 3), (last, 4)] {
        assert_eq!(soon(sending).await.unwrap().message.seq, seq);
    }
    assert!(soon(states.reaches(ConnectionState::Online)).await);
    assert_eq!(
        texts(&ada, chat).await,
        ["first", "second", "third", "last"]
    );
}

async fn what_was_not_sent_is_sent_by_another_process_once(place: Place) {
    let companion = place.companion(&[]).await;
    let person = companion.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    // Every request arrives, and no answer comes back.
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let ada = options(proxy.addr, &person).connect().unwrap();
    soon(ada.send(chat, "zero").unwrap()).await.unwrap();
    proxy.lose_answers();
    let sending: Vec<_> = ["one", "two", "three"]
        .map(|text| ada.send(chat, text).unwrap())
        .into();
    until("the first is stored", || async {
        client(&person).newest(chat, 1).await.unwrap().last_seq == 2
    })
    .await;
    let unsent = ada.close();
    assert_eq!(unsent.len(), 3);
    let mut fates = Vec::new();
    for sending in sending {
        let error = soon(sending).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        fates.push(error.is_in_doubt());
    }
    assert_eq!(fates, [true, false, false]);
    assert_eq!(ada.state(), ConnectionState::Closed);
    assert_eq!(ada.send(chat, "x").unwrap_err().kind(), ErrorKind::Closed);

    // Stored as a file would, and read by the next process.
    let kept = serde_json::to_string(&unsent).unwrap();
    let unsent: Vec<tenure_client::chat::Unsent> = serde_json::from_str(&kept).unwrap();
    let next = client(&person);
    let mut replayed = Vec::new();
    for unsent in unsent {
        let sent = soon(next.send(unsent.chat, unsent.message).unwrap()).await;
        replayed.push(sent.unwrap().replayed);
    }
    assert_eq!(replayed, [true, false, false]);
    assert_eq!(texts(&next, chat).await, ["zero", "one", "two", "three"]);
}

async fn what_waits_too_long_is_given_up(place: Place) {
    let companion = place.companion(&[]).await;
    let person = companion.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let impatient = options(proxy.addr, &person).give_up_after(Duration::from_secs(2));
    let ada = impatient.connect().unwrap();
    // Nobody listens where the proxy leads to.
    proxy.cut();
    let nobody = options("127.0.0.1:1".parse().unwrap(), &person)
        .give_up_after(Duration::from_millis(300))
        .connect()
        .unwrap();
    let first = nobody.send(chat, "1").unwrap();
    let second = nobody.send(chat, "2").unwrap();
    for sending in [first, second] {
        let error = soon(sending).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_in_doubt()),
            (ErrorKind::TimedOut, false)
        );
    }
    proxy.mend();
    proxy.lose_answers();
    let error = soon(ada.send(chat, "3").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    assert!(error.is_in_doubt() && error.is_retryable());
    assert_eq!(texts(&client(&person), chat).await, ["3"]);
}

async fn a_feed_ends_with_its_token_and_goes_on_with_another(place: Place) {
    let companion = place.companion(&[]).await;
    let role = tenure_chat::store::Role::Member;
    let short = companion.of_org("acme", "bob", role, Duration::from_secs(2));
    let ada = client(&companion.person("ada"));
    let chat = id(&companion.person("ada").chat_with(&["bob"]).await);
    let bob = client(&short);
    let mut states = bob.states();
    let mut events = bob.events();
    // It runs, for as long as the token is good.
    assert_eq!(next(&mut events).await, Event::Ready(Recovery::Fresh));
    assert!(soon(states.reaches(ConnectionState::Unauthorized)).await);
    soon(ada.send(chat, "meanwhile").unwrap()).await.unwrap();
    bob.set_token(&companion.person("bob").token).unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        match next(&mut events).await {
            Event::Ready(recovery) => told.push(format!("{recovery:?}")),
            Event::MessageCreated(created) => told.push(created.message.unwrap().body),
            _ => {}
        }
    }
    assert_eq!(told, ["Exact", "meanwhile"]);
    assert_eq!(bob.state(), ConnectionState::Live);
}

async fn a_companion_that_stops_loses_nothing(place: Place) {
    let first = place.companion(&[]).await;
    let second = place.companion(&[]).await;
    let proxy = Proxy::to(first.addr, 0, 1).await;
    let person = first.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    let ada = options(proxy.addr, &person).connect().unwrap();
    let mut events = ada.events();
    assert_eq!(next(&mut events).await, Event::Ready(Recovery::Fresh));
    soon(ada.send(chat, "1").unwrap()).await.unwrap();
    proxy.lead_to(second.addr);
    first.stop().await;
    for text in ["2", "3"] {
        soon(ada.send(chat, text).unwrap()).await.unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match next(&mut events).await {
            Event::MessageCreated(told) => heard.push(told.message.unwrap().body),
            event => assert!(!event.is_loss(), "{event:?}"),
        }
    }
    assert_eq!(heard, ["1", "2", "3"]);
}
