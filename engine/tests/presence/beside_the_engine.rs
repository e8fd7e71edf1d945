//! Presence beside the real engine, as a shard has them: what it sees there, and what it asks of it.
//! Rule 11 of `docs/presence.md` concerns both, and is shown here.

use proptest::prelude::*;
use tenure_engine::presence::{
    self, Activity, Audience, Bounds, Command as Presence, Enter, Presence as Machine, Rejection,
    STALE_MAX, Sight, Update,
};
use tenure_engine::{
    Acquire, Command, Discard, Disconnect, Engine, Entry, LogTime, Millis, Mode, OpenSession,
    Reply, ResumeKey, ResumeSession, Role, SessionRef, Token, WallTime,
};

use crate::recorded::Recorded;

const PATH: &str = "ticket/1";
const MINUTE: u64 = 60_000;

/// Both machines, at one instant.
struct Shard {
    engine: Engine,
    presence: Machine,
    at: LogTime,
}

impl Shard {
    fn new(bounds: Bounds) -> Self {
        Self {
            engine: Engine::new(Token(1)),
            presence: Machine::new(bounds),
            at: LogTime::ZERO,
        }
    }

    fn lock(&mut self, command: Command<'_>) -> Reply {
        let entry = Entry {
            at: self.at,
            wall: WallTime(0),
            command: &command,
        };
        self.engine.apply(&entry, &mut Discard).reply
    }

    /// Applies, and renews whom it says to be alive.
    fn attend(&mut self, command: &Presence<'_>) -> (presence::Reply, Recorded) {
        let mut told = Recorded::default();
        let (at, wall) = (self.at, WallTime(0));
        let reply = self
            .presence
            .apply(at, wall, command, &self.engine, &mut told);
        for by in &told.alive {
            let renewed = self.lock(Command::RenewSession(*by));
            assert_eq!(renewed, Reply::SessionRenewed { holds: 0 });
        }
        self.presence.check(&self.engine);
        (reply, told)
    }

    fn open(&mut self, owner: &str) -> SessionRef {
        let open = OpenSession {
            org: "acme",
            owner,
            name: owner,
            metadata: b"",
            role: Role::Member,
            resume_key: ResumeKey(7),
            on_disconnect: Disconnect::ByPolicy,
        };
        let reply = self.lock(Command::OpenSession(open));
        let Reply::Opened {
            session, attach, ..
        } = reply
        else {
            panic!("expected a session, found {reply:?}");
        };
        SessionRef { session, attach }
    }

    fn acquire(&mut self, by: SessionRef) {
        let acquire = Acquire {
            by,
            path: PATH,
            mode: Mode::Exclusive,
            limit: None,
            ttl: None,
            wait: Millis::ZERO,
            note: None,
            seize: None,
            metadata: b"",
        };
        let reply = self.lock(Command::Acquire(acquire));
        assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
    }

    /// Lets time pass, with every tick that is wanted.
    fn pass(&mut self, until: LogTime) {
        loop {
            let due = [self.engine.next_deadline(), self.presence.next_deadline()];
            match due.into_iter().flatten().min() {
                Some(due) if due <= until => self.at = self.at.max(due),
                _ => break,
            }
            self.lock(Command::Tick);
            self.attend(&Presence::Tick);
        }
        self.at = until;
    }
}

const fn enter(by: SessionRef) -> Presence<'static> {
    Presence::Enter(Enter {
        by,
        path: PATH,
        activity: Activity::Viewing,
        typing_for: Audience::Everyone,
        metadata: b"",
    })
}

const fn update(by: SessionRef) -> Presence<'static> {
    Presence::Update(Update {
        by,
        path: PATH,
        activity: Activity::Idle,
        typing_for: Audience::Everyone,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..crate::config() })]

    /// Whatever the pauses between its signs of life: as long as it is shown, the engine knows it.
    #[test]
    fn a_session_that_is_anywhere_is_never_ended_as_idle(
        pauses in prop::collection::vec(1..STALE_MAX.0, 1..12),
        entered_after in 0..45 * MINUTE,
    ) {
        let mut shard = Shard::new(Bounds { stale: STALE_MAX, ..Bounds::default() });
        let by = shard.open("ann");
        shard.pass(LogTime(entered_after));
        shard.attend(&enter(by));
        for pause in pauses {
            shard.pass(LogTime(shard.at.0 + pause));
            let (reply, _) = shard.attend(&update(by));
            let is_updated = matches!(reply, presence::Reply::Updated { .. });
            prop_assert!(is_updated, "after {pause} ms: {reply:?}");
        }
        // Then it is silent: first it is nowhere, and after an hour it is over.
        shard.pass(LogTime(shard.at.0 + STALE_MAX.0 - 1));
        prop_assert!(shard.presence.is_anywhere(by.session));
        prop_assert!(shard.engine.session(by, shard.at).is_ok());
        shard.pass(LogTime(shard.at.0 + 60 * MINUTE));
        prop_assert!(!shard.presence.is_anywhere(by.session));
        prop_assert_eq!(shard.attend(&enter(by)).0, presence::Reply::Rejected(Rejection::UnknownSession));
    }
}

#[test]
fn presence_alone_renews_no_hold() {
    let mut shard = Shard::new(Bounds::default());
    let by = shard.open("ann");
    shard.acquire(by);
    shard.attend(&enter(by));
    // The hold has a TTL of five minutes, whatever its owner says of where they are.
    for _ in 0..4 {
        shard.pass(LogTime(shard.at.0 + MINUTE));
        shard.attend(&update(by));
    }
    assert_eq!(shard.engine.holders("acme", PATH, shard.at).count(), 1);
    shard.pass(LogTime(shard.at.0 + MINUTE));
    assert_eq!(shard.engine.holders("acme", PATH, shard.at).count(), 0);
}

#[test]
fn the_engine_says_who_speaks_and_who_holds() {
    let mut shard = Shard::new(Bounds::default());
    let by = shard.open("ann");
    let seen = shard.engine.session(by, shard.at).expect("it is attached");
    assert_eq!(
        (seen.org, seen.who.owner, seen.role),
        ("acme", "ann", Role::Member)
    );
    shard.pass(LogTime(MINUTE));
    let seen = shard.engine.session(by, shard.at).expect("it is attached");
    assert_eq!(seen.idle, Millis(MINUTE));
    shard.acquire(by);
    let seen = shard.engine.session(by, shard.at).expect("it is attached");
    assert_eq!(seen.idle, Millis::ZERO, "it has a hold");
    let holders: Vec<_> = shard.engine.holders("acme", PATH, shard.at).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].owner, "ann");
    // A hold that is over is none, whether or not a sweep has come by.
    let over = LogTime(shard.at.0 + 5 * MINUTE);
    assert_eq!(shard.engine.holders("acme", PATH, over).count(), 0);
    assert_eq!(shard.engine.holders("beta", PATH, shard.at).count(), 0);
    shard.lock(Command::DetachSession(by));
    let refused = shard.engine.session(by, shard.at).err();
    assert_eq!(refused, Some(Rejection::NotAttached));
    shard.lock(Command::ResumeSession(ResumeSession {
        org: "acme",
        session: by.session,
        resume_key: ResumeKey(7),
        role: Role::Observer,
    }));
    let refused = shard.engine.session(by, shard.at).err();
    assert_eq!(
        refused,
        Some(Rejection::NotAttached),
        "another attachment speaks for it"
    );
}
