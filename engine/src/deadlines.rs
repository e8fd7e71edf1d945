//! What is due when, in the order in which a sweep takes it.
//!
//! A timer may be armed too early, never too late: renewals move a deadline without touching its timer, and the timer is
//! armed anew only when it comes up. The order in which due things come out does not depend on how they were armed.
//!
//! Waits and sessions have timers in exact order. Locks stand in lists of 4 ms, one after the other as they come; when a
//! list is full, there is another for the same time, so that no step goes through more than one list. When its turn has
//! come, the holds that are over in its time are put in order, all at once (`begun.rs`), and so are those of the young, which
//! stand in no list. A lock that has gone is only counted: it stays in its list until that is begun, or more have gone than
//! are left.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::{iter, mem};

use slab::Slab;

use crate::begun::{Begun, DueHold};
use crate::ids::{SessionId, WaitId};
use crate::keys::{HoldId, LockKey, SlotKey};
use crate::time::LogTime;

/// What can be due. The order of the variants is the order of a sweep where deadlines are equal; that holds are the first of
/// them, [`Deadlines::first_near`] knows too.
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

/// See the file's header. When a timer is armed, the thing that it is for remembers.
#[derive(Debug, Clone)]
pub(crate) struct Deadlines {
    near: Near,
    /// The holds of the lists that have been begun, and of the young. Some of them may be gone.
    begun: Begun,
    far: Far,
    /// No timer comes up before this.
    none_before: LogTime,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            near: Near::default(),
            begun: Begun::default(),
            far: Far::default(),
            none_before: LogTime::NEVER,
        }
    }
}

impl Deadlines {
    // Near.

    pub(crate) fn arm(&mut self, at: LogTime, due: Due) {
        self.near.insert(at, due);
        self.none_before = self.none_before.min(at);
    }

    pub(crate) fn disarm(&mut self, at: LogTime, due: Due) {
        self.near.remove(at, due);
    }

    // Far.

    /// The end of the time of a list that comes up then: what is over before belongs to it.
    pub(crate) const fn end_of(up: LogTime) -> LogTime {
        LogTime(up.0 | (LIST_TIMES as u64 - 1))
    }

    /// Arms a lock; gives the list that it has to remember.
    pub(crate) fn arm_far(&mut self, at: LogTime, lock: LockKey) -> SlotKey {
        let (up, slot) = self.far.insert(at, lock);
        self.none_before = self.none_before.min(up);
        slot
    }

    /// Counts off a lock of a list that does not remember it any more.
    pub(crate) fn disarm_far(&mut self, slot: SlotKey, is_armed: impl Fn(LockKey) -> bool) {
        self.far.count_off(slot, is_armed);
    }

    /// When the list comes up.
    pub(crate) fn up(&self, slot: SlotKey) -> LogTime {
        self.far.slots[slot.place()].up
    }

    /// Takes out the list that comes up first, if it does by `now`: when, its name, and its locks. Of these only those are in
    /// it that remember it.
    pub(crate) fn take_far(&mut self, now: LogTime) -> Option<(LogTime, SlotKey, Vec<LockKey>)> {
        self.is_far_up(now).then(|| self.far.take_first())?
    }

    /// Whether a list comes up by `now`.
    pub(crate) fn is_far_up(&self, now: LogTime) -> bool {
        self.far.first.is_some_and(|first| first <= now)
    }

    /// Puts holds in order that may be over soon; all of those in one part come before those in the next.
    pub(crate) fn begin<const PARTS: usize>(&mut self, holds: [Vec<DueHold>; PARTS]) {
        self.begun.add(holds);
        let first = self.begun.first().map_or(LogTime::NEVER, |(at, ..)| at);
        self.none_before = self.none_before.min(first);
    }

    /// The holds that have been begun.
    pub(crate) const fn begun(&self) -> &Begun {
        &self.begun
    }

    /// Forgets the first of the holds that have been begun.
    pub(crate) fn pass_begun(&mut self) {
        self.begun.pass();
    }

