//! Promise 3: first in, first out; a release hands the lock over in the same step; a waiter that is dead, detached or out
//! of time is never granted; a lock that could be granted never has a waiter who may have it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::time::{Duration, Instant};

use support::{
    Client, PATIENCE, Session, TestServer, WAIT_MS, exclusive, for_a_second, millis, shared,
    waiting, with_wait, within,
};
use tenure_protocol::{
    Disconnect, ErrorCode, Item, Missed, Mode, Push, Reply, Request, Target, WaitEnd, reply,
    request,
};
use tokio::task::JoinSet;

const ORG: &str = "acme";
const PATH: &str = "chat/1";

/// A second, less what a clock of milliseconds may be off.
const ALMOST_A_SECOND: Duration = millis(998);

/// A connection that holds the path.
async fn holder(server: &TestServer) -> (Client, u64) {
    let mut client = server.connect().await;
    let session = client.open(ORG, "holder").await.number;
    client.take(exclusive(session, PATH)).await;
    (client, session)
}

/// A connection with a session that is to wait.
async fn waiter(server: &TestServer, owner: &str) -> (Client, u64) {
    let mut client = server.connect().await;
    let session = client.open(ORG, owner).await.number;
    (client, session)
}

const fn opening(owner: &str, on_disconnect: Disconnect) -> request::OpenSession<'_> {
    request::OpenSession {
        org: ORG,
        owner,
        name: "",
        role: None,
        on_disconnect: Some(on_disconnect),
        metadata: b"",
    }
}

