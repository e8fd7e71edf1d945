//! What is due when, in the order in which a sweep takes it.
//!
//! A timer may be armed too early, never too late: renewals move a deadline without touching its timer, and the timer is
//! armed anew only when it comes up. The order in which due things come out does not depend on how they were armed.
//!
//! Timers that are near stand in exact order. Far off there is one for each lock, in lists of 4 ms, into which a lock is
//! put and out of which it is taken without a look at any other list.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hashbrown::HashMap;
use slab::Slab;

use crate::ids::{SessionId, WaitId};
use crate::keys::{HoldId, LockKey, SlotKey};
use crate::time::LogTime;

/// What can be due. The order of the variants is the order of a sweep where deadlines are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A hold, by its age.
    Hold(HoldId, LockKey),
    /// A wait in the queue of a lock.
    Wait(WaitId, LockKey),
    /// A wait for several locks.
    Group(WaitId),
    /// A session: its grace, or its idleness.
    Session(SessionId),
}

/// See the file's header. When a timer is armed, the thing that it is for remembers; but a hold does not.
#[derive(Debug, Clone)]
pub(crate) struct Deadlines {
    near: BTreeSet<(LogTime, Due)>,
    /// When the timers of holds that are near come up.
    near_holds: HashMap<HoldId, LogTime>,
    far: Far,
    /// No timer comes up before this.
    none_before: LogTime,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            near: BTreeSet::new(),
            near_holds: HashMap::new(),
            far: Far::default(),
            none_before: LogTime::NEVER,
        }
    }
}

impl Deadlines {
    // Near.

    pub(crate) fn arm(&mut self, at: LogTime, due: Due) {
        self.near.insert((at, due));
        self.none_before = self.none_before.min(at);
    }

    pub(crate) fn disarm(&mut self, at: LogTime, due: Due) {
        self.near.remove(&(at, due));
    }

    pub(crate) fn arm_hold(&mut self, at: LogTime, hold: HoldId, lock: LockKey) {
        self.arm(at, Due::Hold(hold, lock));
        self.near_holds.insert(hold, at);
    }

    pub(crate) fn disarm_hold(&mut self, hold: HoldId, lock: LockKey) {
        if let Some(at) = self.near_holds.remove(&hold) {
            self.disarm(at, Due::Hold(hold, lock));
        }
    }

    // Far.

    /// Whether a far timer for the deadline comes up after `now`.
    pub(crate) const fn are_apart(now: LogTime, deadline: LogTime) -> bool {
        now.0 >> SLOT_BITS < deadline.0 >> SLOT_BITS
    }

    pub(crate) fn arm_far(&mut self, at: LogTime, lock: LockKey) {
        let up = self.far.insert(at, lock);
        self.none_before = self.none_before.min(up);
    }

    pub(crate) fn disarm_far(&mut self, lock: LockKey) {
        self.far.remove(lock);
    }

    /// Takes out a lock whose timer comes up by `now`, and before all that are near.
    pub(crate) fn take_far(&mut self, now: LogTime) -> Option<LockKey> {
        let (up, lock) = self.far.first()?;
        // In a list that has been begun, every lock may be the first.
        let near = self.near.first().map_or(LogTime::NEVER, |(at, _)| *at);
        (up <= now && up <= near).then(|| {
            self.far.remove(lock);
            lock
        })
    }

    /// Gives back what far timers have taken, of which none is left.
    pub(crate) fn give_back(&mut self) {
        self.far = Far::default();
    }

    // Both.

    /// The near timer that comes up first.
    pub(crate) fn first_near(&self) -> Option<(LogTime, Due)> {
        self.near.first().copied()
    }

    /// When the first timer comes up.
    pub(crate) fn first(&mut self) -> LogTime {
        let near = self.near.first().map(|(at, _)| *at);
        let far = self.far.first().map(|(at, _)| at);
        let first = near.into_iter().chain(far).min();
        self.none_before = first.unwrap_or(LogTime::NEVER);
        self.none_before
    }

    /// Whether nothing is due, for certain, at `now`.
    pub(crate) fn none_due(&self, now: LogTime) -> bool {
        now < self.none_before
    }

    pub(crate) fn is_armed(&self, at: LogTime, due: Due) -> bool {
        at >= self.none_before && self.near.contains(&(at, due))
    }

    /// When the timer of a hold comes up that is near.
    pub(crate) fn hold_armed(&self, hold: HoldId, lock: LockKey) -> Option<LogTime> {
        let at = *self.near_holds.get(&hold)?;
        self.is_armed(at, Due::Hold(hold, lock)).then_some(at)
    }

