//! Promise 1: a path has at most one exclusive owner, or shared owners up to the limit, never both.
//!
//! Many connections hammer a few paths at once. Each writes down when it *surely* held a lock: from the moment it heard of
//! the grant to the moment it sent the last command that the server carried out as the holder's. All moments are of one
//! clock, so two stretches that exclude each other and overlap prove two holders. Each also writes to a resource that
//! compares tokens, which must take every write of a holder and none of a former one.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use support::{
    Client, PATIENCE, TestServer, exclusive, for_a_second, millis, shared, waiting, with_wait,
    within,
};
use tenure_protocol::{Disconnect, Grant, Mode, Target, reply, request};
use tokio::task::JoinSet;

const ORG: &str = "acme";
const LIMIT: u32 = 3;

/// Who surely held what, and from when until when.
#[derive(Debug, Clone)]
struct Stretch {
    path: &'static str,
    owner: usize,
    mode: Mode,
    token: u64,
    from: Instant,
    until: Instant,
}

/// Everything that the workers have seen.
#[derive(Default)]
struct Book {
    stretches: Mutex<Vec<Stretch>>,
    resources: Mutex<HashMap<&'static str, Resource>>,
    seized: AtomicUsize,
    lost: AtomicUsize,
}

/// Something that a lock protects, and that compares tokens.
#[derive(Default)]
struct Resource {
    fence: u64,
    /// Whoever wrote alone, in order.
    writers: Vec<(u64, usize)>,
}

impl Resource {
    fn write(&mut self, token: u64, owner: usize) -> bool {
        if token < self.fence {
            return false;
        }
        self.fence = token;
        self.writers.push((token, owner));
        true
    }
}

/// Panics if two stretches cannot both be.
fn check_stretches(stretches: &[Stretch]) {
    let mut by_path = HashMap::<_, Vec<_>>::new();
    for stretch in stretches {
        by_path.entry(stretch.path).or_default().push(stretch);
    }
    for stretches in by_path.values_mut() {
        stretches.sort_by_key(|stretch| stretch.from);
        let mut held = Vec::<&Stretch>::new();
        let mut token = 0;
        for next in stretches.iter() {
            held.retain(|one| one.until > next.from);
            for one in &held {
                let side_by_side = one.mode == Mode::Shared && next.mode == Mode::Shared;
                let owners = (one.owner, next.owner);
                assert!(
                    side_by_side,
                    "two holders, {owners:?}: {one:?} and {next:?}"
                );
                assert_eq!(one.token, next.token, "one phase, two tokens");
            }
            held.push(next);
            assert!(held.len() <= LIMIT as usize, "beyond the limit: {held:?}");
            assert!(token <= next.token, "after {token} came {next:?}");
            token = next.token;
        }
    }
}

/// Panics if a token let two write who should exclude each other.
fn check_writers(resource: &Resource) {
    for pair in resource.writers.windows(2) {
        let ((earlier, by), (later, then_by)) = (pair[0], pair[1]);
        assert!(
            earlier < later || by == then_by,
            "{by} and {then_by} wrote with the token {earlier}"
        );
    }
}

/// One connection that asks, works and lets go, again and again.
struct Worker {
    client: Client,
    session: u64,
    owner: usize,
    random: u64,
    book: Arc<Book>,
}

impl Worker {
    async fn start(server: &TestServer, owner: usize, book: &Arc<Book>) -> Self {
        let mut client = server.connect().await;
        let session = client.open(ORG, &format!("owner-{owner}")).await.number;
        Self {
            client,
            session,
            owner,
            random: 0x9e37_79b9_7f4a_7c15 ^ (owner as u64 + 1),
            book: Arc::clone(book),
        }
    }

