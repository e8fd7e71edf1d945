//! Sessions: opening, renewing, moving from one connection to another, closing; what an org may have of them; and what their
//! waiters are told of their places.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::collections::HashSet;
use std::time::Instant;

use support::{
    Client, PATIENCE, Process, Session, TestServer, exclusive, for_a_second, millis, together,
    waiting, within,
};
use tenure_protocol::reply::SessionRenewal;
use tenure_protocol::{
    Disconnect, ErrorCode, OnDisconnect, PolicyLayer, Push, Reply, Request, Target, push, reply,
    request,
};
use tokio::task::JoinSet;

const ORG: &str = "acme";
const PATH: &str = "doc/1";

const fn opening(owner: &str, grace_ms: u64) -> request::OpenSession<'_> {
    request::OpenSession {
        org: ORG,
        owner,
        name: "",
        role: None,
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(grace_ms),
        }),
        metadata: b"",
    }
}

async fn set_policy(client: &mut Client, layer: PolicyLayer) {
    let set = request::SetPolicy {
        org: ORG,
        kind: None,
        layer,
    };
    client.ask(Request::PolicySet(set)).await;
}

// Moving from one connection to another.

#[tokio::test]
async fn a_session_that_is_resumed_elsewhere_is_told_of_there_and_no_more_here() {
    let server = TestServer::start().await;
    let mut before = server.connect().await;
    let session = before.open_with(opening("anna", 0)).await;
    let mut other = server.connect().await;
    let other_session = other.open(ORG, "ben").await.number;
    other.take(exclusive(other_session, "doc/2")).await;
    let held = before.take(exclusive(session.number, PATH)).await;
    let wait = before.queue(waiting(session.number, "doc/2")).await;

    let mut after = server.connect().await;
    let resumed = after.resume(&session).await;
    assert_eq!(resumed.owner, "anna");
    let grace_ms = 0;
    assert_eq!(resumed.on_disconnect, OnDisconnect::Release { grace_ms });
    assert_eq!(resumed.holds.len(), 1);
    assert_eq!(resumed.holds[0].path, PATH);
    assert_eq!(resumed.holds[0].grant.token, held.token);
    assert_eq!(resumed.waits.len(), 1);
    let waiting = &resumed.waits[0];
    assert_eq!((waiting.wait, waiting.place), (wait, 1));
    assert_eq!(waiting.paths, ["doc/2"]);
    assert!((1..=support::WAIT_MS).contains(&waiting.remaining_ms));
    assert!(resumed.missed.is_empty());
    before.moved(session.number).await;

    // The end of the connection that it has left does nothing, though there is no grace.
    other.release(other_session, "doc/2").await;
    after.granted(wait).await;
    assert_eq!(before.pushes_until_now().await, []);
    drop(before);
    // Whatever the server makes of that, it has made of it when a later connection has come and gone.
    for _ in 0..20 {
        server.connect().await.ping().await;
    }
    assert!(after.check(ORG, PATH, held.token).await.current);
    assert_eq!(after.pushes_until_now().await, []);
    assert_eq!(
        after.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

#[tokio::test]
async fn a_session_may_move_back_and_forth() {
    let server = TestServer::start().await;
    let mut one = server.connect().await;
    let mut other = server.connect().await;
    let session = one.open(ORG, "anna").await;
    let token = one.take(exclusive(session.number, PATH)).await.token;
    for _ in 0..10 {
        for (to, from) in [(1, 0), (0, 1)] {
            let both = [&mut one, &mut other];
            let holds = both[to].resume(&session).await.holds;
            assert_eq!(holds[0].grant.token, token);
            both[from].moved(session.number).await;
            both[to].take(exclusive(session.number, PATH)).await;
            let request = Request::LockAcquire(exclusive(session.number, PATH));
            assert_eq!(both[from].fails(request).await, ErrorCode::NotAttached);
        }
    }
}

#[tokio::test]
async fn resuming_where_it_is_attached_already_is_no_move() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let session = client.open(ORG, "anna").await;
    client.take(exclusive(session.number, PATH)).await;
    assert_eq!(client.resume(&session).await.holds.len(), 1);
    // This connection has to do with it as before: to be told otherwise would make a client give it up.
    assert_eq!(client.pushes_until_now().await, []);
    let released = client.release(session.number, PATH).await;
    assert_eq!(released, reply::Release::Ended);
}

#[tokio::test]
async fn what_follows_a_resume_in_the_same_write_is_done_by_the_session() {
    let server = TestServer::start().await;
    let mut before = server.connect().await;
    let session = before.open(ORG, "anna").await;
    let mut after = server.connect().await;
    let ids = after
        .send_all([
            Request::SessionResume(session.resumption()),
            Request::LockAcquire(exclusive(session.number, PATH)),
            Request::SessionClose(request::CloseSession {
                session: session.number,
            }),
            Request::LockStatus(request::Status {
                org: ORG,
                path: PATH,
            }),
        ])
        .await;
    let mut answers = Vec::new();
    for id in ids {
        answers.push(after.answer(id).await.unwrap());
    }
    assert!(matches!(answers[0], Reply::SessionResume(_)), "{answers:?}");
    let granted = &answers[1];
    assert!(
        matches!(granted, Reply::LockAcquire(reply::Acquire::Granted { .. })),
        "{granted:?}"
    );
    let Reply::LockStatus(status) = &answers[3] else {
        panic!("{answers:?}");
    };
    assert_eq!(
        status.truth.holder_count, 0,
        "closed before it was looked at"
    );
}

#[tokio::test]
async fn many_who_resume_the_same_session_at_once_leave_it_with_one() {
    let server = TestServer::start().await;
    let mut first = server.connect().await;
    let session = first.open(ORG, "anna").await;
    let token = first.take(exclusive(session.number, PATH)).await.token;
    let mut resuming = JoinSet::new();
    for _ in 0..8 {
        let mut client = server.connect().await;
        let session = session.clone();
        resuming.spawn(async move {
            let resumed = client.resume(&session).await;
            assert_eq!(resumed.holds.len(), 1);
            client
        });
    }
    let clients = within(PATIENCE, "all have resumed", resuming.join_all()).await;
    let mut attached = 0;
    for mut client in clients {
        let renewed = client.renew_session(session.number).await;
        attached += usize::from(renewed == SessionRenewal::Renewed { holds: 1 });
        let moved = client.pushes_until_now().await;
        let expected = Push::SessionMoved(push::Moved {
            session: session.number,
        });
        let is_gone = renewed == SessionRenewal::NotAttached;
        assert_eq!(moved, vec![expected; usize::from(is_gone)]);
    }
    assert_eq!(attached, 1);
    assert!(first.check(ORG, PATH, token).await.current);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_at_the_moment_when_the_old_connection_ends_leaves_the_session_attached() {
    let server = TestServer::start().await;
    let mut old = server.connect().await;
    // With others to let go of, so that the end of the connection takes a moment.
    for number in 0..20 {
        old.open(ORG, &format!("u-{number}")).await;
    }
    let session = old.open_with(opening("anna", 60_000)).await;
    old.take(exclusive(session.number, PATH)).await;
    for round in 0..100 {
        let mut new = server.connect().await;
        let id = new.send(Request::SessionResume(session.resumption())).await;
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        drop(old);
        assert!(new.answer(id).await.is_ok());
        // Whatever the server makes of the old one, it has made of it when others have come.
        server.connect().await.ping().await;
        let renewed = new.renew_session(session.number).await;
        assert_eq!(
            renewed,
            SessionRenewal::Renewed { holds: 1 },
            "round {round}"
        );
        for number in 0..20 {
            new.open(ORG, &format!("u-{round}-{number}")).await;
        }
        old = new;
    }
}

// Opening, renewing, closing.

#[tokio::test]
async fn a_disconnect_does_what_the_session_asked_for_or_else_the_policy() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let open = async |client: &mut Client, on_disconnect| {
        let open = request::OpenSession {
            on_disconnect,
            ..opening("anna", 0)
        };
        let answer = client.ask(Request::SessionOpen(open)).await;
        let Reply::SessionOpen(opened) = answer else {
            panic!("expected a session, found {answer:?}");
        };
        opened.on_disconnect
    };
    let release = |grace_ms| Disconnect::Release { grace_ms };
    let releases = |grace_ms| OnDisconnect::Release { grace_ms };
    assert_eq!(open(&mut client, None).await, releases(10_000));
    assert_eq!(
        open(&mut client, Some(release(None))).await,
        releases(10_000)
    );
    assert_eq!(open(&mut client, Some(release(Some(7)))).await, releases(7));
    let keep = Some(Disconnect::Keep);
    assert_eq!(open(&mut client, keep).await, OnDisconnect::Keep);
    let layer = PolicyLayer {
        grace_ms: Some(2000),
        release_on_disconnect: Some(false),
        ..PolicyLayer::default()
    };
    set_policy(&mut client, layer).await;
    assert_eq!(open(&mut client, None).await, OnDisconnect::Keep);
    assert_eq!(open(&mut client, Some(release(None))).await, releases(2000));
    assert_eq!(open(&mut client, Some(release(Some(7)))).await, releases(7));
}

#[tokio::test]
async fn no_two_sessions_have_the_same_number_or_key() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let (mut numbers, mut keys) = (HashSet::new(), HashSet::new());
    for round in 0..200 {
        let session = client.open(&format!("org-{}", round % 7), "anna").await;
        assert!(numbers.insert(session.number), "{session:?}");
        assert!(keys.insert(session.key), "{session:?}");
        if round % 2 == 0 {
            client.close(session.number).await;
        }
    }
}

