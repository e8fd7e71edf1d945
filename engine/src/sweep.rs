//! Making what is over be gone: of one path when a command touches it, of everything when time has passed.
//!
//! Must hold: after [`Step::settle`] nothing on the path is over, and nobody eligible waits for what is to be had, unless
//! this step has no turn left: then the lock is among the unserved.

use alloc::vec::Vec;

use crate::deadlines::Due;
use crate::event::{Cause, SessionEnd, WaitEnd};
use crate::ids::{SessionId, WaitId};
use crate::keys::{HoldId, LockKey, SessionKey};
use crate::limits::SWEEP_MAX;
use crate::lock::{Hold, Wait};
use crate::reply::Reply;
use crate::session::Session;
use crate::step::Step;

impl Step<'_> {
    pub(crate) fn settle_path(&mut self, org: &str, path: &str) -> Reply {
        if let Some(lock) = self.engine.find(org, path) {
            self.settle(lock);
        }
        Reply::Done
    }

    /// Settles a lock, and then every lock whose waiting `acquire_all`s that stirs. May drop the lock.
    pub(crate) fn settle(&mut self, lock: LockKey) {
        let found = self.engine.lock(lock);
        if self.to_try.is_empty() && !found.wants_serving() {
            // Nobody waits: nothing is to be done, unless something is over, as nearly never is.
            if !found.is_held() {
                self.drop_lock(lock);
                return;
            }
            if self.engine.nothing_is_over(self.now) {
                return;
            }
        }
        self.settle_queue(lock);
        if !self.engine.lock(lock).groups().is_empty() {
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

    fn end_what_is_over(&mut self, lock: LockKey) {
        if self.engine.nothing_is_over(self.now) {
            return;
        }
        self.end_past_deadline(lock);
        for (_, session) in self.over_sessions_at(lock) {
            let why = self.engine.session(session).end_by_deadline();
            self.end_session(session, why);
        }
        self.take_ended_sessions_out(lock);
    }

    fn end_past_deadline(&mut self, lock: LockKey) {
        let now = self.now;
        let found = self.engine.lock(lock);
        let over = |hold: &&Hold| self.engine.hold_deadline(hold) <= now;
        let holds: Vec<_> = found.holds.iter().filter(over).map(Hold::id).collect();
        let waits = self.waits_past_deadline(lock);
        self.end_holds(lock, &holds, &Cause::Expired);
        for wait in waits {
            let index = self.engine.lock(lock).wait_index(wait);
            self.end_wait(lock, index.expect("nobody else ends it"), WaitEnd::TimedOut);
        }
        let groups = self.engine.lock(lock).groups().to_vec();
        for group in groups {
            if self.engine.groups[&group].deadline <= now {
                self.end_group(group, WaitEnd::TimedOut);
            }
        }
    }

    /// By number. At a crowded lock, whoever is over is looked for where less has to be looked at: among those who wait
    /// there, or among all whose timers have come up.
    fn waits_past_deadline(&self, lock: LockKey) -> Vec<WaitId> {
        let found = self.engine.lock(lock);
        let is_over = |wait: &&Wait| wait.deadline <= self.now;
        let Some(due) = self.due_if_fewer(lock) else {
            let over = found.queue().iter().filter(is_over);
            return over.map(|wait| wait.id).collect();
        };
        let due = due.into_iter().filter_map(|due| match due {
            Due::Wait(wait, at) if at == lock => Some(&found.queue()[found.wait_index(wait)?]),
            Due::Wait(..) | Due::Hold(..) | Due::Group(_) | Due::Session(_) => None,
        });
        let mut over: Vec<_> = due.filter(is_over).map(|wait| wait.id).collect();
        over.sort_unstable();
        over
    }

    /// The waits and sessions whose timers have come up, if the lock is crowded and they are fewer than its crowd.
    fn due_if_fewer(&self, lock: LockKey) -> Option<Vec<Due>> {
        let found = self.engine.lock(lock);
        found.crowd()?;
        let crowd = found.holds.len() + found.queue().len();
        let due = self.engine.deadlines.due(self.now).take(crowd);
        let due: Vec<_> = due.collect();
        (due.len() + self.engine.ending.len() < crowd).then_some(due)
    }

    /// Sessions in the lock's holds, queue and groups that are over and have not ended, by number.
    fn over_sessions_at(&self, lock: LockKey) -> Vec<(SessionId, SessionKey)> {
        let is_over = |session: &Session| session.ended.is_none() && session.is_over(self.now);
        let Some(due) = self.due_if_fewer(lock) else {
            return self.sessions_at(lock, is_over);
        };
        let due = due.into_iter().filter_map(|due| match due {
            Due::Session(id) => self.engine.sessions.find(id),
            Due::Wait(..) | Due::Hold(..) | Due::Group(_) => None,
        });
        self.those_at(lock, due.filter(|session| is_over(session)))
    }

    /// Sessions that have ended and have left something in the lock's holds, queue and groups, by number.
    fn ended_sessions_at(&self, lock: LockKey) -> Vec<(SessionId, SessionKey)> {
        if self.due_if_fewer(lock).is_none() {
            return self.sessions_at(lock, |session| session.ended.is_some());
        }
        let ending = self.engine.ending.keys();
        self.those_at(lock, ending.filter_map(|id| self.engine.sessions.find(*id)))
    }

    /// Those of some sessions that are in the lock's holds, queue and groups, by number.
    fn those_at<'s>(
        &self,
        lock: LockKey,
        sessions: impl Iterator<Item = &'s Session>,
    ) -> Vec<(SessionId, SessionKey)> {
        let found = self.engine.lock(lock);
        let is_there = |session: &&Session| {
            found.hold_with(session.owner, session.key).is_some()
                || !self.waits_at(session.key, lock).is_empty()
        };
        let there = sessions.filter(is_there);
        let mut there: Vec<_> = there.map(|session| (session.id, session.key)).collect();
        there.sort_unstable();
        there
    }

    /// Those of the sessions in the lock's holds, queue and groups that are asked for, by number.
    fn sessions_at(
        &self,
        lock: LockKey,
        is_asked_for: impl Fn(&Session) -> bool,
    ) -> Vec<(SessionId, SessionKey)> {
        let found = self.engine.lock(lock);
        let holds = found.holds.iter().flat_map(|hold| hold.members());
        let waits = found.queue().iter().map(|wait| wait.session);
        let groups = found.groups().iter();
        let groups = groups.map(|group| self.engine.groups[group].session);
        let sessions = holds.chain(waits).chain(groups);
        let sessions = sessions.map(|session| self.engine.session(session));
        let mut sessions: Vec<_> = sessions
            .filter(|session| is_asked_for(session))
            .map(|session| (session.id, session.key))
            .collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    fn take_ended_sessions_out(&mut self, lock: LockKey) {
        if self.engine.ending.is_empty() {
            return;
        }
        for (_, session) in self.ended_sessions_at(lock) {
            let owner = self.engine.session(session).owner;
            for wait in self.waits_at(session, lock) {
                self.end_wait_of(session, wait, WaitEnd::SessionEnded);
            }
            // With its last wait here it may be forgotten, and is in no hold then.
            if let Some(index) = self.engine.lock(lock).hold_with(owner, session) {
                self.take_out_of_hold(session, lock, index);
            }
        }
    }

    /// The waits of a session for a lock, by number.
    fn waits_at(&self, session: SessionKey, lock: LockKey) -> Vec<WaitId> {
        let is_for_it = |(wait, at): &(&WaitId, &Option<LockKey>)| match at {
            Some(at) => *at == lock,
            None => self.engine.groups[*wait].locks().contains(&lock),
        };
        let waits = self.engine.session(session).waits.iter();
        waits.filter(is_for_it).map(|(wait, _)| *wait).collect()
    }

    /// Takes an ended session out of a hold, which ends with its last one.
    fn take_out_of_hold(&mut self, session: SessionKey, lock: LockKey, index: usize) {
        if self.engine.lock(lock).holds[index].member_count() > 1 {
            self.leave(lock, index, session);
            return;
        }
        let cause = match self.engine.session(session).ended {
            Some(SessionEnd::Closed) => Cause::SessionClosed,
            _ => Cause::SessionLost,
        };
        self.end_hold(lock, index, &cause, None);
    }

    /// Ends a session's wait of either sort. The lock is kept.
    pub(crate) fn end_wait_of(&mut self, session: SessionKey, wait: WaitId, why: WaitEnd) {
        match self.engine.session(session).waits[&wait] {
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

    /// The paths of the session's over holds are settled, oldest first.
    pub(crate) fn settle_over_holds(&mut self, session: SessionKey) {
        if self.engine.nothing_is_over(self.now)
            || self.now < self.engine.session(session).holds_until()
        {
            return;
        }
        let holds = self.engine.holds_by_age(session);
        let ttl = |(hold, lock): &(HoldId, LockKey)| {
            self.engine.lock(*lock).holds[self.hold_index(*lock, *hold)].ttl()
        };
        let least = holds.iter().map(ttl).min();
        self.session_mut(session)
            .locks
            .expect_ttl(least.unwrap_or_default());
        for (id, lock) in holds {
            // An earlier one's settling may have taken this one along.
            let hold = self.engine.locks.get(lock);
            let hold = hold.and_then(|lock| Some(&lock.holds[lock.hold_index(id)?]));
            if hold.is_some_and(|hold| self.engine.hold_deadline(hold) <= self.now) {
                self.settle(lock);
            }
        }
    }

    pub(crate) fn tick(&mut self) -> Reply {
        self.engine.locks.give_back();
        self.engine.bring_near(self.now);
        self.engine.look_ahead();
        self.go_on_serving();
        for _ in 0..SWEEP_MAX {
            if !self.sweep_one() {
                break;
            }
        }
        Reply::Done
    }

    /// Takes the first thing that is over, if there is one. Rule 11.
    fn sweep_one(&mut self) -> bool {
        if let Some((&session, _)) = self.engine.ending.first_key_value() {
            return self.sweep_session(session);
        }
        loop {
            self.engine.bring_near(self.now);
            let Some((armed, due)) = self.engine.deadlines.first_near() else {
                return false;
            };
            if armed > self.now {
                return false;
            }
            match due {
                Due::Hold(hold, lock) => {
                    let Some(index) = self.engine.hold_if_over(armed, hold, lock) else {
                        continue;
                    };
                    self.engine.deadlines.pass_begun();
                    self.end_hold(lock, index, &Cause::Expired, None);
                    self.settle(lock);
                }
                // All others; and whoever is not over yet has another timer now.
                due if self.engine.rearm_if_early(armed, due) => continue,
                Due::Wait(wait, lock) => {
                    let index = self.engine.lock(lock).wait_index(wait);
                    self.end_wait(
                        lock,
                        index.expect("a timer goes with its wait"),
                        WaitEnd::TimedOut,
                    );
                    self.settle(lock);
                }
                Due::Group(wait) => {
                    let locks = self.engine.groups[&wait].locks();
                    self.end_group(wait, WaitEnd::TimedOut);
                    self.settle_all(&locks);
                }
                Due::Session(session) => {
                    let key = self.engine.sessions.key_of(session);
                    let key = key.expect("a timer goes with its session");
                    let why = self.engine.session(key).end_by_deadline();
                    self.end_session(key, why);
                }
            }
            return true;
        }
    }

    /// Takes the first thing that an ended session has left behind, if there is one.
    pub(crate) fn sweep_session(&mut self, id: SessionId) -> bool {
        let Some(key) = self.engine.sessions.key_of(id) else {
            return false;
        };
        let first_wait = self.engine.session(key).waits.first_key_value();
        if let Some(wait) = first_wait.map(|(wait, _)| *wait) {
            let locks = self.locks_awaited(key, wait);
            self.end_wait_of(key, wait, WaitEnd::SessionEnded);
            self.settle_all(&locks);
            return true;
        }
        while let Some((hold, lock)) = self.engine.ending.get_mut(&id).and_then(Vec::pop) {
            let found = self.engine.locks.get(lock);
            let index = found.and_then(|found| {
                let index = found.hold_index(hold)?;
                found.holds[index].has_member(key).then_some(index)
            });
            if let Some(index) = index {
                self.take_out_of_hold(key, lock, index);
                self.settle(lock);
                return true;
            }
        }
        false
    }

    /// Settles several locks, of which some may go while others are settled.
    pub(crate) fn settle_all(&mut self, locks: &[LockKey]) {
        for &lock in locks {
            if self.engine.locks.contains(lock) {
                self.settle(lock);
            }
        }
    }
}
