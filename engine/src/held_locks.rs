//! The locks that a session holds, so that letting go of one costs little however many there are.
//!
//! Where they are few, the one is looked for and taken out. Where they are many it is only counted off, and is still named;
//! when far more are named than are held, all of them are looked at, and those forgotten that are not held. So nothing is
//! looked for, and a lock remembers no place in here. One step looks at three times as many as a session may hold, at most.
//!
//! Must hold: whatever is held is named, perhaps twice, and its hold lives for no less than is known here. Whoever lets go has
//! been taken out of the hold before, and is asked of no other that it has yet to let go of.

use alloc::vec::Vec;

use crate::keys::LockKey;
use crate::time::Millis;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldLocks {
    /// With some that were let go, whose places may be those of other locks since.
    named: Vec<LockKey>,
    held: u32,
    /// In milliseconds: the least time that any of them lives without renewal, or less.
    ttl_least: u32,
}

/// So many that were let go are not worth a look: whoever lets go of more is likely to let go of all, and needs none then.
const LET_GO_KEPT: usize = if cfg!(debug_assertions) { 4 } else { 256 };

/// Among so few, to look for one at once costs less than to look at all later.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 48 };

/// Room for so many is kept by whoever holds none.
const ROOM_KEPT: usize = 16;

impl HeldLocks {
    /// One more, whose hold lives for so long without renewal, and never for less.
    pub(crate) fn add(&mut self, lock: LockKey, ttl: Millis) {
        let ttl = u32::try_from(ttl.0).unwrap_or(u32::MAX);
        let is_first = self.held == 0;
        self.ttl_least = if is_first {
            ttl
        } else {
            ttl.min(self.ttl_least)
        };
        if self.named.len() == self.named.capacity() {
            self.named.reserve_exact(self.named.len() / 4 + 4);
        }
        self.named.push(lock);
        self.held += 1;
    }

    /// None of their holds lives for less without renewal.
    pub(crate) fn ttl_least(&self) -> Millis {
        Millis(self.ttl_least.into())
    }

    /// Says that none of them lives for less, after all of them were looked at.
    pub(crate) fn expect_ttl(&mut self, least: Millis) {
        self.ttl_least = u32::try_from(least.0).unwrap_or(u32::MAX);
    }

    /// One of them is held no more. Of others, too, it may be asked whether they are.
    pub(crate) fn let_go(&mut self, lock: LockKey, is_held: impl Fn(LockKey) -> bool) {
        self.held -= 1;
        if self.held == 0 {
            self.named.clear();
            self.named.shrink_to(ROOM_KEPT);
        } else if self.named.len() <= FEW {
            let index = self.named.iter().position(|named| *named == lock);
            // The others keep their order: what was taken first is often let go first, and is found at once then.
            self.named.remove(index.expect("what is held is named"));
        } else if !self.is_lean() {
            self.forget(is_held);
        }
    }

    /// Whether it names hardly more than are held.
    pub(crate) const fn is_lean(&self) -> bool {
        self.named.len() <= 3 * self.len() + LET_GO_KEPT
    }

    /// Forgets those that are not held.
    fn forget(&mut self, is_held: impl Fn(LockKey) -> bool) {
        self.named.retain(|lock| is_held(*lock));
        if self.named.len() > self.len() {
            self.named.sort_unstable();
            self.named.dedup();
        }
        self.named.shrink_to(2 * self.len());
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.held as usize
    }

    /// All that are held, in no order that means anything; some of them twice, and with others that are not held.
    pub(crate) fn named(&self) -> impl Iterator<Item = LockKey> + '_ {
        self.named.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a `BTreeSet` would have it, and hardly larger.
        #[test]
        fn whatever_is_taken_is_held_until_it_is_let_go(places in prop::collection::vec(0_usize..24, 1..200)) {
            let (mut held, mut expected) = (HeldLocks::default(), BTreeSet::new());
            for place in places {
                let (lock, ttl) = (LockKey::at(place), Millis(1 << (2 * place)));
                // Whoever comes again goes.
                if expected.remove(&lock) {
                    held.let_go(lock, |lock| expected.contains(&lock));
                } else {
                    held.add(lock, ttl);
                    expected.insert(lock);
                }
                let known: BTreeSet<_> = held.named().filter(|lock| expected.contains(lock)).collect();
                prop_assert_eq!(&known, &expected);
                let ttl = |lock: &LockKey| Millis(1 << (2 * lock.place()));
                prop_assert!(expected.iter().all(|lock| held.ttl_least() <= ttl(lock)));
                prop_assert_eq!((held.len(), held.is_empty()), (expected.len(), expected.is_empty()));
                prop_assert!(held.is_lean());
            }
        }
    }

    #[test]
    fn whoever_goes_and_comes_back_is_named_once_when_others_are_forgotten() {
        let (mut held, all) = (HeldLocks::default(), FEW + 2);
        for place in 0..all {
            held.add(LockKey::at(place), Millis(1));
        }
        while held.named.len() <= 3 * (all - 1) + LET_GO_KEPT {
            held.let_go(LockKey::at(0), |_| unreachable!("it is lean"));
            held.add(LockKey::at(0), Millis(1));
        }
        held.let_go(LockKey::at(1), |lock| lock != LockKey::at(1));
        assert_eq!(held.named().count(), held.len());
    }
}
