//! Reading: pages and streams of them, what is kept in memory and how true it is, events and where they go on.
//!
//! Rule: whatever fails on the way, nothing is left out and nothing is given twice.

use std::time::Duration;

use tenure_client::chat::{
    Audience, ChatClient, ChatId, ConnectionState, Direction, ErrorKind, Event, NewChat, Page,
    Participant, Recovery, Search, Source,
};

use crate::proxy::Proxy;
use crate::support::{Place, until};
use crate::{client, next, options, soon};

on_both!(
    a_history_is_read_page_by_page_either_way,
    what_is_in_memory_is_as_true_as_the_events,
    while_the_companion_is_away_there_is_old_memory,
    a_feed_goes_on_where_another_process_left_it,
    chats_are_made_once_and_listed,
    marks_are_told_together_and_only_go_up,
    what_is_found_is_read_page_by_page,
);

async fn chat_of(ada: &ChatClient, others: &[&str]) -> ChatId {
    let participants = others.iter().map(|person| Participant {
        person: (*person).to_owned(),
        name: (*person).to_owned(),
    });
    let new = NewChat {
        participants: participants.collect(),
        ..NewChat::default()
    };
    ada.create_chat(new).await.unwrap().id
}

async fn say(client: &ChatClient, chat: ChatId, texts: std::ops::RangeInclusive<i64>) {
    for text in texts {
        // Each has to be stored, not answered.
        drop(client.send(chat, text.to_string()).unwrap());
    }
    soon(client.flush()).await;
}

fn bodies(page: &Page) -> Vec<&str> {
    page.messages
        .iter()
        .map(|message| message.body.as_str())
        .collect()
}

async fn a_history_is_read_page_by_page_either_way(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 40, 7).await;
    let ada = options(proxy.addr, &companion.person("ada"))
        .connect()
        .unwrap();
    let chat = soon(chat_of(&ada, &[])).await;
    soon(say(&ada, chat, 1..=45)).await;
    for (direction, expected) in [
        (Direction::NewestFirst, (1..=45).rev().collect::<Vec<i64>>()),
        (Direction::OldestFirst, (1..=45).collect()),
    ] {
        let mut stream = ada
            .history(chat)
            .direction(direction)
            .page_size(10)
            .stream();
        let mut read = Vec::new();
        while let Some(message) = soon(stream.next()).await {
            // What fails is asked for again, and nothing is left out or given twice.
            if let Ok(message) = message {
                read.push(message.seq);
            }
        }
        assert_eq!(read, expected);
    }
    proxy.set_faults(0);
    let from = ada.history(chat).from(40).direction(Direction::OldestFirst);
    let all = from.page_size(3).stream().all().await.unwrap();
    assert_eq!(all.len(), 5);
    let before = ada.before(chat, 10, 4).await.unwrap();
    assert_eq!(bodies(&before), ["6", "7", "8", "9"]);
    assert!(before.has_older && before.has_newer);
    let around = ada.around(chat, 3, 3).await.unwrap();
    assert_eq!(bodies(&around), ["2", "3", "4"]);
    let after = ada.after(chat, 43, 10).await.unwrap();
    assert_eq!(bodies(&after), ["44", "45"]);
    assert_eq!((after.has_newer, after.last_seq), (false, 45));
}

async fn what_is_in_memory_is_as_true_as_the_events(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let ada = client(&companion.person("ada"));
    let chat = chat_of(&ada, &["bob"]).await;
    say(&ada, chat, 1..=5).await;
    let bob = options(proxy.addr, &companion.person("bob"))
        .connect()
        .unwrap();
    let mut events = bob.events();
    assert_eq!(next(&mut events).await, Event::Ready(Recovery::Fresh));
    let asked = || proxy.asked(&format!("GET /v1/chats/{chat}/messages"));

    let first = bob.newest(chat, 3).await.unwrap();
    assert_eq!(
        (bodies(&first), first.source),
        (vec!["3", "4", "5"], Source::Companion)
    );
    let second = bob.newest(chat, 3).await.unwrap();
    assert_eq!(
        (bodies(&second), second.source),
        (vec!["3", "4", "5"], Source::Memory)
    );
    assert_eq!(asked(), 1);

    // What others do is there as soon as it was told.
    let last = &first.messages[2];
    ada.edit(chat, last.id, "five").await.unwrap();
    let sent = ada.send(chat, "6").unwrap().await.unwrap();
    loop {
        // What was committed before may be told after the feed has begun.
        let told = next(&mut events).await;
        if matches!(told, Event::MessageCreated(told) if told.message.as_ref() == Some(&sent.message))
        {
            break;
        }
    }
    let third = bob.newest(chat, 3).await.unwrap();
    assert_eq!(
        (bodies(&third), third.source),
        (vec!["4", "five", "6"], Source::Memory)
    );
    // So is what one does oneself, as soon as it was answered.
    let own = bob.send(chat, "7").unwrap().await.unwrap();
    let fourth = bob.newest(chat, 2).await.unwrap();
    assert_eq!(
        (bodies(&fourth), fourth.source),
        (vec!["6", "7"], Source::Memory)
    );
    bob.delete(chat, own.message.id).await.unwrap();
    assert_eq!(bodies(&bob.newest(chat, 2).await.unwrap()), ["6", ""]);
    assert_eq!(asked(), 1);
    let figures = bob.figures();
    assert_eq!((figures.cache_hits, figures.cache_misses), (4, 1));
    until("its own message was heard", || async {
        bob.figures().heard.count == 1
    })
    .await;
}

