//! One sitting of one owner: opened, attached, detached, resumed, over. Knows locks only as things it has.
//!
//! ```text
//!  open -> attached <-- resume -- detached --+-- grace over, or last hold over --> ended
//!             |  |                   ^       |
//!             |  +----- detach ------+       |
//!             +-- close, or idle for long ---+
//! ```
//!
//! Must hold: an ended session stays only until its holds and waits are swept, and is nothing to anybody meanwhile.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Disconnect, OpenSession, ResumeSession, Role};
use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Notice, SessionEnd, WaitEnd, What, Who};
use crate::held_locks::HeldLocks;
use crate::ids::{Attach, ResumeKey, SessionId, SessionRef, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey, OwnerKey, SessionKey};
use crate::limits::{IDLE_MAX, RESTART_GRACE_MIN, SWEEP_MAX};
use crate::lock::Lock;
use crate::locks::Locks;
use crate::losses::{Kept, Losses};
use crate::policy::OnDisconnect;
use crate::reply::{GrantKind, Held, Rejection, Reply, Resumed, Waiting};
use crate::step::Step;
use crate::time::LogTime;

/// See the file's header. What nearly every command looks at lies in the first two lines of memory.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Renews every hold that the session is in; see `Engine::hold_deadline`.
    pub(crate) renewed_at: LogTime,
    pub(crate) link: Link,
    pub(crate) attach: Attach,
    pub(crate) key: SessionKey,
    pub(crate) org: OrgKey,
    pub(crate) owner: OwnerKey,
    pub(crate) ended: Option<SessionEnd>,
    pub(crate) role: Role,
    /// Since when it has neither hold nor wait, if so.
    pub(crate) idle_since: LogTime,
    pub(crate) locks: HeldLocks,
    pub(crate) losses: Losses,
    pub(crate) owner_name: Arc<str>,
    pub(crate) name: Arc<str>,
    /// When its timer comes up, if it has one. Earlier than its deadline perhaps, never later.
    pub(crate) armed: Option<LogTime>,
    /// By number: the lock it queues for, or none for an `acquire_all`.
    pub(crate) waits: BTreeMap<WaitId, Option<LockKey>>,
    pub(crate) metadata: Arc<[u8]>,
    pub(crate) resume_key: ResumeKey,
    pub(crate) on_disconnect: OnDisconnect,
}

/// Whether a connection speaks for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Attached,
    /// Until its grace is over, or, if it keeps, until its last hold is.
    Detached {
        until: Option<LogTime>,
    },
}

impl Session {
    /// Looks at the two lines of memory that nearly every command looks at, and at that with the names; see `ahead.rs`.
    pub(crate) fn glance(&self) -> u64 {
        self.id.0 ^ self.locks.len() as u64 ^ (self.owner_name.len() ^ self.name.len()) as u64
    }

    /// How others see it, lent.
    pub(crate) fn who(&self) -> Who<&str> {
        Who {
            owner: &self.owner_name,
            name: &self.name,
        }
    }

    /// How others see it, to keep.
    pub(crate) fn who_kept(&self) -> Who {
        Who {
            owner: self.owner_name.clone(),
            name: self.name.clone(),
        }
    }

    /// The attachment that speaks for it.
    pub(crate) fn attached(&self) -> Option<SessionRef> {
        (self.link == Link::Attached && self.ended.is_none()).then_some(SessionRef {
            session: self.id,
            attach: self.attach,
        })
    }

    /// Keeps what the session must hear of, now or at its resume; gives the attachment that hears now. An ended session has
    /// nobody who could ask.
    pub(crate) fn keep_in_mind(
        &mut self,
        now: LogTime,
        kept: impl FnOnce() -> Kept,
    ) -> Option<SessionRef> {
        if self.ended.is_some() {
            return None;
        }
        let attached = self.attached();
        self.losses.keep(now, kept(), attached.is_some());
        attached
    }