#[tokio::test]
async fn one_renewal_keeps_the_holds_of_many_sessions_in_many_orgs() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let mut other = server.connect().await;
    let mut sessions = Vec::new();
    for number in 0..40 {
        let org = format!("org-{}", number % 9);
        let session = client.open(&org, &format!("u-{number}")).await;
        for path in [format!("doc/{number}"), format!("chat/{number}")] {
            client.take(for_a_second(session.number, &path)).await;
        }
        sessions.push(session);
    }
    let foreign = other.open(ORG, "ben").await.number;
    let closed = client.open(ORG, "carl").await.number;
    client.close(closed).await;
    let mut numbers: Vec<_> = sessions.iter().map(|session| session.number).collect();
    numbers.insert(7, foreign);
    numbers.insert(20, closed);

    let began = Instant::now();
    while began.elapsed() < millis(1600) {
        let renew = request::RenewSessions {
            sessions: numbers.clone(),
        };
        let answer = client.ask(Request::SessionRenew(renew)).await;
        let Reply::SessionRenew(renewed) = answer else {
            panic!("expected renewals, found {answer:?}");
        };
        assert_eq!(renewed.results.len(), numbers.len());
        for (number, result) in numbers.iter().zip(renewed.results) {
            if *number == foreign {
                assert_eq!(result, SessionRenewal::NotAttached);
            } else if *number == closed {
                assert_ne!(result, SessionRenewal::Renewed { holds: 0 });
            } else {
                assert_eq!(result, SessionRenewal::Renewed { holds: 2 });
            }
        }
        tokio::time::sleep(millis(400)).await;
    }
    assert_eq!(client.pushes_until_now().await, []);
    let truth = client.status("org-0", "doc/0").await;
    assert_eq!(truth.holder_count, 1);
}