    /// One of `count`, by xorshift.
    fn draw(&mut self, count: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % count as u64) as usize
    }

    /// Asks in some way, and holds what it gets for a while.
    async fn ask_and_hold(&mut self, path: &'static str, mode: Mode) {
        let acquire = match mode {
            Mode::Exclusive => exclusive(self.session, path),
            Mode::Shared => shared(self.session, path, Some(LIMIT)),
        };
        let acquire = match self.draw(8) {
            0..5 => with_wait(acquire),
            5 if mode == Mode::Exclusive => {
                self.book.seized.fetch_add(1, Ordering::Relaxed);
                request::Acquire {
                    seize: Some("a test"),
                    ..acquire
                }
            }
            _ => acquire,
        };
        let grant = match self.client.acquire(acquire).await {
            reply::Acquire::Granted { grant } => grant,
            reply::Acquire::Queued { wait, .. } => self.client.granted(wait).await[0].grant,
            reply::Acquire::Refused { .. } => return,
        };
        assert_eq!(grant.mode, mode);
        self.hold(path, grant).await;
    }

    async fn hold(&mut self, path: &'static str, grant: Grant) {
        let from = Instant::now();
        let mut until = from;
        for _ in 0..=self.draw(3) {
            let taken = grant.mode == Mode::Shared || self.write(path, grant.token);
            let sent = Instant::now();
            match self.client.renew(self.session, path).await {
                reply::Renew::Granted { grant: renewed } => {
                    assert_eq!(renewed.token, grant.token);
                    // It was the holder all the time, so it was when it wrote.
                    assert!(taken, "a holder's write was refused: {grant:?}");
                    until = sent;
                }
                reply::Renew::NotHeld { .. } => return self.write_down(path, grant, from, until),
            }
        }
        let sent = Instant::now();
        match self.client.release(self.session, path).await {
            reply::Release::Ended => until = sent,
            reply::Release::NotHeld { .. } => {
                self.book.lost.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("an owner with one session and a long TTL: {other:?}"),
        }
        self.write_down(path, grant, from, until);
    }

    fn write(&self, path: &'static str, token: u64) -> bool {
        let mut resources = self.book.resources.lock();
        resources.entry(path).or_default().write(token, self.owner)
    }

    fn write_down(&self, path: &'static str, grant: Grant, from: Instant, until: Instant) {
        // Lost before it was confirmed even once: nobody can say when.
        if from == until {
            return;
        }
        self.book.stretches.lock().push(Stretch {
            path,
            owner: self.owner,
            mode: grant.mode,
            token: grant.token,
            from,
            until,
        });
    }
}

/// Lets workers loose on the paths, with an operator who frees all of them every now and then.
async fn hammer(paths: &'static [&'static str], modes: &'static [Mode]) -> Arc<Book> {
    let server = TestServer::start().await;
    let book = Arc::new(Book::default());
    let mut workers = JoinSet::new();
    for owner in 0..12 {
        let mut worker = Worker::start(&server, owner, &book).await;
        workers.spawn(async move {
            for _ in 0..100 {
                let path = paths[worker.draw(paths.len())];
                let mode = modes[worker.draw(modes.len())];
                worker.ask_and_hold(path, mode).await;
            }
        });
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut operator = server.connect().await;
    let until = Arc::clone(&is_over);
    let operating = tokio::spawn(async move {
        let mut ended = 0;
        while !until.load(Ordering::Relaxed) {
            ended += operator.force(ORG, Target::All).await.ended.len();
            tokio::time::sleep(millis(3)).await;
        }
        ended
    });
    let all = async { while workers.join_next().await.transpose().unwrap().is_some() {} };
    within(3 * PATIENCE, "the workers are done", all).await;
    is_over.store(true, Ordering::Relaxed);
    assert!(operating.await.unwrap() > 0, "the operator freed something");
    book
}

