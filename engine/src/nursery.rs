//! Where locks begin. Most are let go again soon; only those that are not are given a timer and a place in path order,
//! which are what is dear about a lock.
//!
//! Derived from the rest of the state: which locks are young shows in nothing but what they cost. Must hold: every lock is
//! young, and stands in here once, or it is grown.

use alloc::collections::VecDeque;

use crate::keys::{LockKey, SlotKey};
use crate::time::LogTime;

/// So many locks may come after a young one before it has grown up. Few where mistakes are looked for: it shows in nothing
/// but costs.
const YOUNG_MAX: usize = if cfg!(debug_assertions) { 3 } else { 8192 };

/// So many grow up together: what each needs lies far from the others', and is fetched at the same time.
const GROW_UP_AT_ONCE: usize = if cfg!(debug_assertions) { 2 } else { 32 };

/// How far a lock has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In the nursery: it has this number there.
    Young(u32),
    /// In path order. If a hold of it is in no list that has been begun, the lock is in this one of those that have not.
    Grown(Option<SlotKey>),
}

/// See the file's header.
#[derive(Debug, Clone)]
pub(crate) struct Nursery {
    /// By the order in which they came; those that are gone leave a hole.
    young: VecDeque<Option<LockKey>>,
    /// The number of the first.
    first: u32,
    /// Nothing in here is over earlier, but for what has been begun.
    due: LogTime,
    /// What is over by then has been begun.
    begun: LogTime,
}

impl Default for Nursery {
    fn default() -> Self {
        Self {
            young: VecDeque::new(),
            first: 0,
            due: LogTime::NEVER,
            begun: LogTime::ZERO,
        }
    }
}

impl Nursery {
    /// Takes a lock in. There must be room.
    pub(crate) fn admit(&mut self, lock: LockKey) -> Stage {
        let number = self.first.wrapping_add(self.young.len() as u32);
        self.young.push_back(Some(lock));
        Stage::Young(number)
    }

    /// Says when something that a young lock has will be over.
    pub(crate) fn expect_by(&mut self, deadline: LogTime) {
        self.due = self.due.min(deadline);
        if deadline <= self.begun {
            // It came after the look: what is over from then on is begun with it, some of that once more.
            self.begun = LogTime(deadline.0.saturating_sub(1));
        }
    }

    /// Says that all was looked at, what is over by `soon` begun, and that `first` is the first of what is left.
    pub(crate) const fn begin(&mut self, soon: LogTime, first: LogTime) {
        self.begun = soon;
        self.due = first;
    }

    /// When all is to be looked at again: nothing is over before, but for what has been begun.
    pub(crate) const fn due(&self) -> LogTime {
        self.due
    }

    /// Up to when what is over has been begun.
    pub(crate) const fn begun(&self) -> LogTime {
        self.begun
    }

    /// Forgets a lock that is gone.
    pub(crate) fn remove(&mut self, number: u32) {
        self.young[number.wrapping_sub(self.first) as usize] = None;
        while let Some(None) = self.young.front() {
            self.young.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.young.is_empty() {
            self.due = LogTime::NEVER;
        }
    }

    /// Whether some have to grow up for the next to have room.
    pub(crate) fn is_full(&self) -> bool {
        self.young.len() >= YOUNG_MAX
    }

    /// The oldest, as many as grow up at once.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = LockKey> + '_ {
        self.iter().take(GROW_UP_AT_ONCE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = LockKey> + '_ {
        self.young.iter().filter_map(|young| *young)
    }

    pub(crate) fn has(&self, lock: LockKey, number: u32) -> bool {
        let index = number.wrapping_sub(self.first) as usize;
        self.young.get(index) == Some(&Some(lock))
    }
}
