//! The locks of an org by their paths: a table of keys with 32 bits of each path's hash beside them.
//!
//! Entries stand by hash, as near to where it points as others let them: a look at one line of memory nearly always, and no
//! look at a lock but the one that is meant. So a table of millions grows by walking along it, in steps of an eighth,
//! and three quarters of it are full. Eight bytes an entry. Knows paths only as their hashes.

use alloc::vec::Vec;

use crate::keys::LockKey;

/// So many entries are kept room for, however few there are.
const KEPT: usize = 16 * 1024;

/// It grows by so many at least.
const LEAST: usize = if cfg!(debug_assertions) { 4 } else { 64 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathTable {
    /// By hash, with holes; every entry at its home or beyond it, and nothing empty between.
    places: Vec<Place>,
    /// How many homes there are. What is beyond them has been pushed there.
    homes: usize,
    len: usize,
}

type Place = (u32, Option<LockKey>);

impl PathTable {
    /// The first lock with this hash of which the question is answered with yes.
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(LockKey) -> bool) -> Option<LockKey> {
        self.place_of(hash, is_it).and_then(|at| self.places[at].1)
    }

    fn place_of(&self, hash: u32, is_it: impl Fn(LockKey) -> bool) -> Option<usize> {
        let home = self.home(hash);
        for (at, &(known, lock)) in self.places.get(home..)?.iter().enumerate() {
            let lock = lock?;
            if known == hash && is_it(lock) {
                return Some(home + at);
            }
            if known > hash {
                return None;
            }
        }
        None
    }

    /// Looks at where an entry stands; see `ahead.rs`.
    pub(crate) fn glance(&self, hash: u32) -> u64 {
        self.places
            .get(self.home(hash))
            .map_or(0, |(known, _)| u64::from(*known))
    }

    /// Takes in a lock that is not in here.
    pub(crate) fn insert(&mut self, hash: u32, lock: LockKey) {
        if 16 * (self.len + 1) > 13 * self.homes {
            self.resize(self.homes + self.homes / 8 + LEAST);
        }
        self.put(hash, lock);
        self.len += 1;
    }

    /// Takes out a lock. Gives room back when little of it is used.
    pub(crate) fn remove(&mut self, hash: u32, lock: LockKey) {
        let Some(mut hole) = self.place_of(hash, |known| known == lock) else {
            return;
        };
        // Those behind it that are not at home come nearer to it.
        while let Some(&(next, Some(lock))) = self.places.get(hole + 1)
            && self.home(next) <= hole
        {
            self.places[hole] = (next, Some(lock));
            hole += 1;
        }
        self.places[hole] = (0, None);
        self.len -= 1;
        if self.homes > KEPT && self.homes > 4 * self.len {
            self.resize(2 * self.len);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    const fn home(&self, hash: u32) -> usize {
        ((hash as u64 * self.homes as u64) >> 32) as usize
    }

    fn put(&mut self, hash: u32, lock: LockKey) {
        let mut carried = (hash, lock);
        let mut at = self.home(hash);
        loop {
            let Some(place) = self.places.get_mut(at) else {
                self.places.push((carried.0, Some(carried.1)));
                return;
            };
            match *place {
                (_, None) => {
                    *place = (carried.0, Some(carried.1));
                    return;
                }
                (known, Some(other)) if known > carried.0 => {
                    *place = (carried.0, Some(carried.1));
                    carried = (known, other);
                }
                (_, Some(_)) => {}
            }
            at += 1;
        }
    }

    fn resize(&mut self, homes: usize) {
        let places = core::mem::take(&mut self.places);
        self.homes = homes;
        // What is pushed beyond the homes finds room without all of them being copied.
        self.places.reserve_exact(homes + homes / 64 + LEAST);
        self.places.resize(homes, (0, None));
        for (hash, lock) in places {
            if let Some(lock) = lock {
                self.put(hash, lock);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a `BTreeMap` would have it, with few hashes and at both ends of them.
        #[test]
        fn whoever_is_in_the_table_is_found(
            steps in prop::collection::vec((0_usize..60, prop_oneof![0_u32..5, any::<u32>(), u32::MAX - 5..]), 1..300),
        ) {
            let mut table = PathTable::default();
            let mut expected = BTreeMap::<LockKey, u32>::new();
            for (place, hash) in steps {
                let lock = LockKey::at(place);
                // Whoever comes again goes.
                if let Some(hash) = expected.remove(&lock) {
                    table.remove(hash, lock);
                    prop_assert_eq!(table.find(hash, |known| known == lock), None);
                } else {
                    table.insert(hash, lock);
                    expected.insert(lock, hash);
                }
                prop_assert_eq!(table.len(), expected.len());
                for (&lock, &hash) in &expected {
                    prop_assert_eq!(table.find(hash, |known| known == lock), Some(lock));
                }
            }
        }
    }
}
