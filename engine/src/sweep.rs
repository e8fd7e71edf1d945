//! Making what is over be gone: of one path when a command touches it, of everything when time has passed.
//!
//! Must hold: after [`Step::settle`] nothing on the path is over, and nobody eligible waits for what is to be had.

use alloc::vec::Vec;

use crate::deadlines::Due;
use crate::event::{Cause, SessionEnd, WaitEnd};
use crate::ids::{SessionId, WaitId};
use crate::keys::LockKey;
use crate::limits::SWEEP_MAX;
use crate::reply::Reply;
use crate::step::Step;

impl Step<'_> {
    pub(crate) fn settle_path(&mut self, org: &str, path: &str) -> Reply {
        if let Some(lock) = self
            .engine
            .org_named(org)
            .and_then(|org| self.engine.org(org).paths.get(path))
        {
            self.settle(lock);
        }
        Reply::Done
    }

    /// Settles a lock, and then every lock whose waiting `acquire_all`s that stirs. May drop the lock.
    pub(crate) fn settle(&mut self, lock: LockKey) {
        self.settle_queue(lock);
        if !self.engine.lock(lock).groups.is_empty() {
            self.to_try.push_back(lock);
        }
        self.try_groups();
        self.drop_if_unused(lock);
    }

    /// Settles a lock, those who wait for several locks aside. Keeps the lock.
    pub(crate) fn settle_queue(&mut self, lock: LockKey) {
        self.end_what_is_over(lock);
        self.serve(lock);
    }

    /// Whether nothing at all is over at this instant, as is nearly always so.
    fn nothing_is_over(&self) -> bool {
        self.engine.ending.is_empty() && self.engine.deadlines.none_due(self.now)
    }

    fn end_what_is_over(&mut self, lock: LockKey) {
        if self.nothing_is_over() {
            return;
        }
        self.end_past_deadline(lock);
        for session in self.over_sessions_at(lock) {
            let why = self.engine.sessions[&session].end_by_deadline();
            self.end_session(session, why);
        }
        self.take_ended_sessions_out(lock);
    }

    fn end_past_deadline(&mut self, lock: LockKey) {
        let now = self.now;
        while let Some(index) = self
            .engine
            .lock(lock)
            .holds
            .iter()
            .position(|hold| self.engine.hold_deadline(hold) <= now)
        {
            self.end_hold(lock, index, &Cause::Expired, None);
        }
        while let Some(index) = self
            .engine
            .lock(lock)
            .queue
            .iter()
            .position(|wait| wait.deadline <= now)
        {
            self.end_wait(lock, index, WaitEnd::TimedOut);
        }
        let groups = self.engine.lock(lock).groups.clone();
        for group in groups {
            if self.engine.groups[&group].deadline <= now {
                self.end_group(group, WaitEnd::TimedOut);
            }
        }
    }

    /// Sessions in the lock's holds, queue and groups that are over and have not ended, by number.
    fn over_sessions_at(&self, lock: LockKey) -> Vec<SessionId> {
        let mut over: Vec<_> = self
            .sessions_at(lock)
            .filter(|id| {
                let session = &self.engine.sessions[id];
                session.ended.is_none() && session.is_over(self.now)
            })
            .collect();
        over.sort_unstable();
        over.dedup();
        over
    }

    fn sessions_at(&self, lock: LockKey) -> impl Iterator<Item = SessionId> + '_ {
        let found = self.engine.lock(lock);
        let holds = found
            .holds
            .iter()
            .flat_map(|hold| hold.members.iter().map(|member| member.session));
        let waits = found.queue.iter().map(|wait| wait.session);
        let groups = found
            .groups
            .iter()
            .map(|group| self.engine.groups[group].session);
        holds.chain(waits).chain(groups)
    }

    fn take_ended_sessions_out(&mut self, lock: LockKey) {
        if self.engine.ending.is_empty() {
            return;
        }
        let mut ended: Vec<_> = self
            .sessions_at(lock)
            .filter(|id| self.engine.ending.contains(id))
            .collect();
        ended.sort_unstable();
        ended.dedup();
        for session in ended {
            while let Some(wait) = self.first_wait_at(session, lock) {
                self.end_wait_of(session, wait, WaitEnd::SessionEnded);
            }
            let index = |step: &Self| {
                step.engine
                    .lock(lock)
                    .holds
                    .iter()
                    .position(|hold| hold.member(session).is_some())
            };
            if let Some(index) = index(self) {
                self.take_out_of_hold(session, lock, index);
            }
        }
    }

    fn first_wait_at(&self, session: SessionId, lock: LockKey) -> Option<WaitId> {
        let found = self.engine.lock(lock);
        let queued = found
            .queue
            .iter()
            .find(|wait| wait.session == session)
            .map(|wait| wait.id);
        queued.or_else(|| {
            found
                .groups
                .iter()
                .copied()
                .find(|group| self.engine.groups[group].session == session)
        })
    }

    /// Takes an ended session out of a hold, which ends with its last one.
    fn take_out_of_hold(&mut self, session: SessionId, lock: LockKey, index: usize) {
        if self.engine.lock(lock).holds[index].members.len() > 1 {
            self.leave(lock, index, session);
            return;
        }
        let cause = match self.engine.sessions[&session].ended {
            Some(SessionEnd::Closed) => Cause::SessionClosed,
            _ => Cause::SessionLost,
        };
        self.end_hold(lock, index, &cause, None);
    }

    /// Ends a session's wait of either sort. The lock is kept.
    pub(crate) fn end_wait_of(&mut self, session: SessionId, wait: WaitId, why: WaitEnd) {
        match self.engine.sessions[&session].waits[&wait] {
            Some(lock) => {
                let index = self
                    .engine
                    .lock(lock)
                    .wait_index(wait)
                    .expect("the session knows its waits");
                self.end_wait(lock, index, why);
            }
            None => self.end_group(wait, why),
        }
    }

    /// The paths of the session's over holds are settled.
    pub(crate) fn settle_over_holds(&mut self, session: SessionId) {
        if self.nothing_is_over() {
            return;
        }
        loop {
            let Some(found) = self.engine.sessions.get(&session) else {
                return;
            };
            let over = found.holds.iter().find(|(id, lock)| {
                let hold = &self.engine.lock(**lock).holds[self.engine.hold_index(**lock, **id)];
                self.engine.hold_deadline(hold) <= self.now
            });
            let Some((_, &lock)) = over else { return };
            self.settle(lock);
        }
    }

    pub(crate) fn tick(&mut self) -> Reply {
        for _ in 0..SWEEP_MAX {
            if !self.sweep_one() {
                break;
            }
        }
        Reply::Done
    }

    /// Takes the first thing that is over, if there is one. Rule 11.
    fn sweep_one(&mut self) -> bool {
        if let Some(&session) = self.engine.ending.first() {
            return self.sweep_session(session);
        }
        loop {
            let Some((armed, due)) = self.engine.deadlines.first() else {
                return false;
            };
            if armed > self.now {
                return false;
            }
            if self.engine.rearm_if_early(armed, due) {
                continue;
            }
            match due {
                Due::Hold(_, lock) | Due::Wait(_, lock) => self.take_due(lock, due),
                Due::Group(wait) => {
                    let locks = self.engine.groups[&wait].locks();
                    self.end_group(wait, WaitEnd::TimedOut);
                    self.settle_all(&locks);
                }
                Due::Session(session) => {
                    let why = self.engine.sessions[&session].end_by_deadline();
                    self.end_session(session, why);
                }
            }
            return true;
        }
    }

    fn take_due(&mut self, lock: LockKey, due: Due) {
        match due {
            Due::Hold(hold, _) => {
                let index = self.hold_index(lock, hold);
                self.end_hold(lock, index, &Cause::Expired, None);
            }
            Due::Wait(wait, _) => {
                let index = self
                    .engine
                    .lock(lock)
                    .wait_index(wait)
                    .expect("a timer goes with its wait");
                self.end_wait(lock, index, WaitEnd::TimedOut);
            }
            Due::Group(_) | Due::Session(_) => {}
        }
        self.settle(lock);
    }

    /// Takes the first thing that an ended session has left behind, if there is one.
    pub(crate) fn sweep_session(&mut self, id: SessionId) -> bool {
        let Some(session) = self.engine.sessions.get(&id) else {
            return false;
        };
        if let Some((&wait, _)) = session.waits.first_key_value() {
            let locks = self.locks_awaited(id, wait);
            self.end_wait_of(id, wait, WaitEnd::SessionEnded);
            self.settle_all(&locks);
            return true;
        }
        if let Some((&hold, &lock)) = session.holds.first_key_value() {
            let index = self.hold_index(lock, hold);
            self.take_out_of_hold(id, lock, index);
            self.settle(lock);
            return true;
        }
        false
    }

    /// Settles several locks, of which some may go while others are settled.
    pub(crate) fn settle_all(&mut self, locks: &[LockKey]) {
        for &lock in locks {
            if self.engine.locks.contains(lock.0) {
                self.settle(lock);
            }
        }
    }
}
