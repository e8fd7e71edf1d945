//! Many acts at the same time: each has an outcome of its own, and who goes away in the middle takes nothing of others along.
//!
//! What is under way when somebody goes away may have been done or not; what was answered has been done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_chat::store::{Error, Mark, NewMessage, Stored};
use tokio::time::sleep;

use crate::place::{Place, all, member, message, on_both, open_chat};

on_both!(
    each_act_in_a_crowd_has_its_own_outcome,
    whoever_goes_away_takes_nothing_along,
);

async fn each_act_in_a_crowd_has_its_own_outcome(place: Arc<Place>) {
    let store = place.open().await;
    let chat = open_chat(&store).await;
    let sends = (0..40).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let ann = member("ann");
            let name = format!("m{}", n / 4);
            match n % 4 {
                // The same, twice at the same time; the same with another text; what can never be sent.
                0 | 1 => store.send(&ann, chat, message(&name, "one")).await,
                2 => store.send(&ann, chat, message(&name, "another")).await,
                _ => {
                    let late = NewMessage {
                        lock_token: Some(-1),
                        ..message(&format!("late {n}"), "late")
                    };
                    store.send(&ann, chat, late).await
                }
            }
        })
    });
    let (mut stored, mut replayed, mut mismatched, mut stale) = (BTreeMap::new(), 0, 0, 0);
    for send in sends.collect::<Vec<_>>() {
        match send.await.expect("no panic") {
            Ok(Stored::New(message)) => {
                let before = stored.insert(message.client_msg_id.clone(), message);
                assert!(before.is_none(), "stored twice");
            }
            Ok(Stored::Replayed(_)) => replayed += 1,
            Err(Error::Mismatch) => mismatched += 1,
            Err(Error::StaleToken { .. }) => stale += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((stored.len(), stale), (10, 10));
    assert_eq!(replayed + mismatched, 20);
    let history = all(&store, &member("ann"), chat).await;
    let seqs: Vec<i64> = history.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<i64>>());
    for message in history {
        assert_eq!(stored.get(&message.client_msg_id), Some(&message));
    }
}

async fn whoever_goes_away_takes_nothing_along(place: Arc<Place>) {
    let store = place.open().await;
    let chat = open_chat(&store).await;
    let stays = (0..4).map(|sender| {
        let store = store.clone();
        tokio::spawn(async move {
            let who = member(&format!("s{sender}"));
            for n in 0..25 {
                let sent = store.send(&who, chat, message(&format!("m{n}"), "x")).await;
                assert!(matches!(sent, Ok(Stored::New(_))), "{sent:?}");
            }
        })
    });
    let goes = (0..4).map(|sender| {
        let store = store.clone();
        tokio::spawn(async move {
            let who = member(&format!("g{sender}"));
            for n in 0..50 {
                let patience = Duration::from_micros(fastrand::u64(0..6_000));
                let name = format!("m{n}");
                let act = async {
                    let _ = store.send(&who, chat, message(&name, "x")).await;
                    let _ = store.mark(&who, chat, Mark::Read(n)).await;
                };
                let _ = tokio::time::timeout(patience, act).await;
            }
        })
    });
    let (stays, goes): (Vec<_>, Vec<_>) = (stays.collect(), goes.collect());
    for task in stays.into_iter().chain(goes) {
        task.await.expect("no panic");
    }
    // What has been given up may be on its way to being undone.
    sleep(Duration::from_millis(100)).await;
    let history = all(&store, &member("s0"), chat).await;
    let seqs: Vec<i64> = history.iter().map(|message| message.seq).collect();
    let dense: Vec<i64> = (1..=seqs.len() as i64).collect();
    assert_eq!(seqs, dense);
    let stayed = history.iter().filter(|m| m.sender.starts_with('s'));
    assert_eq!(stayed.count(), 100);
    let recounted = store.recount("acme", None).await.expect("counted");
    assert_eq!(recounted.drift, 0);
}
