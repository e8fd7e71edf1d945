//! What a reconnect brings back: sessions, holds and waits go on, lost replies are settled, and what is gone is told.
//!
//! Against the scripted server of `peer`, which ends connections where it hurts. How a connection is made and ends is in
//! `connection.rs`. What must hold: after a resume both sides agree, and nobody waits for an answer that will never come.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::time::Duration;

use peer::{A_WHILE, Line, Peer, grant, granted, queued, resumed, session, shared_grant, soon};
use tenure_client::{ConnectionEvent, ErrorKind, LossCause, Released, SessionEnd, SessionEvent};
use tenure_protocol::{
    Cause, ErrorCode, GrantKind, Held, Missed, Reply, Request, WaitEnd, Waiting, reply,
};

fn held<'a>(path: &'a str, grant: tenure_protocol::Grant) -> Vec<Held<'a>> {
    vec![Held { path, grant }]
}

/// The renewal that follows each resume.
async fn renewed(line: &mut Line, holds: u32) {
    let asked = line.expect("session.renew").await;
    let results = vec![reply::SessionRenewal::Renewed { holds }];
    let reply = Reply::SessionRenew(reply::SessionsRenewed { results });
    line.reply(asked.id, reply).await;
}

#[tokio::test]
async fn a_hold_goes_on_through_a_reconnect() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    let (mut events, mut sessions) = (client.events(), ada.events());
    drop(line);

    let mut line = peer.accept().await;
    assert!(!client.is_connected());
    assert!(!ada.is_attached());
    let error = ada.acquire("doc/b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.is_retryable());
    let number = line
        .resume(reply::Resumed {
            holds: held("doc/a", grant(5)),
            ..resumed()
        })
        .await;
    assert_eq!(number, 11);
    renewed(&mut line, 1).await;
    assert!(guard.is_held());
    assert_eq!(guard.token(), 5);
    assert!(matches!(
        soon(events.next()).await,
        Some(ConnectionEvent::Disconnected { .. })
    ));
    assert!(matches!(
        soon(events.next()).await,
        Some(ConnectionEvent::Connected { connection: 1, .. })
    ));
    let Some(ConnectionEvent::Resumed(report)) = soon(events.next()).await else {
        panic!("expected the report")
    };
    assert_eq!((report.sessions, report.kept, report.lost.len()), (1, 1, 0));
    assert!(matches!(
        soon(sessions.next()).await,
        Some(SessionEvent::Detached)
    ));
    let Some(SessionEvent::Resumed { kept, lost }) = soon(sessions.next()).await else {
        panic!("expected the report")
    };
    assert_eq!(kept, ["doc/a"]);
    assert!(lost.is_empty());
}

#[tokio::test]
async fn a_hold_that_was_lost_meanwhile_says_to_whom() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    drop(line);
    let mut line = peer.accept().await;
    let who = tenure_protocol::Who {
        owner: "eve",
        name: "Eve",
    };
    line.resume(reply::Resumed {
        missed: vec![Missed::Lost {
            path: "doc/a",
            token: 5,
            cause: Cause::Seized {
                by: who,
                reason: "deadline",
            },
        }],
        ..resumed()
    })
    .await;
    let loss = soon(guard.lost()).await;
    assert_eq!(loss.cause, LossCause::Seized);
    assert_eq!(loss.by.unwrap().name, "Eve");
    assert_eq!(loss.reason.as_deref(), Some("deadline"));
    let error = guard.upgrade(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotHeld);
}

#[tokio::test]
async fn an_acquire_whose_grant_was_lost_is_settled_by_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    line.expect("lock.acquire").await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(reply::Resumed {
        holds: held("doc/a", grant(5)),
        ..resumed()
    })
    .await;
    let guard = soon(ask).await.unwrap().unwrap();
    assert_eq!(guard.token(), 5);
    assert!(guard.remaining() > Duration::from_secs(55));
}