    /// Gives back what timers have taken, of which none is left.
    pub(crate) fn give_back(&mut self) {
        self.far = Far::default();
        self.begun = Begun::default();
    }

    // Both.

    /// What is near and comes up first.
    pub(crate) fn first_near(&self) -> Option<(LogTime, Due)> {
        let other = self.near.first;
        match self.begun.first() {
            // Where deadlines are equal, holds come first.
            Some((at, hold, lock)) if other.is_none_or(|(other, _)| at <= other) => {
                Some((at, Due::Hold(hold, lock)))
            }
            _ => other,
        }
    }

    /// The waits and sessions whose timers have come up by `now`.
    pub(crate) fn due(&self, now: LogTime) -> impl Iterator<Item = Due> + '_ {
        let up = self
            .near
            .timers
            .iter()
            .take_while(move |(at, _)| *at <= now);
        up.map(|(_, due)| *due)
    }

    fn first_near_at(&self) -> LogTime {
        self.first_near().map_or(LogTime::NEVER, |(at, _)| at)
    }

    /// When the first timer comes up.
    pub(crate) fn first(&mut self) -> LogTime {
        let far = self.far.first.unwrap_or(LogTime::NEVER);
        self.none_before = far.min(self.first_near_at());
        self.none_before
    }

    /// Whether nothing comes up, for certain, before this.
    pub(crate) fn none_before(&self, at: LogTime) -> bool {
        at <= self.none_before
    }

    /// Whether nothing is due, for certain, at `now`.
    pub(crate) fn none_due(&self, now: LogTime) -> bool {
        now < self.none_before
    }

    pub(crate) fn is_armed(&self, at: LogTime, due: Due) -> bool {
        at >= self.none_before && self.near.timers.contains(&(at, due))
    }

    /// When the list comes up, if there is such a one.
    pub(crate) fn far_armed(&self, slot: SlotKey) -> Option<LogTime> {
        let up = self.far.slots.get(slot.place())?.up;
        (up >= self.none_before).then_some(up)
    }

    /// All lists, by when they come up, and the locks that are named in them, each once.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (SlotKey, Vec<LockKey>)> {
        let times = self.far.by_time.keys();
        let lists = times.flat_map(|up| self.far.of_time(*up));
        lists.map(|slot| {
            let mut locks = self.far.slots[slot.place()].locks.clone();
            locks.sort_unstable();
            locks.dedup();
            (slot, locks)
        })
    }

    /// Whether a hold has been begun by a time.
    pub(crate) fn is_begun_by(&self, at: LogTime, hold: HoldId, lock: LockKey) -> bool {
        let is_it = |begun: DueHold| begun.1 == hold && begun.2 == lock && begun.0 <= at;
        at >= self.none_before && self.begun.iter().any(is_it)
    }

    /// Whether what is known of the first timers is so.
    pub(crate) fn knows_the_first(&self) -> bool {
        let far = self.far.by_time.keys().next();
        self.near.first.as_ref() == self.near.timers.first() && self.far.first.as_ref() == far
    }

    /// How many timers of waits and sessions there are, and how many locks in lists.
    pub(crate) fn len(&self) -> (usize, usize) {
        let slots = self.far.slots.iter();
        let locks = slots.map(|(_, slot)| slot.locks.len() - slot.gone);
        (self.near.timers.len(), locks.sum())
    }
}

/// Timers in exact order. The first is asked for before each thing that is over, and seldom another one.
#[derive(Debug, Clone, Default)]
struct Near {
    timers: BTreeSet<(LogTime, Due)>,
    first: Option<(LogTime, Due)>,
}

impl Near {
    fn insert(&mut self, at: LogTime, due: Due) {
        let timer = (at, due);
        self.timers.insert(timer);
        self.first = self.first.map(|first| timer.min(first)).or(Some(timer));
    }

    fn remove(&mut self, at: LogTime, due: Due) {
        let timer = (at, due);
        self.timers.remove(&timer);
        if self.first == Some(timer) {
            self.first = self.timers.first().copied();
        }
    }
}

/// Log time, by lists of so many bits of milliseconds.
const SLOT_BITS: u32 = 2;

