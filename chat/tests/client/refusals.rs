//! What is refused: at once, by name, with what helps, and nothing behind it is held up.
//!
//! Rule: each refusal is that of the message that asked, however many are on their way.

use std::time::Duration;

use tenure_client::chat::{ChatClient, ConnectionState, ErrorKind, NewMessage, Rate};

use crate::proxy::Proxy;
use crate::support::Place;
use crate::{client, id, options, soon};

on_both!(
    a_refusal_says_what_helps_and_holds_up_nobody,
    too_much_is_refused_here_with_when_to_come_back,
    what_the_companion_finds_too_much_waits_as_long_as_it_says,
    an_old_token_holds_messages_until_there_is_another,
);

async fn a_refusal_says_what_helps_and_holds_up_nobody(place: Place) {
    let companion = place.companion(&[]).await;
    let mut ada = companion.person("ada");
    let chat = ada.chat_with(&["bob"]).await;
    let bob = client(&companion.person("bob"));
    let token = ada.lock(&chat).await;
    let chat = id(&chat);

    let refused = bob
        .send(chat, NewMessage::text("1").client_msg_id("b-1"))
        .unwrap();
    let error = soon(refused).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(error.lock().unwrap().holders[0].person, "ada");
    assert_eq!(error.lock().unwrap().token, Some(token));
    assert!(error.retry_after().is_some() && !error.is_in_doubt());
    ada.ask("POST", &format!("/v1/chats/{chat}/unlock"), None)
        .await
        .expect(200);

    // All of them at once: each has its own answer.
    let good = bob
        .send(chat, NewMessage::text("1").client_msg_id("b-1"))
        .unwrap();
    let again = bob
        .send(chat, NewMessage::text("1").client_msg_id("b-1"))
        .unwrap();
    let other = bob
        .send(chat, NewMessage::text("2").client_msg_id("b-1"))
        .unwrap();
    let stale = bob
        .send(chat, NewMessage::text("3").expected_last_seq(0))
        .unwrap();
    let old = bob
        .send(chat, NewMessage::text("4").lock_token(token - 1))
        .unwrap();
    let last = bob
        .send(chat, NewMessage::text("5").expected_last_seq(1))
        .unwrap();
    let nowhere = bob
        .send(id("01a1fa84-1eda-7922-8201-5644031292c5"), "6")
        .unwrap();
    let good = soon(good).await.unwrap();
    assert_eq!(
        (good.message.seq, good.replayed, good.attempts),
        (1, false, 1)
    );
    let again = soon(again).await.unwrap();
    assert_eq!(
        (again.message, again.replayed),
        (good.message.clone(), true)
    );
    assert_eq!(soon(other).await.unwrap_err().kind(), ErrorKind::Mismatch);
    let stale = soon(stale).await.unwrap_err();
    assert_eq!(
        (stale.kind(), stale.last_seq()),
        (ErrorKind::StaleView, Some(1))
    );
    assert_eq!(stale.missed(), [good.message]);
    let old = soon(old).await.unwrap_err();
    assert_eq!(
        (old.kind(), old.current_token()),
        (ErrorKind::StaleToken, Some(token))
    );
    assert_eq!(soon(last).await.unwrap().message.seq, 2);
    let nowhere = soon(nowhere).await.unwrap_err();
    assert_eq!(
        (nowhere.kind(), nowhere.code()),
        (ErrorKind::NotFound, Some("not_found"))
    );
    assert!(nowhere.request_id().is_some());
    assert_eq!(bob.figures().failed, 5);
}

async fn too_much_is_refused_here_with_when_to_come_back(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let person = companion.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    let rate = Rate {
        per_second: 1,
        burst: 2,
    };
    let slow = options(proxy.addr, &person)
        .send_rate(rate)
        .connect()
        .unwrap();
    let mut last = 0;
    let error = loop {
        match slow.send(chat, "x") {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    // Two at once; more only if the machine has stood still in between.
    assert!(last >= 2);
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    let after = error.retry_after().unwrap();
    assert!(after <= Duration::from_secs(1), "{after:?}");
    tokio::time::sleep(after).await;
    assert_eq!(
        soon(slow.send(chat, "x").unwrap())
            .await
            .unwrap()
            .message
            .seq,
        last + 1
    );

    // As many as may wait.
    proxy.cut();
    let small = options(proxy.addr, &person)
        .queue(3, 1 << 20)
        .connect()
        .unwrap();
    for _ in 0..3 {
        drop(small.send(chat, "x").unwrap());
    }
    let error = small.send(chat, "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.retry_after().is_some());
    assert_eq!(small.figures().queued, 3);
    proxy.mend();
    soon(small.flush()).await;
    assert_eq!(
        soon(small.send(chat, "x").unwrap())
            .await
            .unwrap()
            .message
            .seq,
        last + 5
    );

    let error = small.send(chat, "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    let wrong = ChatClient::connect("ftp://127.0.0.1", "token").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::BadRequest);
}

async fn what_the_companion_finds_too_much_waits_as_long_as_it_says(place: Place) {
    let companion = place.companion(&["--rate-send", "1"]).await;
    let person = companion.person("ada");
    let chats = [person.chat_with(&[]).await, person.chat_with(&[]).await];
    let ada = client(&person);
    let began = std::time::Instant::now();
    let sending: Vec<_> = (0..6)
        .map(|number| {
            let message = NewMessage::text(number.to_string());
            ada.send(id(&chats[number % 2]), message).unwrap()
        })
        .collect();
    for (number, sending) in sending.into_iter().enumerate() {
        let sent = soon(sending).await.unwrap();
        assert_eq!(sent.message.seq, (number / 2) as i64 + 1, "in order");
        assert!(!sent.replayed);
    }
    // Two at once and one a second, some of which went for the chats.
    assert!(began.elapsed() >= Duration::from_secs(3));
    let figures = ada.figures();
    assert!(
        figures.retries > 0 && figures.breaker_opened == 0,
        "{figures:?}"
    );
}

async fn an_old_token_holds_messages_until_there_is_another(place: Place) {
    let companion = place.companion(&[]).await;
    let person = companion.person("ada");
    let chat = id(&person.chat_with(&[]).await);
    let ada = ChatClient::connect(format!("http://{}", person.addr), "no token").unwrap();
    let mut states = ada.states();
    assert_eq!(states.next().await, Some(ConnectionState::Connecting));
    let sending = ada.send(chat, "1").unwrap();
    assert!(soon(states.reaches(ConnectionState::Unauthorized)).await);
    let error = ada.newest(chat, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    ada.set_token(&person.token).unwrap();
    let sent = soon(sending).await.unwrap();
    assert_eq!((sent.message.seq, sent.replayed), (1, false));
    assert_eq!(ada.state(), ConnectionState::Online);
}
