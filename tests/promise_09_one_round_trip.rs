//! Promise 9: one round trip tells the truth: who holds it, since when, for how long still, in which state, and how many
//! wait. Refusal, status and list say the same, also at the instant when a hold is over and no sweep has come by.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::{
    Client, PATIENCE, TestServer, exclusive, for_a_second, millis, shared, waiting, with_wait,
    within,
};
use tenure_protocol::{
    Disconnect, Item, Mode, PolicyLayer, RefusalReason, Reply, Request, Target, Truth, reply,
    request,
};
use tokio::task::JoinSet;

const ORG: &str = "acme";
const PATH: &str = "doc/quote-123";

/// How much of a span may have passed before it is looked at.
const SLACK_MS: u64 = 1000;

async fn session(server: &TestServer, owner: &str, name: &str) -> (Client, u64) {
    let mut client = server.connect().await;
    let open = request::OpenSession {
        org: ORG,
        owner,
        name,
        role: None,
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(60_000),
        }),
        metadata: b"",
    };
    let session = client.open_with(open).await.number;
    (client, session)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn about(expected: u64, found: u64) -> bool {
    found.abs_diff(expected) < SLACK_MS
}

const FREE: Truth<'static> = Truth {
    mode: None,
    limit: None,
    token: None,
    holders: Vec::new(),
    holder_count: 0,
    waiters: 0,
};

#[tokio::test]
async fn a_refusal_a_status_and_a_list_tell_who_holds_it_since_when_and_for_how_long() {
    let server = TestServer::start().await;
    let (mut anna, anna_session) = session(&server, "u-17", "Anna").await;
    let (mut ben, ben_session) = session(&server, "u-18", "Ben").await;
    let (mut carl, carl_session) = session(&server, "u-19", "Carl").await;
    let (before, began) = (unix_ms(), Instant::now());
    let acquire = request::Acquire {
        ttl_ms: Some(60_000),
        metadata: b"{\"tab\":3}",
        ..exclusive(anna_session, PATH)
    };
    let token = anna.take(acquire).await.token;
    carl.queue(waiting(carl_session, PATH)).await;
    tokio::time::sleep(millis(100)).await;

    let (reason, refused) = ben.refused(exclusive(ben_session, PATH)).await;
    assert_eq!(reason, RefusalReason::Held);
    let status = ben.status(ORG, PATH).await;
    let page = ben.list(ORG, Target::Path { path: PATH }).await;
    assert_eq!((page.holds.len(), page.next), (1, None));
    let listed = page.holds[0];
    assert_eq!((listed.path, listed.mode), (PATH, Mode::Exclusive));
    assert_eq!((listed.token, listed.waiters), (token, 1));

    for truth in [&refused, &status] {
        assert_eq!(truth.mode, Some(Mode::Exclusive));
        assert_eq!((truth.limit, truth.token), (None, Some(token)));
        assert_eq!((truth.holder_count, truth.waiters), (1, 1));
        assert_eq!(truth.holders.len(), 1);
    }
    for holder in [refused.holders[0], status.holders[0], listed.holder] {
        assert_eq!((holder.owner, holder.name), ("u-17", "Anna"));
        assert_eq!((holder.sessions, holder.orphaned), (1, false));
        assert_eq!(holder.metadata, b"{\"tab\":3}");
        let held = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert!(about(before, holder.since), "{before}: {holder:?}");
        // The server's clock cuts to milliseconds: a moment may be told one later or earlier.
        assert!(
            (99..=held + 1).contains(&holder.held_ms),
            "{held}: {holder:?}"
        );
        // What has gone and what remains are the whole.
        let whole = holder.held_ms + holder.remaining_ms;
        assert!((59_998..=60_002).contains(&whole), "{holder:?}");
    }
}

#[tokio::test]
async fn what_remains_falls_and_rises_with_a_renewal() {
    let server = TestServer::start().await;
    let (mut anna, session) = session(&server, "u-17", "Anna").await;
    anna.take(for_a_second(session, PATH)).await;
    let first = anna.status(ORG, PATH).await.holders[0];
    tokio::time::sleep(millis(300)).await;
    let later = anna.status(ORG, PATH).await.holders[0];
    assert!(
        later.remaining_ms + 300 <= first.remaining_ms + 2,
        "{later:?}"
    );
    assert!(later.held_ms + 2 >= first.held_ms + 300, "{later:?}");
    assert_eq!(later.since, first.since);
    anna.renew(session, PATH).await;
    let renewed = anna.status(ORG, PATH).await.holders[0];
    assert!(renewed.remaining_ms > later.remaining_ms, "{renewed:?}");
    assert!(renewed.remaining_ms <= 1000, "{renewed:?}");
    assert_eq!(renewed.since, first.since);
}

