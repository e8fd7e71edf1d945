//! Replies find their requests, whatever their order; what makes no sense ends the connection and not the client.
//!
//! Against the scripted server of `peer`. What must hold: no answer goes to somebody else, and no more is asked at once
//! than the server takes.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

mod peer;

use std::time::{Duration, UNIX_EPOCH};

use peer::{Peer, session, soon};
use tenure_client::{Attempted, ConnectionEvent, Deed, ErrorKind, PolicyLayer, Target};
use tenure_protocol as wire;
use tenure_protocol::{ErrorCode, ListedHold, Mode, Reply, Request, Truth, reply};

#[tokio::test]
async fn replies_may_come_in_any_order() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let paths = ["doc/a", "doc/b", "doc/c"];
    let asks = paths.map(|path| {
        let client = client.clone();
        tokio::spawn(async move { client.status("acme", path).await })
    });
    let mut asked = Vec::new();
    for _ in paths {
        asked.push(line.expect("lock.status").await);
    }
    for asked in asked.iter().rev() {
        let Request::LockStatus(request) = asked.request() else {
            unreachable!()
        };
        let waiters = u32::from(*request.path.as_bytes().last().unwrap());
        let truth = Truth {
            waiters,
            ..Truth::default()
        };
        line.reply(asked.id, Reply::LockStatus(reply::Status { truth }))
            .await;
    }
    for (ask, path) in asks.into_iter().zip(paths) {
        let status = soon(ask).await.unwrap().unwrap();
        assert_eq!(status.path, path);
        assert_eq!(status.waiters, u32::from(*path.as_bytes().last().unwrap()));
        assert!(status.is_free());
    }
}

#[tokio::test]
async fn no_more_is_sent_than_the_server_takes_at_once() {
    let mut peer = Peer::bind().await;
    peer.in_flight = 4;
    let (client, mut line) = peer.connect().await;
    // One of four is kept for renewals and the like.
    let asks: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.check("acme", "doc/a", 7).await })
        })
        .collect();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(line.expect("lock.check").await);
    }
    line.expect_silence().await;
    let checked = reply::Checked {
        current: true,
        token: Some(7),
    };
    for _ in 0..10 {
        let asked = match waiting.pop() {
            Some(asked) => asked,
            None => line.expect("lock.check").await,
        };
        line.reply(asked.id, Reply::LockCheck(checked)).await;
    }
    for ask in asks {
        assert!(soon(ask).await.unwrap().unwrap().current);
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_says_who_holds_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let (attempted, asked) = tokio::join!(async { ada.try_acquire("doc/a").await }, async {
        let asked = line.expect("lock.acquire").await;
        let refusal = peer::refused(peer::held_by("bob", "Bob"));
        line.reply(asked.id, refusal).await;
        asked
    });
    let Request::LockAcquire(request) = asked.request() else {
        unreachable!()
    };
    assert_eq!((request.session, request.wait_ms), (11, 0));
    let Attempted::Held(refusal) = attempted.unwrap() else {
        panic!("it was refused")
    };
    let holder = refusal.holder().unwrap();
    assert_eq!(holder.display_name(), "Bob");
    assert_eq!(holder.held_for, Duration::from_secs(4));
    assert_eq!(holder.metadata, b"tab 1");
    assert_eq!(refusal.status.waiters, 2);
}

#[tokio::test]
async fn errors_tell_what_to_do_about_them() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let cases = [
        (ErrorCode::Unavailable, ErrorKind::Unavailable, true),
        (ErrorCode::BadValue, ErrorKind::BadRequest, false),
        (ErrorCode::OrgNotAllowed, ErrorKind::NotAllowed, false),
        (ErrorCode::Internal, ErrorKind::Server, false),
    ];
    for (code, kind, retryable) in cases {
        let (result, ()) = tokio::join!(client.status("acme", "doc/a"), async {
            let asked = line.expect("lock.status").await;
            line.error(asked.id, code).await;
        });
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.is_retryable(), retryable);
        assert_eq!(error.code(), Some(code.number()));
        assert_eq!(error.code_name(), Some(code.name()));
    }
}