#[tokio::test]
async fn an_acquire_whose_place_was_lost_goes_on_waiting() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    line.expect("lock.acquire").await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(reply::Resumed {
        waits: vec![Waiting {
            wait: 77,
            paths: vec!["doc/a"],
            place: 1,
            remaining_ms: 9000,
        }],
        ..resumed()
    })
    .await;
    renewed(&mut line, 0).await;
    line.push(peer::wait_granted(11, 77, "doc/a", grant(6)))
        .await;
    line.confirm(6).await;
    assert_eq!(soon(ask).await.unwrap().unwrap().token(), 6);
}

#[tokio::test]
async fn an_acquire_that_left_no_trace_was_not_carried_out() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    line.expect("lock.acquire").await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(resumed()).await;
    let error = soon(ask).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_wait_survives_and_its_missed_grant_is_found() {
    for missed_grant in [false, true] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let ask = tokio::spawn({
            let ada = ada.clone();
            async move { ada.acquire("doc/a").await }
        });
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, queued(77, 1)).await;
        tokio::time::sleep(A_WHILE).await;
        drop(line);
        let mut line = peer.accept().await;
        if missed_grant {
            line.resume(reply::Resumed {
                holds: held("doc/a", grant(6)),
                ..resumed()
            })
            .await;
        } else {
            line.resume(reply::Resumed {
                waits: vec![Waiting {
                    wait: 77,
                    paths: vec!["doc/a"],
                    place: 1,
                    remaining_ms: 9000,
                }],
                ..resumed()
            })
            .await;
            renewed(&mut line, 0).await;
            line.push(peer::wait_granted(11, 77, "doc/a", grant(6)))
                .await;
            line.confirm(6).await;
        }
        assert_eq!(soon(ask).await.unwrap().unwrap().token(), 6);
    }
}

#[tokio::test]
async fn a_wait_that_ended_meanwhile_says_why() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    tokio::time::sleep(A_WHILE).await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(reply::Resumed {
        missed: vec![Missed::WaitEnded {
            wait: 77,
            why: WaitEnd::TimedOut,
        }],
        ..resumed()
    })
    .await;
    line.renews = true;
    let asked = line.expect("lock.status").await;
    line.error(asked.id, ErrorCode::Unavailable).await;
    let error = soon(ask).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn a_grant_that_was_being_confirmed_is_confirmed_by_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    line.push(peer::wait_granted(11, 77, "doc/a", grant(6)))
        .await;
    line.expect("lock.renew").await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(reply::Resumed {
        holds: held("doc/a", grant(6)),
        ..resumed()
    })
    .await;
    assert_eq!(soon(ask).await.unwrap().unwrap().token(), 6);
}

#[tokio::test]
async fn a_release_that_was_not_answered_is_settled() {
    for still_held in [false, true] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let release = tokio::spawn(guard.unwrap().release());
        line.expect("lock.release").await;
        drop(line);
        let mut line = peer.accept().await;
        let holds = if still_held {
            held("doc/a", grant(5))
        } else {
            Vec::new()
        };
        line.resume(reply::Resumed { holds, ..resumed() }).await;
        if still_held {
            line.released().await;
        }
        assert_eq!(soon(release).await.unwrap().unwrap(), Released::Ended);
    }
}

#[tokio::test]
async fn a_guard_that_was_dropped_meanwhile_is_released_after_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    drop(line);
    let mut line = peer.accept().await;
    drop(guard);
    line.resume(reply::Resumed {
        holds: held("doc/a", grant(5)),
        ..resumed()
    })
    .await;
    line.released().await;
}

#[tokio::test]
async fn a_wait_that_was_given_up_meanwhile_is_cancelled_after_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    tokio::time::sleep(A_WHILE).await;
    drop(line);
    let mut line = peer.accept().await;
    ask.abort();
    assert!(ask.await.is_err());
    line.resume(reply::Resumed {
        waits: vec![Waiting {
            wait: 77,
            paths: vec!["doc/a"],
            place: 1,
            remaining_ms: 9000,
        }],
        ..resumed()
    })
    .await;
    line.expect("lock.cancel").await;
}

