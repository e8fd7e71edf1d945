//! Notes and answers to them, seizures, conversions: how a lock changes hands, and who is told.
//!
//! Against the scripted server of `peer`. What must hold: a guard says what it holds, until it is told otherwise, and
//! then by whom and why.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::time::Duration;

use peer::{Line, Peer, grant, granted, session, shared_grant, soon};
use tenure_client::{ErrorKind, LockGuard, LossCause, Mode, Session};
use tenure_protocol::{Cause, ErrorCode, GrantKind, Push, Reply, Request, Who, push, reply};

async fn acquired(session: &Session, line: &mut Line, path: &str) -> LockGuard {
    let (guard, _) = tokio::join!(async { session.acquire(path).await }, line.grant(5));
    guard.unwrap()
}

const BOB: Who<'static> = Who {
    owner: "bob",
    name: "Bob",
};

fn asked_for(wait: u64, note: &'static str) -> Push<'static> {
    Push::LockAsked(push::Asked {
        session: 11,
        path: "doc/a",
        wait,
        who: BOB,
        note,
    })
}

#[tokio::test]
async fn a_note_is_declined_and_the_next_is_met() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a").await;
    line.push(asked_for(77, "may I?")).await;
    let ask = soon(guard.next_ask()).await.unwrap();
    assert_eq!((ask.who().name.as_str(), ask.note()), ("Bob", "may I?"));
    let (declined, ()) = tokio::join!(ask.decline(), async {
        let asked = line.expect("lock.decline").await;
        line.reply(asked.id, Reply::LockDecline(reply::Decline::Done))
            .await;
    });
    declined.unwrap();
    line.push(asked_for(77, "please?")).await;
    line.push(asked_for(77, "pretty please?")).await;
    line.expect_silence().await;
    let ask = soon(guard.next_ask()).await.unwrap();
    assert_eq!(ask.note(), "pretty please?");
    let (handed, ()) = tokio::join!(ask.hand_over(), async {
        let asked = line.expect("lock.hand_over").await;
        let Request::LockHandOver(request) = asked.request() else {
            unreachable!()
        };
        assert_eq!(request.to, Some(77));
        let reply = reply::HandOver::HandedOver {
            token: 6,
            owner: "bob",
        };
        line.reply(asked.id, Reply::LockHandOver(reply)).await;
    });
    let handed = handed.unwrap();
    assert_eq!(handed.token, Some(6));
    assert_eq!(handed.owner.as_deref(), Some("bob"));
    let loss = soon(guard.lost()).await;
    assert_eq!(loss.cause, LossCause::HandedOver);
    assert_eq!(loss.by.unwrap().owner, "bob");
    assert!(soon(guard.next_ask()).await.is_none());
    drop(guard);
    line.expect_silence().await;
}

#[tokio::test]
async fn a_hand_over_that_cannot_be_leaves_the_hold() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a").await;
    let (handed, ()) = tokio::join!(guard.hand_over(), async {
        let asked = line.expect("lock.hand_over").await;
        line.error(asked.id, ErrorCode::UnknownWait).await;
    });
    assert_eq!(handed.unwrap_err().code_name(), Some("unknown_wait"));
    assert!(guard.is_held());
}

#[tokio::test]
async fn whoever_loses_a_lock_is_told_by_whom_and_why() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a").await;
    let watch = guard.watch();
    // A loss of an earlier hold is not one of this.
    for token in [4, 5] {
        line.push(Push::LockLost(push::Lost {
            session: 11,
            path: "doc/a",
            token,
            cause: Cause::Seized {
                by: BOB,
                reason: "on holiday",
            },
        }))
        .await;
        if token == 4 {
            line.expect_silence().await;
            assert!(guard.is_held());
        }
    }
    let loss = soon(guard.lost()).await;
    assert_eq!(loss.to_string(), "doc/a: seized by Bob (on holiday)");
    assert_eq!(soon(watch.ended()).await, Some(loss));
    drop(guard);
    line.expect_silence().await;
}

