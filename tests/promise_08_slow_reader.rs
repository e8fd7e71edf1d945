//! Promise 8: a slow reader slows nobody else. Every queue has a bound, and the bound has an answer.
//!
//! A reader that asks and does not read is read no further; one that is told more than it takes is closed, retryably, and
//! finds everything when it comes back; one that reads slowly is left alone. A listener that does not read is told of a gap.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{
    Client, PATIENCE, Process, Proxy, Session, TestServer, Way, config, exclusive, happening,
    millis, shared, together, waiting, within,
};
use tenure::config::Config;
use tenure_protocol::{
    Cause, Disconnect, ErrorCode, Held, LostWhy, Missed, Recovery, Reply, Request, Target, limits,
    reply, request,
};
use tokio::task::JoinHandle;

const ORG: &str = "acme";

/// The least bound that a server can be given.
const OUTBOUND: usize = limits::FRAME_FROM_CLIENT;

/// A round trip that takes longer has been held up by somebody.
const HELD_UP: Duration = Duration::from_secs(1);

async fn server() -> TestServer {
    let config = Config {
        outbound_bytes_max: OUTBOUND,
        ..config()
    };
    TestServer::with_metrics(config).await
}

async fn open(client: &mut Client, owner: &str) -> Session {
    let open = request::OpenSession {
        org: ORG,
        owner,
        name: "",
        role: None,
        on_disconnect: Some(Disconnect::Release {
            grace_ms: Some(60_000),
        }),
        metadata: b"",
    };
    client.open_with(open).await
}

async fn slow_readers(server: &TestServer) -> u64 {
    server
        .metric("tenure_goodbyes_total{code=\"slow_reader\"}")
        .await
}

/// Somebody who has nothing to do with it, and takes a lock again and again.
struct Bystander {
    is_over: Arc<AtomicBool>,
    working: JoinHandle<(usize, Duration)>,
}

impl Bystander {
    async fn of(server: &TestServer) -> Self {
        let mut client = server.connect().await;
        let session = client.open(ORG, "bystander").await.number;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let working = tokio::spawn(async move {
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.take(exclusive(session, "other/1")).await;
                client.release(session, "other/1").await;
                longest = longest.max(began.elapsed());
                rounds += 1;
                tokio::time::sleep(millis(1)).await;
            }
            (rounds, longest)
        });
        Self { is_over, working }
    }

    async fn was_not_held_up(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (rounds, longest) = within(PATIENCE, "the bystander", self.working)
            .await
            .unwrap();
        assert!(rounds > 2, "{rounds} rounds");
        assert!(longest < HELD_UP, "{longest:?}");
    }
}

/// Somebody who asks for a path with one note after the other, all of which the holders are told.
struct Asker {
    client: Client,
    session: u64,
    notes: usize,
}

impl Asker {
    async fn of(server: &TestServer) -> Self {
        let mut client = server.connect().await;
        let session = client.open(ORG, "asker").await.number;
        Self {
            client,
            session,
            notes: 0,
        }
    }

    async fn ask(&mut self, path: &str, times: usize) {
        let notes: Vec<_> = (self.notes..self.notes + times)
            .map(|number| format!("{number:0>1000}"))
            .collect();
        self.notes += times;
        let acquires = notes.iter().map(|note| {
            Request::LockAcquire(request::Acquire {
                note: Some(note),
                ..waiting(self.session, path)
            })
        });
        for id in self.client.send_all(acquires).await {
            let answer = self.client.answer(id).await.unwrap();
            let Reply::LockAcquire(reply::Acquire::Queued { .. }) = answer else {
                panic!("expected a wait, found {answer:?}");
            };
        }
    }

    /// Asks until so many readers have been given up, or far more was said than any buffer takes.
    async fn ask_until_given_up(&mut self, server: &TestServer, path: &str, readers: u64) {
        while slow_readers(server).await < readers {
            assert!(self.notes < 30_000, "{} notes, and no end", self.notes);
            self.ask(path, 100).await;
        }
    }
}

