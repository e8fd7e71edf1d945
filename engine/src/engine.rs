//! The machine as its callers see it, and the table of contents of what it can do: one match, no rule.
//! Owns the state and the way in; what a command does is in the room of its noun. Must hold: an entry that changed nothing
//! has not moved time either.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::DefaultHashBuilder;
use slab::Slab;

use crate::acquire_all::Group;
use crate::command::{Command, Entry};
use crate::deadlines::Deadlines;
use crate::event::Effects;
use crate::ids::{SessionId, Token, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey, SessionKey};
use crate::limits::SWEEP_MAX;
use crate::lock::Lock;
use crate::locks::Locks;
use crate::nursery::Nursery;
use crate::org::{Address, Org};
use crate::policy::PolicyLayer;
use crate::query::{Answer, Query};
use crate::reply::{Rejection, Reply};
use crate::session::Session;
use crate::sessions::Sessions;
use crate::step::Step;
use crate::time::{LogTime, Millis};
use crate::unserved::Unserved;

/// A timer that comes up later than in this is not looked at yet: until then its deadline may move to and fro very often.
const NEAR: Millis = Millis::from_secs(1);

/// What an entry led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to whoever proposed the entry.
    pub reply: Reply,
    /// Whether state, counters or time have moved. If not, the entry need not be kept.
    pub changed: bool,
}

/// The machine. See the crate's front page for what it promises and what it asks of its caller.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) now: LogTime,
    pub(crate) next: Counters,
    /// Policy layer of every org.
    pub(crate) layer: PolicyLayer,
    pub(crate) orgs: Slab<Org>,
    pub(crate) org_names: BTreeMap<Arc<str>, OrgKey>,
    pub(crate) locks: Locks,
    pub(crate) groups: BTreeMap<WaitId, Group>,
    pub(crate) sessions: Sessions,
    /// Sessions that have ended and still have holds or waits to be swept, with what they held, youngest first. Some of that
    /// may be gone.
    pub(crate) ending: BTreeMap<SessionId, Vec<(HoldId, LockKey)>>,
    /// Locks whose queues are to be served further.
    pub(crate) unserved: Unserved,
    // Derived from the rest:
    pub(crate) deadlines: Deadlines,
    pub(crate) nursery: Nursery,
    pub(crate) tally: Tally,
    /// For the tables of paths. Orders nothing.
    pub(crate) hashing: DefaultHashBuilder,
}

/// The next number of each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) session: u64,
    pub(crate) wait: u64,
    pub(crate) hold: u64,
    pub(crate) token: u64,
}

impl Counters {
    /// The next token, if there is one more.
    pub(crate) fn token(&mut self) -> Result<Token, Rejection> {
        let token = Token(self.token);
        if token > Token::MAX {
            return Err(Rejection::TokensExhausted);
        }
        self.token += 1;
        Ok(token)
    }

    /// The age of the next hold.
    pub(crate) const fn hold(&mut self) -> HoldId {
        self.hold += 1;
        HoldId(self.hold - 1)
    }
}

/// How much there is of what cannot be counted at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) holds: u64,
    pub(crate) holds_orphaned: u64,
    pub(crate) waits: u64,
    pub(crate) sessions_detached: u64,
}

impl Engine {
    /// An engine at the beginning of history, whose first token will be `first_token`.
    #[must_use]
    pub fn new(first_token: Token) -> Self {
        Self {
            now: LogTime::ZERO,
            next: Counters {
                session: 1,
                wait: 1,
                hold: 1,
                token: first_token.0,
            },
            layer: PolicyLayer::default(),
            orgs: Slab::new(),
            org_names: BTreeMap::new(),
            locks: Locks::default(),
            groups: BTreeMap::new(),
            sessions: Sessions::default(),
            ending: BTreeMap::new(),
            unserved: Unserved::default(),
            deadlines: Deadlines::default(),
            nursery: Nursery::default(),
            tally: Tally::default(),
            hashing: DefaultHashBuilder::default(),
        }
    }

    /// Takes one step of history: answers, and lets `effects` know of every consequence in order.
    ///
    /// Costs a few look-ups for a command about one lock; a step that frees a lock also pays for those it is granted to, as
    /// many as [`SERVE_MAX`](crate::limits::SERVE_MAX): further ones are granted it by the ticks that follow.
    pub fn apply(&mut self, entry: &Entry<'_>, effects: &mut impl Effects) -> Outcome {
        let now = self.now.max(entry.at);
        let mut step = Step::new(self, effects, now, entry.wall);
        let reply = match entry.command {
            Command::Started => step.started(),
            Command::Tick => step.tick(),
            Command::Configure { scope, layer, .. } => step.configure(scope, layer),
            Command::Settle { org, path } => step.settle_path(org, path),
            Command::OpenSession(open) => step.open_session(open),
            Command::ResumeSession(resume) => step.resume_session(resume),
            Command::DetachSession(by) => step.detach_session(*by),
            Command::RenewSession(by) => step.renew_session(*by),
            Command::CloseSession(by) => step.close_session(*by),
            Command::Acquire(acquire) => step.acquire(acquire),
            Command::AcquireAll(acquire) => step.acquire_all(acquire),
            Command::Renew(renew) => step.renew(renew),
            Command::Release(release) => step.release(release),
            Command::Cancel { by, wait } => step.cancel(*by, *wait),
            Command::Convert(convert) => step.convert(convert),
            Command::HandOver { by, path, to } => step.hand_over(*by, path, *to),
            Command::Decline { by, path, to } => step.decline(*by, path, *to),
            Command::ForceRelease(force) => step.force_release(force),
        };
        let changed = step.finish();
        if changed {
            self.now = now;
        }
        Outcome { reply, changed }
    }

