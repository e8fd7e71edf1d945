//! A long queue is served in bounded steps, and nothing else is different by it: who is granted what, in which order, and
//! who has to stand behind whom.
//!
//! Against the engine alone and with its own bound, which a release build has too; `reference.rs` compares with the model.

use std::fmt::Write as _;

use tenure_engine::limits::SERVE_MAX;
use tenure_engine::{
    Acquire, Command, Disconnect, Effects, Engine, Entry, Event, ForceRelease, LogTime, Millis,
    Mode, Notice, OpenSession, PolicyLayer, RefusalReason, Release, ReleaseScope, Reply, ResumeKey,
    Role, Scope, SessionRef, Target, Token, WaitId, WallTime,
};

const ORG: &str = "acme";
const DAY: Millis = Millis(86_400_000);

/// What was told, a line each.
#[derive(Default)]
struct Heard(String);

impl Effects for Heard {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        let notice = notice.into_owned();
        writeln!(self.0, "{} {notice:?}", to.session.0).expect("a string takes it");
    }

    fn event(&mut self, _: &Event<&str>) {}
}

struct World {
    engine: Engine,
    heard: Heard,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(Token(1)),
            heard: Heard::default(),
        };
        let layer = PolicyLayer {
            queue_max: Some(1_000_000),
            ..PolicyLayer::default()
        };
        let (scope, principal) = (Scope::Server, "");
        world.apply(Command::Configure {
            scope,
            layer,
            principal,
        });
        world
    }

    fn apply(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: LogTime(1000),
            wall: WallTime(0),
            command: &command,
        };
        let reply = self.engine.apply(&entry, &mut self.heard).reply;
        self.engine.check();
        reply
    }

    fn open(&mut self, owner: &str) -> SessionRef {
        let open = OpenSession {
            org: ORG,
            owner,
            name: "",
            metadata: b"",
            role: Role::Admin,
            resume_key: ResumeKey(7),
            on_disconnect: Disconnect::Release(None),
        };
        let reply = self.apply(Command::OpenSession(open));
        let Reply::Opened {
            session, attach, ..
        } = reply
        else {
            panic!("{reply:?}");
        };
        SessionRef { session, attach }
    }

    fn acquire(&mut self, by: SessionRef, path: &str, mode: Mode, wait: Millis) -> Reply {
        self.apply(Command::Acquire(Acquire {
            by,
            path,
            mode,
            limit: None,
            ttl: Some(DAY),
            wait,
            note: None,
            seize: None,
            metadata: b"",
        }))
    }

    fn release(&mut self, by: SessionRef, path: &str) {
        let (scope, token) = (ReleaseScope::Session, None);
        let release = Release {
            by,
            path,
            scope,
            token,
        };
        self.apply(Command::Release(release));
    }

    /// Somebody holds the path, and so many wait to share it; gives the holder.
    fn crowd_at(&mut self, path: &str, waiters: usize) -> SessionRef {
        let holder = self.open(&format!("holder of {path}"));
        self.acquire(holder, path, Mode::Exclusive, Millis::ZERO);
        for number in 0..waiters {
            let by = self.open(&format!("{path} {number}"));
            let reply = self.acquire(by, path, Mode::Shared, DAY);
            assert!(matches!(reply, Reply::Queued { .. }), "{reply:?}");
        }
        holder
    }

    /// The waits that have been granted since this was asked before.
    fn granted(&mut self) -> Vec<u64> {
        let heard = std::mem::take(&mut self.heard.0);
        let grants = heard.lines().filter(|line| line.contains("Granted"));
        let waits = grants.map(|line| {
            let (_, wait) = line.split_once("WaitId(").expect("a grant names its wait");
            let (wait, _) = wait.split_once(')').expect("a number ends");
            wait.parse().expect("a number")
        });
        waits.collect()
    }

    fn is_behind(&mut self) -> bool {
        self.engine.next_deadline() == Some(self.engine.now())
    }

    /// Ticks as a server would, until nothing is wanted at once; gives how many.
    fn tick_on(&mut self) -> usize {
        let mut ticks = 0;
        while self.is_behind() {
            self.apply(Command::Tick);
            ticks += 1;
        }
        ticks
    }
}

#[test]
fn one_step_serves_so_many_and_ticks_go_on_in_order() {
    let mut world = World::new();
    let waiters = 3 * SERVE_MAX + 1;
    let holder = world.crowd_at("db", waiters);
    world.granted();
    world.release(holder, "db");
    let first = world.granted();
    assert_eq!(first, (1..=SERVE_MAX as u64).collect::<Vec<_>>());
    assert!(world.is_behind(), "a tick is wanted at once");
    assert_eq!(world.tick_on(), 3);
    let rest = world.granted();
    let expected: Vec<_> = (SERVE_MAX as u64 + 1..=waiters as u64).collect();
    assert_eq!(rest, expected, "first in, first out");
}