/// Waits until the server has noticed that a session's connection is gone: what it holds is orphaned.
async fn orphaned(client: &mut Client, path: &str) {
    let noticed = async {
        while !client.status(ORG, path).await.holders[0].orphaned {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "the hold is orphaned", noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_waiters_on_many_connections_are_granted_in_the_order_they_came() {
    const CONNECTIONS: usize = 20;
    const WAITERS: usize = 300;
    let server = TestServer::start().await;
    let (mut first, first_session) = holder(&server).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(server.connect().await);
    }
    let mut queue = Vec::new();
    for place in 0..WAITERS {
        let client = &mut clients[place % CONNECTIONS];
        let session = client.open(ORG, &format!("owner-{place}")).await.number;
        let acquired = client.acquire(waiting(session, PATH)).await;
        let reply::Acquire::Queued { wait, place: told } = acquired else {
            panic!("expected a place in the queue, found {acquired:?}");
        };
        assert_eq!(told as usize, place + 1);
        queue.push((session, wait));
    }
    first.release(first_session, PATH).await;
    let mut token = 0;
    for (place, (session, wait)) in queue.into_iter().enumerate() {
        let client = &mut clients[place % CONNECTIONS];
        // An earlier grant to a later waiter would have a lower token than this one.
        let next = client.granted_token(wait).await;
        assert!(token < next, "out of turn: {place}");
        token = next;
        client.release(session, PATH).await;
    }
    let truth = first.status(ORG, PATH).await;
    assert_eq!((truth.holder_count, truth.waiters), (0, 0));
}

#[tokio::test]
async fn a_release_hands_the_lock_over_in_the_same_step() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let (mut second, waits) = waiter(&server, "second").await;
    let wait = second.queue(waiting(waits, PATH)).await;
    // In one write, so that nothing can come between: whoever releases and asks again is behind the waiter.
    let release = request::Release {
        session,
        path: PATH,
        scope: tenure_protocol::ReleaseScope::Session,
        token: None,
    };
    let ids = first
        .send_all([
            Request::LockRelease(release),
            Request::LockAcquire(exclusive(session, PATH)),
        ])
        .await;
    assert!(first.answer(ids.start).await.is_ok());
    let again = first.answer(ids.start + 1).await.unwrap();
    let Reply::LockAcquire(reply::Acquire::Refused { truth, .. }) = again else {
        panic!("expected a refusal, found {again:?}");
    };
    assert_eq!(truth.holders[0].owner, "second");
    let token = second.granted_token(wait).await;
    assert_eq!(truth.token, Some(token));
}

#[tokio::test]
async fn an_expiry_wakes_the_next_in_time_and_not_before() {
    let server = TestServer::start().await;
    let (mut first, session) = waiter(&server, "first").await;
    let (mut second, waits) = waiter(&server, "second").await;
    let asked = Instant::now();
    first.take(for_a_second(session, PATH)).await;
    let granted = Instant::now();
    let wait = second.queue(waiting(waits, PATH)).await;
    second.granted(wait).await;
    assert!(asked.elapsed() >= ALMOST_A_SECOND);
    assert!(granted.elapsed() < Duration::from_millis(1500));
}

#[tokio::test]
async fn a_renewal_keeps_the_next_waiting() {
    let server = TestServer::start().await;
    let (mut first, session) = waiter(&server, "first").await;
    let (mut second, waits) = waiter(&server, "second").await;
    first.take(for_a_second(session, PATH)).await;
    let wait = second.queue(waiting(waits, PATH)).await;
    let mut sent = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(millis(400)).await;
        sent = Instant::now();
        first.renew(session, PATH).await;
    }
    assert!(second.pushes_until_now().await.is_empty());
    second.granted(wait).await;
    assert!(sent.elapsed() >= ALMOST_A_SECOND);
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_up_though_nothing_else_happens() {
    let server = TestServer::start().await;
    // Far in the future: whoever waits for that alone oversleeps the wait.
    let (mut first, session) = holder(&server).await;
    let (mut second, waits) = waiter(&server, "second").await;
    let asked = Instant::now();
    let acquire = request::Acquire {
        wait_ms: 300,
        ..exclusive(waits, PATH)
    };
    let wait = second.queue(acquire).await;
    assert_eq!(second.wait_ended(wait).await, WaitEnd::TimedOut);
    let waited = asked.elapsed();
    assert!((millis(300)..millis(1300)).contains(&waited), "{waited:?}");
    first.release(session, PATH).await;
    assert_eq!(first.status(ORG, PATH).await.holder_count, 0);
    assert!(second.pushes_until_now().await.is_empty());
}

#[tokio::test]
async fn waiters_that_are_gone_are_passed_over() {
    let server = TestServer::start().await;
    let (mut first, first_session) = holder(&server).await;
    // Out of time, cancelled, closed, without connection and grace, without connection but within the grace, and one.
    let (mut late, late_session) = waiter(&server, "late").await;
    let acquire = request::Acquire {
        wait_ms: 1,
        ..exclusive(late_session, PATH)
    };
    let late_wait = late.queue(acquire).await;
    let (mut cancelled, cancelled_session) = waiter(&server, "cancelled").await;
    let cancelled_wait = cancelled.queue(waiting(cancelled_session, PATH)).await;
    let (mut closed, closed_session) = waiter(&server, "closed").await;
    closed.queue(waiting(closed_session, PATH)).await;
    let mut dead = server.connect().await;
    let at_once = Disconnect::Release { grace_ms: Some(0) };
    let dead_session = dead.open_with(opening("dead", at_once)).await.number;
    dead.queue(waiting(dead_session, PATH)).await;
    let mut detached = server.connect().await;
    let later = Disconnect::Release {
        grace_ms: Some(60_000),
    };
    let detached_session = detached.open_with(opening("detached", later)).await;
    let detached_wait = detached.queue(waiting(detached_session.number, PATH)).await;
    detached
        .take(exclusive(detached_session.number, "chat/2"))
        .await;
    let (mut last, last_session) = waiter(&server, "last").await;
    let last_wait = last.queue(waiting(last_session, PATH)).await;

    assert_eq!(late.wait_ended(late_wait).await, WaitEnd::TimedOut);
    let reply = cancelled.cancel(cancelled_session, cancelled_wait).await;
    assert_eq!(reply, reply::Cancel::Cancelled);
    closed.close(closed_session).await;
    drop(dead);
    drop(detached);
    orphaned(&mut first, "chat/2").await;
    let dead_is_gone = async {
        // The one that is detached keeps its place.
        while first.status(ORG, PATH).await.waiters > 2 {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "the dead waiter leaves the queue", dead_is_gone).await;

    first.release(first_session, PATH).await;
    last.granted(last_wait).await;
    for client in [&mut late, &mut cancelled, &mut closed] {
        assert_eq!(client.pushes_until_now().await, []);
    }

    // Back in time, it still stands where it stood: before whoever came later.
    let (mut newcomer, newcomer_session) = waiter(&server, "newcomer").await;
    let newcomer_wait = newcomer.queue(waiting(newcomer_session, PATH)).await;
    let mut back = server.connect().await;
    let resumed = back.resume(&detached_session).await;
    assert_eq!(resumed.waits.len(), 1);
    assert_eq!(resumed.waits[0].wait, detached_wait);
    assert_eq!(resumed.waits[0].place, 1);
    last.release(last_session, PATH).await;
    back.granted(detached_wait).await;
    assert!(newcomer.pushes_until_now().await.is_empty());
    back.release(detached_session.number, PATH).await;
    newcomer.granted(newcomer_wait).await;
}

#[tokio::test]
async fn a_waiter_that_comes_back_to_a_free_lock_has_it_at_once() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let mut second = server.connect().await;
    let second_session = second.open(ORG, "second").await;
    second
        .take(exclusive(second_session.number, "chat/2"))
        .await;
    let wait = second.queue(waiting(second_session.number, PATH)).await;
    drop(second);
    orphaned(&mut first, "chat/2").await;
    first.release(session, PATH).await;
    assert_eq!(first.status(ORG, PATH).await.holder_count, 0);

    let mut back = server.connect().await;
    let resumed = back.resume(&second_session).await;
    let holds: Vec<_> = resumed.holds.iter().map(|held| held.path).collect();
    let is_told = holds.contains(&PATH) || resumed.waits.iter().any(|one| one.wait == wait);
    assert!(is_told, "{resumed:?}");
    if !holds.contains(&PATH) {
        back.granted(wait).await;
    }
    assert_eq!(back.status(ORG, PATH).await.holders[0].owner, "second");
}

#[tokio::test]
async fn a_keeping_session_loses_its_wait_with_its_connection_and_is_told() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let mut second = server.connect().await;
    let keeping = second.open_with(opening("second", Disconnect::Keep)).await;
    second.take(exclusive(keeping.number, "chat/2")).await;
    let wait = second.queue(waiting(keeping.number, PATH)).await;
    drop(second);
    orphaned(&mut first, "chat/2").await;
    assert_eq!(first.status(ORG, PATH).await.waiters, 0);
    first.release(session, PATH).await;
    assert_eq!(first.status(ORG, PATH).await.holder_count, 0);
    let resumed = server.connect().await.resume(&keeping).await;
    assert!(resumed.waits.is_empty(), "{resumed:?}");
    let why = WaitEnd::Detached;
    assert_eq!(resumed.missed, [Missed::WaitEnded { wait, why }]);
}