#[tokio::test]
async fn an_upgrade_whose_answer_was_lost_shows_in_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, ()) = tokio::join!(async { ada.acquire("doc/a").shared(None).await }, async {
        let asked = line.expect("lock.acquire").await;
        line.reply(asked.id, granted(shared_grant(5))).await;
    });
    let guard = std::sync::Arc::new(guard.unwrap());
    let upgrade = tokio::spawn({
        let guard = std::sync::Arc::clone(&guard);
        async move { guard.upgrade(Duration::from_secs(5)).await }
    });
    line.expect("lock.convert").await;
    drop(line);
    let mut line = peer.accept().await;
    let mut converted = grant(9);
    converted.kind = GrantKind::Converted;
    line.resume(reply::Resumed {
        holds: held("doc/a", converted),
        ..resumed()
    })
    .await;
    soon(upgrade).await.unwrap().unwrap();
    assert_eq!(guard.token(), 9);
    assert_eq!(guard.mode(), tenure_client::Mode::Exclusive);
}

#[tokio::test]
async fn an_exclusive_hold_under_another_token_was_lost_in_between() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    let again = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    line.expect("lock.acquire").await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(reply::Resumed {
        holds: held("doc/a", grant(8)),
        ..resumed()
    })
    .await;
    assert_eq!(soon(guard.lost()).await.cause, LossCause::Unknown);
    let again = soon(again).await.unwrap().unwrap();
    assert_eq!(again.token(), 8);
    // The old guard has nothing to let go of.
    renewed(&mut line, 1).await;
    drop(guard);
    line.expect_silence().await;
}

#[tokio::test]
async fn a_session_that_is_gone_and_had_something_is_over() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    let mut events = client.events();
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("session.resume").await;
    line.error(asked.id, ErrorCode::UnknownSession).await;
    assert_eq!(soon(guard.lost()).await.cause, LossCause::SessionLost);
    assert_eq!(soon(ada.ended()).await, SessionEnd::Unknown);
    let error = ada.acquire("doc/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    let report = loop {
        if let Some(ConnectionEvent::Resumed(report)) = soon(events.next()).await {
            break report;
        }
    };
    assert_eq!(report.ended.len(), 1);
    assert_eq!(report.ended[0].owner, "ada");
    assert_eq!(report.lost.len(), 1);
}

#[tokio::test]
async fn a_session_that_is_gone_and_had_nothing_is_opened_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let mut events = ada.events();
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("session.resume").await;
    line.error(asked.id, ErrorCode::UnknownSession).await;
    let asked = line.open(12).await;
    let Request::SessionOpen(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!((request.owner, request.name), ("ada", "Ada"));
    assert!(matches!(
        soon(events.next()).await,
        Some(SessionEvent::Detached)
    ));
    assert!(matches!(
        soon(events.next()).await,
        Some(SessionEvent::Reopened)
    ));
    let (guard, asked) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    let Request::LockAcquire(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!(request.session, 12);
    assert!(guard.unwrap().is_held());
}

#[tokio::test]
async fn reads_that_were_not_answered_may_be_repeated_and_changes_are_unknown() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let layer = tenure_client::PolicyLayer::default();
    let (status, policy, ()) = tokio::join!(
        client.status("acme", "doc/a"),
        client.set_policy("acme", None, &layer),
        async {
            line.next().await;
            line.next().await;
            drop(line);
        }
    );
    assert_eq!(status.unwrap_err().kind(), ErrorKind::Disconnected);
    assert_eq!(policy.unwrap_err().kind(), ErrorKind::UnknownOutcome);
}

#[tokio::test]
async fn a_session_that_cannot_be_resumed_at_the_moment_keeps_nobody_waiting() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let bob = session(&client, &mut line, 12).await;
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("session.resume").await;
    line.error(asked.id, ErrorCode::Unavailable).await;
    line.renews = true;
    line.resume(resumed()).await;
    line.expect_silence().await;
    assert!(bob.is_attached());
    let (guard, _) = tokio::join!(async { bob.acquire("doc/a").await }, line.grant(5));
    guard.unwrap().leave_held();
    let error = ada.acquire("doc/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(line.resume(resumed()).await, 11);
    line.expect_silence().await;
    assert!(ada.is_attached());
}