#[tokio::test]
async fn a_path_that_nobody_holds_is_free_and_leaves_nothing_in_the_list() {
    let server = TestServer::start().await;
    let (mut anna, session) = session(&server, "u-17", "Anna").await;
    assert_eq!(anna.status(ORG, PATH).await, FREE);
    anna.take(exclusive(session, PATH)).await;
    assert_eq!(anna.list(ORG, Target::All).await.holds.len(), 1);
    anna.release(session, PATH).await;
    assert_eq!(anna.status(ORG, PATH).await, FREE);
    assert!(anna.list(ORG, Target::All).await.holds.is_empty());
}

#[tokio::test]
async fn the_state_of_a_hold_tells_whether_anybody_is_there() {
    let server = TestServer::start().await;
    let mut anna = server.connect().await;
    let session = anna.open(ORG, "u-17").await;
    anna.take(exclusive(session.number, PATH)).await;
    let (mut ben, ben_session) = self::session(&server, "u-18", "Ben").await;
    assert!(!ben.status(ORG, PATH).await.holders[0].orphaned);
    drop(anna);
    let noticed = async {
        while !ben.status(ORG, PATH).await.holders[0].orphaned {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "the hold is orphaned", noticed).await;
    let (_, truth) = ben.refused(exclusive(ben_session, PATH)).await;
    assert!(truth.holders[0].orphaned);
    assert!(ben.list(ORG, Target::All).await.holds[0].holder.orphaned);

    server.connect().await.resume(&session).await;
    // That connection is gone again; one that stays:
    let mut back = server.connect().await;
    back.resume(&session).await;
    assert!(!ben.status(ORG, PATH).await.holders[0].orphaned);
    let (_, truth) = ben.refused(exclusive(ben_session, PATH)).await;
    assert!(!truth.holders[0].orphaned);
}

#[tokio::test]
async fn of_many_holders_the_first_are_told_and_all_are_counted() {
    const HOLDERS: usize = 40;
    let server = TestServer::start().await;
    let (mut client, _) = session(&server, "u-0", "").await;
    for number in 0..HOLDERS {
        let session = client.open(ORG, &format!("u-{number:02}")).await.number;
        client.take(shared(session, PATH, Some(50))).await;
    }
    let truth = client.status(ORG, PATH).await;
    assert_eq!((truth.mode, truth.limit), (Some(Mode::Shared), Some(50)));
    assert_eq!(truth.holder_count as usize, HOLDERS);
    let told: Vec<_> = truth.holders.iter().map(|holder| holder.owner).collect();
    assert!(!told.is_empty() && told.len() <= HOLDERS);
    for (number, owner) in told.iter().enumerate() {
        assert_eq!(*owner, format!("u-{number:02}"), "longest first");
    }
    // The list tells all of them.
    let page = client.list(ORG, Target::All).await;
    assert_eq!(page.holds.len(), HOLDERS);
}

#[tokio::test]
async fn a_refusal_says_what_stands_in_the_way() {
    let server = TestServer::start().await;
    let (mut anna, anna_session) = session(&server, "u-17", "Anna").await;
    let (mut ben, ben_session) = session(&server, "u-18", "Ben").await;
    let (mut carl, carl_session) = session(&server, "u-19", "Carl").await;

    anna.take(shared(anna_session, "doc/1", Some(2))).await;
    let (reason, truth) = ben.refused(shared(ben_session, "doc/1", Some(3))).await;
    assert_eq!(
        (reason, truth.limit),
        (RefusalReason::LimitDiffers, Some(2))
    );

    ben.queue(waiting(ben_session, "doc/1")).await;
    let (reason, truth) = carl.refused(shared(carl_session, "doc/1", Some(2))).await;
    assert_eq!((reason, truth.waiters), (RefusalReason::QueuedAhead, 1));

    anna.take(shared(anna_session, "doc/2", None)).await;
    ben.take(shared(ben_session, "doc/2", None)).await;
    let upgrade = |session| with_wait(exclusive(session, "doc/2"));
    anna.queue(upgrade(anna_session)).await;
    let (reason, truth) = ben.refused(upgrade(ben_session)).await;
    assert_eq!(
        (reason, truth.holder_count),
        (RefusalReason::UpgradePending, 2)
    );

    let layer = PolicyLayer {
        queue_max: Some(1),
        ..PolicyLayer::default()
    };
    let set = request::SetPolicy {
        org: ORG,
        kind: Some("chat"),
        layer,
    };
    anna.ask(Request::PolicySet(set)).await;
    anna.take(exclusive(anna_session, "chat/1")).await;
    ben.queue(waiting(ben_session, "chat/1")).await;
    let (reason, truth) = carl.refused(waiting(carl_session, "chat/1")).await;
    assert_eq!((reason, truth.waiters), (RefusalReason::QueueFull, 1));
}

#[tokio::test]
async fn a_refusal_of_several_names_each_that_stands_in_the_way() {
    let server = TestServer::start().await;
    let (mut anna, anna_session) = session(&server, "u-17", "Anna").await;
    let (mut ben, ben_session) = session(&server, "u-18", "Ben").await;
    anna.take(exclusive(anna_session, "doc/1")).await;
    anna.take(exclusive(anna_session, "doc/3")).await;
    let items = ["doc/1", "doc/2", "doc/3"].map(|path| Item {
        path,
        mode: Mode::Exclusive,
        limit: None,
    });
    let all = request::AcquireAll {
        session: ben_session,
        items: items.to_vec(),
        wait_ms: 0,
        ttl_ms: None,
        metadata: b"",
    };
    let refused = ben.acquire_all(all).await;
    let reply::AcquireAll::Refused { items } = refused else {
        panic!("expected a refusal, found {refused:?}");
    };
    let places: Vec<_> = items.iter().map(|item| item.item).collect();
    assert_eq!(places, [0, 2]);
    for item in items {
        assert_eq!(item.reason, RefusalReason::Held);
        assert_eq!(item.truth.holders[0].name, "Anna");
    }
    assert_eq!(ben.status(ORG, "doc/2").await, FREE);
}

#[tokio::test]
async fn asking_again_tells_the_place_in_the_queue() {
    let server = TestServer::start().await;
    let (mut anna, anna_session) = session(&server, "u-17", "Anna").await;
    let (mut ben, ben_session) = session(&server, "u-18", "Ben").await;
    let (mut carl, carl_session) = session(&server, "u-19", "Carl").await;
    anna.take(exclusive(anna_session, PATH)).await;
    let ben_wait = ben.queue(waiting(ben_session, PATH)).await;
    let queued = carl.acquire(waiting(carl_session, PATH)).await;
    let reply::Acquire::Queued { wait, place: 2 } = queued else {
        panic!("expected the second place, found {queued:?}");
    };
    ben.cancel(ben_session, ben_wait).await;
    let place = 1;
    let again = carl.acquire(waiting(carl_session, PATH)).await;
    assert_eq!(again, reply::Acquire::Queued { wait, place });
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_a_holder_whose_time_is_over_nor_that_it_is_free_before() {
    let server = TestServer::start().await;
    let mut watching = JoinSet::new();
    for number in 0..6 {
        let (anna, session) = session(&server, "u-17", "Anna").await;
        let (ben, _) = self::session(&server, "u-18", "Ben").await;
        watching.spawn(watch_the_end(anna, session, ben, number));
    }
    within(PATIENCE, "all are over", watching.join_all()).await;
}

/// Looks at a hold again and again until it is over.
async fn watch_the_end(mut anna: Client, session: u64, mut ben: Client, number: u64) {
    let path = format!("doc/{number}");
    // Each at another fraction of a millisecond, for which a timer is too coarse.
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(1000 + number * 150) {
        tokio::task::yield_now().await;
    }
    let sent = Instant::now();
    let grant = anna.take(for_a_second(session, &path)).await;
    let heard = Instant::now();
    // A client counts from the sending and stops then: until then nobody else may have it.
    let counted = sent + millis(grant.remaining_ms);
    let last = heard + millis(grant.remaining_ms + 2);
    tokio::time::sleep(millis(970)).await;
    loop {
        let asked = Instant::now();
        let truth = ben.status(ORG, &path).await;
        let answered = Instant::now();
        let Some(holder) = truth.holders.first() else {
            assert!(
                answered >= counted,
                "free {:?} too early",
                counted - answered
            );
            assert!(!ben.check(ORG, &path, grant.token).await.current);
            return;
        };
        assert!(holder.remaining_ms > 0, "it is over: {holder:?}");
        let left = millis(holder.remaining_ms);
        assert!(asked + left <= last, "too much is left: {holder:?}");
    }
}

/// More holds end at the same instant than sweeps can have taken by the time somebody looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_holds_that_end_at_once_is_over_at_once() {
    const HOLDS: usize = 8000;
    let server = TestServer::start().await;
    let (mut anna, session) = session(&server, "u-17", "Anna").await;
    let (mut ben, ben_session) = self::session(&server, "u-18", "Ben").await;
    let paths: Vec<_> = (0..HOLDS)
        .map(|number| format!("doc/{number:05}"))
        .collect();
    // All for long, and then all the rest of their lives within one batch of instants.
    let mut ttl_ms = 1500;
    let heard = loop {
        let acquires = paths.iter().map(|path| {
            Request::LockAcquire(request::Acquire {
                ttl_ms: Some(ttl_ms),
                ..exclusive(session, path)
            })
        });
        let ids = anna.send_all(acquires).await;
        for id in ids {
            let answer = anna.answer(id).await;
            let Ok(Reply::LockAcquire(reply::Acquire::Granted { .. })) = answer else {
                panic!("expected a grant, found {answer:?}");
            };
        }
        // A renewal of the session gives all of them the same deadline.
        let renewed = anna.renew_session(session).await;
        let heard = Instant::now();
        let all = u32::try_from(HOLDS).unwrap();
        if renewed == (reply::SessionRenewal::Renewed { holds: all }) {
            break heard;
        }
        // On a busy machine the first are over before the last are granted.
        ttl_ms *= 4;
        assert!(ttl_ms < 100_000, "{renewed:?}");
    };
    tokio::time::sleep_until((heard + millis(ttl_ms + 2)).into()).await;

    // At once, from the end that the sweeps come to last.
    let status = |path| Request::LockStatus(request::Status { org: ORG, path });
    let list = Request::LockList(request::List {
        org: ORG,
        target: Target::All,
        mode: None,
        held_min_ms: 0,
        cursor: Some("doc/07000"),
        page: 256,
    });
    let last = &paths[HOLDS - 1];
    let take = Request::LockAcquire(exclusive(ben_session, last));
    let mut questions = vec![list, take];
    questions.extend(
        paths
            .iter()
            .rev()
            .skip(1)
            .step_by(100)
            .map(|path| status(path)),
    );
    let ids = ben.send_all(questions).await;
    let (listed, taken) = (ids.start, ids.start + 1);
    for id in ids {
        match ben.answer(id).await.unwrap() {
            Reply::LockList(page) => {
                assert_eq!(id, listed);
                assert!(page.holds.is_empty(), "{} over holds", page.holds.len());
            }
            Reply::LockAcquire(answer) => {
                assert_eq!(id, taken);
                let is_granted = matches!(answer, reply::Acquire::Granted { .. });
                assert!(is_granted, "{answer:?}");
            }
            Reply::LockStatus(status) => assert_eq!(status.truth, FREE),
            other => panic!("an answer to nothing: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_ended_and_ends_nothing() {
    let server = TestServer::start().await;
    let (mut anna, session) = session(&server, "u-17", "Anna").await;
    for path in ["doc/1", "doc/2", "chat/1"] {
        anna.take(exclusive(session, path)).await;
    }
    let force = request::ForceRelease {
        org: ORG,
        target: Target::Prefix { prefix: "doc/" },
        reason: "to see",
        dry_run: true,
        cursor: None,
    };
    let answer = anna.ask(Request::LockForceRelease(force)).await;
    let Reply::LockForceRelease(forced) = answer else {
        panic!("expected what would be ended, found {answer:?}");
    };
    let paths: Vec<_> = forced.ended.iter().map(|hold| hold.path).collect();
    assert_eq!(paths, ["doc/1", "doc/2"]);
    assert_eq!(
        (forced.ended[0].owner, forced.ended[0].name),
        ("u-17", "Anna")
    );
    assert_eq!(anna.list(ORG, Target::All).await.holds.len(), 3);
    assert_eq!(anna.pushes_until_now().await, []);
}

#[tokio::test]
async fn a_list_comes_in_pages_that_leave_nothing_out() {
    const HOLDS: usize = 700;
    let server = TestServer::start().await;
    let (mut anna, session) = session(&server, "u-17", "Anna").await;
    let paths: Vec<_> = (0..HOLDS)
        .map(|number| format!("doc/{number:04}"))
        .collect();
    let acquires = paths
        .iter()
        .map(|path| Request::LockAcquire(exclusive(session, path)));
    for id in anna.send_all(acquires).await {
        anna.answer(id).await.unwrap();
    }
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let list = request::List {
            org: ORG,
            target: Target::Owner { owner: "u-17" },
            mode: Some(Mode::Exclusive),
            held_min_ms: 0,
            cursor,
            page: 100,
        };
        let answer = anna.ask(Request::LockList(list)).await;
        let Reply::LockList(page) = answer else {
            panic!("expected a page, found {answer:?}");
        };
        found.extend(page.holds.iter().map(|hold| hold.path));
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    assert_eq!(found, paths);
}
