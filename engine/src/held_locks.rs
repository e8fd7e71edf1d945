//! The locks that a session holds, so that letting go of one costs little however many there are.
//!
//! Where they are few, the one is looked for and taken out. Where they are many, that it was let go is noted behind all that was
//! taken; when there is as much of that as is held, what was taken and let go again is looked for, all at once, and forgotten. So
//! no lock is looked at, and a lock remembers no place in here.
//!
//! Must hold: what was taken and not let go is what is held, and none of it lives for less than is known here.

use alloc::vec::Vec;

use hashbrown::HashSet;

use crate::keys::LockKey;
use crate::time::Millis;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldLocks {
    notes: Vec<Note>,
    held: u32,
    /// In milliseconds: the least time that any of them lives without renewal, or less.
    ttl_least: u32,
}

/// That a lock was taken, by its place, counted from 1; or the same below zero: that it was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Note(i32);

/// So many notes of what was let go are not worth a look.
const LET_GO_KEPT: usize = if cfg!(debug_assertions) { 2 } else { 16 };

/// Among so few, to look for one at once costs less than to look for all later.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 48 };

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
        self.note(Note::taken(lock));
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

    /// One of them is held no more.
    pub(crate) fn let_go(&mut self, lock: LockKey) {
        self.held -= 1;
        if self.held == 0 {
            self.notes.clear();
            self.notes.shrink_to(LET_GO_KEPT);
            return;
        }
        let taken = Note::taken(lock);
        if self.notes.len() <= FEW
            && let Some(index) = self.notes.iter().position(|note| *note == taken)
        {
            // The others keep their order: what was taken first is often let go first, and is found at once then.
            self.notes.remove(index);
            return;
        }
        // By as much as there is: whoever lets go of one of many lets go of more.
        self.notes.reserve(1);
        self.note(taken.undone());
        if self.notes.len() > 3 * self.len() + LET_GO_KEPT {
            self.settle();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.held as usize
    }

    /// All of them, in no order that means anything.
    pub(crate) fn settled(&self) -> impl Iterator<Item = LockKey> + use<> {
        let mut held = self.clone();
        held.settle();
        held.notes.into_iter().map(Note::lock)
    }

    /// Forgets what was let go, and that it was taken.
    fn settle(&mut self) {
        if self.notes.len() == self.len() {
            return;
        }
        let mut gone = HashSet::with_capacity((self.notes.len() - self.len()) / 2);
        // Last first: whoever was let go was taken before.
        self.notes.reverse();
        self.notes.retain(|note| match note.is_of_taking() {
            true => !gone.remove(&note.undone()),
            false => !gone.insert(*note),
        });
        self.notes.reverse();
        self.notes.shrink_to(2 * self.len());
    }

    /// Looks at the first of what may have to be looked through, and at the last, behind which the next is written; see
    /// `ahead.rs`.
    pub(crate) fn glance(&self) -> u64 {
        let seen = |note: Option<&Note>| note.map_or(0, |note| u64::from(note.0.unsigned_abs()));
        seen(self.notes.first()) ^ seen(self.notes.last())
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() == self.notes.capacity() {
            self.notes.reserve_exact(self.notes.len() / 4 + 4);
        }
        self.notes.push(note);
    }
}

impl Note {
    fn taken(lock: LockKey) -> Self {
        let number = i32::try_from(lock.place() + 1);
        Self(number.expect("memory is full long before there are so many"))
    }

    const fn undone(self) -> Self {
        Self(-self.0)
    }

    const fn is_of_taking(self) -> bool {
        self.0 > 0
    }

    fn lock(self) -> LockKey {
        LockKey::at(self.0.unsigned_abs() as usize - 1)
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
                    held.let_go(lock);
                } else {
                    held.add(lock, ttl);
                    expected.insert(lock);
                }
                let mut settled: Vec<_> = held.settled().collect();
                settled.sort_unstable();
                let ttl = |lock: &LockKey| Millis(1 << (2 * lock.place()));
                prop_assert!(expected.iter().all(|lock| held.ttl_least() <= ttl(lock)));
                prop_assert!(settled.iter().eq(&expected));
                prop_assert_eq!((held.len(), held.is_empty()), (expected.len(), expected.is_empty()));
                prop_assert!(held.notes.len() <= (3 * expected.len() + LET_GO_KEPT).max(FEW));
            }
        }
    }
}
