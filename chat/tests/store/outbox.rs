//! What has to be told is there when the act is, in the order of its chat, until it was told: with several workers,
//! and when one of them dies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_chat::store::{ChatId, EventName, Mark, OutboxRow};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::place::{Place, member, on_both, people, private, talk};

on_both!(
    each_act_is_told_once_in_order,
    a_chat_that_is_being_told_is_passed_over,
    workers_share_and_keep_the_order,
    what_a_dead_worker_has_taken_is_told,
    lag_says_what_waits,
    a_commit_rings,
);

const LONG: Duration = Duration::from_secs(600);

async fn each_act_is_told_once_in_order(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &["bob"]).await;
    let (ann, bob) = (member("ann"), member("bob"));
    talk(&place, &store, chat, 2).await;
    let id = store.export(&ann, chat, 0, 1).await.expect("her own")[0].id;
    store
        .edit(&ann, chat, id, "other".to_owned())
        .await
        .expect("her own");
    store
        .mark(&bob, chat, Mark::Read(1))
        .await
        .expect("his own");
    store.delete(&ann, chat, id).await.expect("her own");
    let add = people(&["cid"]);
    store
        .set_participants(&ann, chat, &add, &["bob".to_owned()])
        .await
        .expect("hers to do");
    let rows = store
        .outbox_take(Uuid::now_v7(), 99, LONG)
        .await
        .expect("taken");
    let told: Vec<EventName> = rows.iter().map(|row| row.event).collect();
    let expected = [
        EventName::ChatCreated,
        EventName::MessageCreated,
        EventName::MessageCreated,
        EventName::MessageUpdated,
        EventName::MessagesRead,
        EventName::MessageDeleted,
        EventName::ParticipantsChanged,
    ];
    assert_eq!(told, expected);
    assert!(rows.is_sorted_by(|a, b| a.rev < b.rev));
    let notified = |row: &OutboxRow| -> Vec<(String, i64)> {
        let notify = row.notify.iter();
        notify
            .map(|notify| (notify.person.clone(), notify.unread))
            .collect()
    };
    assert_eq!(notified(&rows[0]), [("bob".to_owned(), 0)]);
    assert_eq!(notified(&rows[2]), [("bob".to_owned(), 2)]);
    assert_eq!(notified(&rows[3]), []);
    assert_eq!(notified(&rows[4]), [("bob".to_owned(), 1)]);
    // It was read already, so nothing is less unread.
    assert_eq!(notified(&rows[5]), []);
    let mut touched = notified(&rows[6]);
    touched.sort();
    assert_eq!(touched, [("bob".to_owned(), 0), ("cid".to_owned(), 0)]);
    let payload: serde_json::Value = serde_json::from_str(&rows[3].payload).expect("JSON");
    assert_eq!(payload["message"]["body"], "other");
    assert_eq!(payload["rev"], rows[3].rev);
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    store.outbox_done(&ids).await.expect("done");
    assert_eq!(store.outbox_lag().await.expect("asked").rows, 0);
}

async fn a_chat_that_is_being_told_is_passed_over(place: Arc<Place>) {
    let store = place.open().await;
    let (one, other) = (private(&store, &[]).await, private(&store, &[]).await);
    talk(&place, &store, one, 3).await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let taken = store.outbox_take(first, 1, LONG).await.expect("taken");
    assert_eq!((taken.len(), taken[0].chat), (1, one));
    talk(&place, &store, other, 1).await;
    let rest = store.outbox_take(second, 99, LONG).await.expect("taken");
    assert!(rest.iter().all(|row| row.chat == other));
    assert_eq!(rest.len(), 2);
    store.outbox_done(&[taken[0].id]).await.expect("done");
    let rest = store.outbox_take(second, 99, LONG).await.expect("taken");
    let revs: Vec<i64> = rest.iter().map(|row| row.rev).collect();
    assert_eq!(revs, [2, 3, 4], "of the first chat, which is free");
}

