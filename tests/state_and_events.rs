//! State and events together are the truth: pages of holds, and the events above each page's position, come to what a
//! later list says, at every position of it.
//!
//! Sessions that act at random make up the history; what they are answered is not looked at, nor is any rule of locks
//! known here. A test that fails prints its seed: `PROPTEST_RNG_SEED=… cargo test --test state_and_events`.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{Client, Dice, Following, Session, TestServer, millis, seeds, with_wait, within};
use tenure_protocol::{
    Cause, Disconnect, Event, Item, Mode, Push, ReleaseScope, Reply, Request, Target, reply,
    request,
};

const ORG: &str = "acme";
const PATHS: [&str; 7] = [
    "chat/1", "doc/1", "doc/1/a", "doc/2", "doc/3", "ticket/1", "ticket/2",
];
const OWNERS: [&str; 4] = ["anna", "ben", "carl", "dora"];
const ACTORS: usize = 4;
const ACTS: usize = 150;

/// Everybody rests now and then for so long that holds expire.
const REST_EVERY: usize = 50;
const REST: Duration = Duration::from_millis(1200);

// Those who make it happen.

/// One connection with a few sessions, which it loses now and then.
struct Actor {
    dice: Dice,
    server: SocketAddr,
    client: Client,
    sessions: Vec<Session>,
    waits: Vec<(u64, u64)>,
}

impl Actor {
    async fn new(seed: u64, server: SocketAddr) -> Self {
        let mut actor = Self {
            dice: Dice::of(seed),
            server,
            client: Client::introduced(server).await,
            sessions: Vec::new(),
            waits: Vec::new(),
        };
        for _ in 0..3 {
            actor.open().await;
        }
        actor
    }

    async fn open(&mut self) {
        let on_disconnect = match self.dice.below(3) {
            0 => Disconnect::Keep,
            1 => Disconnect::Release { grace_ms: Some(0) },
            _ => Disconnect::Release {
                grace_ms: Some(300),
            },
        };
        let open = request::OpenSession {
            org: ORG,
            owner: self.dice.one_of(&OWNERS),
            name: "",
            role: None,
            on_disconnect: Some(on_disconnect),
            metadata: b"",
        };
        let session = self.client.open_with(open).await;
        self.sessions.push(session);
    }

    async fn act(&mut self) {
        let index = self.dice.below(self.sessions.len() as u64) as usize;
        let session = self.sessions[index].number;
        let path = self.dice.one_of(&PATHS);
        match self.dice.below(40) {
            0..16 => self.acquire(session, path).await,
            16..24 => {
                let scope = self
                    .dice
                    .one_of(&[ReleaseScope::Session, ReleaseScope::Owner]);
                let release = request::Release {
                    session,
                    path,
                    scope,
                    token: None,
                };
                self.ask(Request::LockRelease(release)).await;
            }
            24..28 => self.convert(session, path).await,
            28..30 => self.acquire_all(session).await,
            30..32 => self.hand_over(session).await,
            32 => {
                if let Some((session, wait)) = self.waits.pop() {
                    let cancel = request::Cancel { session, wait };
                    self.ask(Request::LockCancel(cancel)).await;
                }
            }
            33 if self.dice.below(2) == 0 => self.force(path).await,
            34 => {
                let session = self.sessions.remove(index).number;
                let close = request::CloseSession { session };
                self.ask(Request::SessionClose(close)).await;
                self.open().await;
            }
            35 => self.reconnect().await,
            36 => tokio::time::sleep(millis(self.dice.below(300))).await,
            _ => {
                let renew = request::Renew {
                    session,
                    path,
                    ttl_ms: Some(1000),
                    token: None,
                };
                self.ask(Request::LockRenew(renew)).await;
            }
        }
    }