    /// When the timer of a lock comes up that is far off.
    pub(crate) fn far_armed(&self, lock: LockKey) -> Option<LogTime> {
        let up = self.far.up(lock)?;
        (up >= self.none_before).then_some(up)
    }

    /// How many timers there are, near and far.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.near.len(), self.far.len)
    }
}

/// Log time, by lists of so many bits of milliseconds.
const SLOT_BITS: u32 = 2;

/// Locks in doubly linked lists, one for each slot of time.
#[derive(Debug, Clone, Default)]
struct Far {
    by_time: BTreeMap<u64, SlotKey>,
    slots: Slab<Slot>,
    /// By lock.
    links: Vec<Option<Link>>,
    len: usize,
}

/// The locks whose timers come up within the same few milliseconds. Never none.
#[derive(Debug, Clone)]
struct Slot {
    time: u64,
    first: LockKey,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    slot: SlotKey,
    before: Option<LockKey>,
    after: Option<LockKey>,
}

impl Far {
    /// Tells when the timer comes up: at the beginning of its slot.
    fn insert(&mut self, at: LogTime, lock: LockKey) -> LogTime {
        let time = at.0 >> SLOT_BITS;
        if self.links.len() <= lock.place() {
            self.links.resize(lock.place() + 1, None);
        }
        let (slot, after) = match self.by_time.get(&time) {
            Some(&slot) => {
                let found = &mut self.slots[slot.place()];
                let after = core::mem::replace(&mut found.first, lock);
                self.link(after).before = Some(lock);
                (slot, Some(after))
            }
            None => {
                let slot = SlotKey::at(self.slots.insert(Slot { time, first: lock }));
                self.by_time.insert(time, slot);
                (slot, None)
            }
        };
        self.links[lock.place()] = Some(Link {
            slot,
            before: None,
            after,
        });
        self.len += 1;
        LogTime(time << SLOT_BITS)
    }

    fn remove(&mut self, lock: LockKey) {
        let Some(link) = self.links.get_mut(lock.place()).and_then(Option::take) else {
            return;
        };
        self.len -= 1;
        if let Some(after) = link.after {
            self.link(after).before = link.before;
        }
        match (link.before, link.after) {
            (Some(before), after) => self.link(before).after = after,
            (None, Some(after)) => self.slots[link.slot.place()].first = after,
            (None, None) => {
                let empty = self.slots.remove(link.slot.place());
                self.by_time.remove(&empty.time);
            }
        }
    }

    /// When the first timer comes up, and one that does.
    fn first(&self) -> Option<(LogTime, LockKey)> {
        let (time, slot) = self.by_time.first_key_value()?;
        let lock = self.slots[slot.place()].first;
        Some((LogTime(time << SLOT_BITS), lock))
    }

    fn up(&self, lock: LockKey) -> Option<LogTime> {
        let link = (*self.links.get(lock.place())?)?;
        Some(LogTime(self.slots[link.slot.place()].time << SLOT_BITS))
    }

    fn link(&mut self, lock: LockKey) -> &mut Link {
        self.links[lock.place()]
            .as_mut()
            .expect("whoever is named in a list is in it")
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Locks are armed and disarmed; as time passes, those whose deadline has come are taken, and none long before.
        #[test]
        fn whoever_is_far_off_is_taken_in_time(
            steps in prop::collection::vec((0_usize..20, 0_u64..200, any::<bool>()), 1..200),
        ) {
            let mut deadlines = Deadlines::default();
            let mut expected = BTreeMap::<LockKey, LogTime>::new();
            let mut now = LogTime::ZERO;
            for (place, span, passes) in steps {
                let lock = LockKey::at(place);
                if passes {
                    now = LogTime(now.0 + span);
                    while let Some(lock) = deadlines.take_far(now) {
                        let deadline = expected.remove(&lock).expect("it was armed");
                        prop_assert!(deadline.0 < now.0 + (1 << SLOT_BITS));
                    }
                    prop_assert!(expected.values().all(|deadline| *deadline > now));
                } else if expected.remove(&lock).is_some() {
                    deadlines.disarm_far(lock);
                } else {
                    let deadline = LogTime(now.0 + span);
                    deadlines.arm_far(deadline, lock);
                    expected.insert(lock, deadline);
                }
                prop_assert_eq!(deadlines.len(), (0, expected.len()));
                let first = expected.values().min().copied().unwrap_or(LogTime::NEVER);
                prop_assert!(deadlines.first() <= first);
                prop_assert!(deadlines.none_due(now) || deadlines.first() <= now);
            }
        }
    }
}