#[tokio::test]
async fn a_renewal_tells_how_many_holds_live_on_and_pushes_which_do_not() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let session = client.open(ORG, "anna").await.number;
    client.take(exclusive(session, PATH)).await;
    client.take(for_a_second(session, "doc/2")).await;
    let lost = loop {
        match client.renew_session(session).await {
            SessionRenewal::Renewed { holds: 2 } => {
                // Until it comes too late.
                tokio::time::sleep(millis(1100)).await;
            }
            SessionRenewal::Renewed { holds: 1 } => break client.lost(session).await,
            other => panic!("expected a renewal, found {other:?}"),
        }
    };
    assert_eq!(lost.path, "doc/2");
}

#[tokio::test]
async fn a_list_of_sessions_to_renew_has_its_bounds() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    for count in [0, 1001] {
        let renew = request::RenewSessions {
            sessions: vec![1; count],
        };
        let code = client.fails(Request::SessionRenew(renew)).await;
        assert_eq!(code, ErrorCode::BadValue, "{count}");
    }
    let sessions = vec![1; 1000];
    let answer = client
        .ask(Request::SessionRenew(request::RenewSessions { sessions }))
        .await;
    assert!(matches!(answer, Reply::SessionRenew(renewed) if renewed.results.len() == 1000));
}

