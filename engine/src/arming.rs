//! Which timer whom wakes: of locks as they grow up, of holds as they begin and end, of whatever is armed anew.
//!
//! Knows no rule: when something is over, the thing itself says. Must hold: whatever has a deadline is looked at by then.
//! A young lock is by the nursery, a grown one by the list that it is in; or either by those of its holds that have been begun.

use alloc::vec::Vec;

use crate::ahead::TOGETHER;
use crate::deadlines::{Deadlines, Due, LIST_MAX, LIST_TIMES};
use crate::engine::Engine;
use crate::keys::{HoldId, LockKey, SlotKey};
use crate::lock::Hold;
use crate::nursery::Stage;
use crate::sessions::Sessions;
use crate::time::{LogTime, Millis};

/// What the young hold is begun so long before it may be over: to look at all of them is dear. Not long where mistakes are
/// looked for.
const SOON: Millis = Millis(if cfg!(debug_assertions) { 4 } else { 256 });

impl Engine {
    /// Looks through what may be over by `at`, so far as one step goes, and tells whether that is all of it: then a
    /// [`Tick`](crate::Command::Tick) at that time finds what it ends at hand. One that comes before looks through the rest
    /// itself, and ends the same; but where very many holds come up together it takes as long as all of them need. Changes
    /// nothing that can be told.
    pub fn prepare(&mut self, at: LogTime) -> bool {
        let at = self.now.max(at);
        // Small lists go together up to half a full one, so that a step is never more than a full one and a half.
        let mut looked = 0;
        while looked < LIST_MAX / 2 {
            looked += match (self.bring_some_near(at), self.deadlines.first_near()) {
                (Some(holds), _) => holds,
                (None, Some((armed, due))) if armed <= at && self.rearm_if_early(armed, due) => 1,
                (None, _) => return true,
            };
        }
        false
    }

    /// Sees to it that the first near timer is the first of all that come up by `now`.
    pub(crate) fn bring_near(&mut self, now: LogTime) {
        while (self.nursery.due() <= now || self.deadlines.is_far_up(now))
            && self.bring_some_near(now).is_some()
        {}
    }

    /// The same, as far as one list goes, or the young. Tells at how many holds it has looked, if there was anything to be
    /// done.
    fn bring_some_near(&mut self, now: LogTime) -> Option<usize> {
        if self.nursery.due() <= now && self.begin_young(now) {
            return Some(LIST_MAX);
        }
        let (up, slot, locks) = self.deadlines.take_far(now)?;
        Some(locks.len().max(self.begin(up, slot, &locks)))
    }

    /// Takes a list apart. Nothing is done to a lock before the next is looked at, as long as that goes: they lie all over
    /// memory, and waiting for one of them takes as long as waiting for many. Tells how many holds they have.
    fn begin(&mut self, up: LogTime, slot: SlotKey, locks: &[LockKey]) -> usize {
        let end = Deadlines::end_of(up);
        // By millisecond: then they nearly stand in order.
        let mut due = [(); LIST_TIMES].map(|()| Vec::with_capacity(locks.len() / LIST_TIMES));
        let mut later = Vec::new();
        let mut holds = 0;
        for (index, &lock) in locks.iter().enumerate() {
            if index % TOGETHER == 0 {
                let next = &locks[index..locks.len().min(index + TOGETHER)];
                self.look_at_locks(next);
                self.look_at_renewals(next);
            }
            let found = self.locks.get_mut(lock);
            let Some(found) = found.filter(|lock| lock.stage() == Stage::Grown(Some(slot))) else {
                continue;
            };
            found.set_stage(Stage::Grown(None));
            let mut first_later = None;
            for hold in found.holds.iter() {
                let deadline = hold_deadline(&self.sessions, hold);
                if deadline <= end {
                    let time = deadline.0.saturating_sub(up.0) as usize;
                    due[time].push((deadline, hold.id(), lock));
                } else {
                    first_later = Some(first_later.map_or(deadline, |first| deadline.min(first)));
                }
            }
            holds += found.holds.len();
            later.extend(first_later.map(|deadline| (deadline, lock)));
        }
        self.deadlines.begin(due);
        for (deadline, lock) in later {
            self.arm_by(lock, deadline);
        }
        holds
    }

    /// Begins the holds of the young that are over soon, without their growing up for that, and looks when the first of the
    /// others is. Tells whether there was any. One that is begun twice has gone, or is over later, when it comes up again.
    fn begin_young(&mut self, now: LogTime) -> bool {
        let (begun, soon) = (self.nursery.begun(), now + SOON);
        let (mut due, mut first) = (Vec::new(), LogTime::NEVER);
        for lock in self.nursery.iter() {
            for hold in self.lock(lock).holds.iter() {
                let deadline = self.hold_deadline(hold);
                if deadline > soon {
                    first = first.min(deadline);
                } else if deadline > begun {
                    due.push((deadline, hold.id(), lock));
                }
            }
        }
        self.nursery.begin(soon, first);
        let is_any = !due.is_empty();
        self.deadlines.begin([due]);
        is_any
    }