#[tokio::test]
async fn all_waits_of_an_owner_are_granted_with_the_first() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let (mut second, tab) = waiter(&server, "second").await;
    let other_tab = second.open(ORG, "second").await.number;
    let (mut third, third_session) = waiter(&server, "third").await;
    let wait = second.queue(waiting(tab, PATH)).await;
    let third_wait = third.queue(waiting(third_session, PATH)).await;
    let other_wait = second.queue(waiting(other_tab, PATH)).await;
    first.release(session, PATH).await;
    let token = second.granted_token(wait).await;
    assert_eq!(second.granted_token(other_wait).await, token);
    second.close(tab).await;
    assert!(third.pushes_until_now().await.is_empty(), "one tab is left");
    second.close(other_tab).await;
    third.granted(third_wait).await;
}

#[tokio::test]
async fn a_shared_waiter_does_not_pass_an_exclusive_one() {
    let server = TestServer::start().await;
    let (mut first, reading) = waiter(&server, "first").await;
    first.take(shared(reading, PATH, None)).await;
    let (mut second, writing) = waiter(&server, "second").await;
    let write = second.queue(waiting(writing, PATH)).await;
    let (mut third, third_session) = waiter(&server, "third").await;
    let read = third
        .queue(with_wait(shared(third_session, PATH, None)))
        .await;
    first.release(reading, PATH).await;
    second.granted(write).await;
    assert!(third.pushes_until_now().await.is_empty());
    second.release(writing, PATH).await;
    third.granted(read).await;
}

