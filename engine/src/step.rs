//! One step of the machine: the state, the instant, and where consequences go. What the rooms of the engine share.
//!
//! Must hold: whoever changes state says so with [`Step::touch`], since an entry that changed nothing is not kept; whoever
//! takes a hold or wait away goes through here, so that counters, timers and the sets of its session follow.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::acquire::Want;
use crate::command::Mode;
use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Cause, Effects, Event, Notice, SessionEnd, WaitEnd, What, Who};
use crate::ids::{SessionRef, WaitId};
use crate::keys::{HoldId, LockKey, OrgKey, SessionKey};
use crate::limits::SERVE_MAX;
use crate::lock::{Hold, Lock, Wait};
use crate::losses::Kept;
use crate::nursery::Stage;
use crate::org::{Address, hash_of};
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
    /// How many waits in queues may still have their turn in this step.
    pub(crate) turns_left: usize,
    /// The lock that was found last by a path that the command names, and the hash of that, until it is dropped.
    pub(crate) named: Option<(LockKey, u32)>,
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
            turns_left: SERVE_MAX,
            named: None,
        }
    }

    /// Ends the step: tells whether it changed anything.
    pub(crate) fn finish(&mut self) -> bool {
        if !self.to_try.is_empty() {
            self.try_groups();
        }
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

    /// Tells of something that has happened in an org, in the words of the state itself.
    pub(crate) fn event(&mut self, told: impl FnOnce(&Engine) -> (OrgKey, What<&str>)) {
        let engine: &Engine = self.engine;
        let (org, what) = told(engine);
        self.effects.event(&Event {
            org: &engine.org(org).name,
            wall: self.wall,
            what,
        });
    }

    /// Tells a session, if somebody is there to hear.
    pub(crate) fn notice(&mut self, session: SessionKey, notice: Notice<&str>) {
        if let Some(to) = self
            .engine
            .sessions
            .get(session)
            .and_then(Session::attached)
        {
            self.effects.notice(to, notice);
        }
    }

    /// Tells an attachment that is not, or no longer, the session's own.
    pub(crate) fn notice_to(&mut self, to: SessionRef, notice: Notice<&str>) {
        self.effects.notice(to, notice);
    }

    // Sessions.

    /// The session that a command is by, if the command may be.
    pub(crate) fn session(&self, by: SessionRef) -> Result<&Session, Rejection> {
        match self.engine.sessions.find(by.session) {
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

    pub(crate) fn session_mut(&mut self, key: SessionKey) -> &mut Session {
        &mut self.engine.sessions[key]
    }

    // Locks.

    /// The lock at an address, made if there is none.
    pub(crate) fn lock_at(&mut self, at: &Address<'_>) -> LockKey {
        self.engine.lock_at(at).unwrap_or_else(|| self.new_lock(at))
    }

    /// A lock at an address where there is none.
    pub(crate) fn new_lock(&mut self, at: &Address<'_>) -> LockKey {
        if self.engine.nursery.is_full() {
            let oldest: Vec<_> = self.engine.nursery.oldest().collect();
            self.engine.grow_up(&oldest);
        }
        let Engine {
            orgs,
            locks,
            nursery,
            ..
        } = &mut *self.engine;
        let key = locks.insert(|key| Lock::new(at.org, at.path, nursery.admit(key)));
        orgs[at.org.place()].paths.insert(locks, at, key);
        key
    }

    /// Forgets a lock that nobody holds or awaits.
    #[inline]
    pub(crate) fn drop_if_unused(&mut self, lock: LockKey) {
        let found = self.engine.locks.get(lock);
        if found.is_some_and(Lock::is_unused) {
            self.drop_lock(lock);
        }
    }

    /// Forgets a lock that is known to be held and awaited by nobody. Out of the way of those, nearly all, that ask in vain.
    #[inline(never)]
    pub(crate) fn drop_lock(&mut self, lock: LockKey) {
        self.engine.take_unserved(lock);
        let known = self.named.take_if(|(named, _)| *named == lock);
        let Engine {
            orgs,
            locks,
            nursery,
            hashing,
            ..
        } = &mut *self.engine;
        let found = &locks[lock];
        let org = found.org;
        let paths = &mut orgs[org.place()].paths;
        match found.stage() {
            Stage::Young(number) => {
                nursery.remove(number);
                let hash = known.map(|(_, hash)| hash);
                let hash = hash.unwrap_or_else(|| hash_of(hashing, &locks[lock].path));
                paths.remove(locks, hash, lock);
            }
            Stage::Grown(_) => paths.retire(locks, lock),
        }
        if paths.is_empty() {
            self.drop_org_if_unused(org);
        }
        if self.engine.locks.has_room_to_give_back() {
            self.engine.deadlines.give_back();
        }
    }

    /// Forgets an org that has nothing.
    pub(crate) fn drop_org_if_unused(&mut self, org: OrgKey) {
        if self
            .engine
            .orgs
            .get(org.place())
            .is_some_and(crate::org::Org::is_unused)
        {
            let gone = self.engine.orgs.remove(org.place());
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
        let ttl = hold.ttl().max(ttl);
        let until = self.now + ttl;
        let deadline = self.engine.hold_deadline(hold);
        if hold.ttl() == ttl && deadline >= until {
            return;
        }
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.renew(deadline.max(until), ttl);
        self.touch();
    }

    /// Makes a session a member of a hold that has others, or is its own already.
    pub(crate) fn join(
        &mut self,
        lock: LockKey,
        index: usize,
        session: SessionKey,
        from: Option<WaitId>,
    ) {
        let Engine {
            locks,
            sessions,
            hashing,
            ..
        } = &mut *self.engine;
        let path = &locks[lock].path;
        sessions[session].losses.forgive(path, hashing);
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        let is_member = hold.has_member(session);
        if let Some(from) = from.filter(|from| hold.from(session) != Some(*from)) {
            hold.set_from(session, from);
            self.touch();
        }
        if is_member {
            return;
        }
        let ttl = self.engine.lock(lock).holds[index].ttl();
        self.session_mut(session).locks.add(lock, ttl);
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.add_member(session);
        self.touch();
        let hold = &self.engine.lock(lock).holds[index];
        if self.engine.session(session).link == Link::Attached && self.engine.has_one_attached(hold)
        {
            self.adopted(lock, index);
        }
    }

    /// A hold that had no attached session has one.
    pub(crate) fn adopted(&mut self, lock: LockKey, index: usize) {
        self.engine.tally.holds_orphaned -= 1;
        self.event(|engine| {
            let lock = engine.lock(lock);
            let what = What::Adopted {
                path: &*lock.path,
                who: engine.who_holds(&lock.holds[index]),
                token: lock.token(),
            };
            (lock.org, what)
        });
    }

    /// Looks whether a hold has lost its last attached session.
    pub(crate) fn orphaned_perhaps(&mut self, lock: LockKey, index: usize) {
        let hold = &self.engine.lock(lock).holds[index];
        if !self.engine.is_orphaned(hold) {
            return;
        }
        self.engine.tally.holds_orphaned += 1;
        self.event(|engine| {
            let lock = engine.lock(lock);
            let what = What::Orphaned {
                path: &*lock.path,
                who: engine.who_holds(&lock.holds[index]),
                token: lock.token(),
            };
            (lock.org, what)
        });
    }

    /// Takes a session out of a hold that has others. What the session had renewed stays renewed.
    pub(crate) fn leave(&mut self, lock: LockKey, index: usize, session: SessionKey) {
        let hold = &self.engine.lock(lock).holds[index];
        let deadline = self.engine.hold_deadline(hold);
        // An ended session still counts as attached in its holds until it is swept out of them.
        let was_attached = self.engine.session(session).link == Link::Attached;
        let hold = &mut self.engine.lock_mut(lock).holds[index];
        hold.renew(deadline, hold.ttl());
        hold.remove_member(session);
        let Engine {
            locks, sessions, ..
        } = &mut *self.engine;
        sessions[session].let_go(lock, locks);
        self.touch();
        if was_attached {
            self.orphaned_perhaps(lock, index);
        }
        self.lost_something(session);
    }

    /// Ends a hold. Its sessions are told, except `quiet`, whose own command it is; ended ones hear nothing.
    pub(crate) fn end_hold(
        &mut self,
        lock: LockKey,
        index: usize,
        cause: &Cause,
        quiet: Option<SessionKey>,
    ) {
        let hold = self.engine.lock_mut(lock).take_hold(index);
        self.engine.disarm_unheld(lock);
        self.hold_ended(lock, &hold, cause, quiet);
    }

    /// Ends those of a lock's holds, whose ages are in order. Their sessions are told.
    pub(crate) fn end_holds(&mut self, lock: LockKey, ended: &[HoldId], cause: &Cause) {
        if ended.is_empty() {
            return;
        }
        let ended = self.engine.lock_mut(lock).take_holds(ended);
        self.engine.disarm_unheld(lock);
        for hold in ended {
            self.hold_ended(lock, &hold, cause, None);
        }
    }

    /// What follows when a hold has been taken out.
    fn hold_ended(&mut self, lock: LockKey, hold: &Hold, cause: &Cause, quiet: Option<SessionKey>) {
        let Engine {
            orgs,
            locks,
            sessions,
            tally,
            ..
        } = &mut *self.engine;
        let found = &locks[lock];
        let (path, org, token) = (&*found.path, found.org, found.token());
        let (mut is_attended, mut is_last) = (false, false);
        // Not a loop: over the one session that nearly every hold has, it takes 25 instructions more.
        hold.members().for_each(|member| {
            let session = &mut sessions[member];
            is_attended |= session.link == Link::Attached;
            session.let_go(lock, locks);
            is_last |= session.locks.is_empty();
            if Some(member) == quiet {
                return;
            }
            let kept = || Kept::lost(path, token, cause);
            if let Some(to) = session.keep_in_mind(self.now, kept) {
                let cause = cause.clone();
                self.effects.notice(to, Notice::Lost { path, token, cause });
            }
        });
        let org = &mut orgs[org.place()];
        org.holds -= 1;
        tally.holds -= 1;
        tally.holds_orphaned -= u64::from(!is_attended);
        self.changed = true;
        self.effects.event(&Event {
            org: &org.name,
            wall: self.wall,
            what: What::Ended {
                path,
                who: sessions[hold.first].who(),
                token,
                cause: cause.clone(),
                held: hold.since().until(self.now),
            },
        });
        if is_last {
            hold.members()
                .for_each(|member| self.lost_something(member));
        }
    }

    /// A new hold of a session's owner. The first fixes what a phase is; those who join it find it so.
    pub(crate) fn begin_hold(&mut self, lock: LockKey, want: &Want) -> Result<(), Rejection> {
        let Engine {
            orgs,
            locks,
            sessions,
            next,
            tally,
            hashing,
            ..
        } = &mut *self.engine;
        let (found, holder) = (&mut locks[lock], &mut sessions[want.session]);
        if !found.is_held() {
            let limit = want.limit.filter(|_| want.mode == Mode::Shared);
            found.begin_phase(next.token()?, want.mode, limit);
        }
        holder.losses.forgive(&found.path, hashing);
        holder.locks.add(lock, want.ttl);
        let began = (self.now, self.wall);
        let mut hold = Hold::new(next.hold(), holder.owner, want.session, want.ttl, began);
        hold.set_metadata(want.metadata.clone());
        if let Some(from) = want.from {
            hold.set_from(want.session, from);
        }
        found.push_hold(hold);
        let org = &mut orgs[found.org.place()];
        org.holds += 1;
        tally.holds += 1;
        self.changed = true;
        self.effects.event(&Event {
            org: &org.name,
            wall: self.wall,
            what: What::Granted {
                path: &found.path,
                who: holder.who(),
                mode: want.mode,
                token: found.token(),
                waited: want.since.until(self.now),
            },
        });
        self.engine.arm_by(lock, self.now + want.ttl);
        Ok(())
    }

    // Waits.

    /// Takes a wait out of a queue, whatever becomes of it.
    pub(crate) fn take_wait(&mut self, lock: LockKey, index: usize) -> Wait {
        let wait = self.engine.lock_mut(lock).take_wait(index);
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
        self.wait_ended(wait.session, wait.id, &[lock], why);
    }

    /// Tells of a wait that is over without a grant.
    pub(crate) fn wait_ended(
        &mut self,
        session: SessionKey,
        wait: WaitId,
        locks: &[LockKey],
        why: WaitEnd,
    ) {
        if why != WaitEnd::Cancelled {
            let (now, kept) = (self.now, || Kept::wait_ended(wait, why));
            if let Some(to) = self.session_mut(session).keep_in_mind(now, kept) {
                self.notice_to(to, Notice::WaitEnded { wait, why });
            }
        }
        self.event(|engine| {
            let paths = locks.iter().map(|lock| engine.lock(*lock).path.as_str());
            let session = engine.session(session);
            let what = What::WaitEnded {
                paths: paths.collect(),
                who: session.who(),
                wait,
                why,
            };
            (session.org, what)
        });
        self.lost_something(session);
    }

    /// A session has one hold or wait less: with the last, it may be over, or idle from here on.
    fn lost_something(&mut self, key: SessionKey) {
        let now = self.now;
        let session = self.session_mut(key);
        if !session.locks.is_empty() || !session.waits.is_empty() {
            return;
        }
        if session.ended.is_some() {
            self.forget_session(key);
        } else if session.ends_with_last_hold() {
            self.end_session(key, SessionEnd::LastHoldOver);
        } else {
            session.idle_since = now;
            self.arm_session(key);
        }
    }
}

impl Engine {
    /// A hold as its own sessions see it.
    pub(crate) fn grant(&self, lock: &Lock, index: usize, kind: GrantKind, now: LogTime) -> Grant {
        let hold = &lock.holds[index];
        Grant {
            token: lock.token(),
            mode: lock.mode(),
            ttl: hold.ttl(),
            remaining: now.until(self.hold_deadline(hold)),
            kind,
        }
    }

    /// An owner, by the name of the session that has been in the hold longest.
    pub(crate) fn who_holds(&self, hold: &Hold) -> Who<&str> {
        self.session(hold.first).who()
    }

    /// Whether no session in a hold is attached. Looks at no more of them than it has to.
    pub(crate) fn is_orphaned(&self, hold: &Hold) -> bool {
        self.attached(hold).next().is_none()
    }

    /// Whether one session in a hold is attached, and no other. Looks at no more of them than it has to.
    pub(crate) fn has_one_attached(&self, hold: &Hold) -> bool {
        self.attached(hold).take(2).count() == 1
    }

    fn attached(&self, hold: &Hold) -> impl Iterator<Item = SessionKey> {
        let is_attached = |member: &SessionKey| self.session(*member).link == Link::Attached;
        hold.members().filter(is_attached)
    }

    /// A copy of a lock's path.
    pub(crate) fn path(&self, lock: LockKey) -> Arc<str> {
        Arc::from(&*self.lock(lock).path)
    }
}