/// So many milliseconds.
pub(crate) const LIST_TIMES: usize = 1 << SLOT_BITS;

/// So many that have gone are not worth a look.
const GONE_KEPT: usize = if cfg!(debug_assertions) { 2 } else { 16 };

/// A list has room for so many: all of them are looked at in one step. Few where mistakes are looked for.
pub(crate) const LIST_MAX: usize = if cfg!(debug_assertions) { 8 } else { 4096 };

/// Locks in lists, one or more for each slot of time.
#[derive(Debug, Clone, Default)]
struct Far {
    /// The list that whoever comes is put into; those of its time that are full hang on it.
    by_time: BTreeMap<LogTime, SlotKey>,
    /// When the first of them comes up.
    first: Option<LogTime>,
    slots: Slab<Slot>,
}

/// The locks whose timers come up within the same few milliseconds, or some of them.
#[derive(Debug, Clone)]
struct Slot {
    up: LogTime,
    /// With those that have gone; and twice who has gone and come back.
    locks: Vec<LockKey>,
    gone: usize,
    /// The next of its time.
    next: Option<SlotKey>,
}

impl Far {
    /// Tells when the timer comes up: at the beginning of its slot.
    fn insert(&mut self, at: LogTime, lock: LockKey) -> (LogTime, SlotKey) {
        let up = LogTime(at.0 >> SLOT_BITS << SLOT_BITS);
        let begin = |slots: &mut Slab<Slot>, next| {
            SlotKey::at(slots.insert(Slot {
                up,
                locks: Vec::new(),
                gone: 0,
                next,
            }))
        };
        let slots = &mut self.slots;
        let slot = self.by_time.entry(up);
        let slot = slot.or_insert_with(|| begin(slots, None));
        if slots[slot.place()].locks.len() >= LIST_MAX {
            *slot = begin(slots, Some(*slot));
        }
        let locks = &mut slots[slot.place()].locks;
        if locks.len() == locks.capacity() {
            locks.reserve_exact(locks.len() / 4 + 4);
        }
        locks.push(lock);
        self.first = self.first.map(|first| up.min(first)).or(Some(up));
        (up, *slot)
    }

    fn count_off(&mut self, key: SlotKey, is_armed: impl Fn(LockKey) -> bool) {
        let slot = &mut self.slots[key.place()];
        slot.gone += 1;
        let left = slot.locks.len() - slot.gone;
        if left == 0 {
            self.remove(key);
        } else if slot.gone > left + GONE_KEPT {
            slot.locks.retain(|lock| is_armed(*lock));
            if slot.locks.len() > left {
                slot.locks.sort_unstable();
                slot.locks.dedup();
            }
            slot.locks.shrink_to_fit();
            slot.gone = 0;
        }
    }

    /// Takes out a list, wherever among those of its time it hangs.
    fn remove(&mut self, key: SlotKey) {
        let Slot { up, next, .. } = self.slots.remove(key.place());
        let first = self.by_time.get_mut(&up);
        let first = first.expect("a list stands among those of its time");
        if *first != key {
            let is_before = |slot: &SlotKey| self.slots[slot.place()].next == Some(key);
            let before = self.of_time(up).find(is_before);
            let before = before.expect("a list stands among those of its time");
            self.slots[before.place()].next = next;
        } else if let Some(next) = next {
            *first = next;
        } else {
            self.by_time.remove(&up);
            self.first = self.by_time.first_key_value().map(|(up, _)| *up);
        }
    }