    /// The answer, whatever it is.
    async fn ask(&mut self, request: Request<'_>) -> Option<Reply<'static>> {
        let id = self.client.send(request).await;
        self.client.answer(id).await.ok()
    }

    async fn acquire(&mut self, session: u64, path: &str) {
        let mode = self.dice.one_of(&[Mode::Exclusive, Mode::Shared]);
        let acquire = request::Acquire {
            mode,
            ttl_ms: Some(1000 + self.dice.below(2) * 3000),
            note: (self.dice.below(2) == 0).then_some("may I have it?"),
            seize: (self.dice.below(5) == 0).then_some("for a test"),
            ..support::exclusive(session, path)
        };
        let acquire = match self.dice.below(2) {
            0 => acquire,
            _ => with_wait(acquire),
        };
        if let Some(Reply::LockAcquire(reply::Acquire::Queued { wait, .. })) =
            self.ask(Request::LockAcquire(acquire)).await
        {
            self.waits.push((session, wait));
        }
    }

    async fn convert(&mut self, session: u64, path: &str) {
        let convert = request::Convert {
            session,
            path,
            mode: self.dice.one_of(&[Mode::Exclusive, Mode::Shared]),
            limit: None,
            wait_ms: self.dice.below(2) * 1000,
        };
        self.ask(Request::LockConvert(convert)).await;
    }

    async fn acquire_all(&mut self, session: u64) {
        let first = self.dice.below(PATHS.len() as u64 - 2) as usize;
        let items = PATHS[first..first + 2].iter().map(|path| Item {
            path,
            mode: Mode::Exclusive,
            limit: None,
        });
        let all = request::AcquireAll {
            session,
            items: items.collect(),
            ttl_ms: Some(1000),
            wait_ms: 2000,
            metadata: b"",
        };
        self.ask(Request::LockAcquireAll(all)).await;
    }

    /// Whatever it holds that somebody waits for.
    async fn hand_over(&mut self, session: u64) {
        for path in PATHS {
            let to = None;
            let hand = request::HandOver { session, path, to };
            self.ask(Request::LockHandOver(hand)).await;
        }
    }

    async fn force(&mut self, path: &str) {
        let target = match self.dice.below(2) {
            0 => Target::Path { path },
            _ => Target::Owner {
                owner: self.dice.one_of(&OWNERS),
            },
        };
        self.client.force(ORG, target).await;
    }

    /// The connection is lost; some sessions come back with the next one, in time or too late.
    async fn reconnect(&mut self) {
        self.client = Client::introduced(self.server).await;
        tokio::time::sleep(millis(self.dice.below(200))).await;
        self.waits.clear();
        for session in std::mem::take(&mut self.sessions) {
            let resume = Request::SessionResume(session.resumption());
            if self.dice.below(4) > 0 && self.ask(resume).await.is_some() {
                self.sessions.push(session);
            }
        }
        while self.sessions.len() < 3 {
            self.open().await;
        }
    }
}

// Those who look on.

/// What others see of a hold, by path and owner.
type Holds = BTreeMap<(String, String), (Mode, u64, bool)>;

/// The holds of some consecutive paths, at one position.
#[derive(Debug)]
struct Page {
    after: Option<String>,
    /// The last path, if it is not the last page.
    until: Option<String>,
    offset: u64,
    holds: Holds,
}

impl Page {
    fn has(&self, path: &str) -> bool {
        self.after.as_deref().is_none_or(|after| path > after)
            && self.until.as_deref().is_none_or(|until| path <= until)
    }
}

async fn pages(client: &mut Client, page: u32) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut after = None::<String>;
    loop {
        let read = client.list_from(ORG, after.as_deref(), page).await;
        let holds = read.holds.iter().map(|hold| {
            let at = (hold.path.to_owned(), hold.holder.owner.to_owned());
            (at, (hold.mode, hold.token, hold.holder.orphaned))
        });
        let until = read.next.map(str::to_owned);
        pages.push(Page {
            after: std::mem::replace(&mut after, until.clone()),
            until: until.clone(),
            offset: read.position.unwrap().offset,
            holds: holds.collect(),
        });
        if until.is_none() {
            return pages;
        }
    }
}

fn apply(event: &Event<'_>, holds: &mut Holds) {
    match event {
        Event::LockGranted {
            path,
            who,
            mode,
            token,
            ..
        }
        | Event::LockConverted {
            path,
            who,
            mode,
            token,
        } => {
            let at = (path.to_string(), who.owner.to_owned());
            let orphaned = holds.get(&at).is_some_and(|(_, _, orphaned)| *orphaned);
            holds.insert(at, (*mode, *token, orphaned));
        }
        Event::LockEnded {
            path, who, token, ..
        } => {
            let ended = holds.remove(&(path.to_string(), who.owner.to_owned()));
            assert!(ended.is_none_or(|(_, held, _)| held == *token), "{event:?}");
        }
        Event::LockOrphaned { path, who, .. } | Event::LockAdopted { path, who, .. } => {
            let is_orphaned = matches!(event, Event::LockOrphaned { .. });
            if let Some(hold) = holds.get_mut(&(path.to_string(), who.owner.to_owned())) {
                hold.2 = is_orphaned;
            }
        }
        Event::LockQueued { .. } | Event::LockWaitEnded { .. } | Event::Published { .. } => {}
    }
}

