//! One step of the machine: the state, the instant, and where consequences go. What the rooms of the engine share.
//!
//! Must hold: whoever changes state says so with [`Step::touch`], since an entry that changed nothing is not kept; whoever
//! takes a hold or wait away goes through here, so that counters, timers and the sets of its session follow.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Cause, Effects, Event, Missed, Notice, SessionEnd, WaitEnd, What, Who};
use crate::ids::{SessionId, SessionRef, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey};
use crate::limits::{LOSS_KEPT, LOSSES_MAX};
use crate::lock::{Hold, Lock, Wait};
use crate::reply::{Grant, GrantKind, Rejection};
use crate::session::{Link, Session};
use crate::time::{LogTime, Millis, WallTime};

/// See the file's header.
pub(crate) struct Step<'a> {
    pub(crate) engine: &'a mut Engine,
    effects: &'a mut dyn Effects,
    pub(crate) now: LogTime,
    pub(crate) wall: WallTime,
    changed: bool,
    /// Locks whose waiting `acquire_all`s are to be tried before the step ends.
    pub(crate) to_try: VecDeque<LockKey>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        engine: &'a mut Engine,
        effects: &'a mut dyn Effects,
        now: LogTime,
        wall: WallTime,
    ) -> Self {
        Self {
            engine,
            effects,
            now,
            wall,
            changed: false,
            to_try: VecDeque::new(),
        }
    }

    /// Ends the step: tells whether it changed anything.
    pub(crate) fn finish(mut self) -> bool {
        self.try_groups();
        self.changed
    }

    /// Does something, and tells whether that changed state.
    pub(crate) fn changes(&mut self, something: impl FnOnce(&mut Self)) -> bool {
        let before = core::mem::replace(&mut self.changed, false);
        something(self);
        let changed = self.changed;
        self.changed |= before;
        changed
    }

    /// Says that state has changed.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    // Telling.

    pub(crate) fn event(&mut self, org: OrgKey, what: What) {
        let org = self.engine.org(org).name.clone();
        self.effects.event(Event {
            org,
            wall: self.wall,
            what,
        });
    }

    /// Tells a session, if somebody is there to hear.
    pub(crate) fn notice(&mut self, session: SessionId, notice: Notice) {
        if let Some(to) = self
            .engine
            .sessions
            .get(&session)
            .and_then(Session::attached)
        {
            self.effects.notice(to, notice);
        }
    }

    /// Tells an attachment that is not, or no longer, the session's own.
    pub(crate) fn notice_to(&mut self, to: SessionRef, notice: Notice) {
        self.effects.notice(to, notice);
    }

    /// Tells a session what it must hear of, now or at its resume. An ended session has nobody who could ask.
    fn tell_of(&mut self, session: SessionId, missed: Missed) {
        let now = self.now;
        let Some(told) = self.engine.sessions.get_mut(&session) else {
            return;
        };
        if told.ended.is_some() {
            return;
        }
        let attached = told.attached();
        told.missed.push_back((now, missed.clone()));
        if attached.is_some() {
            while told
                .missed
                .front()
                .is_some_and(|(at, _)| *at + LOSS_KEPT < now)
                || told.missed.len() > LOSSES_MAX
            {
                told.missed.pop_front();
            }
        }
        if let Some(to) = attached {
            self.effects.notice(to, missed.into());
        }
    }

    pub(crate) fn who(&self, session: SessionId) -> Who {
        let session = &self.engine.sessions[&session];
        Who {
            owner: session.owner.clone(),
            name: session.name.clone(),
        }
    }

    // Sessions.

    /// The session that a command is by, if the command may be.
    pub(crate) fn session(&self, by: SessionRef) -> Result<&Session, Rejection> {
        match self.engine.sessions.get(&by.session) {
            Some(session) if !session.is_over(self.now) => {
                if session.attached() == Some(by) {
                    Ok(session)
                } else {
                    Err(Rejection::NotAttached)
                }
            }
            _ => Err(Rejection::UnknownSession),
        }
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        self.engine
            .sessions
            .get_mut(&id)
            .expect("the session was looked up in this step")
    }

    // Locks.

    /// The lock of a path, made if there is none.
    pub(crate) fn lock_at(&mut self, org: OrgKey, path: &str) -> LockKey {
        if let Some(lock) = self.engine.org(org).paths.get(path) {
            return lock;
        }
        let path: Arc<str> = Arc::from(path);
        let lock = LockKey(self.engine.locks.insert(Lock::new(org, path.clone())));
        self.engine.org_mut(org).paths.insert(path, lock);
        lock
    }

    /// Forgets a lock that nobody holds or awaits.
    pub(crate) fn drop_if_unused(&mut self, lock: LockKey) {
        let Some(found) = self.engine.locks.get(lock.0) else {
            return;
        };
        if !found.is_unused() {
            return;
        }
        let gone = self.engine.locks.remove(lock.0);
        self.engine.org_mut(gone.org).paths.remove(&gone.path);
        self.drop_org_if_unused(gone.org);
    }

    /// Forgets an org that has nothing.
    pub(crate) fn drop_org_if_unused(&mut self, org: OrgKey) {
        if self
            .engine
            .orgs
            .get(org.0)
            .is_some_and(crate::org::Org::is_unused)
        {
            let gone = self.engine.orgs.remove(org.0);
            self.engine.org_names.remove(&gone.name);
        }
    }

    // Holds.

    /// A hold as its own sessions see it.
    pub(crate) fn grant(&self, lock: LockKey, index: usize, kind: GrantKind) -> Grant {
        self.engine
            .grant(self.engine.lock(lock), index, kind, self.now)
    }

    /// Moves a hold's deadline away from the present, never towards it; its timer follows when it comes up.
    pub(crate) fn extend(&mut self, lock: LockKey, index: usize, ttl: Millis) {
        let hold = &self.engine.lock(lock).holds[index];
        // Never less than its sessions have renewed it for, so that what they did before they joined cannot show.
        let ttl = hold.ttl.max(ttl);
        let until = self.now + ttl;
        let deadline = self.engine.hold_deadline(hold);
        if hold.ttl == ttl && deadline >= until {
            return;
        }
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.ttl = ttl;
        hold.deadline = deadline.max(until);
        self.touch();
    }

    /// Makes a session a member of a hold.
    pub(crate) fn join(
        &mut self,
        lock: LockKey,
        index: usize,
        session: SessionId,
        from: Option<WaitId>,
    ) {
        let path = self.engine.lock(lock).path.clone();
        let joined = self.session_mut(session);
        joined
            .missed
            .retain(|(_, missed)| !missed.is_loss_of(&path));
        let is_attached = joined.attached().is_some();
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        if let Some(member) = hold.member(session) {
            if from.is_some() && hold.members[member].from != from {
                hold.members[member].from = from;
                self.touch();
            }
            return;
        }
        hold.members.push(crate::lock::Member { session, from });
        let id = hold.id;
        self.session_mut(session).holds.insert(id, lock);
        self.touch();
        if is_attached {
            self.attach_member(lock, index);
        }
    }

    /// Counts one more attached session in a hold.
    pub(crate) fn attach_member(&mut self, lock: LockKey, index: usize) {
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.attached += 1;
        if hold.attached == 1 && hold.members.len() > 1 {
            self.adopted(lock, index);
        }
    }

    /// A hold that had no attached session has one.
    pub(crate) fn adopted(&mut self, lock: LockKey, index: usize) {
        self.engine.tally.holds_orphaned -= 1;
        let (org, path, token) = self.engine.lock(lock).event_parts();
        let who = self.engine.who_holds(&self.engine.lock(lock).holds[index]);
        self.event(org, What::Adopted { path, who, token });
    }

    /// Counts one attached session of a hold off.
    pub(crate) fn detach_member(&mut self, lock: LockKey, index: usize) {
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.attached -= 1;
        if hold.is_orphaned() {
            self.engine.tally.holds_orphaned += 1;
            let (org, path, token) = self.engine.lock(lock).event_parts();
            let who = self.engine.who_holds(&self.engine.lock(lock).holds[index]);
            self.event(org, What::Orphaned { path, who, token });
        }
    }

    /// Takes a session out of a hold that has others. What the session had renewed stays renewed.
    pub(crate) fn leave(&mut self, lock: LockKey, index: usize, session: SessionId) {
        let hold = &self.engine.lock(lock).holds[index];
        let deadline = self.engine.hold_deadline(hold);
        let left = self.session_mut(session);
        // An ended session still counts as attached in its holds until it is swept out of them.
        let was_attached = left.link == Link::Attached;
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.deadline = deadline;
        let member = hold.member(session).expect("only a member leaves");
        hold.members.remove(member);
        let id = hold.id;
        self.session_mut(session).holds.remove(&id);
        self.touch();
        if was_attached {
            self.detach_member(lock, index);
        }
        self.lost_something(session);
    }

    /// Ends a hold. Its sessions are told, except `quiet`, whose own command it is; ended ones hear nothing.
    pub(crate) fn end_hold(
        &mut self,
        lock: LockKey,
        index: usize,
        cause: &Cause,
        quiet: Option<SessionId>,
    ) {
        let who = self.engine.who_holds(&self.engine.lock(lock).holds[index]);
        let (org, path, token) = self.engine.lock(lock).event_parts();
        let hold = self.engine.lock_mut(lock).holds.remove(index);
        self.engine
            .deadlines
            .disarm(hold.armed, Due::Hold(hold.id, lock));
        self.engine.org_mut(org).holds -= 1;
        self.engine.tally.holds -= 1;
        if hold.is_orphaned() {
            self.engine.tally.holds_orphaned -= 1;
        }
        self.touch();
        for member in &hold.members {
            self.session_mut(member.session).holds.remove(&hold.id);
            if Some(member.session) != quiet {
                let (path, cause) = (path.clone(), cause.clone());
                self.tell_of(member.session, Missed::Lost { path, token, cause });
            }
        }
        let held = hold.since.until(self.now);
        self.event(
            org,
            What::Ended {
                path,
                who,
                token,
                cause: cause.clone(),
                held,
            },
        );
        for member in &hold.members {
            self.lost_something(member.session);
        }
    }

    /// A new hold of an owner, not yet with a member; the caller joins one at once.
    pub(crate) fn begin_hold(
        &mut self,
        lock: LockKey,
        owner: Arc<str>,
        ttl: Millis,
        metadata: Option<Arc<[u8]>>,
    ) {
        let id = HoldId(self.engine.next.hold);
        self.engine.next.hold += 1;
        let deadline = self.now + ttl;
        let hold = Hold {
            id,
            owner,
            members: Vec::new(),
            attached: 0,
            deadline,
            ttl,
            since: self.now,
            since_wall: self.wall,
            metadata,
            armed: deadline,
        };
        let org = self.engine.lock(lock).org;
        self.engine.lock_mut(lock).holds.push(hold);
        self.engine.deadlines.arm(deadline, Due::Hold(id, lock));
        self.engine.org_mut(org).holds += 1;
        self.engine.tally.holds += 1;
        self.touch();
    }

    // Waits.

    /// Takes a wait out of a queue, whatever becomes of it.
    pub(crate) fn take_wait(&mut self, lock: LockKey, index: usize) -> Wait {
        let wait = self
            .engine
            .lock_mut(lock)
            .queue
            .remove(index)
            .expect("the wait was found in this step");
        self.engine
            .deadlines
            .disarm(wait.armed, Due::Wait(wait.id, lock));
        self.engine.tally.waits -= 1;
        self.session_mut(wait.session).waits.remove(&wait.id);
        self.touch();
        wait
    }

    /// Ends a queued wait without a grant.
    pub(crate) fn end_wait(&mut self, lock: LockKey, index: usize, why: WaitEnd) {
        let wait = self.take_wait(lock, index);
        let (org, path, _) = self.engine.lock(lock).event_parts();
        let paths = Vec::from([path]);
        self.wait_ended(org, wait.session, wait.id, paths, why);
    }

    /// Tells of a wait that is over without a grant.
    pub(crate) fn wait_ended(
        &mut self,
        org: OrgKey,
        session: SessionId,
        wait: WaitId,
        paths: Vec<Arc<str>>,
        why: WaitEnd,
    ) {
        if why != WaitEnd::Cancelled {
            self.tell_of(session, Missed::WaitEnded { wait, why });
        }
        let who = self.who(session);
        self.event(
            org,
            What::WaitEnded {
                paths,
                who,
                wait,
                why,
            },
        );
        self.lost_something(session);
    }

    /// A session has one hold or wait less: with the last, it may be over, or idle from here on.
    fn lost_something(&mut self, id: SessionId) {
        let now = self.now;
        let session = self.session_mut(id);
        if !session.holds.is_empty() || !session.waits.is_empty() {
            return;
        }
        if session.ended.is_some() {
            self.forget_session(id);
        } else if session.ends_with_last_hold() {
            self.end_session(id, SessionEnd::LastHoldOver);
        } else {
            session.idle_since = now;
            self.arm_session(id);
        }
    }
}

