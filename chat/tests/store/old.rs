//! What is old: it moves to the archive and is there all the same; chats that are empty go; and each run says what it
//! did. Time is the test's own, so a year passes at once.

use std::sync::Arc;
use std::time::Duration;

use tenure_chat::store::{
    ArchiveRun, ChatId, Error, EventName, HistoryPage, Imported, Mark, NewParticipant, PageRequest,
    Role, SearchRequest, Store, Stored, Turn, UnixMs,
};
use uuid::Uuid;

use crate::place::{DAY, Place, actor, all, member, message, on_both, private, talk, view};

on_both!(
    what_is_archived_is_there_all_the_same,
    an_archive_run_goes_on_where_it_stopped,
    senders_and_an_archive_run_do_not_disturb_each_other,
    empty_chats_go,
    a_run_is_one_line_for_each_organisation,
    a_turn_is_one_workers_and_comes_again_in_time,
    what_is_imported_is_like_what_was_sent,
);

fn run(place: &Place, batch: u32) -> ArchiveRun {
    ArchiveRun {
        run: Uuid::now_v7(),
        before: place.now().before(365 * DAY),
        org: None,
        batch,
    }
}

async fn archive(store: &Store, run: &ArchiveRun) -> Vec<i64> {
    let mut steps = Vec::new();
    let mut from = None;
    loop {
        let step = store
            .archive_step(run, from)
            .await
            .expect("it can be archived");
        steps.push(step.done);
        from = step.next;
        if from.is_none() {
            return steps;
        }
    }
}

async fn what_is_archived_is_there_all_the_same(place: Arc<Place>) {
    let store = place.open().await;
    let (ann, bob) = (member("ann"), member("bob"));
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 9).await;
    let first = store.send(&ann, chat, message("key", "treasure")).await;
    let first = first.expect("it can be sent").into_inner();
    talk(&place, &store, chat, 4).await;
    store
        .mark(&bob, chat, Mark::Read(3))
        .await
        .expect("his own");
    place.pass(400 * DAY);
    talk(&place, &store, chat, 5).await;
    let before = all(&store, &bob, chat).await;
    let seen = view(&store, &bob, chat).await;
    let changes = store.changes(&bob, chat, 0, 500).await.expect("his own");
    assert_eq!(
        store.archive_count(&run(&place, 1)).await.expect("counted"),
        14
    );
    assert_eq!(archive(&store, &run(&place, 6)).await, [6, 6, 2, 0]);
    assert_eq!(
        store.archive_count(&run(&place, 1)).await.expect("counted"),
        0
    );
    assert_eq!(all(&store, &bob, chat).await, before);
    assert_eq!(view(&store, &bob, chat).await, seen);
    assert_eq!(
        store.changes(&bob, chat, 0, 500).await.expect("his own"),
        changes
    );
    let page = HistoryPage::Around { seq: 14, limit: 6 };
    let around = store.history(&bob, chat, page).await.expect("his own");
    let numbers: Vec<i64> = around.items.iter().map(|message| message.seq).collect();
    assert_eq!(numbers, [11, 12, 13, 14, 15, 16], "across the border");
    assert_eq!(
        store
            .message(&bob, chat, first.id)
            .await
            .expect("it is there"),
        first
    );
    let again = store.send(&ann, chat, message("key", "treasure")).await;
    assert_eq!(again.expect("it was sent"), Stored::Replayed(first.clone()));
    let other = store.send(&ann, chat, message("key", "other")).await;
    assert!(matches!(other, Err(Error::Mismatch)));
    let search = SearchRequest {
        text: "treasure".to_owned(),
        ..SearchRequest::default()
    };
    let found = store.search(&bob, search.clone()).await.expect("found");
    assert_eq!(found.items[0].message, first);
    let edited = store.edit(&ann, chat, first.id, "x".to_owned()).await;
    assert!(matches!(edited, Err(Error::Final("archived"))));
    let marked = store
        .mark(&bob, chat, Mark::Read(12))
        .await
        .expect("his own");
    assert_eq!(marked.unread, 7);
    let deleted = store.delete(&ann, chat, first.id).await.expect("her own");
    assert_eq!(deleted.body, "");
    assert_eq!(store.search(&bob, search).await.expect("none").items, []);
    assert_eq!(all(&store, &bob, chat).await[9], deleted);
    let counted = store
        .recount("acme", None)
        .await
        .expect("it can be counted");
    assert_eq!(counted.wrong, 0);
}