/// What happened, told apart as far as it matters to what follows.
const fn kind(event: &Event<'_>) -> &'static str {
    match event {
        Event::LockGranted { waited_ms: 0, .. } => "granted",
        Event::LockGranted { .. } => "granted after a wait",
        Event::LockConverted { .. } => "converted",
        Event::LockEnded { cause, .. } => match cause {
            Cause::Released => "released",
            Cause::Expired => "expired",
            Cause::SessionClosed => "session closed",
            Cause::SessionLost => "session lost",
            Cause::Forced { .. } => "forced",
            Cause::Seized { .. } => "seized",
            Cause::HandedTo { .. } => "handed over",
        },
        Event::LockOrphaned { .. } => "orphaned",
        Event::LockAdopted { .. } => "adopted",
        Event::LockQueued { .. } => "queued",
        Event::LockWaitEnded { .. } => "wait ended",
        Event::Published { .. } => "published",
    }
}

/// What the earlier pages and the events say of the paths of a later page, at its position.
fn expected(earlier: &[Page], events: &Following, later: &Page) -> Holds {
    let mut holds = Holds::new();
    for page in earlier {
        let in_both = |path: &str| page.has(path) && later.has(path);
        let mut part: Holds = page.holds.clone();
        for (offset, event) in &events.events {
            if *offset > page.offset && *offset <= later.offset {
                apply(event, &mut part);
            }
        }
        holds.extend(part.into_iter().filter(|((path, _), _)| in_both(path)));
    }
    holds
}

/// Compares until nobody acts any more. Gives what happened, by kind.
async fn look_on(
    server: SocketAddr,
    dice: &mut Dice,
    acting: &AtomicUsize,
) -> BTreeMap<&'static str, usize> {
    let mut client = Client::introduced(server).await;
    let mut events = client.follow(ORG, &["**"], None).await;
    let mut known = pages(&mut client, 2).await;
    let mut is_over = false;
    while !is_over {
        is_over = acting.load(Ordering::Relaxed) == 0;
        tokio::time::sleep(millis(dice.below(60))).await;
        let read = pages(&mut client, 1 + dice.below(5) as u32).await;
        let last = read.iter().map(|page| page.offset).max().unwrap();
        events.reach(&mut client, last).await;
        assert!(events.gaps.is_empty());
        for page in &read {
            let expected = expected(&known, &events, page);
            assert_eq!(page.holds, expected, "{page:#?}\nearlier: {known:#?}");
        }
        // Now and then what was read takes the place of what was known; else the way is longer the next time.
        if dice.below(5) == 0 {
            known = read;
        }
    }
    let mut kinds = BTreeMap::new();
    for (_, event) in &events.events {
        *kinds.entry(kind(event)).or_default() += 1;
    }
    kinds
}

async fn live(seed: u64) -> BTreeMap<&'static str, usize> {
    let server = TestServer::start().await;
    let acting = Arc::new(AtomicUsize::new(ACTORS));
    let actors: Vec<_> = (0..ACTORS)
        .map(|number| {
            let (addr, acting) = (server.addr, Arc::clone(&acting));
            tokio::spawn(async move {
                let seed = seed.wrapping_mul(31).wrapping_add(number as u64);
                let mut actor = Actor::new(seed, addr).await;
                for act in 0..ACTS {
                    actor.act().await;
                    if act % REST_EVERY == REST_EVERY - 1 {
                        tokio::time::sleep(REST).await;
                    }
                }
                acting.fetch_sub(1, Ordering::Relaxed);
            })
        })
        .collect();
    let mut dice = Dice::of(seed);
    let looking = look_on(server.addr, &mut dice, &acting);
    let kinds = within(Duration::from_secs(60), "the actors are done", looking).await;
    for actor in actors {
        actor.await.unwrap();
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_events_come_to_what_a_later_list_says() {
    let mut seen = BTreeMap::new();
    for seed in seeds(2) {
        println!("seed {seed}");
        for (kind, count) in live(seed).await {
            *seen.entry(kind).or_insert(0) += count;
        }
    }
    println!("{seen:?}");
    // Short lives that never come to what is to be tested test nothing.
    assert_eq!(seen.len(), 14, "{seen:?}");
}

/// A hold that is over is told as such before the page that leaves it out, however late its tick comes.
#[tokio::test]
async fn a_page_leaves_out_nothing_whose_end_it_has_not_told() {
    const HOLDS: usize = 500;
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    let mut events = client.follow(ORG, &["**"], None).await;
    let session = client.open(ORG, "anna").await.number;
    let paths: Vec<_> = (0..HOLDS)
        .map(|number| format!("doc/{number:04}"))
        .collect();
    let acquires = paths
        .iter()
        .map(|path| Request::LockAcquire(support::for_a_second(session, path)));
    for id in client.send_all(acquires).await {
        client.answer(id).await.unwrap();
    }
    let mut last = HOLDS;
    while last > 0 {
        let page = client.list_from(ORG, None, 256).await;
        let offset = page.position.unwrap().offset;
        events.reach(&mut client, offset).await;
        let until = page.next;
        let is_on_page = |path: &str| until.is_none_or(|until| path <= until);
        let mut holds = Holds::new();
        for (_, event) in events.events.iter().filter(|(at, _)| *at <= offset) {
            apply(event, &mut holds);
        }
        holds.retain(|(path, _), _| is_on_page(path));
        let listed: Vec<_> = page.holds.iter().map(|hold| hold.path).collect();
        let told: Vec<_> = holds.keys().map(|(path, _)| path.as_str()).collect();
        assert_eq!(listed, told);
        last = listed.len();
    }
    let ends = client.heard().iter().filter(|heard| {
        matches!(heard, tenure_protocol::FromServer::Push(Push::StreamEvent(happened))
            if matches!(happened.event, Event::LockEnded { .. }))
    });
    assert_eq!(ends.count(), HOLDS);
}