fn check_book(book: &Book) {
    let stretches = book.stretches.lock();
    assert!(stretches.len() > 100, "only {}", stretches.len());
    check_stretches(&stretches);
    for resource in book.resources.lock().values() {
        check_writers(resource);
    }
    assert!(book.seized.load(Ordering::Relaxed) > 0);
    assert!(book.lost.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_owners_hold_an_exclusive_lock_at_once() {
    let book = hammer(&["doc/1", "doc/2"], &[Mode::Exclusive]).await;
    check_book(&book);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_owners_keep_to_the_limit_and_never_stand_beside_an_exclusive_one() {
    let modes = &[Mode::Shared, Mode::Shared, Mode::Shared, Mode::Exclusive];
    let book = hammer(&["doc/1", "doc/2"], modes).await;
    check_book(&book);
    let stretches = book.stretches.lock();
    let shared = |stretch: &&Stretch| stretch.mode == Mode::Shared;
    assert!(stretches.iter().filter(shared).count() > 50);
    assert!(!stretches.iter().all(|stretch| shared(&stretch)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_ask_at_the_same_moment_one_is_granted() {
    let server = TestServer::start().await;
    let mut clients = Vec::new();
    for owner in 0..16 {
        let mut client = server.connect().await;
        let session = client.open(ORG, &format!("owner-{owner}")).await.number;
        clients.push((client, session));
    }
    for round in 0..30 {
        let path = format!("doc/{round}");
        let mut asking = JoinSet::new();
        let start = Arc::new(tokio::sync::Barrier::new(clients.len()));
        for (mut client, session) in clients.drain(..) {
            let (path, start) = (path.clone(), Arc::clone(&start));
            asking.spawn(async move {
                start.wait().await;
                let answer = client.acquire(exclusive(session, &path)).await;
                let is_granted = matches!(answer, reply::Acquire::Granted { .. });
                (client, session, is_granted)
            });
        }
        let answers = within(PATIENCE, "answers", asking.join_all()).await;
        let granted = answers.iter().filter(|(_, _, granted)| *granted).count();
        assert_eq!(granted, 1, "round {round}");
        clients.extend(
            answers
                .into_iter()
                .map(|(client, session, _)| (client, session)),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_crowd_fills_a_shared_lock_to_its_limit_and_no_further() {
    let server = TestServer::start().await;
    let mut holder = server.connect().await;
    let holding = holder.open(ORG, "holder").await.number;
    holder.take(exclusive(holding, "doc/1")).await;
    let mut crowd = server.connect().await;
    let mut waits = Vec::new();
    for owner in 0..10 {
        let session = crowd.open(ORG, &format!("owner-{owner}")).await.number;
        let acquire = with_wait(shared(session, "doc/1", Some(LIMIT)));
        waits.push((session, crowd.queue(acquire).await));
    }
    holder.release(holding, "doc/1").await;
    for (index, (session, wait)) in waits.iter().enumerate() {
        crowd.granted(*wait).await;
        let truth = holder.status(ORG, "doc/1").await;
        let waiting = (waits.len() - LIMIT as usize).saturating_sub(index);
        assert_eq!(truth.mode, Some(Mode::Shared));
        assert_eq!(
            (truth.limit, truth.waiters as usize),
            (Some(LIMIT), waiting)
        );
        assert_eq!(
            truth.holder_count as usize,
            (waits.len() - index).min(LIMIT as usize)
        );
        crowd.release(*session, "doc/1").await;
    }
}

/// How the first holder of a path loses it while it is not looking.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Expiry,
    Seizure,
    Force,
    Disconnect,
    HandOver,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_compares_tokens_takes_no_write_of_a_former_holder() {
    let server = TestServer::start().await;
    let mut losing = JoinSet::new();
    for loss in [
        Loss::Expiry,
        Loss::Seizure,
        Loss::Force,
        Loss::Disconnect,
        Loss::HandOver,
    ] {
        let (sleeper, other) = (server.connect().await, server.connect().await);
        losing.spawn(sleep_and_write(sleeper, other, loss));
    }
    let lost = within(PATIENCE, "all have lost", losing.join_all()).await;
    assert_eq!(lost.len(), 5);
}

async fn sleep_and_write(mut sleeper: Client, mut other: Client, loss: Loss) {
    let path = format!("doc/{loss:?}");
    let session = sleeper
        .open_with(request::OpenSession {
            org: ORG,
            owner: "sleeper",
            name: "",
            role: None,
            on_disconnect: Some(Disconnect::Release { grace_ms: Some(0) }),
            metadata: b"",
        })
        .await
        .number;
    let other_session = other.open(ORG, "other").await.number;
    let mut resource = Resource::default();

    let before = sleeper.take(for_a_second(session, &path)).await.token;
    assert!(resource.write(before, 1));
    let after = match loss {
        Loss::Expiry | Loss::HandOver | Loss::Force | Loss::Disconnect => {
            let wait = other.queue(waiting(other_session, &path)).await;
            match loss {
                Loss::Force => {
                    other.force(ORG, Target::Path { path: &path }).await;
                }
                Loss::HandOver => {
                    sleeper.hand_over(session, &path, Some(wait)).await;
                }
                Loss::Disconnect => drop(sleeper),
                Loss::Expiry | Loss::Seizure => {}
            }
            other.granted_token(wait).await
        }
        Loss::Seizure => {
            let seize = request::Acquire {
                seize: Some("a test"),
                ..exclusive(other_session, &path)
            };
            other.take(seize).await.token
        }
    };
    assert!(resource.write(after, 2), "{loss:?}: the holder was refused");
    assert!(
        !resource.write(before, 1),
        "{loss:?}: a former holder wrote"
    );
    assert!(resource.write(after, 2), "{loss:?}: the holder was refused");
}

#[test]
fn the_checker_notices_two_holders() {
    let now = Instant::now();
    let stretch = |owner, mode, token, from, until| Stretch {
        path: "doc/1",
        owner,
        mode,
        token,
        from: now + millis(from),
        until: now + millis(until),
    };
    let notices =
        |stretches: &[Stretch]| std::panic::catch_unwind(|| check_stretches(stretches)).is_err();
    let (one, all) = (Mode::Exclusive, Mode::Shared);
    assert!(!notices(&[
        stretch(1, one, 1, 0, 5),
        stretch(2, one, 2, 5, 9)
    ]));
    assert!(notices(&[
        stretch(1, one, 1, 0, 5),
        stretch(2, one, 2, 4, 9)
    ]));
    assert!(notices(&[
        stretch(1, one, 2, 0, 5),
        stretch(2, one, 1, 5, 9)
    ]));
    assert!(notices(&[
        stretch(1, all, 1, 0, 5),
        stretch(2, one, 2, 4, 9)
    ]));
    assert!(notices(&[
        stretch(1, all, 1, 0, 5),
        stretch(2, all, 2, 4, 9)
    ]));
    let crowd = (0..=LIMIT as usize).map(|owner| stretch(owner, all, 1, 0, 5));
    assert!(notices(&crowd.collect::<Vec<_>>()));

    let mut resource = Resource::default();
    assert!(resource.write(7, 1) && resource.write(7, 2));
    assert!(std::panic::catch_unwind(|| check_writers(&resource)).is_err());
}