    /// The lists of a slot of time, the one first that whoever comes is put into.
    fn of_time(&self, up: LogTime) -> impl Iterator<Item = SlotKey> + '_ {
        let first = self.by_time.get(&up).copied();
        iter::successors(first, |slot| self.slots[slot.place()].next)
    }

    fn take_first(&mut self) -> Option<(LogTime, SlotKey, Vec<LockKey>)> {
        let (up, key) = self.by_time.first_key_value()?;
        let (up, key) = (*up, *key);
        let locks = mem::take(&mut self.slots[key.place()].locks);
        self.remove(key);
        Some((up, key, locks))
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
            steps in prop::collection::vec((0_usize..40, prop_oneof![0_u64..200, 0_u64..12], any::<bool>()), 1..200),
        ) {
            let mut deadlines = Deadlines::default();
            let mut expected = BTreeMap::<LockKey, (LogTime, SlotKey)>::new();
            let mut now = LogTime::ZERO;
            for (place, span, passes) in steps {
                let lock = LockKey::at(place);
                if passes {
                    now = LogTime(now.0 + span);
                    while let Some((up, slot, locks)) = deadlines.take_far(now) {
                        prop_assert!(up <= now && locks.len() <= LIST_MAX);
                        for lock in locks {
                            if expected.get(&lock).is_some_and(|(_, armed)| *armed == slot) {
                                let (deadline, _) = expected.remove(&lock).expect("it was found");
                                prop_assert!((up..=Deadlines::end_of(up)).contains(&deadline));
                            }
                        }
                    }
                    prop_assert!(expected.values().all(|(deadline, _)| *deadline > now));
                } else if let Some((_, slot)) = expected.remove(&lock) {
                    deadlines.disarm_far(slot, |lock| {
                        expected.get(&lock).is_some_and(|(_, armed)| *armed == slot)
                    });
                } else {
                    let deadline = LogTime(now.0 + span);
                    let slot = deadlines.arm_far(deadline, lock);
                    expected.insert(lock, (deadline, slot));
                }
                prop_assert_eq!(deadlines.len(), (0, expected.len()));
                let first = expected.values().map(|(deadline, _)| *deadline).min();
                let first = first.unwrap_or(LogTime::NEVER);
                prop_assert!(deadlines.first() <= first);
                prop_assert!(deadlines.none_due(now) || deadlines.first() <= now);
            }
        }
    }

    /// It stands there twice until the list is gone through; then those who are left are so many as are armed.
    #[test]
    fn whoever_goes_and_comes_back_is_counted_once() {
        let mut far = Far::default();
        let at = LogTime(8);
        let mut armed: BTreeSet<_> = (1..LIST_MAX).map(LockKey::at).collect();
        let (first, last) = (LockKey::at(1), LIST_MAX - 1);
        for lock in &armed {
            far.insert(at, *lock);
        }
        let slot = far.by_time[&at];
        far.count_off(slot, |lock| lock != first);
        far.insert(at, first);
        for gone in 2..=last {
            armed.remove(&LockKey::at(gone));
            far.count_off(slot, |lock| armed.contains(&lock));
            let list = &far.slots[slot.place()];
            assert_eq!(list.locks.len() - list.gone, armed.len());
        }
        far.count_off(slot, |_| false);
        assert!(far.slots.is_empty() && far.by_time.is_empty());
    }

    /// Whichever of the lists of a time goes, the others are taken when theirs comes, each once.
    #[test]
    fn a_list_that_goes_takes_no_other_with_it() {
        const LISTS: usize = 4;
        for goes in 0..LISTS {
            let mut far = Far::default();
            let insert = |far: &mut Far, number| far.insert(LogTime(8), LockKey::at(number)).1;
            let all = (0..LISTS * LIST_MAX).map(|number| insert(&mut far, number));
            let key = all.collect::<Vec<_>>()[goes * LIST_MAX];
            let gone = (0..LIST_MAX).map(|number| LockKey::at(goes * LIST_MAX + number));
            for gone in gone {
                far.count_off(key, |lock| lock > gone);
            }
            let taken = iter::from_fn(|| far.take_first());
            let mut taken: Vec<_> = taken.flat_map(|(_, _, locks)| locks).collect();
            taken.sort_unstable();
            let others = (0..LISTS * LIST_MAX).filter(|number| number / LIST_MAX != goes);
            assert_eq!(
                taken,
                others.map(LockKey::at).collect::<Vec<_>>(),
                "list {goes} went"
            );
            assert!(far.slots.is_empty() && far.by_time.is_empty());
        }
    }
}