async fn an_archive_run_goes_on_where_it_stopped(place: Arc<Place>) {
    let store = place.open().await;
    let mut chats = Vec::new();
    for _ in 0..4 {
        let chat = private(&store, &["bob"]).await;
        talk(&place, &store, chat, 6).await;
        chats.push(chat);
    }
    place.pass(366 * DAY);
    let young = private(&store, &["bob"]).await;
    talk(&place, &store, young, 3).await;
    let first = run(&place, 4);
    let step = store.archive_step(&first, None).await.expect("archived");
    assert_eq!(step.done, 4);
    store.close().await;
    // Another process, which knows nothing of the first.
    let store = place.open().await;
    let rest: i64 = archive(&store, &run(&place, 4)).await.iter().sum();
    assert_eq!(rest, 4 * 5 - 4, "the last message of each chat stays");
    for chat in chats {
        assert_eq!(all(&store, &member("bob"), chat).await.len(), 6);
        let listed = view(&store, &member("bob"), chat).await;
        assert_eq!(listed.last_message.expect("it stays").seq, 6);
    }
}

async fn senders_and_an_archive_run_do_not_disturb_each_other(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    talk(&place, &store, chat, 60).await;
    place.pass(400 * DAY);
    let sending = {
        let (place, store) = (Arc::clone(&place), store.clone());
        tokio::spawn(async move { talk(&place, &store, chat, 40).await })
    };
    let reading = {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..40 {
                let page = HistoryPage::After { seq: 0, limit: 200 };
                let history = store.history(&member("bob"), chat, page).await;
                let history = history.expect("his own");
                let numbers: Vec<i64> = history.items.iter().map(|message| message.seq).collect();
                assert_eq!(
                    numbers,
                    (1..=history.last_seq).collect::<Vec<_>>(),
                    "no hole"
                );
            }
        })
    };
    let moved: i64 = archive(&store, &run(&place, 3)).await.iter().sum();
    // The last of the old ones is the last of all, until another is sent.
    assert!((59..=60).contains(&moved), "{moved}");
    sending.await.expect("nobody is refused");
    reading.await.expect("nothing is missing");
    assert_eq!(all(&store, &member("bob"), chat).await.len(), 100);
    assert_eq!(store.recount("acme", None).await.expect("counted").wrong, 0);
}

async fn empty_chats_go(place: Arc<Place>) {
    let store = place.open().await;
    let (ann, bob) = (member("ann"), member("bob"));
    let never = private(&store, &["bob"]).await;
    let emptied = private(&store, &["bob"]).await;
    talk(&place, &store, emptied, 3).await;
    let full = private(&store, &["bob"]).await;
    talk(&place, &store, full, 1).await;
    for message in all(&store, &ann, emptied).await {
        store
            .delete(&ann, emptied, message.id)
            .await
            .expect("her own");
    }
    place.pass(91 * DAY);
    let young = private(&store, &["bob"]).await;
    let run = ArchiveRun {
        before: place.now().before(90 * DAY),
        ..run(&place, 50)
    };
    let told = store
        .outbox_take(Uuid::now_v7(), 500, Duration::from_secs(60))
        .await;
    let ids: Vec<i64> = told.expect("taken").iter().map(|row| row.id).collect();
    store.outbox_done(&ids).await.expect("done");
    assert_eq!(store.cleanup_count(&run).await.expect("counted"), 2);
    let step = store.cleanup_step(&run).await.expect("cleaned up");
    assert_eq!((step.done, step.next), (2, None));
    assert_eq!(store.cleanup_count(&run).await.expect("counted"), 0);
    for gone in [never, emptied] {
        assert!(matches!(
            store.chat(&bob, gone).await,
            Err(Error::NotFound(_))
        ));
    }
    for there in [full, young] {
        view(&store, &bob, there).await;
    }
    let told = store
        .outbox_take(Uuid::now_v7(), 500, Duration::from_secs(60))
        .await;
    let told = told.expect("taken");
    let mut gone: Vec<ChatId> = told.iter().map(|row| row.chat).collect();
    gone.sort();
    let mut expected = vec![never, emptied];
    expected.sort();
    assert_eq!(gone, expected);
    assert!(told.iter().all(|row| row.event == EventName::ChatDeleted));
}

async fn a_run_is_one_line_for_each_organisation(place: Arc<Place>) {
    let store = place.open().await;
    for _ in 0..3 {
        let chat = private(&store, &[]).await;
        talk(&place, &store, chat, 5).await;
    }
    place.pass(400 * DAY);
    let of_others = ArchiveRun {
        org: Some("rival".to_owned()),
        ..run(&place, 2)
    };
    assert_eq!(archive(&store, &of_others).await, [0]);
    let run = run(&place, 2);
    let moved: i64 = archive(&store, &run).await.iter().sum();
    assert_eq!(moved, 12);
    let root = actor("acme", "root", Role::Admin);
    let lines = store.audit(&root, UnixMs(0), PageRequest::default()).await;
    let lines = lines.expect("an admin may").items;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].act.as_str(), lines[0].count),
        ("messages.archived", 12)
    );
    assert_eq!(lines[0].actor, "system");
    assert_eq!(lines[0].detail["run"], run.run.to_string());
    assert_eq!(lines[0].detail["before"], run.before.to_string());
}