    /// It is in a hold of the lock no more.
    pub(crate) fn let_go(&mut self, lock: LockKey, locks: &Locks) {
        let (owner, key) = (self.owner, self.key);
        let is_in_hold = |lock: &Lock| lock.hold_with(owner, key).is_some();
        self.locks
            .let_go(lock, |lock| locks.get(lock).is_some_and(is_in_hold));
    }

    /// None of its holds is over before this. Some may live longer.
    pub(crate) fn holds_until(&self) -> LogTime {
        self.renewed_at + self.locks.ttl_least()
    }

    /// When it is over, as things stand.
    pub(crate) fn deadline(&self) -> Option<LogTime> {
        match self.link {
            Link::Attached if self.locks.is_empty() && self.waits.is_empty() => {
                Some(self.idle_since + IDLE_MAX)
            }
            Link::Attached => None,
            Link::Detached { until } => until,
        }
    }

    pub(crate) fn is_over(&self, now: LogTime) -> bool {
        self.ended.is_some() || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Whether its waits may be granted.
    pub(crate) fn is_eligible(&self, now: LogTime) -> bool {
        self.attached().is_some() && !self.is_over(now)
    }

    /// Whether it lives by its holds alone.
    pub(crate) fn ends_with_last_hold(&self) -> bool {
        self.ended.is_none() && self.link == Link::Detached { until: None }
    }

    /// Why it ends when its deadline has come.
    pub(crate) fn end_by_deadline(&self) -> SessionEnd {
        match self.link {
            Link::Attached => SessionEnd::Idle,
            Link::Detached { .. } => SessionEnd::GraceOver,
        }
    }
}

impl Step<'_> {
    pub(crate) fn open_session(&mut self, open: &OpenSession<'_>) -> Reply {
        let org = self.org_at(open.org);
        let policy = self.engine.org(org).policy;
        if self.engine.org(org).sessions >= policy.sessions_max {
            self.drop_org_if_unused(org);
            return Reply::Rejected(Rejection::TooManySessions);
        }
        let on_disconnect = match open.on_disconnect {
            Disconnect::Keep => OnDisconnect::Keep,
            Disconnect::Release(grace) => OnDisconnect::Release {
                grace: grace.unwrap_or(policy.grace),
            },
            Disconnect::ByPolicy if policy.release_on_disconnect => OnDisconnect::Release {
                grace: policy.grace,
            },
            Disconnect::ByPolicy => OnDisconnect::Keep,
        };
        let id = SessionId(self.engine.next.session);
        self.engine.next.session += 1;
        let now = self.now;
        let counted = self.engine.org_mut(org);
        counted.sessions += 1;
        let owner = counted.owners.join(open.owner);
        let owner_name = counted.owners.get(owner).name.clone();
        let session = |key| Session {
            id,
            key,
            org,
            owner,
            owner_name,
            name: Arc::from(open.name),
            metadata: Arc::from(open.metadata),
            role: open.role,
            resume_key: open.resume_key,
            on_disconnect,
            attach: Attach(1),
            link: Link::Attached,
            ended: None,
            renewed_at: now,
            idle_since: now,
            locks: HeldLocks::default(),
            waits: BTreeMap::new(),
            losses: Losses::default(),
            armed: None,
        };
        let key = self.engine.sessions.insert(session);
        self.arm_session(key);
        self.touch();
        self.session_event(key, |session, who| What::SessionOpened { session, who });
        Reply::Opened {
            session: id,
            attach: Attach(1),
            on_disconnect,
        }
    }

