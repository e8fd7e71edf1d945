//! What the longest steps take: commands and queries whose work grows with what others have made, each with as much of it
//! as the limits allow. A shard does nothing else meanwhile.
//!
//! `cargo run --release -p tenure-engine --example worst_cases`; on a machine that is otherwise idle.

#![expect(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "it tells what it has measured, and panics about what it does not expect"
)]

use std::time::{Duration, Instant};

use tenure_engine::presence::{self, Activity, Audience, Bounds, Presence, Within};
use tenure_engine::{
    Acquire, Attach, Command, Discard, Disconnect, Engine, Entry, ForceRelease, List, LogTime,
    Millis, Mode, OpenSession, PolicyLayer, Query, Release, ReleaseScope, Reply, ResumeKey,
    ResumeSession, Role, Scope, SessionId, SessionRef, Target, Token, WaitId, WallTime,
};

const ORG: &str = "acme";
const KEY: ResumeKey = ResumeKey(7);
const DAY: Millis = Millis(86_400_000);

struct World {
    engine: Engine,
    at: u64,
}

impl World {
    fn new(layer: PolicyLayer) -> Self {
        let mut world = Self {
            engine: Engine::new(Token(1)),
            at: 1,
        };
        let scope = Scope::Server;
        world.apply(Command::Configure {
            scope,
            layer,
            principal: "",
        });
        world
    }

    fn apply(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: LogTime(self.at),
            wall: WallTime(0),
            command: &command,
        };
        self.engine.apply(&entry, &mut Discard).reply
    }

    fn timed(&mut self, what: &str, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: LogTime(self.at),
            wall: WallTime(0),
            command: &command,
        };
        let begin = Instant::now();
        let reply = self.engine.apply(&entry, &mut Discard).reply;
        tell(what, begin.elapsed(), &short(&reply));
        reply
    }

    /// Prepares and ticks, as a server does, until nothing is wanted at once; tells of the longest step.
    fn ticked(&mut self, what: &str) {
        let (mut steps, mut longest) = (0, Duration::ZERO);
        while self
            .engine
            .next_deadline()
            .is_some_and(|at| at.0 <= self.at)
        {
            let begin = Instant::now();
            let is_ready = self.engine.prepare(LogTime(self.at));
            longest = longest.max(begin.elapsed());
            steps += 1;
            if is_ready {
                let begin = Instant::now();
                self.apply(Command::Tick);
                longest = longest.max(begin.elapsed());
                steps += 1;
            }
        }
        tell(
            &format!("{what}: the longest of {steps} steps"),
            longest,
            "",
        );
    }

    fn asked(&self, what: &str, query: &Query<'_>) {
        let begin = Instant::now();
        let answer = self.engine.query(query, LogTime(self.at));
        tell(what, begin.elapsed(), "");
        drop(answer);
    }

    fn open(&mut self, owner: &str) -> SessionRef {
        let open = OpenSession {
            org: ORG,
            owner,
            name: "",
            metadata: b"",
            role: Role::Admin,
            resume_key: KEY,
            on_disconnect: Disconnect::Release(Some(Millis(3_600_000))),
        };
        match self.apply(Command::OpenSession(open)) {
            Reply::Opened {
                session, attach, ..
            } => SessionRef { session, attach },
            other => panic!("{other:?}"),
        }
    }

    fn acquire(&mut self, by: SessionRef, path: &str, mode: Mode, wait: Millis) -> Reply {
        self.apply(acquire(by, path, mode, wait))
    }

    fn resume(&mut self, what: &str, session: SessionId) -> SessionRef {
        let resume = ResumeSession {
            org: ORG,
            session,
            resume_key: KEY,
            role: Role::Admin,
        };
        match self.timed(what, Command::ResumeSession(resume)) {
            Reply::Resumed(resumed) => SessionRef {
                session,
                attach: resumed.attach,
            },
            other => panic!("{other:?}"),
        }
    }
}

fn acquire(by: SessionRef, path: &str, mode: Mode, wait: Millis) -> Command<'_> {
    Command::Acquire(Acquire {
        by,
        path,
        mode,
        limit: None,
        ttl: Some(DAY),
        wait,
        note: None,
        seize: None,
        metadata: b"",
    })
}

fn release(by: SessionRef, path: &str) -> Command<'_> {
    Command::Release(Release {
        by,
        path,
        scope: ReleaseScope::Session,
        token: None,
    })
}

