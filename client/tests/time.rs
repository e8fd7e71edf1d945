//! What the passing of time does: renewals in one message, holds that run out on this side, and doubt.
//!
//! Against the scripted server of `peer`, which grants for fractions of a second. What must hold: no guard claims to be
//! held for longer than the server has promised, counted from the sending.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is the message"
)]

mod peer;

use std::time::{Duration, Instant};

use peer::{Line, Peer, granted, queued, session, short_grant, soon, wait_granted};
use tenure_client::{ErrorKind, LockGuard, LossCause, Renewal, Session};
use tenure_protocol::{Cause, GrantKind, Held, Reply, Request, Truth, reply};

const TTL_MS: u64 = 300;
const TTL: Duration = Duration::from_millis(TTL_MS);

async fn acquired(session: &Session, line: &mut Line, path: &str, renewal: Renewal) -> LockGuard {
    let (guard, ()) = tokio::join!(
        async { session.acquire(path).renewal(renewal).await },
        async {
            let asked = line.expect("lock.acquire").await;
            line.reply(asked.id, granted(short_grant(5, TTL_MS))).await;
        }
    );
    guard.unwrap()
}

#[tokio::test]
async fn all_sessions_are_renewed_in_one_message_at_a_third_of_the_ttl() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let mut guards = Vec::new();
    let mut sessions = Vec::new();
    for number in [11, 12, 13] {
        let session = session(&client, &mut line, number).await;
        guards.push(acquired(&session, &mut line, "doc/a", Renewal::Always).await);
        sessions.push(session);
    }
    let begin = Instant::now();
    for _ in 0..4 {
        let asked = line.expect("session.renew").await;
        let Request::SessionRenew(request) = asked.request() else {
            unreachable!()
        };
        assert_eq!(request.sessions, [11, 12, 13]);
        let results = vec![reply::SessionRenewal::Renewed { holds: 1 }; 3];
        let reply = Reply::SessionRenew(reply::SessionsRenewed { results });
        line.reply(asked.id, reply).await;
        assert!(guards.iter().all(LockGuard::is_held));
    }
    assert!(begin.elapsed() >= TTL);
    assert!(begin.elapsed() < 4 * TTL);
}

#[tokio::test]
async fn a_hold_that_is_not_renewed_runs_out_here() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let begin = Instant::now();
    let guard = acquired(&ada, &mut line, "doc/a", Renewal::Always).await;
    assert!(guard.remaining() <= TTL);
    assert_eq!((guard.ttl(), guard.watch().ttl()), (TTL, TTL));
    // Renewals are asked for and never answered.
    let loss = soon(guard.lost()).await;
    assert_eq!(loss.cause, LossCause::ExpiredHere);
    assert_eq!(loss.token, 5);
    assert!(begin.elapsed() >= TTL - Duration::from_millis(20));
    assert!(!guard.is_held());
    assert!(guard.remaining().is_zero() && guard.ttl().is_zero());
    // The server may have renewed it all the same: what nobody here has is let go there.
    loop {
        let asked = line.next().await;
        match asked.request() {
            Request::SessionRenew(_) => {}
            Request::LockRelease(release) => {
                assert_eq!(release.token, Some(5));
                break;
            }
            other => panic!("expected a release, found {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_remains_is_counted_from_the_sending() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (guard, ()) = tokio::join!(async { ada.acquire("doc/a").await }, async {
        let asked = line.expect("lock.acquire").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        line.reply(asked.id, granted(short_grant(5, 1000))).await;
    });
    assert!(guard.unwrap().remaining() <= Duration::from_millis(900));
}

#[tokio::test]
async fn a_pushed_grant_counts_from_its_renewal() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn(async move { ada.acquire("doc/a").await });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    line.push(wait_granted(11, 77, "doc/a", short_grant(6, 60_000)))
        .await;
    let asked = line.expect("lock.renew").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ask.is_finished());
    let grant = short_grant(6, 60_000);
    line.reply(asked.id, Reply::LockRenew(reply::Renew::Granted { grant }))
        .await;
    let guard = soon(ask).await.unwrap().unwrap();
    assert!(guard.remaining() <= Duration::from_millis(59_900));
}

