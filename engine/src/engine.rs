//! The machine as its callers see it, and the table of contents of what it can do: one match, no rule.
//! Owns the state and the way in; what a command does is in the room of its noun. Must hold: an entry that changed nothing
//! has not moved time either.

use alloc::collections::BinaryHeap;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::cmp::Reverse;
use core::ops::Bound;

use hashbrown::DefaultHashBuilder;
use slab::Slab;

use crate::acquire_all::Group;
use crate::command::{Command, Entry};
use crate::deadlines::{Deadlines, Due};
use crate::event::Effects;
use crate::ids::{SessionId, Token, WaitId};
use crate::keys::{LockKey, OrgKey, SessionKey};
use crate::limits::SWEEP_MAX;
use crate::lock::{Hold, Lock};
use crate::nursery::{Nursery, Stage, Timers};
use crate::org::{Address, Org};
use crate::policy::PolicyLayer;
use crate::query::{Answer, Query};
use crate::reply::Reply;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::step::Step;
use crate::time::LogTime;

/// Room for so many locks is kept when none is left.
const KEPT_LOCKS: usize = 16 * 1024;

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
    pub(crate) locks: Slab<Lock>,
    pub(crate) groups: BTreeMap<WaitId, Group>,
    pub(crate) sessions: Sessions,
    /// Sessions that have ended and still have holds or waits to be swept.
    pub(crate) ending: BTreeSet<SessionId>,
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
            locks: Slab::new(),
            groups: BTreeMap::new(),
            sessions: Sessions::default(),
            ending: BTreeSet::new(),
            deadlines: Deadlines::default(),
            nursery: Nursery::default(),
            tally: Tally::default(),
            hashing: DefaultHashBuilder::default(),
        }
    }

    /// Takes one step of history: answers, and lets `effects` know of every consequence in order.
    ///
    /// Costs a few look-ups for a command about one lock; a step that frees a lock also pays for those it is granted to.
    pub fn apply(&mut self, entry: &Entry<'_>, effects: &mut impl Effects) -> Outcome {
        let now = self.now.max(entry.at);
        let mut step = Step::new(self, effects, now, entry.wall);
        let reply = match &entry.command {
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

    /// When a `Tick` is wanted, at the latest; `None` when nothing has a deadline. It may be too early, since timers are
    /// armed coarsely and renewals come faster than they are armed anew, and then the tick changes nothing.
    pub fn next_deadline(&mut self) -> Option<LogTime> {
        if !self.ending.is_empty() {
            return Some(self.now);
        }
        for _ in 0..SWEEP_MAX {
            let Some((armed, due)) = self.deadlines.first_near() else {
                break;
            };
            if !self.rearm_if_early(armed, due) {
                break;
            }
        }
        let first = self.deadlines.first().min(self.nursery.due());
        (first < LogTime::NEVER).then_some(first)
    }

    /// Whether nothing at all is over at this instant, as is nearly always so.
    pub(crate) fn nothing_is_over(&self, now: LogTime) -> bool {
        self.ending.is_empty() && self.deadlines.none_due(now) && now < self.nursery.due()
    }

    /// Sees to it that the first near timer is the first of all that come up by `now`. What is over later is left for when
    /// its turn comes.
    pub(crate) fn bring_near(&mut self, now: LogTime) {
        if self.nursery.due() <= now {
            while let Some(young) = self.nursery.release_any() {
                self.grow_up(young);
            }
        }
        while let Some(lock) = self.deadlines.take_far(now) {
            let deadline = self.hold_deadline(&self.lock(lock).holds[0]);
            if Deadlines::are_apart(now, deadline) {
                // It has been renewed.
                self.arm_far(lock);
            } else {
                self.arm_near(lock);
            }
        }
    }

    /// Arms a timer anew whose deadline has moved on, or drops it when there is none any more; tells whether it did.
    pub(crate) fn rearm_if_early(&mut self, armed: LogTime, due: Due) -> bool {
        let deadline = self.deadline_of(due);
        if deadline == Some(armed) {
            return false;
        }
        match due {
            Due::Hold(id, lock) => {
                self.deadlines.disarm_hold(id, lock);
                if let [_] = *self.lock(lock).holds {
                    self.arm_far(lock);
                } else if let Some(deadline) = deadline {
                    self.deadlines.arm_hold(deadline, id, lock);
                }
                return true;
            }
            Due::Wait(id, lock) => {
                let lock = self.lock_mut(lock);
                let index = lock.wait_index(id).expect("a timer goes with its wait");
                lock.queue_mut()[index].armed = deadline.unwrap_or(armed);
            }
            Due::Group(id) => {
                let group = self.groups.get_mut(&id);
                group.expect("a timer goes with its wait").armed = deadline.unwrap_or(armed);
            }
            Due::Session(id) => {
                let session = self.sessions.key_of(id);
                let session = session.expect("a timer goes with its session");
                self.sessions[session].armed = deadline;
            }
        }
        self.deadlines.disarm(armed, due);
        if let Some(deadline) = deadline {
            self.deadlines.arm(deadline, due);
        }
        true
    }

    fn deadline_of(&self, due: Due) -> Option<LogTime> {
        match due {
            Due::Hold(id, lock) => {
                let hold = self.lock(lock).holds.iter().find(|hold| hold.id == id)?;
                Some(self.hold_deadline(hold))
            }
            Due::Wait(id, lock) => {
                let lock = self.lock(lock);
                Some(lock.queue()[lock.wait_index(id)?].deadline)
            }
            Due::Group(id) => Some(self.groups.get(&id)?.deadline),
            Due::Session(id) => self.sessions.find(id)?.deadline(),
        }
    }

    /// Gives back what many locks have taken, of which none is left.
    pub(crate) fn give_back(&mut self) {
        if self.locks.capacity() > KEPT_LOCKS {
            self.locks.shrink_to_fit();
            self.deadlines.give_back();
        }
    }

    // Growing up.

    /// Gives a lock that leaves the nursery what it has done without.
    pub(crate) fn grow_up(&mut self, lock: LockKey) {
        let org = self.lock(lock).org;
        let order = &mut self.orgs[org.place()].paths.in_order;
        order.insert(&self.locks, lock);
        self.lock_mut(lock).stage = Stage::Grown(Timers::None);
        self.arm_grown(lock);
    }

    /// Arms what a grown lock needs whose timers are nowhere.
    fn arm_grown(&mut self, lock: LockKey) {
        match self.lock(lock).holds.len() {
            0 => {}
            1 => self.arm_far(lock),
            _ => self.arm_near(lock),
        }
    }

    fn arm_far(&mut self, lock: LockKey) {
        let found = self.lock(lock);
        let deadline = self.hold_deadline(&found.holds[0]);
        self.deadlines.arm_far(deadline, lock);
        self.lock_mut(lock).stage = Stage::Grown(Timers::Far);
    }

    fn arm_near(&mut self, lock: LockKey) {
        let found = &self.locks[lock.place()];
        for hold in found.holds.iter() {
            let deadline = hold_deadline(&self.sessions, hold);
            self.deadlines.arm_hold(deadline, hold.id, lock);
        }
        self.lock_mut(lock).stage = Stage::Grown(Timers::Near);
    }

    /// Arms the timer of the lock's newest hold.
    pub(crate) fn arm_newest_hold(&mut self, lock: LockKey) {
        let found = self.lock(lock);
        let newest = found.holds.last().expect("a hold has just begun");
        let (id, deadline) = (newest.id, newest.deadline);
        match found.stage {
            Stage::Young(_) => self.nursery.expect_by(deadline),
            Stage::Grown(Timers::None) => self.arm_grown(lock),
            Stage::Grown(Timers::Near) => self.deadlines.arm_hold(deadline, id, lock),
            Stage::Grown(Timers::Far) => {
                self.deadlines.disarm_far(lock);
                self.arm_near(lock);
            }
        }
    }

    /// Disarms the timer of a hold that has been taken out of the lock.
    pub(crate) fn disarm_hold(&mut self, lock: LockKey, gone: &Hold) {
        match self.lock(lock).stage {
            Stage::Young(_) | Stage::Grown(Timers::None) => return,
            Stage::Grown(Timers::Far) => self.deadlines.disarm_far(lock),
            Stage::Grown(Timers::Near) => self.deadlines.disarm_hold(gone.id, lock),
        }
        if !self.lock(lock).is_held() {
            self.lock_mut(lock).stage = Stage::Grown(Timers::None);
        }
    }

    /// When a hold is over: by its own renewals, or by those of the sessions in it.
    ///
    /// A renewal of a session costs one store, whatever it holds: the deadlines of its holds are worked out when asked
    /// for. (When a session leaves a hold, what it renewed stays.)
    pub(crate) fn hold_deadline(&self, hold: &Hold) -> LogTime {
        hold_deadline(&self.sessions, hold)
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
        &self.locks[key.place()]
    }

    pub(crate) fn lock_mut(&mut self, key: LockKey) -> &mut Lock {
        &mut self.locks[key.place()]
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

    /// The org's locks in path order, from the first that begins with `prefix` and lies beyond `after`.
    pub(crate) fn locks_from<'a>(
        &'a self,
        org: OrgKey,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = LockKey> + 'a {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let path = |lock: LockKey| self.lock(lock).path.as_str();
        let is_wanted = |lock: &LockKey| {
            self.lock(*lock).org == org
                && path(*lock).starts_with(prefix)
                && after.is_none_or(|after| path(*lock) > after)
        };
        let young = self.nursery.iter().filter(is_wanted);
        let mut young: BinaryHeap<_> = young.map(|lock| Reverse((path(lock), lock))).collect();
        let mut grown = self
            .org(org)
            .paths
            .in_order
            .from(&self.locks, start)
            .peekable();
        core::iter::from_fn(move || {
            let next_grown = grown.peek().map(|lock| path(*lock));
            match young.peek() {
                Some(Reverse((next_young, _)))
                    if next_grown.is_none_or(|grown| *next_young < grown) =>
                {
                    young.pop().map(|Reverse((_, lock))| lock)
                }
                _ => grown.next(),
            }
        })
        .take_while(move |lock| path(*lock).starts_with(prefix))
    }
}

fn hold_deadline(sessions: &Sessions, hold: &Hold) -> LogTime {
    let first = sessions[hold.first.session].renewed_at + hold.ttl;
    if hold.member_count() == 1 {
        return hold.deadline.max(first);
    }
    let renewed = hold
        .members()
        .map(|member| sessions[member.session].renewed_at + hold.ttl);
    renewed.fold(hold.deadline, LogTime::max)
}