#[tokio::test]
async fn a_cancellation_that_comes_after_the_grant_says_so() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let (mut second, waits) = waiter(&server, "second").await;
    let wait = second.queue(waiting(waits, PATH)).await;
    first.release(session, PATH).await;
    let reply = second.cancel(waits, wait).await;
    let reply::Cancel::Granted { holds } = reply else {
        panic!("expected the grant, found {reply:?}");
    };
    assert_eq!(holds[0].path, PATH);
    assert_eq!(second.granted_token(wait).await, holds[0].grant.token);
}

#[tokio::test]
async fn a_note_reaches_the_holder_whose_no_leaves_the_wait_and_whose_yes_ends_it() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let (mut second, waits) = waiter(&server, "second").await;
    let (mut third, third_session) = waiter(&server, "third").await;
    let earlier = third.queue(waiting(third_session, PATH)).await;
    let ask = |note| request::Acquire {
        note: Some(note),
        ..waiting(waits, PATH)
    };
    let wait = second.queue(ask("may I?")).await;
    let asked = first.asked(session).await;
    assert_eq!(
        (asked.wait, asked.who.owner, asked.note),
        (wait, "second", "may I?")
    );

    let path = PATH;
    let to = wait;
    let decline = request::Decline { session, path, to };
    first.ask(Request::LockDecline(decline)).await;
    let declined = second
        .push("a no", |push| match push {
            Push::LockDeclined(declined) => Some(*declined),
            _ => None,
        })
        .await;
    assert_eq!((declined.wait, declined.who.owner), (wait, "holder"));
    assert_eq!(first.status(ORG, PATH).await.waiters, 2);
    let nobody = Request::LockHandOver(request::HandOver {
        session,
        path,
        to: None,
    });
    assert_eq!(first.fails(nobody).await, ErrorCode::UnknownWait);

    // The same again is not told; another note is. The yes passes whoever came earlier and left none.
    assert_eq!(second.queue(ask("please?")).await, wait);
    assert_eq!(first.asked(session).await.note, "please?");
    let handed = first.hand_over(session, PATH, None).await;
    assert!(
        matches!(handed, reply::HandOver::HandedOver { .. }),
        "{handed:?}"
    );
    second.granted(wait).await;
    second.release(waits, PATH).await;
    third.granted(earlier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_churn_every_wait_ends_and_nothing_is_left_behind() {
    let server = TestServer::start().await;
    let mut churn = JoinSet::new();
    for owner in 0..20 {
        let client = server.connect().await;
        churn.spawn(churn_as(client, server.addr, owner));
    }
    let ended = within(3 * PATIENCE, "every wait ends", churn.join_all()).await;
    assert!(ended.iter().sum::<usize>() > 100, "{ended:?}");

    // Those that were dropped in the middle of it are gone with their grace.
    let mut client = server.connect().await;
    let free = async {
        for path in PATHS {
            loop {
                let truth = client.status(ORG, path).await;
                if (truth.holder_count, truth.waiters) == (0, 0) {
                    break;
                }
                tokio::time::sleep(millis(10)).await;
            }
        }
    };
    within(PATIENCE, "all paths are free", free).await;
}

const PATHS: [&str; 3] = ["chat/1", "chat/2", "chat/3"];

/// Waits, gets, cancels, times out, closes and disappears in turns. Gives how many waits it had.
async fn churn_as(mut client: Client, server: std::net::SocketAddr, owner: usize) -> usize {
    let at_once = Disconnect::Release { grace_ms: Some(0) };
    let name = format!("owner-{owner}");
    let mut session = client.open_with(opening(&name, at_once)).await.number;
    let mut waits = 0;
    for round in owner..owner + 42 {
        let path = PATHS[round % 3];
        let wait_ms = if round % 5 == 1 { 1 } else { WAIT_MS };
        let acquire = request::Acquire {
            wait_ms,
            ..exclusive(session, path)
        };
        let queued = match client.acquire(acquire).await {
            reply::Acquire::Granted { .. } => None,
            reply::Acquire::Queued { wait, .. } => Some(wait),
            reply::Acquire::Refused { .. } => panic!("an acquire that waits was refused"),
        };
        waits += usize::from(queued.is_some());
        match (round % 7, queued) {
            // Disappears, waiting or holding.
            (0, _) => {
                client = Client::introduced(server).await;
                session = client.open_with(opening(&name, at_once)).await.number;
            }
            // Closes the session, waiting or holding.
            (1, _) => {
                client.close(session).await;
                session = client.open_with(opening(&name, at_once)).await.number;
            }
            // Changes its mind; the grant may have been quicker.
            (2, Some(wait)) => {
                if let reply::Cancel::Granted { .. } =
                    cancel_or_ended(&mut client, session, wait).await
                {
                    client.release(session, path).await;
                }
            }
            (_, Some(wait)) => {
                if is_granted(&mut client, wait).await {
                    client.release(session, path).await;
                }
            }
            (_, None) => {
                client.release(session, path).await;
            }
        }
    }
    client.close(session).await;
    waits
}

/// Cancels a wait, which may have timed out meanwhile.
async fn cancel_or_ended(client: &mut Client, session: u64, wait: u64) -> reply::Cancel<'static> {
    let cancel = Request::LockCancel(request::Cancel { session, wait });
    let id = client.send(cancel).await;
    match client.answer(id).await {
        Ok(Reply::LockCancel(reply)) => reply,
        Err(error) if error.code == ErrorCode::UnknownWait => reply::Cancel::Cancelled,
        other => panic!("expected the end of a wait, found {other:?}"),
    }
}

