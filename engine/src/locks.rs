//! Where locks lie: in one vector, each in a place of its own for as long as it lives.
//!
//! When no lock is left, places are begun again with the first: so the memory that millions have taken is given back a piece
//! at a time, and no step waits until all of it has been looked at. The place of a lock that is retired keeps its path, and is
//! nobody's until those who name it have let go. Then it is vacant, and is not looked at for that: it lies anywhere.
//!
//! Must hold: every place before `fresh` has a lock, is retired or is vacant; from there on none.

use alloc::vec::Vec;
use core::mem;
use core::ops::{Index, IndexMut};

use compact_str::CompactString;

use crate::keys::LockKey;
use crate::lock::Lock;

/// Room for so many is kept. Little where mistakes are looked for.
const KEPT: usize = if cfg!(debug_assertions) { 4 } else { 16 * 1024 };

/// The room of so many is given back at once: some ten microseconds.
const PIECE: usize = if cfg!(debug_assertions) { 4 } else { 16 * 1024 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    /// Those that are gone are retired, or their places are vacant; then perhaps still with a path that lies in place.
    places: Vec<Lock>,
    /// The first place that has not been taken since there was no lock.
    fresh: usize,
    /// The places, of those before, that are taken next, last first; and others, in pieces that are full, so that very many
    /// are never moved at once.
    vacant: Vec<LockKey>,
    more_vacant: Vec<Vec<LockKey>>,
    len: usize,
    /// Which retired places each still names: a bit for each, near at hand where places are not.
    named: [Vec<u64>; NAMERS],
    /// Which of them have paths that lie apart, in memory that is to be given back.
    apart: Vec<u64>,
    retired: usize,
}

/// Who may still name a lock that is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namer {
    Table,
    Order,
}

const NAMERS: usize = 2;

/// Whoever names locks goes through so many entries for each that is retired: fewer cost less, and keep more that is retired.
pub(crate) const ROUND: usize = 3;

impl Locks {
    /// Puts a lock into a vacant place. It is made with the key that it will have.
    pub(crate) fn insert(&mut self, lock: impl FnOnce(LockKey) -> Lock) -> LockKey {
        self.len += 1;
        let key = self.take_vacant().unwrap_or_else(|| {
            self.fresh += 1;
            LockKey::at(self.fresh - 1)
        });
        let lock = lock(key);
        match self.places.get_mut(key.place()) {
            Some(place) => {
                let gone = mem::replace(place, lock);
                debug_assert!(gone.is_gone() && !gone.path.is_heap_allocated());
                // It owns nothing.
                mem::forget(gone);
            }
            None => self.places.push(lock),
        }
        key
    }

    /// Takes out a lock that is there.
    pub(crate) fn remove(&mut self, key: LockKey) {
        let lock = &mut self[key];
        lock.leave();
        if lock.path.is_heap_allocated() {
            lock.path = CompactString::default();
        }
        self.add_vacant(key);
        self.len -= 1;
        self.begin_again_if_empty();
    }

    /// Takes out a lock that is there, and keeps its place with its path for those who still name it.
    pub(crate) fn retire(&mut self, key: LockKey) {
        let lock = &mut self[key];
        lock.leave();
        let is_apart = lock.path.is_heap_allocated();
        let (word, bit) = bit_of(key);
        if word >= self.apart.len() {
            let words = self.fresh.div_ceil(64);
            self.named
                .iter_mut()
                .for_each(|named| named.resize(words, 0));
            self.apart.resize(words, 0);
        }
        self.named.iter_mut().for_each(|named| named[word] |= bit);
        self.apart[word] |= if is_apart { bit } else { 0 };
        self.retired += 1;
        self.len -= 1;
    }

    /// Whether it is the key of a lock that is retired, for one who names it.
    pub(crate) fn is_retired(&self, key: LockKey, by: Namer) -> bool {
        let (word, bit) = bit_of(key);
        let named = self.named[by as usize].get(word);
        named.is_some_and(|word| word & bit != 0)
    }

    /// Has one name some retired locks no more. The place of which nobody does may be taken again.
    pub(crate) fn let_go(&mut self, keys: &[LockKey], by: Namer) {
        let by = by as usize;
        let other = NAMERS - 1 - by;
        for &key in keys {
            let (word, bit) = bit_of(key);
            self.named[by][word] &= !bit;
            if self.named[other][word] & bit == 0 {
                self.add_vacant(key);
                self.retired -= 1;
                if self.apart[word] & bit != 0 {
                    self.apart[word] &= !bit;
                    self.places[key.place()].path = CompactString::default();
                }
            }
        }
        self.begin_again_if_empty();
    }

    pub(crate) const fn has_retired(&self) -> bool {
        self.retired > 0
    }

    fn begin_again_if_empty(&mut self) {
        if self.len == 0 && self.retired == 0 {
            self.vacant.clear();
            self.more_vacant = Vec::new();
            self.fresh = 0;
            self.named = Default::default();
            self.apart = Vec::new();
        }
    }

    fn add_vacant(&mut self, key: LockKey) {
        if self.vacant.len() == PIECE {
            let next = Vec::with_capacity(PIECE);
            self.more_vacant.push(mem::replace(&mut self.vacant, next));
        }
        self.vacant.push(key);
    }