#[tokio::test]
async fn a_pushed_grant_that_was_lost_again_is_no_grant() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ask = tokio::spawn(async move { ada.acquire("doc/a").await });
    let asked = line.expect("lock.acquire").await;
    line.reply(asked.id, queued(77, 1)).await;
    line.push(wait_granted(11, 77, "doc/a", short_grant(6, 60_000)))
        .await;
    let asked = line.expect("lock.renew").await;
    let not_held = reply::Renew::NotHeld {
        lost: Some(tenure_protocol::Loss {
            token: 6,
            cause: Cause::Expired,
        }),
        truth: Truth::default(),
    };
    line.reply(asked.id, Reply::LockRenew(not_held)).await;
    let error = soon(ask).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotHeld);
    assert_eq!(error.loss().unwrap().cause, LossCause::Expired);
}

#[tokio::test]
async fn a_hold_that_is_missing_from_a_renewal_is_looked_for() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a", Renewal::Always).await;
    let asked = line.expect("session.renew").await;
    let results = vec![reply::SessionRenewal::Renewed { holds: 0 }];
    line.reply(
        asked.id,
        Reply::SessionRenew(reply::SessionsRenewed { results }),
    )
    .await;
    let asked = line.expect("lock.renew").await;
    let not_held = reply::Renew::NotHeld {
        lost: None,
        truth: Truth::default(),
    };
    line.reply(asked.id, Reply::LockRenew(not_held)).await;
    assert_eq!(soon(guard.lost()).await.cause, LossCause::Unknown);
}

#[tokio::test]
async fn a_session_that_is_gone_at_its_renewal_is_over() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a", Renewal::Always).await;
    let asked = line.expect("session.renew").await;
    let results = vec![reply::SessionRenewal::UnknownSession];
    line.reply(
        asked.id,
        Reply::SessionRenew(reply::SessionsRenewed { results }),
    )
    .await;
    assert_eq!(soon(guard.lost()).await.cause, LossCause::SessionLost);
}

#[tokio::test]
async fn an_idle_guard_is_not_renewed_and_its_neighbour_is() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let idle_after = Duration::from_millis(50);
    let idle = acquired(
        &ada,
        &mut line,
        "doc/idle",
        Renewal::WhileActive { idle_after },
    )
    .await;
    let busy = acquired(&ada, &mut line, "doc/busy", Renewal::Always).await;
    let mut renewed = 0;
    loop {
        let asked = line.next().await;
        match asked.request() {
            Request::LockRenew(renew) => {
                assert_eq!(renew.path, "doc/busy");
                renewed += 1;
                let mut grant = short_grant(5, TTL_MS);
                grant.kind = GrantKind::Joined;
                let reply = Reply::LockRenew(reply::Renew::Granted { grant });
                line.reply(asked.id, reply).await;
            }
            Request::LockRelease(release) => {
                assert_eq!(release.path, "doc/idle");
                break;
            }
            // Once nobody is idle any more, the session is renewed whole again.
            _ => assert!(idle.loss().is_some(), "{:?}", asked.request()),
        }
    }
    assert!(renewed >= 2);
    assert_eq!(soon(idle.lost()).await.cause, LossCause::ExpiredHere);
    assert!(busy.is_held());
    assert_eq!(line.next().await.name(), "session.renew");
}

#[tokio::test]
async fn a_touch_renews_an_idle_guard_at_once() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let idle_after = Duration::from_millis(40);
    let guard = acquired(
        &ada,
        &mut line,
        "doc/a",
        Renewal::WhileActive { idle_after },
    )
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(guard.is_held());
    guard.touch();
    let asked = line.expect("session.renew").await;
    let results = vec![reply::SessionRenewal::Renewed { holds: 1 }];
    line.reply(
        asked.id,
        Reply::SessionRenew(reply::SessionsRenewed { results }),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(guard.remaining() > Duration::from_millis(200));
}