async fn while_the_companion_is_away_there_is_old_memory(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let ada = options(proxy.addr, &companion.person("ada"))
        .patience(Duration::from_secs(2))
        .connect()
        .unwrap();
    let chat = chat_of(&ada, &[]).await;
    say(&ada, chat, 1..=5).await;
    ada.newest(chat, 5).await.unwrap();
    proxy.cut();
    let old = soon(ada.newest(chat, 5)).await.unwrap();
    assert_eq!(old.source, Source::OldMemory);
    assert_eq!(bodies(&old), ["1", "2", "3", "4", "5"]);
    let error = soon(ada.receipts(chat)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    proxy.mend();
    until("it is back", || async {
        let page = ada.newest(chat, 5).await;
        page.is_ok_and(|page| page.source == Source::Companion)
    })
    .await;
}

async fn a_feed_goes_on_where_another_process_left_it(place: Place) {
    let companion = place.companion(&[]).await;
    let ada = client(&companion.person("ada"));
    let chat = chat_of(&ada, &["bob"]).await;
    let bob = companion.person("bob");
    let first = client(&bob);
    let mut events = first.events();
    assert_eq!(next(&mut events).await, Event::Ready(Recovery::Fresh));
    say(&ada, chat, 1..=1).await;
    while !matches!(next(&mut events).await, Event::MessageCreated(_)) {}
    let position = loop {
        let told = soon(events.next()).await.unwrap();
        if matches!(told.event, Event::Notification { .. }) {
            break told.id.unwrap();
        }
    };
    assert!(first.close().is_empty());
    while let Some(told) = soon(events.next()).await {
        assert!(!matches!(told.event, Event::MessageCreated(_)), "{told:?}");
    }
    say(&ada, chat, 2..=3).await;
    let second = options(bob.addr, &bob)
        .resume_from(&*position)
        .connect()
        .unwrap();
    let mut events = second.events();
    let mut told = Vec::new();
    while told.len() < 3 {
        match next(&mut events).await {
            Event::Ready(recovery) => told.push(format!("{recovery:?}")),
            Event::MessageCreated(created) => told.push(created.message.unwrap().body),
            _ => {}
        }
    }
    assert_eq!(told, ["Exact", "2", "3"]);

    // A position that nobody knows is a loss, and so is one that is none.
    let third = options(bob.addr, &bob)
        .resume_from("1:1")
        .connect()
        .unwrap();
    assert_eq!(
        next(&mut third.events()).await,
        Event::Ready(Recovery::Lost)
    );
    let fourth = options(bob.addr, &bob).resume_from("x").connect().unwrap();
    let mut events = fourth.events();
    assert!(next(&mut events).await.is_loss());
    assert_eq!(next(&mut events).await, Event::Ready(Recovery::Fresh));
}

async fn chats_are_made_once_and_listed(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 50, 3).await;
    let ada = options(proxy.addr, &companion.person("ada"))
        .breaker(1000, Duration::from_millis(1))
        .connect()
        .unwrap();
    for number in 0..12 {
        let new = NewChat {
            audience: Audience::Org,
            title: Some(format!("Order {number}")),
            ..NewChat::default()
        };
        soon(ada.create_chat(new)).await.unwrap();
    }
    proxy.set_faults(0);
    let chats = soon(ada.chats().all()).await.unwrap();
    let mut titles: Vec<_> = chats
        .iter()
        .map(|chat| chat.title.clone().unwrap())
        .collect();
    titles.sort();
    titles.dedup();
    assert_eq!((chats.len(), titles.len()), (12, 12));
    let one = ada.chat(chats[0].id).await.unwrap();
    assert_eq!((one.id, one.unread), (chats[0].id, 0));
}