#[tokio::test]
async fn a_request_out_of_bounds_is_not_sent() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let error = client.status("acme", "doc//a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(error.field(), Some("path"));
    let ada = session(&client, &mut line, 11).await;
    let error = ada
        .acquire("doc/a")
        .ttl(Duration::from_millis(10))
        .await
        .unwrap_err();
    assert_eq!(error.field(), Some("ttl_ms"));
    line.expect_silence().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_an_error() {
    let peer = Peer::bind().await;
    let options = peer.options().request_timeout(Duration::from_millis(50));
    let (client, mut line) = peer.connect_with(options).await;
    let error = client.status("acme", "doc/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // The answer that comes later is nobody's, and hurts nobody.
    let asked = line.expect("lock.status").await;
    let status = reply::Status {
        truth: Truth::default(),
    };
    line.reply(asked.id, Reply::LockStatus(status)).await;
    assert!(
        client
            .ping()
            .await
            .is_err_and(|error| error.kind() == ErrorKind::TimedOut)
    );
}

#[tokio::test]
async fn garbage_ends_the_connection_and_not_the_client() {
    let garbage: [&[u8]; 4] = [
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 3, 1, 2, 3],
        // An array with an op and nothing else.
        &[0, 0, 0, 2, 0x91, 0x14],
    ];
    for garbage in garbage {
        let peer = Peer::bind().await;
        let (client, mut line) = peer.connect().await;
        let mut events = client.events();
        line.write(garbage).await;
        let event = soon(events.next()).await.unwrap();
        let ConnectionEvent::Disconnected { why } = event else {
            panic!("expected an end, found {event:?}")
        };
        assert_eq!(why.kind(), ErrorKind::Protocol, "{why}");
        let mut line = peer.accept().await;
        let (pong, _) = tokio::join!(async { soon(wait_for_ping(&client)).await }, async {
            // Pings are answered while the next request is waited for.
            line.expect_silence().await;
        });
        assert!(pong);
    }
}

async fn wait_for_ping(client: &tenure_client::Client) -> bool {
    loop {
        if client.ping().await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_ends_the_connection() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let (result, ()) = tokio::join!(client.status("acme", "doc/a"), async {
        let asked = line.expect("lock.status").await;
        line.reply(asked.id, Reply::PolicySet(reply::Done {})).await;
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    peer.accept().await;
}

#[tokio::test]
async fn pushes_of_a_later_version_are_ignored() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    // [200, 1]
    line.write(&[0, 0, 0, 4, 0x92, 0xcc, 200, 1]).await;
    let (pong, ()) = tokio::join!(client.ping(), line.expect_silence());
    pong.unwrap();
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let list = client
        .list("acme")
        .target(Target::prefix("doc/"))
        .mode(tenure_client::Mode::Exclusive)
        .held_for_at_least(Duration::from_secs(60))
        .page_size(1);
    let (all, cursors) = tokio::join!(list.all(), async {
        let mut cursors = Vec::new();
        for (path, next) in [("doc/a", Some("doc/a")), ("doc/b", None)] {
            let asked = line.expect("lock.list").await;
            let Request::LockList(request) = asked.request() else {
                unreachable!()
            };
            assert_eq!(request.held_min_ms, 60_000);
            cursors.push(request.cursor.map(str::to_owned));
            let truth = peer::held_by("bob", "Bob");
            let page = reply::Page {
                holds: vec![ListedHold {
                    path,
                    mode: Mode::Exclusive,
                    token: 3,
                    holder: truth.holders[0],
                    waiters: 0,
                }],
                next,
                position: None,
            };
            line.reply(asked.id, Reply::LockList(page)).await;
        }
        cursors
    });
    let paths: Vec<_> = all.unwrap().into_iter().map(|hold| hold.path).collect();
    assert_eq!(paths, ["doc/a", "doc/b"]);
    assert_eq!(cursors, [None, Some("doc/a".to_owned())]);
}

#[tokio::test]
async fn an_audit_trail_is_read_page_by_page() {
    let layer = wire::PolicyLayer {
        ttl_max_ms: Some(600_000),
        ..wire::PolicyLayer::default()
    };
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let trail = client
        .audit("acme")
        .since(UNIX_EPOCH + Duration::from_millis(77))
        .after(4)
        .page_size(2);
    let seized = wire::AuditedAct {
        number: 5,
        at_ms: 1_700_000_000_123,
        act: wire::ActKind::Seize,
        principal: "help-desk",
        reason: Some("urgent"),
        path: Some("doc/a"),
        owner: Some("bob"),
        token: Some(9),
        kind: None,
        layer: None,
    };
    let forced = wire::AuditedAct {
        number: 7,
        act: wire::ActKind::ForceRelease,
        ..seized
    };
    let set = wire::AuditedAct {
        number: 8,
        at_ms: 1_700_000_000_124,
        act: wire::ActKind::PolicySet,
        principal: "ops",
        reason: None,
        path: None,
        owner: None,
        token: None,
        kind: Some("doc"),
        layer: Some(layer),
    };
    let (all, cursors) = tokio::join!(trail.all(), async {
        let mut cursors = Vec::new();
        for (acts, next) in [(vec![seized, forced], Some(7)), (vec![set], None)] {
            let asked = line.expect("audit.list").await;
            let Request::AuditList(request) = asked.request() else {
                unreachable!()
            };
            assert_eq!(
                (request.org, request.since_ms, request.page),
                ("acme", 77, 2)
            );
            cursors.push(request.cursor);
            let page = reply::AuditPage { acts, next };
            line.reply(asked.id, Reply::AuditList(page)).await;
        }
        cursors
    });
    assert_eq!(cursors, [4, 7]);
    let (all, incomplete) = (all.unwrap(), seized);
    let acts: Vec<_> = all
        .iter()
        .map(|act| (act.number, &*act.principal))
        .collect();
    assert_eq!(acts, [(5, "help-desk"), (7, "help-desk"), (8, "ops")]);
    assert_eq!(
        all[0].at,
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    );
    let (Deed::Seize(seized), Deed::ForceRelease(forced)) = (&all[0].deed, &all[1].deed) else {
        panic!("found {all:?}")
    };
    assert_eq!(seized, forced);
    let told = (&*seized.path, &*seized.owner, seized.token, &*seized.reason);
    assert_eq!(told, ("doc/a", "bob", 9, "urgent"));
    let layer = PolicyLayer {
        ttl_max: Some(Duration::from_secs(600)),
        ..PolicyLayer::default()
    };
    let kind = Some("doc".to_owned());
    assert_eq!(all[2].deed, Deed::PolicySet { kind, layer });

    // An act that does not say what was lost is no answer.
    let (broken, ()) = tokio::join!(client.audit("acme").all(), async {
        let asked = line.expect("audit.list").await;
        let act = wire::AuditedAct {
            token: None,
            ..incomplete
        };
        let page = reply::AuditPage {
            acts: vec![act],
            next: None,
        };
        line.reply(asked.id, Reply::AuditList(page)).await;
    });
    assert_eq!(broken.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_force_release_goes_on_until_all_is_ended() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let force = client
        .force_release("acme", Target::owner("bob"), "has left")
        .dry_run();
    let (ended, ()) = tokio::join!(async { force.await }, async {
        for (path, next) in [("doc/a", Some("doc/a")), ("doc/b", None)] {
            let asked = line.expect("lock.force_release").await;
            let Request::LockForceRelease(request) = asked.request() else {
                unreachable!()
            };
            assert!(request.dry_run);
            assert_eq!(request.reason, "has left");
            let forced = reply::Forced {
                ended: vec![tenure_protocol::EndedHold {
                    path,
                    owner: "bob",
                    name: "Bob",
                    token: 5,
                }],
                next,
            };
            line.reply(asked.id, Reply::LockForceRelease(forced)).await;
        }
    });
    assert_eq!(ended.unwrap().len(), 2);
}