#[tokio::test]
async fn a_seizure_neither_waits_nor_shares() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, asked) = tokio::join!(
        async { ada.acquire("doc/a").seize("on holiday").await },
        line.grant(5)
    );
    let Request::LockAcquire(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!(request.seize, Some("on holiday"));
    assert_eq!(request.wait_ms, 0);
    assert!(guard.unwrap().is_held());
}

#[tokio::test]
async fn a_conversion_changes_the_guard() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, ()) = tokio::join!(async { ada.acquire("doc/a").shared(3).await }, async {
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, granted(shared_grant(5))).await;
    });
    let guard = guard.unwrap();
    let before = guard.held_as().unwrap();
    assert_eq!(before.mode, Mode::Shared);
    let (changed, upgraded, ()) = tokio::join!(
        soon(guard.changed(before)),
        guard.upgrade(Duration::from_secs(5)),
        async {
            let asked = line.expect("lock.convert").await;
            let queued = reply::Convert::Queued { wait: 78, place: 1 };
            line.reply(asked.id, Reply::LockConvert(queued)).await;
            let mut grant = grant(6);
            grant.kind = GrantKind::Converted;
            line.push(peer::wait_granted(11, 78, "doc/a", grant)).await;
            line.confirm(6).await;
        }
    );
    upgraded.unwrap();
    let changed = changed.unwrap();
    assert_eq!((changed.token, changed.mode), (6, Mode::Exclusive));
    let (downgraded, ()) = tokio::join!(guard.downgrade(2), async {
        let asked = line.expect("lock.convert").await;
        let Request::LockConvert(request) = asked.request() else {
            unreachable!()
        };
        assert_eq!(request.limit, Some(2));
        let grant = shared_grant(6);
        let reply = reply::Convert::Granted { grant };
        line.reply(asked.id, Reply::LockConvert(reply)).await;
    });
    downgraded.unwrap();
    assert_eq!((guard.token(), guard.mode()), (6, Mode::Shared));
}

#[tokio::test]
async fn an_upgrade_by_another_session_of_the_owner_changes_the_guard() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, ()) = tokio::join!(async { ada.acquire("doc/a").shared(None).await }, async {
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, granted(shared_grant(5))).await;
    });
    let guard = guard.unwrap();
    let before = guard.held_as().unwrap();
    line.push(Push::LockChanged(push::Changed {
        session: 11,
        path: "doc/a",
        grant: grant(9),
    }))
    .await;
    let changed = soon(guard.changed(before)).await.unwrap();
    assert_eq!((changed.token, changed.mode), (9, Mode::Exclusive));
}

#[tokio::test]
async fn several_locks_come_together_or_not_at_all() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = |ada: &Session| {
        ada.acquire_all()
            .exclusive("doc/a")
            .shared("doc/b", 2)
            .into_future()
    };
    let (refused, ()) = tokio::join!(ask(&ada), async {
        let asked = line.expect("lock.acquire_all").await;
        let refused = reply::AcquireAll::Refused {
            items: vec![tenure_protocol::RefusedItem {
                item: 1,
                reason: tenure_protocol::RefusalReason::LimitDiffers,
                truth: peer::held_by("bob", "Bob"),
            }],
        };
        line.reply(asked.id, Reply::LockAcquireAll(refused)).await;
    });
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.refusal().unwrap().path(), "doc/b");
    let asking = tokio::spawn(ask(&ada));
    let asked = line.expect("lock.acquire_all").await;
    let queued = reply::AcquireAll::Queued { wait: 79, place: 0 };
    line.reply(asked.id, Reply::LockAcquireAll(queued)).await;
    let holds = ["doc/a", "doc/b"].map(|path| tenure_protocol::Held {
        path,
        grant: grant(8),
    });
    line.push(Push::LockGranted(push::Granted {
        session: 11,
        wait: 79,
        holds: holds.to_vec(),
    }))
    .await;
    line.confirm(8).await;
    line.confirm(8).await;
    let guards = soon(asking).await.unwrap().unwrap();
    let paths: Vec<_> = guards.iter().map(LockGuard::path).collect();
    assert_eq!(paths, ["doc/a", "doc/b"]);
    drop(guards);
    line.released().await;
    line.released().await;
}