#[tokio::test]
async fn a_session_can_be_taken_over_with_what_it_holds() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ticket = ada.ticket().unwrap().encode();
    assert!(!format!("{:?}", ada.ticket()).contains("0707"));
    let ticket = tenure_client::SessionTicket::decode(&ticket).unwrap();
    let error = client.take_over(ticket.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    let (other, mut other_line) = peer.connect().await;
    let (taken, number) = tokio::join!(
        other.take_over(ticket),
        other_line.resume(reply::Resumed {
            holds: held("doc/a", grant(5)),
            waits: vec![Waiting {
                wait: 77,
                paths: vec!["doc/b"],
                place: 1,
                remaining_ms: 9000,
            }],
            ..resumed()
        })
    );
    assert_eq!(number, 11);
    let taken = taken.unwrap();
    assert_eq!(taken.session.owner(), "ada");
    assert_eq!(taken.guards[0].token(), 5);
    let asked = other_line.expect("lock.cancel").await;
    other_line
        .reply(asked.id, Reply::LockCancel(reply::Cancel::Cancelled))
        .await;
    renewed(&mut other_line, 1).await;
    drop(taken.guards);
    other_line.released().await;

    let moved = tenure_protocol::push::Moved { session: 11 };
    line.push(tenure_protocol::Push::SessionMoved(moved)).await;
    assert_eq!(soon(ada.ended()).await, SessionEnd::Moved);
    drop(ada);
    line.expect_silence().await;
    assert!(tenure_client::SessionTicket::decode("11:acme:07").is_err());
}

#[tokio::test]
async fn a_server_that_has_lost_its_memory_may_give_the_same_numbers_anew() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let first = session(&client, &mut line, 11).await;
    let second = session(&client, &mut line, 12).await;
    drop(line);
    let mut line = peer.accept().await;
    line.renews = true;
    for _ in 0..2 {
        let asked = line.expect("session.resume").await;
        line.error(asked.id, ErrorCode::UnknownSession).await;
    }
    line.open(12).await;
    line.open(13).await;
    line.expect_silence().await;
    let (guard, _) = tokio::join!(async { first.acquire("doc/a").await }, line.grant(5));
    let guard = guard.unwrap();
    line.push(tenure_protocol::Push::LockLost(
        tenure_protocol::push::Lost {
            session: 12,
            path: "doc/a",
            token: 5,
            cause: Cause::Expired,
        },
    ))
    .await;
    assert_eq!(soon(guard.lost()).await.cause, LossCause::Expired);
    assert!(second.is_attached());
}

#[tokio::test]
async fn a_session_that_was_dropped_meanwhile_is_closed_after_the_resume() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
    drop(line);
    let mut line = peer.accept().await;
    drop((guard, ada));
    line.renews = true;
    line.resume(reply::Resumed {
        holds: held("doc/a", grant(5)),
        ..resumed()
    })
    .await;
    let asked = line.expect("session.close").await;
    line.reply(asked.id, Reply::SessionClose(reply::Done {}))
        .await;
    line.expect_silence().await;
}

#[tokio::test]
async fn a_close_that_was_not_answered_is_done_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let close = tokio::spawn(async move { ada.close().await });
    line.expect("session.close").await;
    drop(line);
    let mut line = peer.accept().await;
    line.renews = true;
    line.resume(resumed()).await;
    let asked = line.expect("session.close").await;
    line.reply(asked.id, Reply::SessionClose(reply::Done {}))
        .await;
    soon(close).await.unwrap().unwrap();
}

#[tokio::test]
async fn waits_of_a_session_that_is_over_are_over() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    line.push(tenure_protocol::Push::SessionMoved(
        tenure_protocol::push::Moved { session: 11 },
    ))
    .await;
    let error = soon(ask).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert_eq!(soon(ada.ended()).await, SessionEnd::Moved);
}

