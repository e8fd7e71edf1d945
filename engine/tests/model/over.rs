//! What is over, who is eligible, who stands where. Reads only.
//!
//! A thing is over from its deadline on, or from the end of its session on, whether or not a sweep
//! has come by; an over thing holds nothing and is counted nowhere.

use tenure_engine::{Mode, SessionId};

use super::Model;
use super::state::{Hold, Lock, Session, Wait};

use tenure_engine::limits::IDLE_MAX;

impl Model {
    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// From when on the session is over; an ended one was always. A detached session that keeps
    /// ends with its last hold, and is there until that hold has been ended.
    pub(super) fn session_over_from(&self, session: &Session) -> Option<u64> {
        if session.ended.is_some() {
            return Some(0);
        }
        if !session.attached {
            return session.grace_until;
        }
        let waits = self.waits.iter().any(|wait| wait.session == session.id);
        let holds = self.holds.iter().any(|hold| hold.has(session.id));
        (!waits && !holds).then(|| session.last_active.saturating_add(IDLE_MAX.0))
    }

    /// From when on none of the hold's sessions is left.
    pub(super) fn deserted_from(&self, hold: &Hold) -> Option<u64> {
        let mut latest = 0;
        for member in &hold.members {
            let session = self
                .session(member.session)
                .expect("a member is remembered");
            latest = latest.max(self.session_over_from(session)?);
        }
        Some(latest)
    }

    pub(super) fn hold_over_from(&self, hold: &Hold) -> u64 {
        self.deserted_from(hold)
            .map_or(hold.deadline, |at| at.min(hold.deadline))
    }

    pub(super) fn wait_over_from(&self, wait: &Wait) -> u64 {
        let session = self
            .session(wait.session)
            .expect("a waiting session is remembered");
        self.session_over_from(session)
            .map_or(wait.deadline, |at| at.min(wait.deadline))
    }

    pub(super) fn session_over(&self, session: &Session, at: u64) -> bool {
        self.session_over_from(session)
            .is_some_and(|from| from <= at)
    }

    pub(super) fn hold_over(&self, hold: &Hold, at: u64) -> bool {
        self.hold_over_from(hold) <= at
    }

    pub(super) fn wait_over(&self, wait: &Wait, at: u64) -> bool {
        self.wait_over_from(wait) <= at
    }

    /// The earliest moment at which something is over, or a queue to be served: what a sleeper must not sleep beyond.
    pub(crate) fn earliest_over(&self) -> Option<u64> {
        if self.is_behind() {
            return Some(self.now);
        }
        let sessions = self
            .sessions
            .iter()
            .filter_map(|session| self.session_over_from(session));
        let holds = self.holds.iter().map(|hold| self.hold_over_from(hold));
        let waits = self.waits.iter().map(|wait| self.wait_over_from(wait));
        sessions.chain(holds).chain(waits).min()
    }

    /// The sessions in the hold that are not over.
    pub(super) fn members<'a>(&'a self, hold: &'a Hold, at: u64) -> Vec<&'a Session> {
        let sessions = hold
            .members
            .iter()
            .filter_map(|member| self.session(member.session));
        sessions
            .filter(|session| !self.session_over(session, at))
            .collect()
    }

    pub(super) fn orphaned(&self, hold: &Hold, at: u64) -> bool {
        self.members(hold, at)
            .iter()
            .all(|session| !session.attached)
    }

    /// For events and counts: a session is in a hold until a sweep has taken it out.
    pub(super) fn left_alone(&self, hold: &Hold) -> bool {
        let mut sessions = hold
            .members
            .iter()
            .filter_map(|member| self.session(member.session));
        sessions.all(|session| !session.attached)
    }

    /// The holds on a lock that are not over, oldest first.
    pub(super) fn holds_on(&self, lock: &Lock, at: u64) -> Vec<&Hold> {
        let on = self.holds.iter().filter(|hold| hold.lock == *lock);
        let mut on: Vec<&Hold> = on.filter(|hold| !self.hold_over(hold, at)).collect();
        on.sort_by_key(|hold| hold.age);
        on
    }

    pub(super) fn hold_of(&self, lock: &Lock, owner: &str, at: u64) -> Option<&Hold> {
        self.holds_on(lock, at)
            .into_iter()
            .find(|hold| hold.owner == owner)
    }

    /// All waits on a lock that are not over, those of `acquire_all` included.
    pub(super) fn waits_on(&self, lock: &Lock, at: u64) -> Vec<&Wait> {
        let on = self.waits.iter().filter(|wait| wait.is_on(lock));
        on.filter(|wait| !self.wait_over(wait, at)).collect()
    }

    /// The queue of a lock: upgrades first, then by wait number.
    pub(super) fn queue(&self, lock: &Lock, at: u64) -> Vec<&Wait> {
        let mut queue: Vec<&Wait> = self.waits_on(lock, at);
        queue.retain(|wait| !wait.all);
        queue.sort_by_key(|wait| (!self.is_upgrade(lock, wait, at), wait.id));
        queue
    }

    fn is_upgrade(&self, lock: &Lock, wait: &Wait, at: u64) -> bool {
        let hold = self.hold_of(lock, &wait.owner, at);
        wait.mode() == Mode::Exclusive && hold.is_some_and(|hold| hold.mode == Mode::Shared)
    }

    /// Rule 14: whether an upgrade of another owner is pending, eligible or not.
    pub(super) fn upgrade_pending(&self, lock: &Lock, but: &str, at: u64) -> bool {
        let mut queue = self.queue(lock, at).into_iter();
        queue.any(|wait| wait.owner != but && self.is_upgrade(lock, wait, at))
    }

    pub(super) fn eligible(&self, wait: &Wait, at: u64) -> bool {
        let session = self
            .session(wait.session)
            .expect("a waiting session is remembered");
        session.attached && !self.wait_over(wait, at)
    }

    /// Place in the queue, from 1; 0 for an `acquire_all`, which stands in none.
    pub(super) fn place(&self, wait: &Wait, at: u64) -> u32 {
        if wait.all {
            return 0;
        }
        let queue = self.queue(&wait.locks()[0], at);
        let ahead = queue.iter().position(|other| other.id == wait.id);
        ahead.map_or(0, |ahead| ahead as u32 + 1)
    }

    /// For limits: counts what no sweep has come by yet.
    pub(super) fn org_holds(&self, org: &str) -> usize {
        self.holds
            .iter()
            .filter(|hold| hold.lock.org == org)
            .count()
    }

    pub(super) fn session_holds(&self, id: SessionId, at: u64) -> Vec<&Hold> {
        let of = self.holds.iter().filter(|hold| hold.has(id));
        let mut of: Vec<&Hold> = of.filter(|hold| !self.hold_over(hold, at)).collect();
        of.sort_by_key(|hold| hold.age);
        of
    }

    pub(super) fn session_waits(&self, id: SessionId, at: u64) -> Vec<&Wait> {
        let of = self.waits.iter().filter(|wait| wait.session == id);
        let mut of: Vec<&Wait> = of.filter(|wait| !self.wait_over(wait, at)).collect();
        of.sort_by_key(|wait| wait.id);
        of
    }
}

impl Hold {
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.members.iter().any(|member| member.session == session)
    }
}
