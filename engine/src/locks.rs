//! Where locks lie: in one vector, each in a place of its own for as long as it lives.
//!
//! As in the crate `slab`, vacant places are a list in themselves. But when no lock is left, no place is in that list, and places
//! are begun again with the first: so the memory that millions have taken is given back a piece at a time, and no step waits
//! until all of it has been looked at. Must hold: every place before `fresh` has a lock or is in the list; from there on none.

use alloc::vec::Vec;
use core::mem;
use core::ops::{Index, IndexMut};

use crate::keys::LockKey;
use crate::lock::Lock;

/// Room for so many is kept. Little where mistakes are looked for.
const KEPT: usize = if cfg!(debug_assertions) { 4 } else { 16 * 1024 };

/// The room of so many is given back at once: some ten microseconds.
const PIECE: usize = if cfg!(debug_assertions) { 4 } else { 16 * 1024 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks {
    places: Vec<Place>,
    /// The first place that has not been taken since there was no lock.
    fresh: usize,
    /// The place, of those before, that is taken next.
    vacant: Option<LockKey>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Place {
    Lock(Lock),
    /// With the next in the list.
    Vacant(Option<LockKey>),
}

impl Locks {
    /// Puts a lock into a vacant place. It is made with the key that it will have.
    pub(crate) fn insert(&mut self, lock: impl FnOnce(LockKey) -> Lock) -> LockKey {
        self.len += 1;
        let key = self.vacant.unwrap_or_else(|| LockKey::at(self.fresh));
        let Some(place) = self.places.get_mut(key.place()) else {
            self.fresh += 1;
            self.places.push(Place::Lock(lock(key)));
            return key;
        };
        match place {
            Place::Vacant(next) if self.vacant.is_some() => self.vacant = *next,
            Place::Vacant(_) | Place::Lock(_) => self.fresh += 1,
        }
        *place = Place::Lock(lock(key));
        key
    }

    /// Takes out a lock that is there.
    pub(crate) fn remove(&mut self, key: LockKey) -> Lock {
        let place = &mut self.places[key.place()];
        let Place::Lock(lock) = mem::replace(place, Place::Vacant(self.vacant)) else {
            vacant(key);
        };
        self.vacant = Some(key);
        self.len -= 1;
        if self.len == 0 {
            self.vacant = None;
            self.fresh = 0;
        }
        lock
    }

    /// Whether more room is kept than may be.
    pub(crate) fn has_room_to_give_back(&self) -> bool {
        self.len == 0 && self.places.len() > KEPT
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
        match self.places.get(key.place())? {
            Place::Lock(lock) => Some(lock),
            Place::Vacant(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: LockKey) -> Option<&mut Lock> {
        match self.places.get_mut(key.place())? {
            Place::Lock(lock) => Some(lock),
            Place::Vacant(_) => None,
        }
    }

    pub(crate) fn contains(&self, key: LockKey) -> bool {
        self.get(key).is_some()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LockKey, &Lock)> + Clone {
        let places = self.places.iter().enumerate();
        places.filter_map(|(at, place)| match place {
            Place::Lock(lock) => Some((LockKey::at(at), lock)),
            Place::Vacant(_) => None,
        })
    }
}

impl Index<LockKey> for Locks {
    type Output = Lock;

    fn index(&self, key: LockKey) -> &Lock {
        self.get(key).unwrap_or_else(|| vacant(key))
    }
}

impl IndexMut<LockKey> for Locks {
    fn index_mut(&mut self, key: LockKey) -> &mut Lock {
        self.get_mut(key).unwrap_or_else(|| vacant(key))
    }
}

#[cold]
fn vacant(key: LockKey) -> ! {
    panic!("expected a lock at place {}, found none", key.place())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::nursery::Stage;

    /// Of each there may be millions.
    #[test]
    fn a_place_is_no_larger_than_a_lock() {
        assert_eq!(size_of::<Place>(), size_of::<Lock>());
    }

    proptest! {
        /// As a `BTreeMap` would have it; and when all are gone, no more room than is kept.
        #[test]
        fn a_lock_is_found_at_its_place(steps in prop::collection::vec(0_usize..40, 1..200)) {
            let (mut locks, mut expected) = (Locks::default(), BTreeMap::new());
            for (number, step) in steps.into_iter().enumerate() {
                if let Some(key) = expected.keys().nth(step).copied() {
                    let gone = locks.remove(key);
                    let path = expected.remove(&key);
                    prop_assert_eq!(Some(gone.path.as_str()), path.as_deref());
                } else {
                    let path = format!("path/{number}");
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
                }
            }
            for key in expected.into_keys() {
                locks.remove(key);
            }
            while locks.has_room_to_give_back() {
                locks.give_back();
            }
            prop_assert!(locks.places.len() <= KEPT);
        }
    }
}