fn paths<'a>(holds: &'a [Held<'_>]) -> Vec<&'a str> {
    let mut paths: Vec<_> = holds.iter().map(|held| held.path).collect();
    paths.sort_unstable();
    paths
}

together! {
    a_frozen_reader_is_closed_at_its_bound_and_loses_nothing,
    a_reader_that_wakes_up_in_time_hears_why_it_was_closed,
    a_crowd_of_frozen_readers_holds_nobody_up,
    ten_thousand_requests_without_reading_an_answer_cost_little_and_are_all_answered,
    a_reader_that_asks_and_takes_nothing_is_given_up,
    a_reader_that_is_slow_but_reads_is_left_alone,
    a_frozen_listener_is_told_of_a_gap_and_costs_nobody_anything,
    a_listener_that_stays_frozen_is_closed_and_learns_what_it_has_lost,
}

async fn a_frozen_reader_is_closed_at_its_bound_and_loses_nothing() {
    let server = server().await;
    let bystander = Bystander::of(&server).await;
    let mut asker = Asker::of(&server).await;
    let mut other = server.connect().await;
    let other_session = other.open(ORG, "other").await.number;
    other.take(exclusive(other_session, "doc/2")).await;

    let mut frozen = Client::connect_narrow(server.addr).await;
    frozen.hello(None).await;
    let session = open(&mut frozen, "frozen").await;
    let token = frozen.take(exclusive(session.number, "doc/1")).await.token;
    frozen.queue(waiting(session.number, "doc/2")).await;
    let lost = frozen.take(exclusive(session.number, "doc/3")).await.token;

    // From here on it does not read; among the notes it is told of a grant and of a loss.
    asker.ask("doc/1", 10).await;
    other.release(other_session, "doc/2").await;
    other.force(ORG, Target::Path { path: "doc/3" }).await;
    asker.ask_until_given_up(&server, "doc/1", 1).await;
    bystander.was_not_held_up().await;
    let orphaned = async {
        while !other.status(ORG, "doc/1").await.holders[0].orphaned {
            tokio::time::sleep(millis(10)).await;
        }
    };
    within(PATIENCE, "its session is detached", orphaned).await;

    let mut back = server.connect().await;
    let resumed = back.resume(&session).await;
    assert_eq!(paths(&resumed.holds), ["doc/1", "doc/2"]);
    assert!(resumed.waits.is_empty());
    let cause = Cause::Forced {
        by: "anyone",
        reason: "for a test",
    };
    let loss = Missed::Lost {
        path: "doc/3",
        token: lost,
        cause,
    };
    assert_eq!(resumed.missed, [loss]);
    assert!(back.check(ORG, "doc/1", token).await.current);
    // What it was told before is still good, and what follows goes to where it is now.
    asker.ask("doc/1", 1).await;
    back.asked(session.number).await;
}

async fn a_reader_that_wakes_up_in_time_hears_why_it_was_closed() {
    let server = server().await;
    let mut asker = Asker::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut frozen = Client::introduced(link.addr).await;
    let session = open(&mut frozen, "frozen").await;
    frozen.take(exclusive(session.number, "doc/1")).await;
    link.down(Way::Frozen);
    // What is on its way is given a second, so it wakes up as soon as it is known to be given up.
    let given_up = async {
        while slow_readers(&server).await == 0 {
            tokio::time::sleep(millis(5)).await;
        }
        link.down(Way::Open);
    };
    tokio::join!(given_up, asker.ask_until_given_up(&server, "doc/1", 1));
    assert_eq!(frozen.ended().await.unwrap(), ErrorCode::SlowReader);
}

async fn a_crowd_of_frozen_readers_holds_nobody_up() {
    const READERS: usize = 20;
    let server = server().await;
    let mut readers = Vec::new();
    for number in 0..READERS {
        let mut reader = Client::connect_narrow(server.addr).await;
        reader.hello(None).await;
        let session = open(&mut reader, &format!("reader-{number}")).await;
        reader.take(shared(session.number, "doc/1", None)).await;
        readers.push((reader, session));
    }
    let bystander = Bystander::of(&server).await;
    let mut asker = Asker::of(&server).await;
    asker
        .ask_until_given_up(&server, "doc/1", READERS as u64)
        .await;
    bystander.was_not_held_up().await;
    for (_, session) in readers {
        let resumed = server.connect().await.resume(&session).await;
        assert_eq!(paths(&resumed.holds), ["doc/1"]);
    }
}

/// Fills a hold with as much metadata as it takes, so that every look at it is large.
async fn hold_much(client: &mut Client, session: u64, path: &str) {
    let acquire = request::Acquire {
        metadata: &[7; limits::METADATA.max],
        ..exclusive(session, path)
    };
    client.take(acquire).await;
}

async fn ten_thousand_requests_without_reading_an_answer_cost_little_and_are_all_answered() {
    const REQUESTS: usize = 10_000;
    let server = Process::start(&[]);
    let mut other = Client::introduced(server.addr).await;
    let mut client = Client::introduced(server.addr).await;
    let session = client.open(ORG, "anna").await.number;
    hold_much(&mut client, session, "doc/1").await;
    let status = Request::LockStatus(request::Status {
        org: ORG,
        path: "doc/1",
    });
    // Some memory comes with the first requests of any connection.
    other.status(ORG, "doc/1").await;
    let before = server.memory();

    let ids = client.send_all(vec![status; REQUESTS]).await;
    let mut growth = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        other.status(ORG, "doc/1").await;
        assert!(began.elapsed() < HELD_UP, "{:?}", began.elapsed());
        if let (Some(before), Some(now)) = (before, server.memory()) {
            growth.push(now.saturating_sub(before));
        }
        tokio::time::sleep(millis(50)).await;
    }
    // All the answers are 40 MiB.
    assert!(growth.iter().all(|bytes| *bytes < 8 << 20), "{growth:?}");

    let mut seen = 0;
    for id in ids {
        client.answer(id).await.unwrap();
        seen += 1;
    }
    assert_eq!(seen, REQUESTS);
    client.ping().await;
}