impl Engine {
    /// A hold as its own sessions see it.
    pub(crate) fn grant(&self, lock: &Lock, index: usize, kind: GrantKind, now: LogTime) -> Grant {
        let hold = &lock.holds[index];
        Grant {
            token: lock.token,
            mode: lock.mode,
            ttl: hold.ttl,
            remaining: now.until(self.hold_deadline(hold)),
            kind,
        }
    }

    /// An owner, by the name of the session that has been in the hold longest.
    pub(crate) fn who_holds(&self, hold: &Hold) -> Who {
        let name = hold
            .members
            .first()
            .and_then(|member| self.sessions.get(&member.session));
        Who {
            owner: hold.owner.clone(),
            name: name.map_or_else(|| hold.owner.clone(), |session| session.name.clone()),
        }
    }
}

impl Lock {
    /// What every event about a lock needs.
    pub(crate) fn event_parts(&self) -> (OrgKey, Arc<str>, crate::ids::Token) {
        (self.org, self.path.clone(), self.token)
    }
}

impl Missed {
    /// Whether this is the loss of a hold on the path.
    pub(crate) fn is_loss_of(&self, lost: &str) -> bool {
        match self {
            Self::Lost { path, .. } => &**path == lost,
            Self::WaitEnded { .. } => false,
        }
    }
}

impl From<Missed> for Notice {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Lost { path, token, cause } => Self::Lost { path, token, cause },
            Missed::WaitEnded { wait, why } => Self::WaitEnded { wait, why },
        }
    }
}