/// Four workers take and tell while chats go on, and one of them loses its lease again and again.
async fn workers_share_and_keep_the_order(place: Arc<Place>) {
    const CHATS: usize = 6;
    const EACH: usize = 40;
    let store = place.open().await;
    let mut chats = Vec::new();
    for _ in 0..CHATS {
        chats.push(private(&store, &["bob"]).await);
    }
    let told: Arc<Mutex<HashMap<ChatId, Vec<i64>>>> = Arc::default();
    let all = CHATS * (EACH + 1);
    let workers = (0..4).map(|number| {
        let (store, told) = (store.clone(), Arc::clone(&told));
        tokio::spawn(async move {
            let worker = Uuid::now_v7();
            let limit = [1, 3, 7, 50][number];
            for _ in 0..10_000 {
                let rows = store.outbox_take(worker, limit, LONG).await.expect("taken");
                if number == 0 && fastrand::bool() {
                    store.outbox_give_back(worker).await.expect("given back");
                    continue;
                }
                // Told one after the other, each by itself: others tell meanwhile.
                for row in &rows {
                    tokio::task::yield_now().await;
                    told.lock().await.entry(row.chat).or_default().push(row.rev);
                }
                let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
                store.outbox_done(&ids).await.expect("done");
                let count: usize = told.lock().await.values().map(Vec::len).sum();
                if count >= all {
                    break;
                }
                if rows.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let senders: Vec<_> = chats
        .iter()
        .map(|chat| {
            let (place, store, chat) = (Arc::clone(&place), store.clone(), *chat);
            tokio::spawn(async move { talk(&place, &store, chat, EACH).await })
        })
        .collect();
    for task in senders.into_iter().chain(workers) {
        task.await.expect("no task fails");
    }
    let told = told.lock().await;
    for chat in chats {
        let revs = &told[&chat];
        // Two make the chat; each message is one change.
        let expected: Vec<i64> = (2..=2 + i64::try_from(EACH).expect("few")).collect();
        assert_eq!(*revs, expected, "in order, none twice, none lost");
    }
}

async fn what_a_dead_worker_has_taken_is_told(place: Arc<Place>) {
    let store = place.open().await;
    let chat = private(&store, &[]).await;
    talk(&place, &store, chat, 3).await;
    let lease = Duration::from_millis(300);
    let dead = store
        .outbox_take(Uuid::now_v7(), 3, lease)
        .await
        .expect("taken");
    assert_eq!(dead.len(), 3);
    let heir = Uuid::now_v7();
    let early = store.outbox_take(heir, 99, LONG).await.expect("taken");
    assert_eq!(early.len(), 0, "the chat is somebody else's");
    tokio::time::sleep(lease + Duration::from_millis(100)).await;
    let taken = store.outbox_take(heir, 99, LONG).await.expect("taken");
    let ids = |rows: &[OutboxRow]| rows.iter().map(|row| row.event_id).collect::<Vec<_>>();
    assert_eq!(ids(&taken)[..3], ids(&dead), "known by the same ids");
    assert_eq!(taken.len(), 4);
    let attempts: Vec<i64> = taken.iter().map(|row| row.attempts).collect();
    assert_eq!(attempts, [1, 1, 1, 0]);
    let unique: HashSet<Uuid> = ids(&taken).into_iter().collect();
    assert_eq!(unique.len(), 4);
}

async fn lag_says_what_waits(place: Arc<Place>) {
    let store = place.open().await;
    let lag = store.outbox_lag().await.expect("asked");
    assert_eq!((lag.rows, lag.oldest), (0, Duration::ZERO));
    let chat = private(&store, &[]).await;
    place.pass(Duration::from_secs(7));
    talk(&place, &store, chat, 2).await;
    place.pass(Duration::from_secs(3));
    let lag = store.outbox_lag().await.expect("asked");
    assert_eq!((lag.rows, lag.oldest), (3, Duration::from_secs(10)));
}

async fn a_commit_rings(place: Arc<Place>) {
    let store = place.open().await;
    let signal = store.outbox_signal();
    private(&store, &[]).await;
    let rung = tokio::time::timeout(Duration::from_secs(60), signal.notified()).await;
    rung.expect("it rings");
}
