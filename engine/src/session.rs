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

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Disconnect, OpenSession, ResumeSession, Role};
use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Missed, Notice, SessionEnd, WaitEnd, What};
use crate::ids::{Attach, ResumeKey, SessionId, SessionRef, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey};
use crate::limits::{IDLE_MAX, RESTART_GRACE_MIN, SWEEP_MAX};
use crate::policy::OnDisconnect;
use crate::reply::{GrantKind, Held, Rejection, Reply, Resumed, Waiting};
use crate::step::Step;
use crate::time::LogTime;

/// See the file's header.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) org: OrgKey,
    pub(crate) owner: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) metadata: Arc<[u8]>,
    pub(crate) role: Role,
    pub(crate) resume_key: ResumeKey,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) attach: Attach,
    pub(crate) link: Link,
    pub(crate) ended: Option<SessionEnd>,
    /// Renews every hold that the session is in; see `Engine::hold_deadline`.
    pub(crate) renewed_at: LogTime,
    /// Since when it has neither hold nor wait, if so.
    pub(crate) idle_since: LogTime,
    /// By age.
    pub(crate) holds: BTreeMap<HoldId, LockKey>,
    /// By number: the lock it queues for, or none for an `acquire_all`.
    pub(crate) waits: BTreeMap<WaitId, Option<LockKey>>,
    pub(crate) missed: VecDeque<(LogTime, Missed)>,
    /// When its timer comes up, if it has one. Earlier than its deadline perhaps, never later.
    pub(crate) armed: Option<LogTime>,
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
    /// The attachment that speaks for it.
    pub(crate) fn attached(&self) -> Option<SessionRef> {
        (self.link == Link::Attached && self.ended.is_none()).then_some(SessionRef {
            session: self.id,
            attach: self.attach,
        })
    }

    /// When it is over, as things stand.
    pub(crate) fn deadline(&self) -> Option<LogTime> {
        match self.link {
            Link::Attached if self.holds.is_empty() && self.waits.is_empty() => {
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
        let session = Session {
            id,
            org,
            owner: self.engine.org_mut(org).owner_joins(open.owner),
            name: Arc::from(open.name),
            metadata: Arc::from(open.metadata),
            role: open.role,
            resume_key: open.resume_key,
            on_disconnect,
            attach: Attach(1),
            link: Link::Attached,
            ended: None,
            renewed_at: self.now,
            idle_since: self.now,
            holds: BTreeMap::new(),
            waits: BTreeMap::new(),
            missed: VecDeque::new(),
            armed: None,
        };
        self.engine.sessions.insert(id, session);
        self.arm_session(id);
        self.touch();
        let who = self.who(id);
        self.event(org, What::SessionOpened { session: id, who });
        Reply::Opened {
            session: id,
            attach: Attach(1),
            on_disconnect,
        }
    }

    pub(crate) fn resume_session(&mut self, resume: &ResumeSession<'_>) -> Reply {
        let known = self
            .engine
            .sessions
            .get(&resume.session)
            .is_some_and(|session| {
                !session.is_over(self.now)
                    && session.resume_key == resume.resume_key
                    && *self.engine.org(session.org).name == *resume.org
            });
        if !known {
            return Reply::Rejected(Rejection::UnknownSession);
        }
        self.settle_over_holds(resume.session);
        // A session that keeps is over with its last hold.
        if self
            .engine
            .sessions
            .get(&resume.session)
            .is_none_or(|session| session.ended.is_some())
        {
            return Reply::Rejected(Rejection::UnknownSession);
        }
        self.attach_session(resume.session, resume.role);
        let waits: Vec<_> = self.engine.sessions[&resume.session]
            .waits
            .keys()
            .copied()
            .collect();
        for wait in waits {
            // An earlier wait's settling may have taken this one along.
            if self.engine.sessions[&resume.session]
                .waits
                .contains_key(&wait)
            {
                let locks = self.locks_awaited(resume.session, wait);
                for &lock in &locks {
                    self.settle_queue(lock);
                    self.serve_owner_of(resume.session, lock);
                }
                self.settle_all(&locks);
            }
        }
        Reply::Resumed(alloc::boxed::Box::new(self.resumed(resume.session)))
    }

    fn attach_session(&mut self, id: SessionId, role: Role) {
        let now = self.now;
        let session = self.session_mut(id);
        let superseded = session.attached();
        session.attach = Attach(session.attach.0 + 1);
        session.link = Link::Attached;
        session.role = session.role.min(role);
        session.idle_since = now;
        let org = session.org;
        let holds: Vec<_> = session
            .holds
            .iter()
            .map(|(id, lock)| (*id, *lock))
            .collect();
        self.touch();
        self.arm_session(id);
        match superseded {
            Some(old) => self.notice_to(old, Notice::Moved),
            None => {
                self.engine.tally.sessions_detached -= 1;
                let who = self.who(id);
                self.event(org, What::SessionResumed { session: id, who });
                for (hold, lock) in holds {
                    let index = self.hold_index(lock, hold);
                    let hold = &mut self.engine.lock_mut(lock).holds[index];
                    hold.attached += 1;
                    if hold.attached == 1 {
                        self.adopted(lock, index);
                    }
                }
            }
        }
    }

    fn resumed(&self, id: SessionId) -> Resumed {
        let session = &self.engine.sessions[&id];
        let holds = session.holds.iter().map(|(hold, &lock)| Held {
            path: self.engine.lock(lock).path.clone(),
            grant: self.grant(lock, self.hold_index(lock, *hold), GrantKind::Joined),
        });
        let waits = session.waits.iter().map(|(&wait, lock)| match lock {
            Some(lock) => self.engine.waiting(*lock, wait, self.now),
            None => self.engine.waiting_for_all(wait, self.now),
        });
        Resumed {
            attach: session.attach,
            owner: session.owner.clone(),
            on_disconnect: session.on_disconnect,
            role: session.role,
            holds: holds.collect(),
            waits: waits.collect(),
            missed: session
                .missed
                .iter()
                .map(|(_, missed)| missed.clone())
                .collect(),
        }
    }

    pub(crate) fn detach_session(&mut self, by: SessionRef) -> Reply {
        if self.session(by).is_ok() {
            self.detach(by.session, self.now);
        }
        Reply::Done
    }

    /// Detaches an attached session; its grace counts from `from`.
    fn detach(&mut self, id: SessionId, from: LogTime) {
        let session = self.session_mut(id);
        let until = match session.on_disconnect {
            OnDisconnect::Release { grace } => Some(from + grace),
            OnDisconnect::Keep => None,
        };
        session.link = Link::Detached { until };
        let org = session.org;
        let holds: Vec<_> = session
            .holds
            .iter()
            .map(|(id, lock)| (*id, *lock))
            .collect();
        self.engine.tally.sessions_detached += 1;
        self.touch();
        self.arm_session(id);
        let who = self.who(id);
        self.event(org, What::SessionDetached { session: id, who });
        for (hold, lock) in holds {
            let index = self.hold_index(lock, hold);
            self.detach_member(lock, index);
        }
        if until.is_none() {
            self.keep_by_holds_alone(id);
        } else {
            self.let_others_pass(id);
        }
    }

    /// Its waits are passed over from here on: those behind them may have their turn.
    fn let_others_pass(&mut self, id: SessionId) {
        let waits = self.engine.sessions[&id].waits.keys();
        let locks = waits.flat_map(|wait| self.locks_awaited(id, *wait));
        self.settle_all(&locks.collect::<Vec<_>>());
    }

    /// What a disconnect does to a session that keeps: its waits end, and without a hold it ends itself.
    fn keep_by_holds_alone(&mut self, id: SessionId) {
        let session = &self.engine.sessions[&id];
        if session.holds.is_empty() && session.waits.is_empty() {
            self.end_session(id, SessionEnd::LastHoldOver);
            return;
        }
        // All of them end before anything is settled, which could end another of them otherwise.
        let waits: Vec<_> = session.waits.keys().copied().collect();
        let awaited = waits.iter().flat_map(|wait| self.locks_awaited(id, *wait));
        let locks: Vec<_> = awaited.collect();
        for wait in waits {
            self.end_wait_of(id, wait, WaitEnd::Detached);
        }
        self.settle_all(&locks);
    }

    /// The locks that a wait of the session is for.
    pub(crate) fn locks_awaited(&self, id: SessionId, wait: WaitId) -> Vec<LockKey> {
        match self.engine.sessions[&id].waits[&wait] {
            Some(lock) => Vec::from([lock]),
            None => self.engine.groups[&wait].locks(),
        }
    }

    pub(crate) fn renew_session(&mut self, by: SessionRef) -> Reply {
        if let Err(rejection) = self.session(by) {
            return Reply::Rejected(rejection);
        }
        self.settle_over_holds(by.session);
        let now = self.now;
        let session = self.session_mut(by.session);
        let holds = u32::try_from(session.holds.len()).unwrap_or(u32::MAX);
        if session.renewed_at < now || session.idle_since < now {
            session.renewed_at = now;
            session.idle_since = now;
            self.touch();
        }
        Reply::SessionRenewed { holds }
    }

    pub(crate) fn close_session(&mut self, by: SessionRef) -> Reply {
        if let Err(rejection) = self.session(by) {
            return Reply::Rejected(rejection);
        }
        self.end_session(by.session, SessionEnd::Closed);
        for _ in 0..SWEEP_MAX {
            if !self.sweep_session(by.session) {
                break;
            }
        }
        Reply::Done
    }

    /// Rule 8. Everybody is detached before anybody's wait ends, so that nobody is granted anything.
    pub(crate) fn started(&mut self) -> Reply {
        let sessions = self.engine.sessions.values();
        let live = sessions.filter(|session| !session.is_over(self.now));
        let mut ids: Vec<_> = live.map(|session| session.id).collect();
        ids.sort_unstable();
        for &id in &ids {
            self.detach_for_restart(id);
        }
        for &id in &ids {
            // Settling what an earlier one awaited may have ended this one.
            let session = self.engine.sessions.get(&id);
            if session.is_some_and(Session::ends_with_last_hold) {
                self.keep_by_holds_alone(id);
            }
        }
        Reply::Done
    }

    fn detach_for_restart(&mut self, id: SessionId) {
        let from = self.now;
        let session = self.session_mut(id);
        let was_attached = session.link == Link::Attached;
        let until = match session.on_disconnect {
            OnDisconnect::Release { grace } => Some(from + grace.max(RESTART_GRACE_MIN)),
            OnDisconnect::Keep => None,
        };
        if session.link == (Link::Detached { until }) {
            return;
        }
        session.link = Link::Detached { until };
        let holds: Vec<_> = session
            .holds
            .iter()
            .map(|(id, lock)| (*id, *lock))
            .collect();
        self.touch();
        self.arm_session(id);
        if !was_attached {
            return;
        }
        self.engine.tally.sessions_detached += 1;
        for (hold, lock) in holds {
            let index = self.hold_index(lock, hold);
            let hold = &mut self.engine.lock_mut(lock).holds[index];
            hold.attached -= 1;
            if hold.is_orphaned() {
                self.engine.tally.holds_orphaned += 1;
            }
        }
    }

    // The end.

    /// Ends a session. What it leaves behind counts as over from here on, and is swept in bounded steps.
    pub(crate) fn end_session(&mut self, id: SessionId, why: SessionEnd) {
        let session = self.session_mut(id);
        let attached = session.attached();
        let was_detached = session.link != Link::Attached;
        session.ended = Some(why);
        session.missed.clear();
        let (org, owner) = (session.org, session.owner.clone());
        let armed = session.armed.take();
        let is_bare = session.holds.is_empty() && session.waits.is_empty();
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
        let who = crate::event::Who {
            owner,
            name: self.engine.sessions[&id].name.clone(),
        };
        self.event(
            org,
            What::SessionEnded {
                session: id,
                who,
                why,
            },
        );
        if is_bare {
            self.forget_session(id);
        } else {
            self.engine.ending.insert(id);
        }
    }

    /// Forgets an ended session that has nothing left.
    pub(crate) fn forget_session(&mut self, id: SessionId) {
        let gone = self
            .engine
            .sessions
            .remove(&id)
            .expect("the session has ended in this step");
        self.engine.ending.remove(&id);
        self.engine.org_mut(gone.org).owner_leaves(&gone.owner);
        self.drop_org_if_unused(gone.org);
    }

    /// Arms the session's timer, unless it comes up early enough already.
    pub(crate) fn arm_session(&mut self, id: SessionId) {
        let session = self.session_mut(id);
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
        let key = OrgKey(self.engine.orgs.insert(org));
        self.engine.org_names.insert(name, key);
        key
    }

    pub(crate) fn hold_index(&self, lock: LockKey, hold: HoldId) -> usize {
        self.engine.hold_index(lock, hold)
    }
}

impl Engine {
    /// Where a hold stands that a session is known to be in.
    pub(crate) fn hold_index(&self, lock: LockKey, hold: HoldId) -> usize {
        let found = self
            .lock(lock)
            .holds
            .iter()
            .position(|held| held.id == hold);
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
            paths: Vec::from([found.path.clone()]),
            place: self.place(found, index),
            remaining: now.until(found.queue[index].deadline),
        }
    }
}