    pub(crate) fn resume_session(&mut self, resume: &ResumeSession<'_>) -> Reply {
        let known = self.engine.sessions.find(resume.session).filter(|session| {
            !session.is_over(self.now)
                && session.resume_key == resume.resume_key
                && *self.engine.org(session.org).name == *resume.org
        });
        let Some(key) = known.map(|session| session.key) else {
            return Reply::Rejected(Rejection::UnknownSession);
        };
        self.settle_over_holds(key);
        // A session that keeps is over with its last hold.
        let session = self.engine.sessions.get(key);
        if session.is_none_or(|session| session.ended.is_some()) {
            return Reply::Rejected(Rejection::UnknownSession);
        }
        self.attach_session(key, resume.role);
        let waits: Vec<_> = self.engine.session(key).waits.keys().copied().collect();
        for wait in waits {
            // An earlier wait's settling may have taken this one along.
            if self.engine.session(key).waits.contains_key(&wait) {
                let locks = self.locks_awaited(key, wait);
                for &lock in &locks {
                    self.settle_queue(lock);
                    self.serve_owner_of(key, lock);
                }
                self.settle_all(&locks);
            }
        }
        Reply::Resumed(alloc::boxed::Box::new(self.resumed(key)))
    }

    fn attach_session(&mut self, key: SessionKey, role: Role) {
        let now = self.now;
        let session = self.session_mut(key);
        let superseded = session.attached();
        session.attach = Attach(session.attach.0 + 1);
        session.link = Link::Attached;
        session.role = session.role.min(role);
        session.idle_since = now;
        self.touch();
        self.arm_session(key);
        if let Some(old) = superseded {
            self.notice_to(old, Notice::Moved);
            return;
        }
        self.engine.tally.sessions_detached -= 1;
        self.session_event(key, |session, who| What::SessionResumed { session, who });
        for (hold, lock) in self.engine.holds_by_age(key) {
            let index = self.hold_index(lock, hold);
            if self
                .engine
                .has_one_attached(&self.engine.lock(lock).holds[index])
            {
                self.adopted(lock, index);
            }
        }
    }

    fn resumed(&self, key: SessionKey) -> Resumed {
        let session = self.engine.session(key);
        let holds = self.engine.holds_by_age(key);
        let holds = holds.into_iter().map(|(hold, lock)| Held {
            path: self.engine.path(lock),
            grant: self.grant(lock, self.hold_index(lock, hold), GrantKind::Joined),
        });
        let waits = session.waits.iter().map(|(&wait, lock)| match lock {
            Some(lock) => self.engine.waiting(*lock, wait, self.now),
            None => self.engine.waiting_for_all(wait, self.now),
        });
        Resumed {
            attach: session.attach,
            owner: session.owner_name.clone(),
            on_disconnect: session.on_disconnect,
            role: session.role,
            holds: holds.collect(),
            waits: waits.collect(),
            missed: session.losses.iter().map(|(_, missed)| missed).collect(),
        }
    }

    pub(crate) fn detach_session(&mut self, by: SessionRef) -> Reply {
        if let Ok(session) = self.session(by) {
            let key = session.key;
            self.detach(key);
        }
        Reply::Done
    }

    /// Detaches an attached session.
    fn detach(&mut self, key: SessionKey) {
        let from = self.now;
        let session = self.session_mut(key);
        let until = match session.on_disconnect {
            OnDisconnect::Release { grace } => Some(from + grace),
            OnDisconnect::Keep => None,
        };
        session.link = Link::Detached { until };
        self.engine.tally.sessions_detached += 1;
        self.touch();
        self.arm_session(key);
        let keeps = until.is_none();
        self.session_event(key, |session, who| What::SessionDetached {
            session,
            who,
            keeps,
        });
        for (hold, lock) in self.engine.holds_by_age(key) {
            let index = self.hold_index(lock, hold);
            self.orphaned_perhaps(lock, index);
        }
        if keeps {
            self.keep_by_holds_alone(key);
        } else {
            self.let_others_pass(key);
        }
    }

    /// Its waits are passed over from here on: those behind them may have their turn.
    fn let_others_pass(&mut self, key: SessionKey) {
        let waits = self.engine.session(key).waits.keys();
        let locks = waits.flat_map(|wait| self.locks_awaited(key, *wait));
        self.settle_all(&locks.collect::<Vec<_>>());
    }