async fn marks_are_told_together_and_only_go_up(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 0, 1).await;
    let ada = client(&companion.person("ada"));
    let chat = chat_of(&ada, &["bob"]).await;
    say(&ada, chat, 1..=20).await;
    let bob = options(proxy.addr, &companion.person("bob"))
        .marks_every(Duration::from_secs(1))
        .connect()
        .unwrap();
    let mut markings = Vec::new();
    for seq in (1..=15).rev() {
        markings.push(bob.mark_read(chat, seq).unwrap());
        markings.push(bob.mark_delivered(chat, seq + 5).unwrap());
    }
    for marking in markings {
        let marked = soon(marking.settled()).await.unwrap();
        assert_eq!(
            (marked.read_seq, marked.delivered_seq, marked.unread),
            (15, 20, 5)
        );
    }
    let told = || proxy.asked(&format!("PUT /v1/chats/{chat}/marks"));
    assert_eq!(told(), 1);
    let lower = bob.mark_read(chat, 3).unwrap().settled().await.unwrap();
    assert_eq!(lower.read_seq, 15);
    assert_eq!(told(), 1);

    // Without a network they wait, and the highest is told.
    proxy.cut();
    let waiting: Vec<_> = [17, 20, 18]
        .map(|seq| bob.mark_read(chat, seq).unwrap())
        .into();
    until("it was tried in vain", || async {
        bob.state() == ConnectionState::Offline
    })
    .await;
    proxy.mend();
    for marking in waiting {
        assert_eq!(soon(marking.settled()).await.unwrap().read_seq, 20);
    }
    soon(bob.flush()).await;
    let receipts = ada.receipts(chat).await.unwrap();
    assert_eq!((receipts.read_by_all, receipts.delivered_to_all), (20, 20));
    assert_eq!(bob.unread().await.unwrap().messages, 0);
}

async fn what_is_found_is_read_page_by_page(place: Place) {
    let companion = place.companion(&[]).await;
    let proxy = Proxy::to(companion.addr, 40, 5).await;
    let ada = options(proxy.addr, &companion.person("ada"))
        .breaker(1000, Duration::from_millis(1))
        .connect()
        .unwrap();
    let (one, other) = (
        soon(chat_of(&ada, &[])).await,
        soon(chat_of(&ada, &[])).await,
    );
    for number in 0..30 {
        let chat = if number % 3 == 0 { other } else { one };
        drop(
            ada.send(chat, format!("the kiwi & pear no {number}"))
                .unwrap(),
        );
        drop(ada.send(chat, "something else").unwrap());
    }
    soon(ada.flush()).await;
    let numbers = async |search: Search| {
        let mut found = search.page_size(7).stream();
        let mut numbers = Vec::new();
        while let Some(hit) = soon(found.next()).await {
            // What fails is asked for again, and nothing is left out or given twice.
            let Ok(hit) = hit else { continue };
            assert_eq!(hit.snippet, hit.message.body);
            assert_eq!(hit.matches[0], (4, 8), "{hit:?}");
            let number = hit.message.body.rsplit(' ').next().unwrap();
            numbers.push(number.parse::<u32>().unwrap());
        }
        numbers
    };
    let mut all = numbers(ada.search("kiwi")).await;
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    let of_other = numbers(ada.search("PEAR kiwi").chat(other)).await;
    assert_eq!(
        of_other,
        (0..30).rev().filter(|n| n % 3 == 0).collect::<Vec<_>>()
    );
    // Words, whatever is in them, and never a part of the address.
    let odd = numbers(ada.search("kiwi&chat=x#%")).await;
    assert_eq!(odd, [] as [u32; 0]);
    proxy.set_faults(0);
    let nothing = soon(ada.search("").stream().all()).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::BadRequest, "{nothing}");
    let bob = client(&companion.person("bob"));
    assert!(
        soon(bob.search("kiwi").stream().all())
            .await
            .unwrap()
            .is_empty()
    );
    let hidden = soon(bob.search("kiwi").chat(one).stream().all()).await;
    assert_eq!(hidden.unwrap_err().kind(), ErrorKind::NotFound);
}