#[tokio::test]
async fn an_acquire_does_not_take_up_a_wait_for_less() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let shared = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").shared(None).await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    let exclusive = tokio::spawn(async move { ada.acquire("doc/a").await });
    line.expect("lock.acquire").await;
    drop(line);
    // The second acquire was not carried out.
    let mut line = peer.accept().await;
    line.renews = true;
    line.resume(reply::Resumed {
        waits: vec![Waiting {
            wait: 77,
            paths: vec!["doc/a"],
            place: 1,
            remaining_ms: 9000,
        }],
        ..resumed()
    })
    .await;
    let error = soon(exclusive).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let grant = shared_grant(6);
    line.push(peer::wait_granted(11, 77, "doc/a", grant)).await;
    let asked = line.expect("lock.renew").await;
    let reply = Reply::LockRenew(reply::Renew::Granted { grant });
    line.reply(asked.id, reply).await;
    let guard = soon(shared).await.unwrap().unwrap();
    assert_eq!(guard.mode(), tenure_client::Mode::Shared);
}

#[tokio::test]
async fn a_wait_that_turns_out_to_be_for_less_is_no_success() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    // A wait for the shared mode is given up, and the connection ends before the cancellation is carried out.
    let shared = tokio::spawn({
        let ada = ada.clone();
        async move { ada.acquire("doc/a").shared(None).await }
    });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    tokio::time::sleep(A_WHILE).await;
    shared.abort();
    line.expect("lock.cancel").await;
    let exclusive = tokio::spawn(async move { ada.acquire("doc/a").await });
    line.expect("lock.acquire").await;
    drop(line);
    let mut line = peer.accept().await;
    line.renews = true;
    line.resume(reply::Resumed {
        waits: vec![Waiting {
            wait: 77,
            paths: vec!["doc/a"],
            place: 1,
            remaining_ms: 9000,
        }],
        ..resumed()
    })
    .await;
    let grant = shared_grant(6);
    line.push(peer::wait_granted(11, 77, "doc/a", grant)).await;
    let asked = line.expect("lock.renew").await;
    let reply = Reply::LockRenew(reply::Renew::Granted { grant });
    line.reply(asked.id, reply).await;
    let error = soon(exclusive).await.unwrap().unwrap_err();
    assert!(error.is_retryable());
    line.released().await;
}

#[tokio::test]
async fn a_hand_over_without_an_answer_shows_in_the_resume() {
    for (holds, missed, expected) in [
        (Vec::new(), Vec::new(), Ok(LossCause::HandedOver)),
        (
            Vec::new(),
            vec![Missed::Lost {
                path: "doc/a",
                token: 5,
                cause: Cause::Expired,
            }],
            Err(ErrorKind::NotHeld),
        ),
        (
            held("doc/a", grant(5)),
            Vec::new(),
            Err(ErrorKind::Disconnected),
        ),
    ] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let guard = std::sync::Arc::new(guard.unwrap());
        let handing = tokio::spawn({
            let guard = std::sync::Arc::clone(&guard);
            async move { guard.hand_over().await }
        });
        line.expect("lock.hand_over").await;
        drop(line);
        let mut line = peer.accept().await;
        line.resume(reply::Resumed {
            holds,
            missed,
            ..resumed()
        })
        .await;
        let handed = soon(handing).await.unwrap();
        match expected {
            Ok(cause) => {
                assert_eq!(handed.unwrap().token, None);
                assert_eq!(guard.loss().unwrap().cause, cause);
            }
            Err(kind) => assert_eq!(handed.unwrap_err().kind(), kind),
        }
    }
}

#[tokio::test]
async fn a_release_that_was_overtaken_by_a_loss_says_so() {
    for (cause, expected) in [
        (Cause::Expired, Ok(Released::AlreadyExpired)),
        (
            Cause::Forced {
                by: "root",
                reason: "cleaning up",
            },
            Err(ErrorKind::NotHeld),
        ),
    ] {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let ada = session(&client, &mut line, 11).await;
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let release = tokio::spawn(guard.unwrap().release());
        line.expect("lock.release").await;
        drop(line);
        let mut line = peer.accept().await;
        line.resume(reply::Resumed {
            missed: vec![Missed::Lost {
                path: "doc/a",
                token: 5,
                cause,
            }],
            ..resumed()
        })
        .await;
        let released = soon(release).await.unwrap();
        assert_eq!(released.map_err(|error| error.kind()), expected);
    }
}