#[tokio::test]
async fn a_session_that_is_closed_lets_go_of_everything_and_is_told_nothing_more() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let session = client.open(ORG, "anna").await;
    let mut other = server.connect().await;
    let other_session = other.open(ORG, "ben").await.number;
    other.take(exclusive(other_session, "doc/2")).await;
    client.take(exclusive(session.number, PATH)).await;
    client.queue(waiting(session.number, "doc/2")).await;
    let wait = other.queue(waiting(other_session, PATH)).await;

    client.close(session.number).await;
    other.granted(wait).await;
    assert_eq!(other.status(ORG, "doc/2").await.waiters, 0);
    other.release(other_session, "doc/2").await;
    assert_eq!(client.pushes_until_now().await, []);
    let resume = Request::SessionResume(session.resumption());
    assert_eq!(client.fails(resume).await, ErrorCode::UnknownSession);
    let close = Request::SessionClose(request::CloseSession {
        session: session.number,
    });
    let code = client.fails(close).await;
    assert!(
        matches!(code, ErrorCode::UnknownSession | ErrorCode::NotAttached),
        "{code:?}"
    );
}

#[tokio::test]
async fn what_an_org_may_have_is_bounded_by_its_policy() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let mut first = client.open(ORG, "anna").await.number;
    let layer = PolicyLayer {
        sessions_max: Some(2),
        holds_max: Some(3),
        session_holds_max: Some(2),
        session_waits_max: Some(1),
        ..PolicyLayer::default()
    };
    set_policy(&mut client, layer).await;
    let second = client.open(ORG, "ben").await.number;
    let open = Request::SessionOpen(opening("carl", 0));
    assert_eq!(client.fails(open).await, ErrorCode::TooManySessions);
    client.close(first).await;
    first = client.open(ORG, "anna").await.number;

    for path in ["doc/1", "doc/2"] {
        client.take(exclusive(first, path)).await;
    }
    let third = Request::LockAcquire(exclusive(first, "doc/3"));
    assert_eq!(client.fails(third).await, ErrorCode::TooManySessionHolds);
    client.take(exclusive(second, "doc/3")).await;
    let fourth = Request::LockAcquire(exclusive(second, "doc/4"));
    assert_eq!(client.fails(fourth).await, ErrorCode::TooManyHolds);
    client.queue(waiting(second, "doc/1")).await;
    let again = Request::LockAcquire(waiting(second, "doc/2"));
    assert_eq!(client.fails(again).await, ErrorCode::TooManySessionWaits);
    // Another org has its own.
    let elsewhere = client.open("globex", "anna").await.number;
    for path in ["doc/1", "doc/2", "doc/3", "doc/4"] {
        client.take(exclusive(elsewhere, path)).await;
    }
}

// What takes a while.

together! {
    what_is_over_costs_no_memory,
    a_place_is_told_at_most_once_a_second_and_when_it_has_changed,
    whose_place_has_not_changed_is_told_nothing,
}