    /// Reads, as of `at` or the engine's own time if that is later.
    #[must_use]
    pub fn query(&self, query: &Query<'_>, at: LogTime) -> Answer {
        let now = self.now.max(at);
        match query {
            Query::Status { org, path } => Answer::Status(self.status(org, path, now)),
            Query::Check { org, path, token } => self.check_token(org, path, *token, now),
            Query::List(list) => self.list(list, now),
            Query::Places { org, path } => Answer::Places(self.places(org, path, now)),
            Query::Policy { org, kind } => self.policy(org, *kind),
            Query::Counts => Answer::Counts(self.counts()),
        }
    }

    /// Log time of the last entry that changed something.
    #[must_use]
    pub const fn now(&self) -> LogTime {
        self.now
    }

    /// The token that the next grant which excludes somebody will carry.
    #[must_use]
    pub const fn next_token(&self) -> Token {
        Token(self.next.token)
    }

    /// Leaves out the tokens below `least`, which a history that is lost may have given out. Part of history as an entry
    /// is: the caller keeps it, and does it again at the same place of a replay.
    pub fn raise_tokens(&mut self, least: Token) {
        self.next.token = self.next.token.max(least.0);
    }

    /// When a `Tick` is wanted, at the latest; `None` when nothing has a deadline. It may be too early, since timers are
    /// armed coarsely and renewals come faster than they are armed anew, and then the tick changes nothing. It changes nothing
    /// that can be told either while the memory of very many locks that are gone is given back.
    pub fn next_deadline(&mut self) -> Option<LogTime> {
        let is_at_it = !self.ending.is_empty() || !self.unserved.is_empty();
        if is_at_it || self.locks.has_room_to_give_back() {
            return Some(self.now);
        }
        for _ in 0..SWEEP_MAX {
            let Some((armed, due)) = self.deadlines.first_near() else {
                break;
            };
            if armed > self.now + NEAR || !self.rearm_if_early(armed, due) {
                break;
            }
        }
        let first = self.deadlines.first().min(self.nursery.due());
        (first < LogTime::NEVER).then_some(first)
    }

    /// Whether no `Tick` is wanted before this, for certain: a glance, where [`next_deadline`](Self::next_deadline) looks.
    #[must_use]
    pub fn wants_no_tick_before(&self, at: LogTime) -> bool {
        self.ending.is_empty()
            && self.unserved.is_empty()
            && !self.locks.has_room_to_give_back()
            && self.deadlines.none_before(at)
            && at <= self.nursery.due()
    }

    /// Whether nothing at all is over at this instant, as is nearly always so.
    pub(crate) fn nothing_is_over(&self, now: LogTime) -> bool {
        self.ending.is_empty() && self.deadlines.none_due(now) && now < self.nursery.due()
    }

    pub(crate) fn org(&self, key: OrgKey) -> &Org {
        &self.orgs[key.place()]
    }

    pub(crate) fn org_mut(&mut self, key: OrgKey) -> &mut Org {
        &mut self.orgs[key.place()]
    }

    pub(crate) fn org_named(&self, name: &str) -> Option<OrgKey> {
        self.org_names.get(name).copied()
    }

    pub(crate) fn session(&self, key: SessionKey) -> &Session {
        &self.sessions[key]
    }

    pub(crate) fn lock(&self, key: LockKey) -> &Lock {
        &self.locks[key]
    }

    pub(crate) fn lock_mut(&mut self, key: LockKey) -> &mut Lock {
        &mut self.locks[key]
    }

    pub(crate) fn address<'p>(&self, org: OrgKey, path: &'p str) -> Address<'p> {
        Address::new(&self.hashing, org, path)
    }

    /// The lock at an address, if anybody holds or awaits it.
    pub(crate) fn lock_at(&self, at: &Address<'_>) -> Option<LockKey> {
        self.orgs.get(at.org.place())?.paths.get(&self.locks, at)
    }

    /// The lock of a path by names, if anybody holds or awaits it.
    pub(crate) fn find(&self, org: &str, path: &str) -> Option<LockKey> {
        self.lock_at(&self.address(self.org_named(org)?, path))
    }
}