async fn a_turn_is_one_workers_and_comes_again_in_time(place: Arc<Place>) {
    let store = place.open().await;
    let (long, short) = (Duration::from_secs(3_600), Duration::from_millis(300));
    let take = async |worker, every, lease| {
        let taken = store.job_take("archive", worker, every, lease).await;
        taken.expect("there is such a job")
    };
    let workers: Vec<Uuid> = (0..8).map(|_| Uuid::now_v7()).collect();
    let mut taking = tokio::task::JoinSet::new();
    for &worker in &workers {
        let store = store.clone();
        taking.spawn(async move {
            let taken = store.job_take("archive", worker, long, short).await;
            (worker, taken.expect("there is such a job"))
        });
    }
    let taken = taking.join_all().await;
    let mine: Vec<_> = taken
        .iter()
        .filter(|(_, turn)| *turn == Turn::Mine)
        .collect();
    assert_eq!(mine.len(), 1, "{taken:?}");
    let first = mine[0].0;
    assert!(
        taken.iter().all(|(worker, turn)| *worker == first
            || matches!(turn, Turn::Others(left) if *left <= short))
    );
    // It is cut off: the next has it when the lease is over, although it is not due, and the first has not.
    tokio::time::sleep(short + Duration::from_millis(50)).await;
    let second = Uuid::now_v7();
    assert_eq!(take(second, long, long).await, Turn::Mine);
    assert!(!store.job_keep("archive", first, long).await.expect("asked"));
    store.job_done("archive", first).await.expect("asked");
    assert!(matches!(take(first, long, long).await, Turn::Others(_)));
    assert!(
        store
            .job_keep("archive", second, long)
            .await
            .expect("asked")
    );
    store.job_done("archive", second).await.expect("its own");
    let later = take(first, long, long).await;
    assert!(
        matches!(later, Turn::Later(left) if left > long / 2 && left <= long),
        "{later:?}"
    );
    assert_eq!(
        take(first, Duration::ZERO, long).await,
        Turn::Mine,
        "due for whoever does not wait"
    );
    store
        .job_give_back("archive", first)
        .await
        .expect("its own");
    assert_eq!(
        take(second, long, long).await,
        Turn::Mine,
        "what was not done is due"
    );
    let other = store.job_take("other", first, long, long).await;
    assert!(matches!(other, Err(Error::Unusable(_))));
}

async fn what_is_imported_is_like_what_was_sent(place: Arc<Place>) {
    let store = place.open().await;
    let (ann, bob) = (member("ann"), member("bob"));
    let chat = private(&store, &["bob"]).await;
    let imported = |id: &str, person: &str, at: i64| Imported {
        sender: NewParticipant {
            person: person.to_owned(),
            name: person.to_owned(),
        },
        client_msg_id: id.to_owned(),
        body: format!("treasure {id}"),
        attachments: Vec::new(),
        created_at: UnixMs(at),
    };
    let messages = [
        imported("one", "ann", 5_000),
        imported("two", "bob", 4_000),
        imported("three", "gone", 6_000),
    ];
    assert_eq!(
        store
            .import("acme", chat, &messages)
            .await
            .expect("imported"),
        3
    );
    assert_eq!(
        store
            .import("acme", chat, &[imported("four", "ann", 7_000)])
            .await
            .expect("imported"),
        4
    );
    let there = all(&store, &bob, chat).await;
    let times: Vec<i64> = there.iter().map(|message| message.created_at.0).collect();
    assert_eq!(times, [5_000, 5_000, 6_000, 7_000]);
    assert_eq!(
        there.iter().map(|message| message.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(view(&store, &bob, chat).await.unread, 3);
    assert_eq!(store.recount("acme", None).await.expect("counted").wrong, 0);
    let again = store.send(&ann, chat, message("one", "treasure one")).await;
    assert_eq!(
        again.expect("it was sent"),
        Stored::Replayed(there[0].clone())
    );
    let search = SearchRequest {
        text: "treasure".to_owned(),
        page: PageRequest {
            cursor: None,
            limit: 10,
        },
        ..SearchRequest::default()
    };
    assert_eq!(
        store.search(&bob, search).await.expect("found").items.len(),
        4
    );
    talk(&place, &store, chat, 1).await;
    assert_eq!(all(&store, &bob, chat).await[4].seq, 5);
    for wrong in [
        vec![],
        vec![imported("", "ann", 0)],
        vec![imported("x", "ann", -1)],
    ] {
        let refused = store.import("acme", chat, &wrong).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{wrong:?}");
    }
    assert!(
        store
            .import(
                "acme",
                chat,
                &[imported("y", "ann", 1), imported("one", "ann", 1)]
            )
            .await
            .is_err()
    );
    assert!(matches!(
        store.import("rival", chat, &messages).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(all(&store, &bob, chat).await.len(), 5);
}
