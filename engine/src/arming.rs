//! Which timer whom wakes: of locks as they grow up, of holds as they begin and end, of whatever is armed anew.
//!
//! Knows no rule: when something is over, the thing itself says. Must hold: whatever has a deadline is looked at by then.
//! A young lock is by the nursery, a grown one by a far timer of its own or near ones of its holds.

use crate::deadlines::{Deadlines, Due};
use crate::engine::Engine;
use crate::keys::LockKey;
use crate::lock::Hold;
use crate::nursery::{Stage, Timers};
use crate::sessions::Sessions;
use crate::time::LogTime;

impl Engine {
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