async fn a_reader_that_asks_and_takes_nothing_is_given_up() {
    let server = server().await;
    let mut other = server.connect().await;
    let mut frozen = Client::connect_narrow(server.addr).await;
    frozen.hello(None).await;
    let session = open(&mut frozen, "frozen").await;
    hold_much(&mut frozen, session.number, "doc/1").await;
    let status = Request::LockStatus(request::Status {
        org: ORG,
        path: "doc/1",
    });
    frozen.send_all(vec![status; 10_000]).await;
    let given_up = async {
        while !other.status(ORG, "doc/1").await.holders[0].orphaned {
            tokio::time::sleep(millis(50)).await;
        }
    };
    within(Duration::from_secs(20), "it is given up", given_up).await;
    assert_eq!(slow_readers(&server).await, 1);
    let resumed = server.connect().await.resume(&session).await;
    assert_eq!(paths(&resumed.holds), ["doc/1"]);
}

/// The link is slow, the client is well: it reads all the time and gives signs of life.
async fn a_reader_that_is_slow_but_reads_is_left_alone() {
    const LISTS: usize = 10;
    let server = server().await;
    let mut client = Client::connect_narrow(server.addr).await;
    client.hello(None).await;
    let session = open(&mut client, "anna").await;
    for number in 0..256 {
        hold_much(&mut client, session.number, &format!("doc/{number}")).await;
    }
    let list = Request::LockList(request::List {
        org: ORG,
        target: Target::All,
        mode: None,
        held_min_ms: 0,
        cursor: None,
        page: 256,
    });
    // A page is 1 MiB: at this pace a single one takes longer than any silence that a server puts up with.
    let ids = client.send_all(vec![list; LISTS]).await;
    let began = Instant::now();
    let mut last_ping = began;
    while began.elapsed() < Duration::from_secs(16) {
        let is_open = within(PATIENCE, "something to read", client.sip(1024)).await;
        assert!(is_open, "given up after {:?}", began.elapsed());
        tokio::time::sleep(millis(50)).await;
        if last_ping.elapsed() > Duration::from_secs(4) {
            last_ping = Instant::now();
            client.send(Request::Ping(request::Ping {})).await;
        }
    }
    for id in ids {
        client.answer(id).await.unwrap();
    }
    client.ping().await;
    assert_eq!(slow_readers(&server).await, 0);
}

