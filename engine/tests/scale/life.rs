//! An engine that lives, and beside it another that was restored a while ago: what they say is the same, whatever lies
//! where in either. Time passes as a server lets it pass, by ticks that are wanted.
//!
//! Decides nothing about what is done. After each step the ledger learns; now and then everything is held against it.

use std::sync::Arc;

use tenure_engine::limits::PAGE_MAX;
use tenure_engine::{
    Answer, Counts, Discard, Engine, List, ListedHold, LogTime, Millis, Query, Reply, Resumed,
    SessionId, SessionRef, Target, Token,
};

use crate::chance::Chance;
use crate::history::{Owned, Step};
use crate::ledger::{Hold, Ledger};

/// A session that has been opened, ended or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) by: SessionRef,
    pub(crate) is_attached: bool,
}

pub(crate) struct Life {
    pub(crate) chance: Chance,
    pub(crate) at: u64,
    pub(crate) ledger: Ledger,
    pub(crate) sessions: Vec<Known>,
    /// How much there was at most of locks that were held at once.
    pub(crate) most: usize,
    engine: Engine,
    other: Engine,
    /// What has changed something.
    kept: Vec<Step>,
    unchecked: usize,
}

const FIRST_TOKEN: Token = Token(1 << 40);

impl Life {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            chance,
            at: 1,
            ledger: Ledger::default(),
            sessions: Vec::new(),
            most: 0,
            engine: Engine::new(FIRST_TOKEN),
            other: Engine::new(FIRST_TOKEN),
            kept: Vec::new(),
            unchecked: 0,
        }
    }

    /// Takes a step with both; tells what is answered, and whether it changed anything.
    fn step(&mut self, command: Owned) -> (Reply, bool) {
        let (at, command) = (self.at, command);
        if self.chance.once_in(3) {
            self.engine.prepare(LogTime(at));
        }
        let step = Step { at, command };
        let (outcome, recorded) = step.apply(&mut self.engine);
        let (expected, told) = step.apply(&mut self.other);
        assert_eq!(outcome, expected, "{step:?}");
        assert!(recorded == told, "{step:?}: {recorded:?} is not {told:?}");
        let reply = outcome.reply;
        self.ledger.learn(at, &step.command, &reply, &recorded);
        self.most = self.most.max(self.ledger.holds.len());
        if outcome.changed {
            self.kept.push(step);
        }
        self.unchecked += 1;
        if self.unchecked > 200 + self.ledger.holds.len() / 8 {
            self.check();
        }
        (reply, outcome.changed)
    }

    pub(crate) fn take(&mut self, command: Owned) -> Reply {
        self.step(command).0
    }

    fn check(&mut self) {
        self.engine.check();
        self.other.check();
        self.unchecked = 0;
    }

    // Time.

    /// Ticks as they are wanted, until nothing is due. They end: whatever is not given back in one tick is less by then.
    pub(crate) fn catch_up(&mut self) {
        let mut in_vain = 0;
        while self.due().is_some_and(|due| due <= self.at) {
            let (_, changed) = self.step(Owned::Tick);
            in_vain = if changed { 0 } else { in_vain + 1 };
            assert!(in_vain <= 10 + self.most, "ticks are wanted for ever");
        }
    }

    /// When the first of the two wants a tick.
    fn due(&mut self) -> Option<u64> {
        let due = [self.engine.next_deadline(), self.other.next_deadline()];
        due.into_iter().flatten().min().map(|due| due.0)
    }

    /// Lets time pass, with ticks when they are wanted.
    pub(crate) fn pass(&mut self, span: u64) {
        let end = self.at + span;
        self.catch_up();
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.at = self.at.max(due);
            self.catch_up();
        }
        self.at = end;
        let over = |hold: &&Hold| hold.until <= self.at;
        let over = self.ledger.holds.values().flatten().find(over);
        assert!(over.is_none(), "{over:?} is held at {}", self.at);
    }

    // Sessions.

    pub(crate) fn known(&self, id: SessionId) -> Option<&Known> {
        let index = self
            .sessions
            .binary_search_by_key(&id, |known| known.by.session);
        Some(&self.sessions[index.ok()?])
    }

    /// A session that is there and attached, if one of some tries is.
    pub(crate) fn anybody(&mut self) -> Option<SessionRef> {
        for _ in 0..20 {
            let index = self.chance.below(self.sessions.len());
            let known = self.sessions.get(index)?;
            if known.is_attached && self.ledger.sessions.contains_key(&known.by.session) {
                return Some(known.by);
            }
        }
        None
    }

    pub(crate) fn set_attached(&mut self, id: SessionId, by: Option<SessionRef>) {
        let index = self
            .sessions
            .binary_search_by_key(&id, |known| known.by.session);
        let known = &mut self.sessions[index.expect("it was opened")];
        known.is_attached = by.is_some();
        known.by = by.unwrap_or(known.by);
    }

    /// What a session is told at its resume is what it holds.
    pub(crate) fn resumed(&self, id: SessionId, resumed: &Resumed) {
        let session = &self.ledger.sessions[&id];
        let held = resumed.holds.iter().map(|held| &held.path);
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        assert!(held.into_iter().eq(&session.holds), "{id:?}");
    }

    // What is.

    /// One of them is written and read again.
    pub(crate) fn restore(&mut self) {
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        self.engine.snapshot(&mut one);
        self.other.snapshot(&mut other);
        assert!(one == other, "two snapshots of one state");
        self.other = Engine::restore(&one).expect("a snapshot");
        let mut again = Vec::new();
        self.other.snapshot(&mut again);
        assert!(one == again, "a snapshot of what was restored");
        if self.chance.once_in(2) {
            std::mem::swap(&mut self.engine, &mut self.other);
        }
    }

    /// Everything that can be asked, against the ledger; and the state against itself.
    pub(crate) fn agree(&mut self) {
        self.catch_up();
        self.check();
        for engine in [&self.engine, &self.other] {
            self.agrees(engine);
        }
    }

    fn agrees(&self, engine: &Engine) {
        let at = LogTime(self.at);
        let Answer::Counts(counts) = engine.query(&Query::Counts, at) else {
            panic!("counts are answered with counts");
        };
        let expected = Counts {
            locks: counts.locks,
            holds_orphaned: counts.holds_orphaned,
            orgs: counts.orgs,
            sessions_detached: counts.sessions_detached,
            sessions: self.ledger.sessions.len() as u64,
            holds: self.ledger.hold_count() as u64,
            waits: self.ledger.waits.len() as u64,
        };
        assert_eq!(counts, expected);
        let locks = self.ledger.holds.iter();
        // Of a lock with more than that, the longest are listed.
        let listed = |holds: &Vec<Hold>| holds.len().min(PAGE_MAX);
        let mut held = locks
            .flat_map(|(lock, holds)| holds[..listed(holds)].iter().map(move |hold| (lock, hold)));
        for org in crate::ORGS {
            for listed in list(engine, org, at) {
                let ((in_org, path), hold) = held.next().expect("what is listed is held");
                let holder = listed.holder;
                assert_eq!((&**in_org, path), (org, &listed.path));
                assert_eq!(
                    (&hold.owner, hold.token),
                    (&holder.owner, listed.token),
                    "{path}"
                );
                assert_eq!(
                    (hold.members.len(), hold.mode),
                    (holder.sessions as usize, listed.mode),
                    "{path}"
                );
                assert_eq!(hold.until - self.at, holder.remaining.0, "{path}");
            }
        }
        assert_eq!(
            held.next().map(|(lock, _)| lock),
            None,
            "what is held is listed"
        );
    }

    /// What has changed something, lived once more, leads to the same state.
    pub(crate) fn replay(&mut self) {
        let mut replayed = Engine::new(FIRST_TOKEN);
        for step in &self.kept {
            let outcome = step.lend(|entry| replayed.apply(entry, &mut Discard));
            assert!(outcome.changed, "{step:?}");
        }
        replayed.check();
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        self.engine.snapshot(&mut one);
        replayed.snapshot(&mut other);
        assert!(one == other, "a replay leads elsewhere");
    }
}

/// All that an org holds, page by page.
fn list(engine: &Engine, org: &str, at: LogTime) -> Vec<ListedHold> {
    let mut all = Vec::new();
    let mut after: Option<Arc<str>> = None;
    loop {
        let list = List {
            org,
            target: Target::All,
            mode: None,
            held_min: Millis::ZERO,
            after: after.as_deref(),
            page: 256,
        };
        let Answer::Page { holds, next } = engine.query(&Query::List(list), at) else {
            panic!("a list is answered with a page");
        };
        all.extend(holds);
        after = next;
        if after.is_none() {
            return all;
        }
    }
}