#[test]
fn whoever_comes_meanwhile_stands_behind() {
    let mut world = World::new();
    let holder = world.crowd_at("db", 4 * SERVE_MAX);
    world.release(holder, "db");
    let late = world.open("late");
    let reply = world.acquire(late, "db", Mode::Shared, Millis::ZERO);
    let Reply::Refused(refusal) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(refusal.reason, RefusalReason::QueuedAhead);
    let (holders, waiters) = (refusal.truth.holder_count, refusal.truth.waiters);
    assert_eq!(
        holders as usize,
        2 * SERVE_MAX,
        "the asker has settled, too"
    );
    assert_eq!(waiters as usize, 2 * SERVE_MAX);
    let reply = world.acquire(late, "db", Mode::Shared, DAY);
    assert!(
        matches!(reply, Reply::Queued { place, .. } if place as usize == SERVE_MAX + 1),
        "{reply:?}"
    );
    world.tick_on();
    let granted = world.granted();
    assert_eq!(granted.last(), Some(&(4 * SERVE_MAX as u64 + 1)));
    assert!(granted.is_sorted(), "nobody is overtaken");
}

#[test]
fn a_long_queue_keeps_no_other_waiting() {
    let mut world = World::new();
    let long = world.crowd_at("long", 10 * SERVE_MAX);
    let other = world.crowd_at("other", 2 * SERVE_MAX);
    world.release(long, "long");
    world.release(other, "other");
    world.granted();
    for _ in 0..2 {
        world.apply(Command::Tick);
    }
    let others = world.granted();
    let others = others.iter().filter(|wait| **wait > 10 * SERVE_MAX as u64);
    assert_eq!(others.count(), SERVE_MAX, "they take turns");
    world.tick_on();
}

/// As many holds as a step ends at most, each awaited: each is handed on in that step.
#[test]
fn what_one_step_frees_is_handed_on_in_it_up_to_the_bound() {
    let mut world = World::new();
    let paths: Vec<_> = (0..SERVE_MAX + 1).map(|n| format!("doc/{n:04}")).collect();
    for path in &paths {
        world.crowd_at(path, 1);
    }
    world.granted();
    let force = ForceRelease {
        org: ORG,
        target: Target::All,
        after: None,
        reason: "cleaning",
        principal: "ops",
    };
    let reply = world.apply(Command::ForceRelease(force));
    let Reply::Forced { ended, .. } = reply else {
        panic!("{reply:?}");
    };
    let freed = ended.len().min(SERVE_MAX);
    assert_eq!(world.granted().len(), freed);
    world.tick_on();
    assert_eq!(world.granted().len(), ended.len() - freed);
}

/// What is left is part of the state: a snapshot in the middle goes on as the engine does.
#[test]
fn a_snapshot_in_the_middle_goes_on_alike() {
    let mut world = World::new();
    let first = world.crowd_at("one", 3 * SERVE_MAX);
    let second = world.crowd_at("another", 3 * SERVE_MAX);
    world.release(first, "one");
    world.release(second, "another");
    world.apply(Command::Tick);
    let mut bytes = Vec::new();
    world.engine.snapshot(&mut bytes);
    let mut restored = World {
        engine: Engine::restore(&bytes).expect("a snapshot"),
        heard: Heard::default(),
    };
    restored.engine.check();
    world.heard = Heard::default();
    let mut again = Vec::new();
    restored.engine.snapshot(&mut again);
    assert_eq!(bytes, again, "one state has one snapshot");
    while world.is_behind() {
        assert!(restored.is_behind());
        world.apply(Command::Tick);
        restored.apply(Command::Tick);
        assert_eq!(world.heard.0, restored.heard.0);
        assert_eq!(world.engine.digest(), restored.engine.digest());
    }
    assert!(!restored.is_behind());
}

/// Who is in line and goes away, or is let go of, leaves nobody behind who could be served.
#[test]
fn those_who_wait_may_go_in_the_middle() {
    let mut world = World::new();
    let holder = world.crowd_at("db", 3 * SERVE_MAX);
    world.release(holder, "db");
    for wait in SERVE_MAX + 1..=3 * SERVE_MAX {
        let session = tenure_engine::SessionId(wait as u64 + 1);
        let attach = tenure_engine::Attach(1);
        let (by, wait) = (SessionRef { session, attach }, WaitId(wait as u64));
        world.apply(Command::Cancel { by, wait });
    }
    assert!(!world.is_behind(), "nothing is left to do");
}