async fn is_granted(client: &mut Client, wait: u64) -> bool {
    client
        .push("the end of a wait", |push| match push {
            Push::LockGranted(granted) if granted.wait == wait => Some(true),
            Push::LockWaitEnded(ended) if ended.wait == wait => Some(false),
            _ => None,
        })
        .await
}

/// All of these, exclusively.
fn all<'a>(session: u64, paths: &[&'a str], wait_ms: u64) -> request::AcquireAll<'a> {
    let items = paths.iter().map(|path| Item {
        path,
        mode: Mode::Exclusive,
        limit: None,
    });
    request::AcquireAll {
        session,
        items: items.collect(),
        wait_ms,
        ttl_ms: None,
        metadata: b"",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acquires_several_in_any_order_gets_them_in_the_end() {
    let server = TestServer::start().await;
    let mut crossing = JoinSet::new();
    for owner in 0..8_usize {
        let (mut client, session) = waiter(&server, &format!("owner-{owner}")).await;
        crossing.spawn(async move {
            for round in 0..25 {
                // Each wants two neighbours of a ring, in either order: the table of the dining philosophers.
                let (one, other) = ((owner + round) % 4, (owner + round + 1) % 4);
                let mut paths = [format!("doc/{one}"), format!("doc/{other}")];
                if owner % 2 == 0 {
                    paths.reverse();
                }
                let paths = [&*paths[0], &*paths[1]];
                match client.acquire_all(all(session, &paths, WAIT_MS)).await {
                    reply::AcquireAll::Granted { grants } => assert_eq!(grants.len(), 2),
                    reply::AcquireAll::Queued { wait, .. } => {
                        let limit = 3 * PATIENCE;
                        assert_eq!(client.granted_within(limit, wait).await.len(), 2);
                    }
                    other => panic!("an acquire that waits: {other:?}"),
                }
                for path in paths {
                    let released = client.release(session, path).await;
                    assert_eq!(released, reply::Release::Ended);
                }
            }
        });
    }
    within(3 * PATIENCE, "all got all", crossing.join_all()).await;
}

#[tokio::test]
async fn whoever_waits_for_several_keeps_nobody_from_any_of_them() {
    let server = TestServer::start().await;
    let (mut first, session) = holder(&server).await;
    let (mut greedy, greedy_session) = waiter(&server, "greedy").await;
    let queued = greedy
        .acquire_all(all(greedy_session, &[PATH, "chat/2"], WAIT_MS))
        .await;
    let reply::AcquireAll::Queued { wait, place: 0 } = queued else {
        panic!("expected a wait outside of every queue, found {queued:?}");
    };
    let (mut third, third_session) = waiter(&server, "third").await;
    third.take(exclusive(third_session, "chat/2")).await;
    first.release(session, PATH).await;
    assert!(
        greedy.pushes_until_now().await.is_empty(),
        "half is nothing"
    );
    third.release(third_session, "chat/2").await;
    let mut paths: Vec<_> = greedy
        .granted(wait)
        .await
        .iter()
        .map(|held| held.path)
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, [PATH, "chat/2"]);
}