    /// What a disconnect does to a session that keeps: its waits end, and without a hold it ends itself.
    fn keep_by_holds_alone(&mut self, key: SessionKey) {
        let session = self.engine.session(key);
        if session.locks.is_empty() && session.waits.is_empty() {
            self.end_session(key, SessionEnd::LastHoldOver);
            return;
        }
        // All of them end before anything is settled, which could end another of them otherwise.
        let waits: Vec<_> = session.waits.keys().copied().collect();
        let awaited = waits.iter().flat_map(|wait| self.locks_awaited(key, *wait));
        let locks: Vec<_> = awaited.collect();
        for wait in waits {
            self.end_wait_of(key, wait, WaitEnd::Detached);
        }
        self.settle_all(&locks);
    }

    /// The locks that a wait of the session is for.
    pub(crate) fn locks_awaited(&self, key: SessionKey, wait: WaitId) -> Vec<LockKey> {
        match self.engine.session(key).waits[&wait] {
            Some(lock) => Vec::from([lock]),
            None => self.engine.groups[&wait].locks(),
        }
    }

    pub(crate) fn renew_session(&mut self, by: SessionRef) -> Reply {
        let key = match self.session(by) {
            Ok(session) => session.key,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        self.settle_over_holds(key);
        let now = self.now;
        let session = self.session_mut(key);
        let holds = u32::try_from(session.locks.len()).unwrap_or(u32::MAX);
        if session.renewed_at < now || session.idle_since < now {
            session.renewed_at = now;
            session.idle_since = now;
            self.touch();
        }
        Reply::SessionRenewed { holds }
    }

    pub(crate) fn close_session(&mut self, by: SessionRef) -> Reply {
        let key = match self.session(by) {
            Ok(session) => session.key,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        self.end_session(key, SessionEnd::Closed);
        for _ in 0..SWEEP_MAX {
            if !self.sweep_session(by.session) {
                break;
            }
        }
        Reply::Done
    }

    /// Rule 8. Everybody is detached before anybody's wait ends, so that nobody is granted anything.
    pub(crate) fn started(&mut self) -> Reply {
        let sessions = self.engine.sessions.iter();
        let live = sessions.filter(|session| !session.is_over(self.now));
        let mut live: Vec<_> = live.map(|session| (session.id, session.key)).collect();
        live.sort_unstable();
        for &(_, key) in &live {
            self.detach_for_restart(key);
        }
        for &(id, key) in &live {
            // Settling what an earlier one awaited may have ended this one.
            let session = self.engine.sessions.find(id);
            if session.is_some_and(Session::ends_with_last_hold) {
                self.keep_by_holds_alone(key);
            }
        }
        Reply::Done
    }

    fn detach_for_restart(&mut self, key: SessionKey) {
        let from = self.now;
        let session = self.session_mut(key);
        let was_attached = session.link == Link::Attached;
        let until = match session.on_disconnect {
            OnDisconnect::Release { grace } => Some(from + grace.max(RESTART_GRACE_MIN)),
            OnDisconnect::Keep => None,
        };
        if session.link == (Link::Detached { until }) {
            return;
        }
        session.link = Link::Detached { until };
        self.touch();
        self.arm_session(key);
        if !was_attached {
            return;
        }
        self.engine.tally.sessions_detached += 1;
        let holds = self.engine.holds_by_age(key);
        let orphaned = holds.into_iter().filter(|&(hold, lock)| {
            let index = self.hold_index(lock, hold);
            self.engine
                .is_orphaned(&self.engine.lock(lock).holds[index])
        });
        self.engine.tally.holds_orphaned += orphaned.count() as u64;
    }

    // The end.

    /// Ends a session. What it leaves behind counts as over from here on, and is swept in bounded steps.
    pub(crate) fn end_session(&mut self, key: SessionKey, why: SessionEnd) {
        let mut left = self.engine.holds_by_age(key);
        left.reverse();
        let session = self.session_mut(key);
        let attached = session.attached();
        let was_detached = session.link != Link::Attached;
        session.ended = Some(why);
        session.losses.clear();
        let (id, org) = (session.id, session.org);
        let armed = session.armed.take();
        let is_bare = session.locks.is_empty() && session.waits.is_empty();
        if let Some(armed) = armed {
            self.engine.deadlines.disarm(armed, Due::Session(id));
        }
        if was_detached {
            self.engine.tally.sessions_detached -= 1;
        }
        self.engine.org_mut(org).sessions -= 1;
        self.touch();
        if let (Some(to), true) = (attached, why != SessionEnd::Closed) {
            self.notice_to(to, Notice::Closed { why });
        }
        self.session_event(key, |session, who| What::SessionEnded { session, who, why });
        if is_bare {
            self.forget_session(key);
        } else {
            self.engine.ending.insert(id, left);
        }
    }

    /// Forgets an ended session that has nothing left.
    pub(crate) fn forget_session(&mut self, key: SessionKey) {
        let gone = self.engine.sessions.remove(key);
        self.engine.ending.remove(&gone.id);
        self.engine.org_mut(gone.org).owners.leave(gone.owner);
        self.drop_org_if_unused(gone.org);
    }

    /// Tells of something that has happened to a session.
    fn session_event(
        &mut self,
        key: SessionKey,
        what: impl for<'e> FnOnce(SessionId, Who<&'e str>) -> What<&'e str>,
    ) {
        self.event(|engine| {
            let session = engine.session(key);
            (session.org, what(session.id, session.who()))
        });
    }

    /// Arms the session's timer, unless it comes up early enough already.
    pub(crate) fn arm_session(&mut self, key: SessionKey) {
        let session = self.session_mut(key);
        let id = session.id;
        let Some(deadline) = session.deadline() else {
            return;
        };
        match session.armed {
            Some(armed) if armed <= deadline => {}
            armed => {
                session.armed = Some(deadline);
                if let Some(armed) = armed {
                    self.engine.deadlines.disarm(armed, Due::Session(id));
                }
                self.engine.deadlines.arm(deadline, Due::Session(id));
            }
        }
    }

    /// The org of that name, made if there is none.
    pub(crate) fn org_at(&mut self, name: &str) -> OrgKey {
        if let Some(org) = self.engine.org_named(name) {
            return org;
        }
        let name: Arc<str> = Arc::from(name);
        let org = crate::org::Org::new(name.clone(), &self.engine.layer);
        let key = OrgKey::at(self.engine.orgs.insert(org));
        self.engine.org_names.insert(name, key);
        key
    }

    pub(crate) fn hold_index(&self, lock: LockKey, hold: HoldId) -> usize {
        self.engine.hold_index(lock, hold)
    }
}

impl Engine {
    /// What a session holds, oldest first.
    pub(crate) fn holds_by_age(&self, key: SessionKey) -> Vec<(HoldId, LockKey)> {
        let session = self.session(key);
        let holds = session.locks.named().filter_map(|lock| {
            let found = self.locks.get(lock)?;
            let index = found.hold_with(session.owner, key)?;
            Some((found.holds[index].id(), lock))
        });
        let mut holds: Vec<_> = holds.collect();
        holds.sort_unstable();
        holds.dedup();
        holds
    }

    /// Where a hold stands that a session is known to be in.
    pub(crate) fn hold_index(&self, lock: LockKey, hold: HoldId) -> usize {
        let found = self.lock(lock).hold_index(hold);
        found.expect("a session knows only holds that it is in")
    }

    /// A queued wait as its session sees it.
    pub(crate) fn waiting(&self, lock: LockKey, wait: WaitId, now: LogTime) -> Waiting {
        let found = self.lock(lock);
        let index = found
            .wait_index(wait)
            .expect("a session knows only waits that are its own");
        Waiting {
            wait,
            paths: Vec::from([self.path(lock)]),
            place: self.place(found, index),
            remaining: now.until(found.queue()[index].deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be very many of them too.
    #[test]
    fn a_session_lies_in_four_lines_of_memory() {
        assert_eq!(size_of::<Session>(), 256);
    }
}
