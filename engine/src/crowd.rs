//! Who holds and who awaits a lock, by owner, where looking through all of them for one owner would take long.
//!
//! Derived from holds and queue, and not there while there are few. Must hold: what is kept is all there is, since a set
//! that is empty is one that is not kept.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::ids::WaitId;
use crate::keys::{HoldId, OwnerKey};

/// So many are worth being known by owner. Half as many are not any more.
const MANY: usize = if cfg!(debug_assertions) { 4 } else { 32 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd {
    holders: BTreeMap<OwnerKey, HoldId>,
    waiters: BTreeSet<(OwnerKey, WaitId)>,
}

/// Whether so many are too many to look through.
pub(crate) const fn are_many(count: usize) -> bool {
    count >= MANY
}

impl Crowd {
    /// Whether neither is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty()
    }

    // Those who hold.

    /// The owner's hold, if any; nothing when it is not kept.
    pub(crate) fn hold_of(&self, owner: OwnerKey) -> Option<Option<HoldId>> {
        (!self.holders.is_empty()).then(|| self.holders.get(&owner).copied())
    }

    /// A hold has begun; `all` are those there are now.
    pub(crate) fn add_holder(
        &mut self,
        mut all: impl ExactSizeIterator<Item = (OwnerKey, HoldId)> + DoubleEndedIterator,
    ) {
        if self.holders.is_empty() {
            if are_many(all.len()) {
                self.holders = all.collect();
            }
        } else if let Some((owner, hold)) = all.next_back() {
            self.holders.insert(owner, hold);
        }
    }

    pub(crate) fn remove_holder(&mut self, owner: OwnerKey) {
        self.holders.remove(&owner);
        if self.holders.len() < MANY / 2 {
            self.holders = BTreeMap::new();
        }
    }

    // Those who wait.

    /// The owner's waits, by number; nothing when it is not kept.
    pub(crate) fn waits_of(&self, owner: OwnerKey) -> Option<Vec<WaitId>> {
        let all = (owner, WaitId(0))..=(owner, WaitId(u64::MAX));
        let waits = || self.waiters.range(all).map(|(_, wait)| *wait).collect();
        (!self.waiters.is_empty()).then(waits)
    }

    /// A wait has begun; `all` are those there are now.
    pub(crate) fn add_waiter(
        &mut self,
        mut all: impl ExactSizeIterator<Item = (OwnerKey, WaitId)> + DoubleEndedIterator,
    ) {
        if self.waiters.is_empty() {
            if are_many(all.len()) {
                self.waiters = all.collect();
            }
        } else if let Some(newest) = all.next_back() {
            self.waiters.insert(newest);
        }
    }

    pub(crate) fn remove_waiter(&mut self, owner: OwnerKey, wait: WaitId) {
        self.waiters.remove(&(owner, wait));
        if self.waiters.len() < MANY / 2 {
            self.waiters = BTreeSet::new();
        }
    }

    // For the invariants.

    pub(crate) fn holders(&self) -> &BTreeMap<OwnerKey, HoldId> {
        &self.holders
    }

    pub(crate) fn waiters(&self) -> &BTreeSet<(OwnerKey, WaitId)> {
        &self.waiters
    }
}
