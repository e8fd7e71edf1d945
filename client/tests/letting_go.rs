//! Dropped futures and dropped guards leave nothing behind, and never let go of what somebody has come to share.
//!
//! Against the scripted server of `peer`, which has no rule of its own. What must hold: every hold and wait that the
//! server was brought to give is used by somebody, or is given back.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::time::Duration;

use peer::{Peer, grant, granted, queued, session, shared_grant, soon, wait_granted};
use tenure_client::{ErrorKind, RefusalReason, Released, WaitProgress};
use tenure_protocol::{Cause, ErrorCode, Push, ReleaseScope, Reply, Request, WaitEnd, push, reply};

#[tokio::test]
async fn a_dropped_guard_releases_by_token() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    drop(guard.unwrap());
    let asked = line.released().await;
    let Request::LockRelease(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!((request.path, request.token), ("doc/a", Some(5)));
    assert_eq!(request.scope, ReleaseScope::Session);
}

#[tokio::test]
async fn a_release_says_how_it_went() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    for (reply, expected) in [
        (reply::Release::Ended, Released::Ended),
        (reply::Release::Left, Released::OwnerHolds),
        (reply::Release::AlreadyExpired, Released::AlreadyExpired),
    ] {
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let (released, ()) = tokio::join!(guard.unwrap().release(), async {
            let asked = line.expect("lock.release").await;
            line.reply(asked.id, Reply::LockRelease(reply)).await;
        });
        assert_eq!(released.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_release_that_came_too_late_says_by_whom_it_was_lost() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let (released, ()) = tokio::join!(guard.unwrap().release(), async {
        let asked = line.expect("lock.release").await;
        let lost = tenure_protocol::Loss {
            token: 5,
            cause: Cause::Forced {
                by: "root",
                reason: "cleaning up",
            },
        };
        let reply = reply::Release::NotHeld {
            lost: Some(lost),
            truth: tenure_protocol::Truth::default(),
        };
        line.reply(asked.id, Reply::LockRelease(reply)).await;
    });
    let error = released.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotHeld);
    let loss = error.loss().unwrap();
    assert_eq!(loss.by.as_ref().unwrap().owner, "root");
    assert_eq!(loss.reason.as_deref(), Some("cleaning up"));
}

#[tokio::test]
async fn guards_of_one_path_share_the_hold() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (first, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let (second, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    assert_eq!(
        first.unwrap().release().await.unwrap(),
        Released::SessionHolds
    );
    line.expect_silence().await;
    let second = second.unwrap();
    assert!(second.is_held());
    drop(second);
    line.released().await;
}

#[tokio::test]
async fn a_guard_is_not_released_while_an_acquire_of_the_path_is_unanswered() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (first, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let again = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    // The server may have let the acquire join the hold already: a release would end what was just granted.
    drop(first);
    line.expect_silence().await;
    line.reply(asked.id, granted(grant(5))).await;
    let second = soon(again).await.unwrap().unwrap();
    line.expect_silence().await;
    drop(second);
    line.released().await;
}

#[tokio::test]
async fn an_acquire_that_is_dropped_unanswered_lets_go_of_what_it_got() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    ask.abort();
    assert!(ask.await.is_err());
    line.reply(asked.id, granted(grant(5))).await;
    line.released().await;
}

#[tokio::test]
async fn an_acquire_that_is_dropped_while_it_waits_is_cancelled() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").note("may I?").await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 2)).await;
    line.expect_silence().await;
    ask.abort();
    let asked = line.expect("lock.cancel").await;
    let Request::LockCancel(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!(request.wait, 77);
    // The grant came first: it is pushed before the answer, and let go.
    line.push(wait_granted(11, 77, "doc/a", grant(6))).await;
    let holds = vec![tenure_protocol::Held {
        path: "doc/a",
        grant: grant(6),
    }];
    line.reply(
        asked.id,
        Reply::LockCancel(reply::Cancel::Granted { holds }),
    )
    .await;
    let released = line.released().await;
    let Request::LockRelease(request) = released.request() else {
        unreachable!()
    };
    assert_eq!(request.token, Some(6));
    line.expect_silence().await;
}

#[tokio::test]
async fn two_acquires_share_a_wait_and_one_of_them_may_go() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let mut asks = Vec::new();
    for _ in 0..2 {
        asks.push(tokio::spawn({
            let ada = ada.clone();
            async move { ada.acquire("doc/a").await }
        }));
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, queued(77, 1)).await;
    }
    line.expect_silence().await;
    asks.remove(0).abort();
    line.expect_silence().await;
    line.push(wait_granted(11, 77, "doc/a", grant(6))).await;
    line.confirm(6).await;
    let guard = soon(asks.remove(0)).await.unwrap().unwrap();
    assert_eq!(guard.token(), 6);
}

