//! The cases of the engine. It is driven as a shard does it: a batch at one instant, then a question for the next
//! deadline; a millisecond lies between two batches. What it says goes to somebody who takes it and drops it.
//!
//! Who is told yes or no is looked at, so that each case is what it is called.

use std::hint::black_box;

use tenure_engine::{
    Acquire, Command, Disconnect, Effects, Engine, Entry, Event, LogTime, Millis, Mode, Notice,
    OpenSession, PolicyLayer, Release, ReleaseScope, Released, Renew, Reply, ResumeKey, Role,
    Scope, SessionRef, Token, WallTime,
};

use crate::cases::{BATCH, COUNTED, WARM_UP};

/// Sessions that share the load.
pub(crate) const SESSIONS: usize = 50;

/// Paths that a load goes through, over and over.
const PATHS: usize = 100_000;
/// Locks that are held at any time: 32 of each session.
const HELD: usize = 1600;
/// So many that a lock has grown up, and has a timer, before its turn comes.
const HELD_MANY: usize = 20_000;
/// Long enough for nothing to be over that is not meant to be.
const TTL: Millis = Millis::from_secs(300);

pub(crate) fn acquire_and_release() -> Box<dyn FnMut()> {
    churn(HELD)
}

pub(crate) fn acquire_and_release_among_many() -> Box<dyn FnMut()> {
    churn(HELD_MANY)
}

/// The lock that has been held longest is let go, and another is taken.
fn churn(held: usize) -> Box<dyn FnMut()> {
    let mut world = World::with_held(held);
    let mut oldest = 0;
    Box::new(move || {
        for _ in 0..BATCH / 2 {
            world.release(world.holder(oldest), oldest);
            let another = (oldest + held) % PATHS;
            world.acquire(world.holder(another), another);
            oldest = (oldest + 1) % PATHS;
        }
        world.end_batch();
    })
}

pub(crate) fn renew() -> Box<dyn FnMut()> {
    let mut world = World::with_held(HELD_MANY);
    let mut path = 0;
    Box::new(move || {
        for _ in 0..BATCH {
            world.renew(world.holder(path), path);
            path = (path + 1) % HELD_MANY;
        }
        world.end_batch();
    })
}

/// Each session in turn: a second renewal within the same millisecond would have nothing to do.
pub(crate) fn renew_session() -> Box<dyn FnMut()> {
    let mut world = World::with_held(HELD);
    Box::new(move || {
        for number in 0..SESSIONS {
            let reply = world.apply(Command::RenewSession(world.holder(number)));
            assert!(matches!(reply, Reply::SessionRenewed { .. }));
        }
        world.end_batch();
    })
}

pub(crate) fn refuse() -> Box<dyn FnMut()> {
    let mut world = World::with_held(HELD);
    let mut path = 0;
    Box::new(move || {
        for _ in 0..BATCH {
            let reply = world.ask(world.holder(path + 1), path, TTL, Millis::ZERO);
            assert!(matches!(reply, Reply::Refused(_)));
            path = (path + 1) % HELD;
        }
        world.end_batch();
    })
}

/// Locks go round: whoever waited holds, and the next session waits.
pub(crate) fn hand_off() -> Box<dyn FnMut()> {
    let mut world = World::with_held(HELD);
    let (mut path, mut round) = (0, 0);
    Box::new(move || {
        for _ in 0..BATCH / 2 {
            let (holder, waiter) = (path + round, path + round + 1);
            let reply = world.ask(world.holder(waiter), path, TTL, TTL);
            assert!(matches!(reply, Reply::Queued { .. }));
            world.release(world.holder(holder), path);
            path += 1;
            if path == HELD {
                (path, round) = (0, round + 1);
            }
        }
        world.end_batch();
    })
}

/// A batch of holds is over with each millisecond.
pub(crate) fn expire() -> Box<dyn FnMut()> {
    let mut world = World::new();
    let due = BATCH * (WARM_UP + COUNTED);
    for path in 0..due {
        let ttl = Millis(TTL.0 + (path / BATCH) as u64);
        let reply = world.ask(world.holder(path), path, ttl, Millis::ZERO);
        assert!(matches!(reply, Reply::Granted(_)));
    }
    // With so many after them, those have timers.
    for path in due..due + HELD_MANY {
        world.ask(world.holder(path), path, Millis(2 * TTL.0), Millis::ZERO);
    }
    world.now = world.now + TTL;
    Box::new(move || {
        let before = world.consequences.notices;
        world.apply(Command::Tick);
        let told = world.consequences.notices - before;
        assert_eq!(told, BATCH, "what is due is swept by one tick");
        world.end_batch();
    })
}