/// Sessions, holds and waits on paths that never come again, which end with their connection or before it.
async fn what_is_over_costs_no_memory() {
    const SESSIONS: usize = 300;
    const PATHS: usize = 1500;
    let server = Process::start(&[]);
    let mut after_half = None;
    for round in 0..12 {
        let mut client = Client::introduced(server.addr).await;
        let paths: Vec<_> = (0..PATHS).map(|at| format!("doc/{round}/{at}")).collect();
        let mut sessions = Vec::new();
        let mut acquires = Vec::new();
        for number in 0..SESSIONS {
            let owner = format!("owner-{round}-{number}");
            let open = request::OpenSession {
                org: ["acme", "globex", "initech"][number % 3],
                ..opening(&owner, 0)
            };
            let session = client.open_with(open).await.number;
            let wanted = (0..10).map(|at| &paths[(number * 5 + at) % PATHS]);
            acquires.extend(wanted.map(|path| Request::LockAcquire(waiting(session, path))));
            sessions.push(session);
        }
        for id in client.send_all(acquires).await {
            client.answer(id).await.unwrap();
        }
        if round % 2 == 0 {
            for session in sessions {
                client.close(session).await;
            }
        }
        drop(client);
        all_over(&server).await;
        if round == 5 {
            after_half = server.memory();
        }
    }
    if let (Some(half), Some(all)) = (after_half, server.memory()) {
        // 100 bytes kept of each path would be 900 KB.
        assert!(all < half + 800_000, "{half} bytes, then {all}");
    }
}

/// Waits until nobody holds anything any more.
async fn all_over(server: &Process) {
    let mut client = Client::introduced(server.addr).await;
    for org in ["acme", "globex", "initech"] {
        let over = async {
            while !client.list(org, Target::All).await.holds.is_empty() {
                tokio::time::sleep(millis(5)).await;
            }
        };
        within(PATIENCE, "all is over", over).await;
    }
}

/// Several waiters for the same path, over one connection.
async fn queue(client: &mut Client, waiters: usize) -> Vec<(Session, u64)> {
    let mut queue = Vec::new();
    for number in 0..waiters {
        let session = client.open(ORG, &format!("waiter-{number}")).await;
        let wait = client.queue(waiting(session.number, PATH)).await;
        queue.push((session, wait));
    }
    queue
}

fn places(pushes: &[Push<'_>], wait: u64) -> Vec<u32> {
    let place = |push: &Push<'_>| match push {
        Push::LockPlace(place) if place.wait == wait => Some(place.place),
        _ => None,
    };
    pushes.iter().filter_map(place).collect()
}

async fn a_place_is_told_at_most_once_a_second_and_when_it_has_changed() {
    let server = TestServer::start().await;
    let mut holder = server.connect().await;
    let session = holder.open(ORG, "holder").await.number;
    holder.take(exclusive(session, PATH)).await;
    let mut client = server.connect().await;
    let queue = queue(&mut client, 8).await;
    let last = queue[7].1;
    let next_place = async |client: &mut Client| {
        client
            .push("a place", |push| match push {
                Push::LockPlace(place) if place.wait == last => Some(place.place),
                _ => None,
            })
            .await
    };

    // From the eighth place to the fifth, at once.
    holder.release(session, PATH).await;
    for (session, wait) in &queue[..3] {
        client.granted(*wait).await;
        client.release(session.number, PATH).await;
    }
    // It may be told in the middle of that; but of the end of it in any case.
    let mut told_at = Instant::now();
    let mut place = next_place(&mut client).await;
    while place != 4 {
        let before = told_at;
        told_at = Instant::now();
        place = next_place(&mut client).await;
        assert!(before.elapsed() > millis(900), "{:?}", before.elapsed());
    }
    let told_at = Instant::now();
    client.cancel(queue[4].0.number, queue[4].1).await;
    assert_eq!(next_place(&mut client).await, 3);
    assert!(told_at.elapsed() > millis(900), "{:?}", told_at.elapsed());

    // Nothing changes any more.
    client.listen(millis(2200)).await;
    assert!(places(&client.pushes_until_now().await, last).is_empty());
}

async fn whose_place_has_not_changed_is_told_nothing() {
    let server = TestServer::start().await;
    let mut holder = server.connect().await;
    let session = holder.open(ORG, "holder").await.number;
    holder.take(exclusive(session, PATH)).await;
    let mut client = server.connect().await;
    let queue = queue(&mut client, 4).await;
    // The third goes: the fourth moves up, the first and the second stay where they are.
    client.cancel(queue[2].0.number, queue[2].1).await;
    client.listen(millis(2200)).await;
    let pushes = client.pushes_until_now().await;
    assert_eq!(places(&pushes, queue[3].1), [3]);
    assert!(places(&pushes, queue[0].1).is_empty());
    assert!(places(&pushes, queue[1].1).is_empty());
}