/// Publishes so many events at `doc/1`, each so large that a few thousand are more than any buffer takes.
async fn publish_much(client: &mut Client, count: usize) -> u64 {
    let mut last = 0;
    let publish = Request::StreamPublish(request::Publish {
        payload: &[7; 1000],
        ..happening(ORG, "doc/1")
    });
    for id in client.send_all(vec![publish; count]).await {
        let answer = client.answer(id).await.unwrap();
        let Reply::StreamPublish(published) = answer else {
            panic!("the answer to another request: {answer:?}");
        };
        last = published.position.offset;
    }
    last
}

/// A server whose streams keep no more than what is published in one go below, and a bit.
async fn server_that_keeps_little() -> TestServer {
    let config = Config {
        outbound_bytes_max: OUTBOUND,
        stream_events_max: 300,
        ..config()
    };
    TestServer::with_metrics(config).await
}

async fn a_frozen_listener_is_told_of_a_gap_and_costs_nobody_anything() {
    const FROZEN: usize = 10;
    const ROUNDS: usize = 40;
    let server = server_that_keeps_little().await;
    let bystander = Bystander::of(&server).await;
    let mut frozen = Vec::new();
    for number in 0..FROZEN {
        let mut client = Client::connect_narrow(server.addr).await;
        client.hello(None).await;
        let session = open(&mut client, &format!("frozen-{number}")).await;
        let path = format!("held/{number}");
        client.take(exclusive(session.number, &path)).await;
        let following = client.follow(ORG, &["doc/**"], None).await;
        frozen.push((client, session, following));
    }
    let mut quick = server.connect().await;
    let mut heard = quick.follow(ORG, &["doc/**"], None).await;
    let mut client = server.connect().await;
    let mut last = 0;
    for _ in 0..ROUNDS {
        last = publish_much(&mut client, 100).await;
        heard.reach(&mut quick, last).await;
    }
    assert_eq!(heard.events.len(), ROUNDS * 100);
    assert!(heard.gaps.is_empty());
    // Whatever becomes of events, what a session must be told is told.
    let target = Target::Prefix { prefix: "held/" };
    client.force(ORG, target).await;
    bystander.was_not_held_up().await;
    let mut gaps = 0;
    for (mut client, session, mut following) in frozen {
        following.reach(&mut client, last).await;
        // Few: it is told when there is room for what follows.
        assert!(
            (1..10).contains(&following.gaps.len()),
            "{:?}",
            following.gaps
        );
        gaps += following.gaps.len() as u64;
        let is_lost = |at: &u64| {
            let gaps = following.gaps.iter();
            gaps.filter(|(from, to)| (from..=to).contains(&at)).count()
        };
        let given = following.offsets();
        for at in heard.offsets() {
            let count = is_lost(&at) + usize::from(given.contains(&at));
            assert_eq!(count, 1, "{at} in {:?}", following.gaps);
        }
        client.lost(session.number).await;
    }
    assert_eq!(slow_readers(&server).await, 0);
    let told = server.metric("tenure_stream_gaps_total").await;
    assert_eq!(told, gaps);
}

async fn a_listener_that_stays_frozen_is_closed_and_learns_what_it_has_lost() {
    let server = server_that_keeps_little().await;
    let mut frozen = Client::connect_narrow(server.addr).await;
    frozen.hello(None).await;
    let following = frozen.follow(ORG, &["doc/**"], None).await;
    let mut client = server.connect().await;
    for _ in 0..40 {
        publish_much(&mut client, 100).await;
    }
    let given_up = async {
        while slow_readers(&server).await == 0 {
            tokio::time::sleep(millis(50)).await;
            client.ping().await;
        }
    };
    within(Duration::from_secs(20), "it is given up", given_up).await;
    let mut back = server.connect().await;
    let resumed = back.follow(ORG, &["doc/**"], Some(following.since())).await;
    let why = LostWhy::Trimmed;
    assert_eq!(resumed.recovery, Recovery::Lost { why });
}
