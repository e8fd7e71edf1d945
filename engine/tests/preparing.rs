//! What comes up together is looked through in bounded steps before a tick, and nothing is told differently for it.
//!
//! Against the engine alone and with its own bound, which a release build has too; `scale/` and `reference.rs` prepare at
//! random.

use std::fmt::Write as _;

use tenure_engine::limits::SWEEP_MAX;
use tenure_engine::{
    Acquire, Command, Disconnect, Effects, Engine, Entry, Event, LogTime, Millis, Mode, Notice,
    OpenSession, Reply, ResumeKey, Role, SessionRef, Token, WallTime,
};

/// Enough for many steps, and what one of them may look at in the end.
const HOLDS: usize = if cfg!(debug_assertions) { 400 } else { 60_000 };
const STEP_MAX: usize = if cfg!(debug_assertions) { 20 } else { 6_000 };

const SESSIONS: usize = 20;
const TTL: u64 = 30_000;

/// What was told, a line each.
#[derive(Clone, Default)]
struct Heard(String);

impl Effects for Heard {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        let notice = notice.into_owned();
        writeln!(self.0, "{} {notice:?}", to.session.0).expect("a string takes it");
    }

    fn event(&mut self, event: &Event<&str>) {
        writeln!(self.0, "{event:?}").expect("a string takes it");
    }
}

#[derive(Clone)]
struct World {
    engine: Engine,
    heard: Heard,
    sessions: Vec<SessionRef>,
}

impl World {
    /// Sessions that hold very much, taken over a while, and are renewed together: all of it is over at `TTL` after that.
    fn renewed_at(at: u64) -> Self {
        let mut world = Self {
            engine: Engine::new(Token(1)),
            heard: Heard::default(),
            sessions: Vec::new(),
        };
        for number in 0..SESSIONS {
            let owner = format!("owner {number}");
            let open = OpenSession {
                org: "acme",
                owner: &owner,
                name: "",
                metadata: b"",
                role: Role::Member,
                resume_key: ResumeKey(7),
                on_disconnect: Disconnect::Keep,
            };
            let reply = world.apply(1, Command::OpenSession(open)).0;
            let Reply::Opened {
                session, attach, ..
            } = reply
            else {
                panic!("{reply:?}");
            };
            world.sessions.push(SessionRef { session, attach });
        }
        for number in 0..HOLDS {
            let (by, path) = (world.sessions[number % SESSIONS], format!("doc/{number}"));
            let taken = at * number as u64 / HOLDS as u64;
            let (reply, _) = world.apply(1 + taken, acquire(by, &path, TTL));
            assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
        }
        world.renew(at);
        world
    }

    fn apply(&mut self, at: u64, command: Command<'_>) -> (Reply, bool) {
        let entry = Entry {
            at: LogTime(at),
            wall: WallTime(at),
            command: &command,
        };
        let outcome = self.engine.apply(&entry, &mut self.heard);
        (outcome.reply, outcome.changed)
    }

    fn renew(&mut self, at: u64) {
        for by in self.sessions.clone() {
            let (reply, _) = self.apply(at, Command::RenewSession(by));
            assert!(matches!(reply, Reply::SessionRenewed { .. }), "{reply:?}");
        }
    }

    /// Prepares until all is ready; gives how many steps it took.
    fn prepare(&mut self, at: u64) -> usize {
        let digest = self.engine.digest();
        let mut steps = 1;
        while !self.engine.prepare(LogTime(at)) {
            steps += 1;
        }
        self.engine.check();
        assert_eq!(self.engine.digest(), digest, "to prepare changes nothing");
        steps
    }

    /// Ticks as they are wanted; gives how many have changed anything.
    fn tick_on(&mut self, at: u64) -> usize {
        let mut changes = 0;
        while self.engine.next_deadline().is_some_and(|due| due.0 <= at) {
            changes += usize::from(self.apply(at, Command::Tick).1);
        }
        changes
    }
}

fn acquire(by: SessionRef, path: &str, ttl: u64) -> Command<'_> {
    Command::Acquire(Acquire {
        by,
        path,
        mode: Mode::Exclusive,
        limit: None,
        ttl: Some(Millis(ttl)),
        wait: Millis::ZERO,
        note: None,
        seize: None,
        metadata: b"",
    })
}

#[test]
fn very_many_that_are_over_at_the_same_moment_are_looked_through_in_steps() {
    let renewed = 10_000;
    let mut world = World::renewed_at(renewed);
    // Their timers come up, and all of them have been renewed.
    for at in (TTL..TTL + renewed).step_by(500) {
        world.prepare(at);
        assert_eq!(world.tick_on(at), 0, "nothing is over at {at}");
    }
    let at = renewed + TTL;
    let mut unprepared = world.clone();
    let steps = world.prepare(at);
    assert!(steps >= HOLDS / STEP_MAX, "{steps} steps for {HOLDS} holds");
    assert_eq!(world.tick_on(at), HOLDS.div_ceil(SWEEP_MAX));
    assert_eq!(unprepared.tick_on(at), HOLDS.div_ceil(SWEEP_MAX));
    assert!(world.heard.0 == unprepared.heard.0, "who is told what");
    assert_eq!(world.engine.digest(), unprepared.engine.digest());
}

/// Between two steps others have their turn, and so does whoever goes, comes, or lives longer.
#[test]
fn what_happens_between_two_steps_is_told_as_ever() {
    let mut world = World::renewed_at(0);
    let mut unprepared = world.clone();
    let at = TTL;
    let (mut steps, one) = (0, world.sessions[0]);
    loop {
        let is_ready = world.engine.prepare(LogTime(at));
        let path = format!("doc/{}", 7 * steps * SESSIONS % HOLDS);
        for world in [&mut world, &mut unprepared] {
            let command = match steps % 3 {
                0 => Command::Settle {
                    org: "acme",
                    path: &path,
                },
                1 => Command::RenewSession(one),
                _ => acquire(one, &path, 1_000),
            };
            world.apply(at, command);
        }
        world.engine.check();
        steps += 1;
        if is_ready {
            break;
        }
    }
    assert!(steps >= HOLDS / STEP_MAX, "{steps} steps for {HOLDS} holds");
    for at in [at, at + 1_000] {
        world.prepare(at);
        let changes = (world.tick_on(at), unprepared.tick_on(at));
        assert_eq!(changes.0, changes.1);
    }
    assert!(world.heard.0 == unprepared.heard.0, "who is told what");
    assert_eq!(world.engine.digest(), unprepared.engine.digest());
}

/// What is due before them does not hide from sight what is due by then.
#[test]
fn very_many_are_looked_through_before_whatever_is_over_before_them() {
    let mut world = World::renewed_at(0);
    let by = world.sessions[0];
    world.apply(50, acquire(by, "other/1", TTL - 100));
    let steps = world.prepare(TTL + 50);
    assert!(steps >= HOLDS / STEP_MAX, "{steps} steps for {HOLDS} holds");
    let ticks = world.tick_on(TTL + 50);
    assert_eq!(ticks, (HOLDS + 1).div_ceil(SWEEP_MAX));
}

/// There is nothing after it that could be waited for.
#[test]
fn the_end_of_time_is_an_instant_like_any_other() {
    let mut world = World::renewed_at(0);
    for at in [u64::MAX - 1, u64::MAX] {
        world.prepare(at);
        world.tick_on(at);
        world.apply(at, Command::Tick);
        world.prepare(u64::MAX);
        assert_eq!(world.engine.next_deadline(), None, "all is over");
    }
}