/// A batch of holds begins and another is over with each millisecond, so soon that no lock has grown up.
pub(crate) fn acquire_and_expire() -> Box<dyn FnMut()> {
    let mut world = World::new();
    world.apply(Command::Configure {
        scope: Scope::Server,
        layer: PolicyLayer {
            ttl_min: Some(Millis(1)),
            ..PolicyLayer::default()
        },
        principal: "",
    });
    let ttl = WARM_UP / 2;
    let mut batches = 0;
    Box::new(move || {
        for path in batches * BATCH..(batches + 1) * BATCH {
            let ttl = Millis(ttl as u64);
            let reply = world.ask(world.holder(path), path, ttl, Millis::ZERO);
            assert!(matches!(reply, Reply::Granted(_)));
        }
        let before = world.consequences.notices;
        world.apply(Command::Tick);
        let told = world.consequences.notices - before;
        let due = if batches < ttl { 0 } else { BATCH };
        assert_eq!(told, due, "what is due is swept by one tick");
        world.end_batch();
        batches += 1;
    })
}

/// An engine, who is there, what they name, and what time it is.
struct World {
    engine: Engine,
    sessions: Vec<SessionRef>,
    /// For as long as the program runs: so a command can name one while the world changes.
    paths: &'static [String],
    now: LogTime,
    consequences: Consequences,
}

/// Takes every consequence and drops it.
#[derive(Default)]
struct Consequences {
    notices: usize,
}

impl Effects for Consequences {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        self.notices += 1;
        black_box((to, notice));
    }

    fn event(&mut self, event: &Event<&str>) {
        black_box(event);
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            engine: Engine::new(Token(1)),
            sessions: Vec::new(),
            paths: Vec::leak((0..PATHS as u64).map(path).collect()),
            now: LogTime(1),
            consequences: Consequences::default(),
        };
        world.sessions = (0..SESSIONS).map(|number| world.open(number)).collect();
        world
    }

    /// With so many locks held, each by its own [`holder`](Self::holder).
    fn with_held(held: usize) -> Self {
        let mut world = Self::new();
        for path in 0..held {
            world.acquire(world.holder(path), path);
        }
        world
    }

    fn holder(&self, path: usize) -> SessionRef {
        self.sessions[path % SESSIONS]
    }

    fn end_batch(&mut self) {
        black_box(self.engine.next_deadline());
        self.now = self.now + Millis(1);
    }

    fn open(&mut self, number: usize) -> SessionRef {
        let reply = self.apply(Command::OpenSession(OpenSession {
            org: "acme",
            owner: &format!("owner-{number}"),
            name: "Ada Lovelace",
            metadata: b"",
            role: Role::Member,
            resume_key: ResumeKey(1),
            on_disconnect: Disconnect::ByPolicy,
        }));
        let Reply::Opened {
            session, attach, ..
        } = reply
        else {
            unreachable!("there is no limit that a case comes near");
        };
        SessionRef { session, attach }
    }

    fn acquire(&mut self, by: SessionRef, path: usize) {
        let reply = self.ask(by, path, TTL, Millis::ZERO);
        assert!(matches!(reply, Reply::Granted(_)));
    }

    fn ask(&mut self, by: SessionRef, path: usize, ttl: Millis, wait: Millis) -> Reply {
        self.apply(Command::Acquire(Acquire {
            by,
            path: &self.paths[path],
            mode: Mode::Exclusive,
            limit: None,
            ttl: Some(ttl),
            wait,
            note: None,
            seize: None,
            metadata: b"",
        }))
    }

    fn renew(&mut self, by: SessionRef, path: usize) {
        let reply = self.apply(Command::Renew(Renew {
            by,
            path: &self.paths[path],
            ttl: None,
            token: None,
        }));
        assert!(matches!(reply, Reply::Granted(_)));
    }

    fn release(&mut self, by: SessionRef, path: usize) {
        let reply = self.apply(Command::Release(Release {
            by,
            path: &self.paths[path],
            scope: ReleaseScope::Session,
            token: None,
        }));
        assert!(matches!(reply, Reply::Released(Released::Ended)));
    }

    fn apply(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: self.now,
            wall: WallTime(1_790_000_000_000),
            command: black_box(&command),
        };
        self.engine.apply(&entry, &mut self.consequences).reply
    }
}

/// Texts of 24 bytes. Neighbours in number are far apart in path order, as ids made elsewhere are: the factor is odd, so that
/// each number has a text of its own.
fn path(number: u64) -> String {
    format!(
        "tickets/{:016x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}