    /// Arms a timer anew whose deadline has moved on, or drops it when there is none any more; tells whether it did.
    pub(crate) fn rearm_if_early(&mut self, armed: LogTime, due: Due) -> bool {
        let deadline = match due {
            Due::Hold(hold, lock) => return self.hold_if_over(armed, hold, lock).is_none(),
            Due::Wait(id, lock) => {
                let lock = self.lock_mut(lock);
                let index = lock.wait_index(id).expect("a timer goes with its wait");
                let wait = lock.wait_mut(index);
                wait.armed = wait.deadline;
                Some(wait.armed)
            }
            Due::Group(id) => {
                let group = self.groups.get_mut(&id);
                let group = group.expect("a timer goes with its wait");
                group.armed = group.deadline;
                Some(group.armed)
            }
            Due::Session(id) => {
                let session = self.sessions.key_of(id);
                let session = &mut self.sessions[session.expect("a timer goes with its session")];
                session.armed = session.deadline();
                session.armed
            }
        };
        if deadline == Some(armed) {
            return false;
        }
        self.deadlines.disarm(armed, due);
        if let Some(deadline) = deadline {
            self.deadlines.arm(deadline, due);
        }
        true
    }

    /// Where the first hold that has been begun stands in its lock, if its deadline is what was thought. If that has moved on,
    /// or the hold has gone, it is passed over, and its lock has a timer as it needs one.
    pub(crate) fn hold_if_over(
        &mut self,
        armed: LogTime,
        hold: HoldId,
        lock: LockKey,
    ) -> Option<usize> {
        let found = self.locks.get(lock);
        let index = found.and_then(|found| found.hold_index(hold));
        let deadline = found.zip(index).map(|(found, index)| {
            let hold = &found.holds[index];
            hold_deadline(&self.sessions, hold)
        });
        if deadline == Some(armed) {
            return index;
        }
        self.deadlines.pass_begun();
        if let Some(deadline) = deadline {
            self.arm_by(lock, deadline);
        }
        None
    }

    // Growing up.

    /// Gives young locks what they have done without.
    pub(crate) fn grow_up(&mut self, young: &[LockKey]) {
        self.look_at_places(young);
        for &lock in young {
            let found = &mut self.locks[lock];
            if let Stage::Young(number) = found.stage() {
                self.nursery.remove(number);
            }
            found.set_stage(Stage::Grown(None));
            let org = found.org;
            let order = &mut self.orgs[org.place()].paths.in_order;
            order.insert(&mut self.locks, lock);
            let holds = self.lock(lock).holds.iter();
            let deadlines = holds.map(|hold| self.hold_deadline(hold));
            if let Some(first) = deadlines.min() {
                self.arm_by(lock, first);
            }
        }
    }

    /// Sees to it that the lock is looked at by the deadline of one of its holds.
    pub(crate) fn arm_by(&mut self, lock: LockKey, deadline: LogTime) {
        match self.lock(lock).stage() {
            Stage::Young(_) => return self.nursery.expect_by(deadline),
            Stage::Grown(Some(slot)) if self.deadlines.up(slot) <= deadline => return,
            Stage::Grown(Some(slot)) => self.leave_list(lock, slot),
            Stage::Grown(None) => {}
        }
        let slot = self.deadlines.arm_far(deadline, lock);
        self.lock_mut(lock).set_stage(Stage::Grown(Some(slot)));
    }

    fn leave_list(&mut self, lock: LockKey, slot: SlotKey) {
        self.lock_mut(lock).set_stage(Stage::Grown(None));
        let locks = &self.locks;
        let is_armed = |lock: LockKey| {
            let lock = locks.get(lock);
            lock.is_some_and(|lock| lock.stage() == Stage::Grown(Some(slot)))
        };
        self.deadlines.disarm_far(slot, is_armed);
    }

    /// Lets a lock, of which a hold has been taken out, have no timer if it has no hold.
    pub(crate) fn disarm_unheld(&mut self, lock: LockKey) {
        let found = self.lock(lock);
        if let (Stage::Grown(Some(slot)), false) = (found.stage(), found.is_held()) {
            self.leave_list(lock, slot);
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

#[inline]
fn hold_deadline(sessions: &Sessions, hold: &Hold) -> LogTime {
    let first = sessions[hold.first].renewed_at + hold.ttl();
    if hold.member_count() == 1 {
        return hold.deadline().max(first);
    }
    hold_deadline_of_many(sessions, hold)
}

fn hold_deadline_of_many(sessions: &Sessions, hold: &Hold) -> LogTime {
    let renewed = hold
        .members()
        .map(|member| sessions[member].renewed_at + hold.ttl());
    renewed.fold(hold.deadline(), LogTime::max)
}
