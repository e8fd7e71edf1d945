//! What is over is ended when its time has come, by ticks at the instants that the engine asks for: whether it is looked
//! after with the young, by a list or by what has been begun.
//!
//! Against what is known of a few leases by their numbers alone. It differs from `reference.rs` in that all of them are short:
//! a deadline lies on either side of whatever the engine has looked through so far.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tenure_engine::{
    Acquire, Attach, Cause, Command, Disconnect, Effects, Engine, Entry, Event, LogTime, Millis,
    Mode, Notice, OpenSession, PolicyLayer, Release, ReleaseScope, Renew, Reply, ResumeKey, Role,
    Scope, SessionId, SessionRef, Token, WallTime,
};

/// More locks than stay young in a debug build.
const PATHS: usize = 7;
const TTL_MAX: u64 = 24;

#[derive(Debug, Clone)]
enum Act {
    Acquire(String, u64),
    Renew(String, u64),
    RenewSession,
    Release(String),
    /// So many milliseconds later; the engine may be let prepare, and looked at before it ticks.
    Pass(u64, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let path = (0..PATHS).prop_map(|number| format!("doc/{number}"));
    let ttl = 1..=TTL_MAX;
    prop_oneof![
        4 => (path.clone(), ttl.clone()).prop_map(|(path, ttl)| Act::Acquire(path, ttl)),
        2 => (path.clone(), ttl).prop_map(|(path, ttl)| Act::Renew(path, ttl)),
        1 => Just(Act::RenewSession),
        1 => path.prop_map(Act::Release),
        6 => (0_u64..6, any::<bool>()).prop_map(|(span, is_prepared)| Act::Pass(span, is_prepared)),
    ]
}

/// A lease, as it is known from outside.
struct Lease {
    ttl: u64,
    deadline: u64,
}

#[derive(Default)]
struct Expired(BTreeSet<String>);

impl Effects for Expired {
    fn notice(&mut self, _: SessionRef, notice: Notice<&str>) {
        if let Notice::Lost {
            path,
            cause: Cause::Expired,
            ..
        } = notice
        {
            self.0.insert(path.to_owned());
        }
    }

    fn event(&mut self, _: &Event<&str>) {}
}

struct World {
    engine: Engine,
    expired: Expired,
    at: u64,
    by: SessionRef,
    leases: BTreeMap<String, Lease>,
}

impl World {
    fn new() -> Self {
        let nobody = SessionRef {
            session: SessionId(0),
            attach: Attach(0),
        };
        let mut world = Self {
            engine: Engine::new(Token(1)),
            expired: Expired::default(),
            at: 1,
            by: nobody,
            leases: BTreeMap::new(),
        };
        world.apply(Command::Configure {
            scope: Scope::Org("acme"),
            layer: PolicyLayer {
                ttl_min: Some(Millis(1)),
                ..PolicyLayer::default()
            },
            principal: "ops",
        });
        let opened = world.apply(Command::OpenSession(OpenSession {
            org: "acme",
            owner: "ada",
            name: "",
            metadata: b"",
            role: Role::Member,
            resume_key: ResumeKey(7),
            on_disconnect: Disconnect::Keep,
        }));
        let Reply::Opened {
            session, attach, ..
        } = opened
        else {
            panic!("{opened:?}");
        };
        world.by = SessionRef { session, attach };
        world
    }

    fn apply(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: LogTime(self.at),
            wall: WallTime(self.at),
            command: &command,
        };
        let reply = self.engine.apply(&entry, &mut self.expired).reply;
        self.engine.check();
        reply
    }

    fn act(&mut self, act: &Act) {
        let (by, at) = (self.by, self.at);
        match act {
            Act::Acquire(path, ttl) => {
                let ttl = *ttl;
                self.apply(Command::Acquire(Acquire {
                    by,
                    path,
                    mode: Mode::Exclusive,
                    limit: None,
                    ttl: Some(Millis(ttl)),
                    wait: Millis::ZERO,
                    note: None,
                    seize: None,
                    metadata: b"",
                }));
                let fresh = Lease { ttl, deadline: 0 };
                self.leases
                    .entry(path.clone())
                    .or_insert(fresh)
                    .renew(at, ttl);
            }
            Act::Renew(path, ttl) => {
                let ttl = *ttl;
                self.apply(Command::Renew(Renew {
                    by,
                    path,
                    ttl: Some(Millis(ttl)),
                    token: None,
                }));
                if let Some(lease) = self.leases.get_mut(path) {
                    lease.renew(at, ttl);
                }
            }
            Act::RenewSession => {
                self.apply(Command::RenewSession(by));
                self.leases
                    .values_mut()
                    .for_each(|lease| lease.renew(at, 0));
            }
            Act::Release(path) => {
                self.apply(Command::Release(Release {
                    by,
                    path,
                    scope: ReleaseScope::Owner,
                    token: None,
                }));
                self.leases.remove(path);
            }
            Act::Pass(span, is_prepared) => self.pass(*span, *is_prepared),
        }
    }

    /// Lets time pass, and ticks as the engine asks for it.
    fn pass(&mut self, span: u64, is_prepared: bool) {
        self.at += span;
        let now = LogTime(self.at);
        while is_prepared && !self.engine.prepare(now) {
            self.engine.check();
        }
        while self.engine.next_deadline().is_some_and(|due| due <= now) {
            self.apply(Command::Tick);
        }
        let is_over = |_: &String, lease: &mut Lease| lease.deadline <= now.0;
        let over = self.leases.extract_if(.., is_over).map(|(path, _)| path);
        assert_eq!(self.expired.0, over.collect(), "what is over at {now:?}");
        self.expired.0.clear();
    }
}

impl Lease {
    /// A renewal never shortens anything.
    fn renew(&mut self, at: u64, ttl: u64) {
        self.ttl = self.ttl.max(ttl);
        self.deadline = self.deadline.max(at + self.ttl);
    }
}

proptest! {
    #[test]
    fn what_is_over_is_ended_when_its_time_has_come(acts in prop::collection::vec(act(), 1..120)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        // All of them are over by then.
        world.pass(2 * TTL_MAX, false);
        prop_assert!(world.leases.is_empty());
    }
}