fn force(target: Target<'_>) -> Command<'_> {
    Command::ForceRelease(ForceRelease {
        org: ORG,
        target,
        after: None,
        reason: "because",
        principal: "ops",
    })
}

fn list(target: Target<'_>) -> Query<'_> {
    Query::List(List {
        org: ORG,
        target,
        mode: None,
        held_min: Millis(0),
        after: None,
        page: 256,
    })
}

fn tell(what: &str, took: Duration, said: &str) {
    println!("{:>10.3} ms  {what}  {said}", took.as_secs_f64() * 1e3);
}

fn short(reply: &Reply) -> String {
    let mut text = format!("{reply:?}");
    text.truncate(text.char_indices().nth(48).map_or(text.len(), |(at, _)| at));
    text
}

/// One session with very many holds.
fn many_holds(holds: u32) {
    println!("-- a session with {holds} holds");
    let mut world = World::new(PolicyLayer {
        session_holds_max: Some(holds),
        ..PolicyLayer::default()
    });
    let by = world.open("alice");
    for number in 0..holds {
        world.acquire(by, &format!("doc/{number}"), Mode::Exclusive, Millis(0));
    }
    let other = world.open("bob");
    world.apply(Command::Acquire(Acquire {
        by: other,
        path: "other/1",
        mode: Mode::Exclusive,
        limit: None,
        ttl: Some(Millis(1000)),
        wait: Millis(0),
        note: None,
        seize: None,
        metadata: b"",
    }));
    world.at += 10;
    world.timed("session.renew, nothing is over", Command::RenewSession(by));
    world.at += 2000;
    world.timed(
        "session.renew, something of another's is over",
        Command::RenewSession(by),
    );
    world.apply(Command::Tick);
    world.timed("detach", Command::DetachSession(by));
    world.at += 10;
    let by = world.resume("session.resume", by.session);
    let by = world.resume("session.resume again, where it is attached", by.session);
    world.asked(
        "lock.list by session, one page",
        &list(Target::Session(by.session)),
    );
    world.timed(
        "lock.force_release by session, one step",
        force(Target::Session(by.session)),
    );
    world.timed("session.close", Command::CloseSession(by));
    world.timed("a tick after it", Command::Tick);
}

/// Sessions with very many holds that are renewed together, and are over together.
fn kept(sessions: u32, holds: u32) {
    println!("-- {sessions} sessions with {holds} holds, all renewed in the same moment");
    let mut world = World::new(PolicyLayer::default());
    let by: Vec<_> = (0..sessions)
        .map(|number| world.open(&format!("owner-{number}")))
        .collect();
    for number in 0..holds {
        let by = by[(number % sessions) as usize];
        world.acquire(by, &format!("doc/{number}"), Mode::Exclusive, Millis(0));
        world.at += u64::from(number % 1000 == 0);
    }
    let (renewed, step) = (world.at + DAY.0 / 2, DAY.0 / 200);
    world.at = renewed;
    for by in &by {
        world.apply(Command::RenewSession(*by));
    }
    world.at = renewed + DAY.0 / 2 + step;
    world.ticked("what they had before the renewal");
    world.at = renewed + DAY.0;
    world.ticked("all of it is over");
}

/// A lock that is shared by as many as may, and awaited.
fn crowd(waiters: u32) {
    println!("-- a lock shared by 4096, {waiters} wait to have it alone");
    let mut world = World::new(PolicyLayer {
        queue_max: Some(1_000_000),
        ..PolicyLayer::default()
    });
    let holders: Vec<_> = (0..4096)
        .map(|number| world.open(&format!("holder-{number}")))
        .collect();
    for by in &holders {
        world.acquire(*by, "doc/1", Mode::Shared, Millis(0));
    }
    for number in 0..waiters {
        let by = world.open(&format!("waiter-{number}"));
        world.acquire(by, "doc/1", Mode::Exclusive, DAY);
    }
    let late = world.open("late");
    world.timed(
        "lock.acquire that is refused",
        acquire(late, "doc/1", Mode::Exclusive, Millis(0)),
    );
    world.timed(
        "lock.acquire that is queued",
        acquire(late, "doc/1", Mode::Exclusive, DAY),
    );
    world.timed(
        "lock.cancel",
        Command::Cancel {
            by: late,
            wait: WaitId(u64::from(waiters) + 1),
        },
    );
    world.asked(
        "lock.status",
        &Query::Status {
            org: ORG,
            path: "doc/1",
        },
    );
    world.asked(
        "places of the waiters",
        &Query::Places {
            org: ORG,
            path: "doc/1",
        },
    );
    world.asked("lock.list, one page", &list(Target::All));
    world.apply(Command::Acquire(Acquire {
        by: late,
        path: "other/1",
        mode: Mode::Exclusive,
        limit: None,
        ttl: Some(Millis(1000)),
        wait: Millis(0),
        note: None,
        seize: None,
        metadata: b"",
    }));
    world.at += 2000;
    world.timed(
        "lock.acquire that is refused, something else is over",
        acquire(late, "doc/1", Mode::Exclusive, Millis(0)),
    );
    world.timed(
        "lock.release by one of the holders",
        release(holders[0], "doc/1"),
    );
    world.timed("detach of another", Command::DetachSession(holders[1]));
    world.timed(
        "lock.force_release of the path",
        force(Target::Path("doc/1")),
    );
}

/// One who holds alone, and very many who wait to share.
fn handing_over(waiters: u32) {
    println!("-- a lock held alone, {waiters} wait to share it");
    let mut world = World::new(PolicyLayer {
        queue_max: Some(1_000_000),
        ..PolicyLayer::default()
    });
    let by = world.open("holder");
    world.acquire(by, "doc/1", Mode::Exclusive, Millis(0));
    for number in 0..waiters {
        let by = world.open(&format!("waiter-{number}"));
        world.acquire(by, "doc/1", Mode::Shared, DAY);
    }
    world.timed(
        "lock.release, which is granted to them",
        release(by, "doc/1"),
    );
    let late = world.open("late");
    world.timed(
        "lock.acquire of one who comes then",
        acquire(late, "doc/1", Mode::Shared, Millis(0)),
    );
    world.ticked("further grants");
    world.timed(
        "lock.force_release of the path, the rest get it",
        force(Target::Path("doc/1")),
    );
    world.ticked("further grants");
    world.at += DAY.0;
    world.ticked("all who have it are over, and all who wait");
}

/// Very many who wait are over at once: their time, or the grace of their sessions.
fn over_together(waiters: u32, detached: bool) {
    let what = ["time to wait", "session"][usize::from(detached)];
    println!("-- a lock held alone, {waiters} wait, and the {what} of all of them is over");
    let mut world = World::new(PolicyLayer {
        queue_max: Some(1_000_000),
        ..PolicyLayer::default()
    });
    let by = world.open("holder");
    world.acquire(by, "doc/1", Mode::Exclusive, Millis(0));
    for number in 0..waiters {
        let by = world.open(&format!("waiter-{number}"));
        world.acquire(by, "doc/1", Mode::Exclusive, Millis(DAY.0 / 2));
        if detached {
            world.apply(Command::DetachSession(by));
        }
    }
    world.at += DAY.0 / 2;
    world.ticked("what is over");
}

/// One owner with very many sessions that all wait.
fn one_owner(sessions: u32) {
    println!("-- a lock held alone, {sessions} sessions of one owner wait for it");
    let mut world = World::new(PolicyLayer::default());
    let by = world.open("holder");
    world.acquire(by, "doc/1", Mode::Exclusive, Millis(0));
    for _ in 0..sessions {
        let by = world.open("crew");
        world.acquire(by, "doc/1", Mode::Exclusive, DAY);
    }
    world.timed(
        "lock.release, which is granted to all of them",
        release(by, "doc/1"),
    );
}

/// The same, and behind them as many who wait to have it alone.
fn handing_over_before(waiters: u32) {
    println!("-- a lock held alone, {waiters} wait to share it, then {waiters} to have it alone");
    let mut world = World::new(PolicyLayer::default());
    let by = world.open("holder");
    world.acquire(by, "doc/1", Mode::Exclusive, Millis(0));
    for number in 0..2 * waiters {
        let by = world.open(&format!("waiter-{number}"));
        let mode = if number < waiters {
            Mode::Shared
        } else {
            Mode::Exclusive
        };
        world.acquire(by, "doc/1", mode, DAY);
    }
    world.timed(
        "lock.release, which is granted to them",
        release(by, "doc/1"),
    );
    world.ticked("further grants");
}

/// Locks that are each awaited by many.
fn awaited(locks: u32, waiters: u32) {
    println!("-- {locks} locks, each with {waiters} waiters; one session waits for all");
    let mut world = World::new(PolicyLayer::default());
    let by = world.open("holder");
    let paths: Vec<_> = (0..locks)
        .map(|number| format!("doc/{number:04}"))
        .collect();
    for path in &paths {
        world.acquire(by, path, Mode::Exclusive, Millis(0));
    }
    for number in 0..waiters {
        let by = world.open(&format!("waiter-{number}"));
        for path in &paths {
            world.acquire(by, path, Mode::Exclusive, DAY);
        }
    }
    world.asked("lock.list, one page", &list(Target::All));
    let last = SessionRef {
        session: SessionId(u64::from(waiters) + 1),
        attach: Attach(1),
    };
    world.timed(
        "detach of the last in all lines",
        Command::DetachSession(last),
    );
    world.at += 1;
    world.resume("session.resume of the last in all lines", last.session);
    world.timed("lock.force_release of all, one step", force(Target::All));
}

/// Lists and bulk releases that find nothing.
fn in_vain(locks: u32) {
    println!("-- {locks} locks, none of them the one asked for");
    let mut world = World::new(PolicyLayer::default());
    for number in 0..locks {
        if number % 1000 == 0 {
            world.open(&format!("holder-{number}"));
        }
        let by = SessionRef {
            session: SessionId(u64::from(number / 1000) + 1),
            attach: Attach(1),
        };
        world.acquire(by, &format!("doc/{number}"), Mode::Exclusive, Millis(0));
    }
    world.asked(
        "lock.list by another owner, one page",
        &list(Target::Owner("nobody")),
    );
    world.asked("lock.list, a page of state", &list(Target::All));
    world.timed(
        "lock.force_release by owner, one step",
        force(Target::Owner("nobody")),
    );
    world.timed("lock.force_release of all, one step", force(Target::All));
}

struct Quiet;

impl presence::Effects for Quiet {
    fn changed(&mut self, _: &presence::Change<'_>) {}
    fn collision(&mut self, _: &presence::Collision<'_>) {}
    fn ended(&mut self, _: SessionId, _: &str) {}
    fn alive(&mut self, _: SessionRef) {}
}

fn enter(by: SessionRef, path: &str) -> presence::Command<'_> {
    presence::Command::Enter(presence::Enter {
        by,
        path,
        activity: Activity::Viewing,
        typing_for: Audience::Everyone,
        metadata: &[1; 256],
    })
}

fn who_is_here() {
    println!("-- presence: 10000 viewers of one path, and 10000 paths with one");
    let mut world = World::new(PolicyLayer::default());
    let mut here = Presence::new(Bounds::default());
    let mut last = None;
    let mut engine = std::mem::replace(&mut world.engine, Engine::new(Token(1)));
    for number in 0..10_000u32 {
        world.engine = engine;
        let by = world.open(&format!("viewer-{number}"));
        engine = std::mem::replace(&mut world.engine, Engine::new(Token(1)));
        here.apply(
            LogTime(1),
            WallTime(0),
            &enter(by, "ticket/all"),
            &engine,
            &mut Quiet,
        );
        let own = format!("ticket/{number}");
        here.apply(
            LogTime(1),
            WallTime(0),
            &enter(by, &own),
            &engine,
            &mut Quiet,
        );
        last = Some(by);
    }
    let page = |within| presence::List {
        org: ORG,
        within,
        audience: Audience::Insiders,
        after: None,
        page: 256,
    };
    for (what, within) in [
        ("the crowded path", Within::Path("ticket/all")),
        ("a page of all", Within::All),
    ] {
        let begin = Instant::now();
        let listed = here.list(&page(within));
        let took = begin.elapsed();
        tell(
            &format!("presence.list, {what}"),
            took,
            &format!("{} paths", listed.paths.len()),
        );
    }
    let begin = Instant::now();
    here.apply(
        LogTime(200),
        WallTime(0),
        &presence::Command::Tick,
        &engine,
        &mut Quiet,
    );
    tell("a tick that tells changes", begin.elapsed(), "");
    let by = last.expect("somebody is there");
    for number in 10_000..10_999 {
        let own = format!("ticket/{number}");
        here.apply(
            LogTime(1),
            WallTime(0),
            &enter(by, &own),
            &engine,
            &mut Quiet,
        );
    }
    let begin = Instant::now();
    here.apply(
        LogTime(300),
        WallTime(0),
        &presence::Command::SessionEnded(by.session),
        &engine,
        &mut Quiet,
    );
    tell(
        "the end of a session that is at 1000 paths",
        begin.elapsed(),
        "",
    );
}

fn main() {
    for holds in [10_000, 1_000_000] {
        many_holds(holds);
    }
    kept(10_000, 1_000_000);
    for waiters in [0, 1000, 4000, 100_000] {
        crowd(waiters);
    }
    for waiters in [1000, 10_000] {
        handing_over(waiters);
    }
    for waiters in [500, 1000, 2000] {
        handing_over_before(waiters);
    }
    over_together(10_000, false);
    over_together(10_000, true);
    one_owner(2000);
    awaited(256, 1000);
    awaited(1000, 1000);
    in_vain(100_000);
    who_is_here();
}
