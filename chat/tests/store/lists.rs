//! Lists and pages: complete, in order, nothing twice, and at the same cost however much there is.
//! What they cost is counted in statements.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tenure_chat::store::{
    Audience, Error, HistoryPage, Mark, NewChat, PageRequest, SearchRequest, Store,
};

use crate::place::{
    Place, actor, member, message, on_both, open_chat, people, private, talk, view,
};

on_both!(
    pages_of_a_history_fit_together,
    a_list_of_chats_is_complete_and_in_order,
    a_list_shows_what_a_chat_shows,
    a_list_costs_the_same_however_long,
    a_crowd_is_told_of_in_numbers,
    made_up_cursors_are_refused,
);

async fn pages_of_a_history_fit_together(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    let bob = member("bob");
    let empty = store
        .history(&bob, chat, HistoryPage::Newest { limit: 10 })
        .await;
    let empty = empty.expect("his own");
    assert_eq!(
        (empty.items.len(), empty.has_older, empty.has_newer),
        (0, false, false)
    );
    talk(&place, &store, chat, 23).await;
    let read = async |page| {
        let history = store.history(&bob, chat, page).await.expect("his own");
        let numbers: Vec<i64> = history.items.iter().map(|message| message.seq).collect();
        assert_eq!(history.oldest, numbers.first().copied());
        assert_eq!(history.newest, numbers.last().copied());
        assert_eq!(history.last_seq, 23);
        (numbers, history)
    };
    // Backwards from the end.
    let (mut numbers, mut page) = read(HistoryPage::Newest { limit: 5 }).await;
    assert!(!page.has_newer);
    while page.has_older {
        let seq = page.oldest.expect("it is not empty");
        let (older, next) = read(HistoryPage::Before { seq, limit: 5 }).await;
        assert!(next.has_newer);
        numbers.splice(0..0, older);
        page = next;
    }
    assert_eq!(numbers, (1..=23).collect::<Vec<_>>());
    // Forwards from the beginning.
    let (mut numbers, mut page) = read(HistoryPage::After { seq: 0, limit: 7 }).await;
    while page.has_newer {
        let seq = page.newest.expect("it is not empty");
        let (newer, next) = read(HistoryPage::After { seq, limit: 7 }).await;
        numbers.extend(newer);
        page = next;
    }
    assert_eq!(numbers, (1..=23).collect::<Vec<_>>());
    let (around, page) = read(HistoryPage::Around { seq: 10, limit: 5 }).await;
    assert_eq!(around, [8, 9, 10, 11, 12]);
    assert!(page.has_older && page.has_newer);
    let mut numbered = Vec::new();
    for page in 1..=3 {
        let (numbers, history) = read(HistoryPage::Numbered { page, limit: 10 }).await;
        let totals = history.totals.expect("a numbered page has totals");
        assert_eq!((totals.total, totals.pages, totals.page), (23, 3, page));
        numbered.splice(0..0, numbers);
    }
    assert_eq!(numbered, (1..=23).collect::<Vec<_>>());
    let (too_many, _) = read(HistoryPage::Newest { limit: 100_000 }).await;
    assert_eq!(too_many.len(), 23);
}

async fn a_list_of_chats_is_complete_and_in_order(place: Arc<Place>) {
    let store = place.open().await;
    let mut expected = Vec::new();
    for number in 0..13 {
        // Some at the same instant.
        place.pass(Duration::from_millis(u64::from(number % 3 > 0)));
        let chat = match number % 3 {
            0 => open_chat(&store).await,
            _ => private(&store, &["bob"]).await,
        };
        expected.push(chat);
        private(&store, &["cid"]).await;
    }
    place.pass(Duration::from_millis(1));
    talk(&place, &store, expected[4], 1).await;
    let bob = member("bob");
    for limit in [1, 4, 100] {
        let mut page = PageRequest {
            cursor: None,
            limit,
        };
        let mut listed = Vec::new();
        loop {
            let found = store.chats(&bob, page.clone()).await.expect("his own");
            listed.extend(found.items);
            page.cursor = found.next;
            if page.cursor.is_none() {
                break;
            }
        }
        assert!(
            listed.is_sorted_by_key(|chat| std::cmp::Reverse((chat.last_activity_at, chat.id)))
        );
        assert_eq!(listed[0].id, expected[4]);
        let mut ids: Vec<_> = listed.iter().map(|chat| chat.id).collect();
        ids.sort();
        let mut all = expected.clone();
        all.sort();
        assert_eq!(ids, all, "in pages of {limit}");
        let mut exported = store.export_chats(&bob, None, 5).await.expect("his own");
        loop {
            let more = store.export_chats(&bob, exported.last().copied(), 5).await;
            let more = more.expect("his own");
            if more.is_empty() {
                break;
            }
            exported.extend(more);
        }
        assert_eq!(exported, all);
    }
}