    fn take_vacant(&mut self) -> Option<LockKey> {
        self.vacant.pop().or_else(|| {
            self.vacant = self.more_vacant.pop()?;
            self.vacant.pop()
        })
    }

    /// The path of a lock that is there, or is retired.
    pub(crate) fn path(&self, key: LockKey) -> &str {
        &self.places[key.place()].path
    }

    /// Whether more room is kept than may be.
    pub(crate) fn has_room_to_give_back(&self) -> bool {
        self.fresh == 0 && self.places.len() > KEPT
    }

    /// Gives a piece of it back.
    pub(crate) fn give_back(&mut self) {
        if self.has_room_to_give_back() {
            let kept = self.places.len() - PIECE.min(self.places.len() - KEPT);
            self.places.truncate(kept);
            self.places.shrink_to_fit();
        }
    }

    pub(crate) fn get(&self, key: LockKey) -> Option<&Lock> {
        let lock = self.places.get(key.place());
        lock.filter(|lock| !lock.is_gone())
    }

    pub(crate) fn get_mut(&mut self, key: LockKey) -> Option<&mut Lock> {
        let lock = self.places.get_mut(key.place());
        lock.filter(|lock| !lock.is_gone())
    }

    pub(crate) fn contains(&self, key: LockKey) -> bool {
        self.get(key).is_some()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LockKey, &Lock)> + Clone {
        let places = self.places.iter().enumerate();
        let there = places.filter(|(_, lock)| !lock.is_gone());
        there.map(|(at, lock)| (LockKey::at(at), lock))
    }
}

impl Index<LockKey> for Locks {
    type Output = Lock;

    fn index(&self, key: LockKey) -> &Lock {
        self.get(key).unwrap_or_else(|| no_lock(key))
    }
}

impl IndexMut<LockKey> for Locks {
    fn index_mut(&mut self, key: LockKey) -> &mut Lock {
        self.get_mut(key).unwrap_or_else(|| no_lock(key))
    }
}

/// Where the bit of a key is: in which word, and which.
const fn bit_of(key: LockKey) -> (usize, u64) {
    (key.place() / 64, 1 << (key.place() % 64))
}

#[cold]
fn no_lock(key: LockKey) -> ! {
    panic!("expected a lock at place {}, found none", key.place())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::nursery::Stage;

    proptest! {
        /// As a `BTreeMap` would have it; and when all are gone, no more room than is kept.
        #[test]
        fn a_lock_is_found_at_its_place(steps in prop::collection::vec(0_usize..40, 1..200)) {
            let (mut locks, mut expected) = (Locks::default(), BTreeMap::new());
            let mut retired = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                if let Some(key) = expected.keys().nth(step).copied() {
                    let path = expected.remove(&key).expect("it is one of them");
                    prop_assert_eq!(locks.path(key), &path);
                    if step % 2 == 0 {
                        locks.remove(key);
                    } else {
                        locks.retire(key);
                        prop_assert!(locks.is_retired(key, Namer::Table));
                        locks.let_go(&[key], Namer::Table);
                        prop_assert!(!locks.is_retired(key, Namer::Table));
                        retired.insert(key, path);
                    }
                } else if step % 3 == 2 && let Some((key, _)) = retired.pop_first() {
                    locks.let_go(&[key], Namer::Order);
                } else {
                    let path = match number % 3 {
                        0 => format!("path/of-some-length/that-lies-apart/{number}"),
                        _ => format!("path/{number}"),
                    };
                    let stage = Stage::Grown(None);
                    let key = locks.insert(|_| Lock::new(OrgKey::at(0), &path, stage));
                    prop_assert!(expected.insert(key, path).is_none());
                }
                if step == 0 {
                    locks.give_back();
                }
                prop_assert_eq!(locks.len(), expected.len());
                prop_assert!(locks.places.len() >= locks.fresh);
                let all = locks.iter().map(|(key, lock)| (key, lock.path.as_str()));
                prop_assert!(all.eq(expected.iter().map(|(key, path)| (*key, path.as_str()))));
                for (key, path) in &expected {
                    prop_assert_eq!(locks[*key].path.as_str(), path);
                    prop_assert!(!locks.is_retired(*key, Namer::Order));
                }
                for (key, path) in &retired {
                    prop_assert_eq!(locks.path(*key), path);
                    prop_assert!(locks.is_retired(*key, Namer::Order) && !locks.contains(*key));
                }
                prop_assert_eq!(locks.has_retired(), !retired.is_empty());
                let apart = |path: &&String| path.len() > size_of::<CompactString>();
                let gone = locks.places.iter().filter(|lock| lock.is_gone());
                let kept = gone.filter(|lock| lock.path.is_heap_allocated());
                prop_assert_eq!(kept.count(), retired.values().filter(apart).count());
            }
            for key in expected.into_keys() {
                locks.remove(key);
            }
            for key in retired.into_keys() {
                locks.let_go(&[key], Namer::Order);
            }
            while locks.has_room_to_give_back() {
                locks.give_back();
            }
            prop_assert!(locks.places.len() <= KEPT);
        }
    }
}