#[tokio::test]
async fn a_wait_tells_its_place_and_who_declines() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let ask = tokio::spawn(async move {
        ada.acquire("doc/a")
            .note("may I?")
            .on_progress(move |progress| told.send(progress).unwrap())
            .await
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 2)).await;
    line.push(Push::LockPlace(push::Place {
        session: 11,
        wait: 77,
        place: 1,
    }))
    .await;
    line.push(Push::LockDeclined(push::Declined {
        session: 11,
        wait: 77,
        path: "doc/a",
        who: tenure_protocol::Who {
            owner: "bob",
            name: "Bob",
        },
    }))
    .await;
    assert_eq!(soon(heard.recv()).await, Some(WaitProgress::Place(2)));
    assert_eq!(soon(heard.recv()).await, Some(WaitProgress::Place(1)));
    let Some(WaitProgress::Declined(who)) = soon(heard.recv()).await else {
        panic!("it was declined")
    };
    assert_eq!(who.name, "Bob");
    line.push(Push::LockWaitEnded(push::WaitEnded {
        session: 11,
        wait: 77,
        why: WaitEnd::TimedOut,
    }))
    .await;
    // Whoever waited in vain wants to know for whom.
    let asked = line.expect("lock.status").await;
    let status = reply::Status {
        truth: peer::held_by("bob", "Bob"),
    };
    line.reply(asked.id, Reply::LockStatus(status)).await;
    let error = soon(ask).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.reason, RefusalReason::WaitTimedOut);
    assert_eq!(refusal.holder().unwrap().display_name(), "Bob");
}

#[tokio::test]
async fn the_last_handle_closes_the_session() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    drop(ada);
    line.expect_silence().await;
    drop(guard);
    line.released().await;
    let asked = line.expect("session.close").await;
    line.reply(asked.id, Reply::SessionClose(reply::Done {}))
        .await;
}

#[tokio::test]
async fn a_session_may_be_left_open_and_a_hold_be_left_held() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    guard.unwrap().leave_held();
    ada.leave_open();
    drop(ada);
    line.expect_silence().await;
}

#[tokio::test]
async fn closing_a_session_loses_its_guards() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    let (closed, ()) = tokio::join!(ada.close(), async {
        let asked = line.expect("session.close").await;
        line.reply(asked.id, Reply::SessionClose(reply::Done {}))
            .await;
    });
    closed.unwrap();
    assert_eq!(
        soon(guard.lost()).await.cause,
        tenure_client::LossCause::SessionClosed
    );
    let error = ada.acquire("doc/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    // Closed is closed.
    ada.close().await.unwrap();
    drop((guard, ada));
    line.expect_silence().await;
}

#[tokio::test]
async fn a_release_that_the_server_cannot_do_is_done_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let (released, ()) = tokio::join!(guard.unwrap().release(), async {
        let asked = line.expect("lock.release").await;
        line.error(asked.id, ErrorCode::Unavailable).await;
    });
    assert!(released.unwrap_err().is_retryable());
    let again = line.released().await;
    let Request::LockRelease(request) = again.request() else {
        unreachable!()
    };
    assert_eq!(request.token, Some(5));
}

#[tokio::test]
async fn an_upgrade_that_is_dropped_leaves_the_shared_hold() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, ()) = tokio::join!(async { ada.acquire("doc/a").shared(2).await }, async {
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, granted(shared_grant(5))).await;
    });
    let guard = guard.unwrap();
    let upgrade = tokio::time::timeout(
        Duration::from_millis(50),
        guard.upgrade(Duration::from_secs(9)),
    );
    let (upgrade, ()) = tokio::join!(upgrade, async {
        let asked = line.expect("lock.convert").await;
        let reply = reply::Convert::Queued { wait: 78, place: 1 };
        line.reply(asked.id, Reply::LockConvert(reply)).await;
    });
    assert!(upgrade.is_err());
    line.expect("lock.cancel").await;
    assert!(guard.is_held());
    line.expect_silence().await;
}

#[tokio::test]
async fn dropping_the_client_lets_out_what_is_on_its_way() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    drop((guard, ada, client));
    line.released().await;
    let asked = line.expect("session.close").await;
    line.reply(asked.id, Reply::SessionClose(reply::Done {}))
        .await;
    assert!(soon(line.next_or_end()).await.is_none());
}