async fn a_list_shows_what_a_chat_shows(place: Arc<Place>) {
    let store = place.open().await;
    let new = NewChat {
        title: Some("Quote 123 – „fast“".to_owned()),
        participants: people(&["bob", "cid"]),
        ..NewChat::default()
    };
    let made = store.create_chat(&member("ann"), new).await;
    let chat = made.expect("it can be made").into_inner().id;
    talk(&place, &store, chat, 3).await;
    let bob = member("bob");
    store
        .mark(&bob, chat, Mark::Read(1))
        .await
        .expect("his own");
    store
        .send(&bob, chat, message("b", "mine"))
        .await
        .expect("his own");
    let seen = view(&store, &bob, chat).await;
    let listed = store
        .chats(
            &bob,
            PageRequest {
                cursor: None,
                limit: 9,
            },
        )
        .await;
    assert_eq!(listed.expect("his own").items, std::slice::from_ref(&seen));
    assert_eq!((seen.unread, seen.read_seq, seen.message_count), (2, 1, 4));
    assert_eq!(seen.last_message.expect("there are some").body, "mine");
    let people: Vec<_> = seen
        .participants
        .iter()
        .map(|one| one.person.as_str())
        .collect();
    assert_eq!(people, ["ann", "bob", "cid"]);
    let unread = store.unread(&bob).await.expect("his own");
    assert_eq!((unread.chats, unread.messages), (1, 2));
}

/// What an act sends to the database.
async fn statements<T>(store: &Store, act: impl Future<Output = Result<T, Error>>) -> u64 {
    let before = store.statements();
    assert!(act.await.is_ok(), "it goes well");
    store.statements() - before
}

async fn a_list_costs_the_same_however_long(place: Arc<Place>) {
    let store = place.open().await;
    let bob = member("bob");
    let page = || PageRequest {
        cursor: None,
        limit: 100,
    };
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 1).await;
    let search = || SearchRequest {
        text: "word".to_owned(),
        page: page(),
        ..SearchRequest::default()
    };
    let newest = HistoryPage::Newest { limit: 200 };
    let measure = async || {
        [
            statements(&store, store.chats(&bob, page())).await,
            statements(&store, store.chat(&bob, chat)).await,
            statements(&store, store.history(&bob, chat, newest)).await,
            statements(&store, store.search(&bob, search())).await,
            statements(&store, store.changes(&bob, chat, 0, 500)).await,
            statements(&store, store.receipts(&bob, chat)).await,
            statements(&store, store.send(&bob, chat, place.message("x"))).await,
            statements(&store, store.unread(&bob)).await,
            statements(&store, store.may_see(&bob, &[chat])).await,
        ]
    };
    let few = measure().await;
    for _ in 0..49 {
        let chat = private(&store, &["bob", "cid"]).await;
        talk(&place, &store, chat, 2).await;
    }
    talk(&place, &store, chat, 60).await;
    let crowd: Vec<String> = (0..100).map(|number| format!("p{number}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let added = store
        .set_participants(&member("ann"), chat, &people(&crowd), &[])
        .await;
    added.expect("hers to do");
    let many = measure().await;
    // A search looks as far as it has to, in a bounded number of ways.
    let but_the_search = |counts: [u64; 9]| [&counts[..3], &counts[4..]].concat();
    assert_eq!(
        but_the_search(many),
        but_the_search(few),
        "of one and of fifty"
    );
    assert!(many[3] <= 7, "{many:?}");
    assert_eq!(few[0], 1, "a list of chats is one statement");
    assert_eq!(few[1], 1, "a chat is one statement");
    assert!(few.iter().all(|count| *count <= 7), "{few:?}");
    let listed = store.chats(&bob, page()).await.expect("his own");
    assert_eq!(listed.items.len(), 50);
}

async fn a_crowd_is_told_of_in_numbers(place: Arc<Place>) {
    let store = place.open().await;
    let crowd: Vec<String> = (0..100).map(|number| format!("p{number:03}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let chat = private(&store, &crowd).await;
    talk(&place, &store, chat, 2).await;
    for person in &crowd {
        store
            .mark(&member(person), chat, Mark::Read(1))
            .await
            .expect("one's own");
    }
    let receipts = store.receipts(&member("ann"), chat).await.expect("her own");
    assert_eq!(
        (receipts.people.len(), receipts.participant_count),
        (0, 101)
    );
    assert_eq!((receipts.delivered_to_all, receipts.read_by_all), (1, 1));
    let listed = store
        .chats(
            &member("p000"),
            PageRequest {
                cursor: None,
                limit: 1,
            },
        )
        .await;
    let listed = listed.expect("one's own").items;
    assert_eq!(
        (listed[0].participants.len(), listed[0].participant_count),
        (16, 101)
    );
    assert_eq!(
        view(&store, &member("p000"), chat).await.participants.len(),
        101
    );
    let members = store
        .members(&member("p000"), chat)
        .await
        .expect("one's own");
    assert_eq!(members.len(), 101);
}

async fn made_up_cursors_are_refused(place: Arc<Place>) {
    let store = place.open().await;
    let page = || PageRequest {
        cursor: Some("made up; DROP TABLE chats".to_owned()),
        limit: 10,
    };
    let root = actor("acme", "root", tenure_chat::store::Role::Admin);
    let search = SearchRequest {
        text: "word".to_owned(),
        page: page(),
        ..SearchRequest::default()
    };
    for refused in [
        store.chats(&root, page()).await.err(),
        store.audit(&root, place.now(), page()).await.err(),
        store.search(&root, search).await.err(),
    ] {
        assert!(
            matches!(
                refused,
                Some(Error::Invalid {
                    field: "cursor",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    let new = NewChat {
        audience: Audience::Org,
        ..NewChat::default()
    };
    store
        .create_chat(&root, new)
        .await
        .expect("the tables are there");
}