#[tokio::test]
async fn beyond_the_grace_a_hold_is_in_doubt_and_may_yet_go_on() {
    for lose_in_doubt in [false, true] {
        let peer = Peer::bind().await;
        let options = peer.options().lose_in_doubt(lose_in_doubt);
        let (client, mut line) = peer.connect_with(options).await;
        let (ada, ()) = tokio::join!(async { client.session("acme", "ada").await }, async {
            let asked = line.expect("session.open").await;
            let opened = reply::Opened {
                session: 11,
                resume_key: peer::KEY,
                on_disconnect: tenure_protocol::OnDisconnect::Release { grace_ms: 100 },
            };
            line.reply(asked.id, Reply::SessionOpen(opened)).await;
        });
        let ada = ada.unwrap();
        let (guard, _) = tokio::join!(async { ada.acquire("doc/a").await }, line.grant(5));
        let guard = guard.unwrap();
        drop(line);
        let mut line = peer.accept().await;
        assert!(guard.is_held());
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!guard.is_held());
        assert_eq!(guard.loss().is_some(), lose_in_doubt);
        line.resume(reply::Resumed {
            holds: vec![Held {
                path: "doc/a",
                grant: peer::grant(5),
            }],
            ..peer::resumed()
        })
        .await;
        if lose_in_doubt {
            line.released().await;
        } else {
            line.expect("session.renew").await;
        }
        assert_eq!(guard.is_held(), !lose_in_doubt);
    }
}

#[tokio::test]
async fn renewals_fit_the_frames_that_the_server_takes() {
    let mut peer = Peer::bind().await;
    // Room for four numbers.
    peer.frame_bytes = 100;
    let (client, mut line) = peer.connect().await;
    let mut guards = Vec::new();
    for number in 11..16 {
        let session = session(&client, &mut line, number).await;
        guards.push(acquired(&session, &mut line, "doc/a", Renewal::Always).await);
    }
    let mut renewed = Vec::new();
    while renewed.len() < 5 {
        let asked = line.expect("session.renew").await;
        let Request::SessionRenew(request) = asked.request() else {
            unreachable!()
        };
        assert!(request.sessions.len() <= 4);
        renewed.extend(request.sessions);
    }
    renewed.sort_unstable();
    assert_eq!(renewed, [11, 12, 13, 14, 15]);
}

#[tokio::test]
async fn renewals_get_through_however_busy_callers_are() {
    let mut peer = Peer::bind().await;
    peer.in_flight = 4;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let _guard = acquired(&ada, &mut line, "doc/a", Renewal::Always).await;
    for _ in 0..10 {
        let client = client.clone();
        tokio::spawn(async move { client.status("acme", "doc/a").await });
    }
    for _ in 0..3 {
        line.expect("lock.status").await;
    }
    line.expect("session.renew").await;
}

#[tokio::test]
async fn a_renewal_by_hand_is_known_to_the_guard() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let idle_after = Duration::from_millis(1);
    let renewal = Renewal::WhileActive { idle_after };
    let guard = acquired(&ada, &mut line, "doc/a", renewal).await;
    let (renewed, ()) = tokio::join!(ada.renew("doc/a", None, Some(5)), async {
        let asked = line.expect("lock.renew").await;
        let grant = short_grant(5, 60_000);
        line.reply(asked.id, Reply::LockRenew(reply::Renew::Granted { grant }))
            .await;
    });
    assert!(renewed.unwrap() > Duration::from_secs(59));
    tokio::time::sleep(2 * TTL).await;
    assert!(guard.is_held(), "it lives as long as the server has said");
}

#[tokio::test]
async fn a_guard_may_come_to_be_renewed_while_there_is_activity() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let guard = acquired(&ada, &mut line, "doc/a", Renewal::Always).await;
    let guard = guard.while_active(Duration::from_millis(1));
    // Nobody is active, so nothing is renewed, and it runs out.
    assert_eq!(soon(guard.lost()).await.cause, LossCause::ExpiredHere);
    let asked = line.next().await;
    assert!(matches!(asked.request(), Request::LockRelease(_)));
}