#[tokio::test]
async fn a_forced_release_of_many_wakes_a_waiter_of_each() {
    let server = TestServer::start().await;
    let (mut first, session) = waiter(&server, "first").await;
    let (mut second, waits) = waiter(&server, "second").await;
    let mut queued = Vec::new();
    for number in 0..50 {
        let path = format!("doc/{number:02}");
        first.take(exclusive(session, &path)).await;
        queued.push(second.queue(waiting(waits, &path)).await);
    }
    let forced = first.force(ORG, Target::Owner { owner: "first" }).await;
    assert_eq!((forced.ended.len(), forced.next), (50, None));
    for wait in queued {
        second.granted(wait).await;
    }
}

#[tokio::test]
async fn the_end_of_a_large_session_wakes_a_waiter_of_each_of_its_locks() {
    let server = TestServer::start().await;
    // More than one sweep can take.
    const HOLDS: usize = 1000;
    let mut first = server.connect().await;
    let at_once = Disconnect::Release { grace_ms: Some(0) };
    let session: Session = first.open_with(opening("first", at_once)).await;
    let (mut second, waits) = waiter(&server, "second").await;
    let paths: Vec<_> = (0..HOLDS).map(|number| format!("doc/{number}")).collect();
    let acquire = |session, wait_ms| {
        paths.iter().map(move |path| {
            Request::LockAcquire(request::Acquire {
                wait_ms,
                ..exclusive(session, path)
            })
        })
    };
    for id in first.send_all(acquire(session.number, 0)).await {
        first.answer(id).await.unwrap();
    }
    let mut queued = Vec::new();
    for id in second.send_all(acquire(waits, WAIT_MS)).await {
        let answer = second.answer(id).await;
        let Ok(Reply::LockAcquire(reply::Acquire::Queued { wait, .. })) = answer else {
            panic!("expected a wait, found {answer:?}");
        };
        queued.push(wait);
    }
    drop(first);
    for wait in queued {
        second.granted(wait).await;
    }
}
