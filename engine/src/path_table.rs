//! The locks of an org by their paths: a table of keys with 32 bits of each path's hash beside them.
//!
//! It lies in parts, by the first bits of the hash, each of which is cut in two, or joined with its neighbour, on its own
//! (extendible hashing, Fagin et al. 1979). So one insert costs no more among millions than among thousands. In a part,
//! entries stand by hash, as near to where it points as others let them (Robin Hood, Celis 1986): a look at one line of
//! memory nearly always, and no look at a lock but the one that is meant. A part grows in steps of an eighth, and three
//! quarters of it are full; half, where there is only one. Eight bytes an entry. Knows paths only as their hashes.
//!
//! Who is retired is not looked for: a hand goes round, as in path order, and takes them out part by part.

use alloc::vec::Vec;
use core::mem;

use slab::Slab;

use crate::keys::LockKey;
use crate::locks::{Locks, Namer, ROUND};

/// A part with more is cut in two: so much is moved at once, and no more. Few where mistakes are looked for.
const PART_MAX: usize = if cfg!(debug_assertions) { 8 } else { 4096 };

/// Two neighbours with fewer each are joined.
const PART_FEW: usize = PART_MAX / 8;

/// Parts have no more bits of the hash in common: who shares so many may be very many.
const DEPTH_MAX: u32 = if cfg!(debug_assertions) { 6 } else { 20 };

/// A part grows by so many at least.
const LEAST: usize = if cfg!(debug_assertions) { 4 } else { 32 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathTable {
    /// Where the part is, by as many of the first bits of the hash as the deepest parts have in common.
    directory: Vec<u32>,
    /// How many bits of the hash these are.
    bits: u32,
    parts: Slab<Part>,
    /// How many parts are as deep as the directory.
    deepest: usize,
    /// The locks in here that are not retired.
    len: usize,
    /// Where the hand is: at the part with this hash, and so many entries may be gone through.
    hand: u32,
    allowed: usize,
}

/// The entries whose hashes begin alike.
#[derive(Debug, Clone, Default)]
struct Part {
    /// By hash, with holes; every entry at its home or beyond it, and nothing empty between.
    places: Vec<Place>,
    /// How many homes there are. What is beyond them has been pushed there.
    homes: usize,
    len: usize,
    /// How many bits all hashes have in common.
    depth: u32,
}

type Place = (u32, Option<LockKey>);

impl PathTable {
    /// The first lock with this hash of which the question is answered with yes.
    pub(crate) fn find(&self, hash: u32, is_it: impl Fn(LockKey) -> bool) -> Option<LockKey> {
        let part = &self.parts[self.part_of(hash)?];
        part.place_of(hash, is_it).and_then(|at| part.places[at].1)
    }

    /// Takes in a lock that is not in here. It takes the entry of one with its hash that is retired, if there is one: so an
    /// entry is passed on by whoever goes and comes back, and there are never more than were held at once.
    pub(crate) fn insert(&mut self, locks: &mut Locks, hash: u32, lock: LockKey) {
        if locks.has_retired()
            && let Some(at) = self.part_of(hash)
        {
            let part = &mut self.parts[at];
            let is_retired = |known| locks.is_retired(known, Namer::Table);
            if let Some(place) = part.place_of(hash, is_retired)
                && let Some(retired) = part.places[place].1.replace(lock)
            {
                self.len += 1;
                locks.let_go(&[retired], Namer::Table);
                return;
            }
        }
        let mut at = self.part_of(hash).unwrap_or_else(|| self.first_part());
        while self.parts[at].len >= PART_MAX && self.parts[at].depth < DEPTH_MAX {
            self.cut(at, hash);
            at = self
                .part_of(hash)
                .expect("a table with parts has one for each hash");
        }
        self.parts[at].insert(hash, lock);
        self.len += 1;
    }

    /// Takes out a lock. Gives room back when little of it is used.
    pub(crate) fn remove(&mut self, locks: &mut Locks, hash: u32, lock: LockKey) {
        let Some(at) = self.part_of(hash) else {
            return;
        };
        if self.parts[at].remove(hash, lock) {
            self.len -= 1;
            if self.parts[at].len <= PART_FEW {
                self.join(at, hash);
            }
            self.begin_again_if_empty(locks);
        }
    }

    /// A lock that is in here has been retired.
    pub(crate) fn pass(&mut self, locks: &mut Locks) {
        self.len -= 1;
        self.allowed += ROUND;
        while let Some(at) = self.part_of(self.hand)
            && self.parts[at].len <= self.allowed
        {
            let part = &mut self.parts[at];
            self.allowed -= part.len;
            part.let_go_of_retired(locks);
            let (hand, span) = (self.hand, 1 << (32 - part.depth));
            self.hand = (u64::from(hand) / span * span + span) as u32;
            self.join(at, hand);
            if self.hand == 0 {
                // Who has been all around has done enough.
                self.allowed = 0;
                break;
            }
        }
        self.begin_again_if_empty(locks);
    }

    #[inline]
    fn begin_again_if_empty(&mut self, locks: &mut Locks) {
        if self.len == 0 {
            self.begin_again(locks);
        }
    }

    #[inline(never)]
    fn begin_again(&mut self, locks: &mut Locks) {
        for (_, mut part) in mem::take(self).parts {
            part.let_go_of_retired(locks);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    fn part_of(&self, hash: u32) -> Option<usize> {
        let index = u64::from(hash) >> (32 - self.bits);
        self.directory.get(index as usize).map(|at| *at as usize)
    }

    fn first_part(&mut self) -> usize {
        let at = self.parts.insert(Part::default());
        self.directory.push(at as u32);
        self.deepest = 1;
        at
    }

    /// The places of the directory that lead to whatever part of a depth has the hash.
    fn led_from(&mut self, hash: u32, depth: u32) -> &mut [u32] {
        let span = self.bits - depth;
        let first = (u64::from(hash) >> (32 - depth) << span) as usize;
        &mut self.directory[first..first + (1 << span)]
    }

    /// Cuts the part in two that has the hash.
    fn cut(&mut self, at: usize, hash: u32) {
        let depth = self.parts[at].depth + 1;
        if depth > self.bits {
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
            self.bits = depth;
            self.deepest = 0;
        }
        if depth == self.bits {
            self.deepest += 2;
        }
        let upper = self.parts[at].cut();
        let upper = self.parts.insert(upper) as u32;
        let led = self.led_from(hash, depth - 1);
        let half = led.len() / 2;
        led[half..].fill(upper);
    }

    /// Joins the part that has the hash with its neighbour, if both have few, and so on.
    fn join(&mut self, at: usize, hash: u32) {
        while let Some(neighbour) = self.neighbour_to_join(at, hash) {
            let depth = self.parts[at].depth;
            let other = self.parts.remove(neighbour);
            self.parts[at].join(other);
            self.led_from(hash, depth - 1).fill(at as u32);
            if depth == self.bits {
                self.deepest -= 2;
            }
            if self.deepest == 0 {
                self.directory = self.directory.iter().copied().step_by(2).collect();
                self.bits -= 1;
                let parts = self.parts.iter();
                self.deepest = parts.filter(|(_, part)| part.depth == self.bits).count();
            }
        }
    }

    fn neighbour_to_join(&self, at: usize, hash: u32) -> Option<usize> {
        let part = &self.parts[at];
        if part.depth == 0 || part.len > PART_FEW {
            return None;
        }
        let neighbour = self.part_of(hash ^ 1 << (32 - part.depth))?;
        let other = &self.parts[neighbour];
        (other.depth == part.depth && other.len <= PART_FEW).then_some(neighbour)
    }
}

impl Part {
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

    fn insert(&mut self, hash: u32, lock: LockKey) {
        // The only one costs little, and is quicker with more room.
        let full = if self.depth == 0 { 8 } else { 13 };
        if 16 * (self.len + 1) > full * self.homes {
            self.lay_out(self.homes + self.homes / 8 + LEAST);
        }
        self.put(hash, lock);
        self.len += 1;
    }

    /// Tells whether it was there.
    fn remove(&mut self, hash: u32, lock: LockKey) -> bool {
        let Some(mut hole) = self.place_of(hash, |known| known == lock) else {
            return false;
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
        self.shrink_if_few();
        true
    }

    /// Takes out who is retired. Whoever stays comes nearer to home.
    fn let_go_of_retired(&mut self, locks: &mut Locks) {
        let (mut retired, mut free) = (Vec::new(), 0);
        for at in 0..self.places.len() {
            let (hash, Some(lock)) = mem::take(&mut self.places[at]) else {
                continue;
            };
            if locks.is_retired(lock, Namer::Table) {
                retired.push(lock);
            } else {
                let to = self.home(hash).max(free);
                self.places[to] = (hash, Some(lock));
                free = to + 1;
            }
        }
        self.len -= retired.len();
        locks.let_go(&retired, Namer::Table);
        self.shrink_if_few();
    }

    fn shrink_if_few(&mut self) {
        let room = self.len + LEAST;
        let room = if self.depth == 0 {
            2 * room
        } else {
            room + room / 3
        };
        if 2 * self.homes > 3 * room {
            self.lay_out(room);
        }
    }

    /// By the bits that not all have in common.
    const fn home(&self, hash: u32) -> usize {
        (((hash << self.depth) as u64 * self.homes as u64) >> 32) as usize
    }

    fn put(&mut self, hash: u32, lock: LockKey) {
        let mut carried = (hash, lock);
        let mut at = self.home(hash);
        loop {
            let Some(place) = self.places.get_mut(at) else {
                self.push((carried.0, Some(carried.1)));
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

    /// Puts a place behind all others.
    fn push(&mut self, place: Place) {
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(LEAST);
        }
        self.places.push(place);
    }

    /// Lays all entries out anew, over so many homes.
    fn lay_out(&mut self, homes: usize) {
        let places = mem::take(&mut self.places);
        self.homes = homes;
        self.places.reserve_exact(homes + LEAST);
        for (hash, lock) in places {
            if lock.is_some() {
                let at = self.home(hash).max(self.places.len());
                while self.places.len() < at {
                    self.places.push((0, None));
                }
                self.push((hash, lock));
            }
        }
        let len = self.places.len().max(homes);
        self.places.resize(len, (0, None));
    }

    /// Gives the upper half of it.
    fn cut(&mut self) -> Self {
        let is_upper = |hash: u32| hash << self.depth >> 31 == 1;
        let entries = mem::take(&mut self.places).into_iter();
        let entries = entries.filter(|(_, lock)| lock.is_some());
        let (upper, lower) = entries.partition::<Vec<_>, _>(|(hash, _)| is_upper(*hash));
        let depth = self.depth + 1;
        *self = Self::of(lower, depth);
        Self::of(upper, depth)
    }

    /// Takes in what its neighbour has.
    fn join(&mut self, neighbour: Self) {
        let mut both = mem::take(&mut self.places);
        both.extend(neighbour.places);
        both.retain(|(_, lock)| lock.is_some());
        both.sort_by_key(|(hash, _)| *hash);
        *self = Self::of(both, self.depth - 1);
    }

    /// Of entries by hash.
    fn of(entries: Vec<Place>, depth: u32) -> Self {
        let len = entries.len();
        let mut part = Self {
            places: entries,
            homes: 0,
            len,
            depth,
        };
        part.lay_out(len + len / 4 + LEAST);
        part
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::lock::Lock;
    use crate::nursery::Stage;

    impl PathTable {
        fn entries_of(&self, hash: u32) -> usize {
            let part = self.part_of(hash).map(|at| &self.parts[at]);
            let places = part.into_iter().flat_map(|part| &part.places);
            places
                .filter(|(known, lock)| *known == hash && lock.is_some())
                .count()
        }

        /// Every part is led to from all of its places in the directory, which is no larger than it has to be; and there are
        /// hardly more entries than so many.
        fn assert_whole(&self, expected: usize) {
            let bits = self.bits;
            assert_eq!(self.directory.len(), usize::from(self.len > 0) << bits);
            let mut led = BTreeMap::<usize, u32>::new();
            for at in &self.directory {
                *led.entry(*at as usize).or_default() += 1;
            }
            assert_eq!(led.len(), self.parts.len());
            let depths = self.parts.iter().map(|(_, part)| part.depth);
            assert_eq!(
                depths.clone().filter(|depth| *depth == bits).count(),
                self.deepest
            );
            assert!(bits == 0 || self.deepest > 0);
            for (at, part) in &self.parts {
                assert_eq!(led[&at], 1 << (bits - part.depth));
                let entries = part.places.iter().filter(|(_, lock)| lock.is_some());
                assert_eq!(entries.clone().count(), part.len);
                assert!(part.len <= PART_MAX || part.depth == DEPTH_MAX);
                assert!(
                    entries
                        .clone()
                        .all(|(hash, _)| self.part_of(*hash) == Some(at))
                );
                assert!(entries.is_sorted_by_key(|(hash, _)| *hash));
            }
            let entries: usize = self.parts.iter().map(|(_, part)| part.len).sum();
            assert_eq!(self.len, expected);
            assert!((expected..=expected + expected / 2 + 3 * PART_MAX).contains(&entries));
        }
    }

    proptest! {
        /// As a `BTreeMap` would have it, with few hashes and at both ends of them; and hardly more than that.
        #[test]
        fn whoever_is_in_the_table_is_found(
            steps in prop::collection::vec(
                (0_usize..80, prop_oneof![0_u32..5, any::<u32>(), any::<u32>(), u32::MAX - 5..], any::<bool>()),
                1..400,
            ),
        ) {
            let (mut locks, mut table) = (Locks::default(), PathTable::default());
            let (mut expected, mut most) = (BTreeMap::<LockKey, u32>::new(), BTreeMap::new());
            for (index, hash, is_young) in steps {
                if let Some((&lock, &hash)) = expected.iter().nth(index) {
                    expected.remove(&lock);
                    take_out(&mut locks, &mut table, (lock, hash), is_young);
                    let found = table.find(hash, |known| known == lock && locks.contains(known));
                    prop_assert_eq!(found, None);
                } else {
                    let lock = locks.insert(|_| Lock::new(OrgKey::at(0), "path", Stage::Grown(None)));
                    table.insert(&mut locks, hash, lock);
                    expected.insert(lock, hash);
                    let alike = expected.values().filter(|known| **known == hash).count();
                    let most = most.entry(hash).or_insert(0);
                    *most = alike.max(*most);
                }
                prop_assert_eq!((table.len(), locks.len()), (expected.len(), expected.len()));
                for (&lock, &hash) in &expected {
                    prop_assert_eq!(table.find(hash, |known| known == lock), Some(lock));
                }
                table.assert_whole(expected.len());
                for (hash, most) in &most {
                    prop_assert!(table.entries_of(*hash) <= *most);
                }
            }
            for (lock, hash) in expected {
                take_out(&mut locks, &mut table, (lock, hash), hash % 2 == 0);
                table.assert_whole(table.len());
            }
            prop_assert!(!locks.has_retired());
        }
    }

    /// The hand may not go through more at once because it had little to do before.
    #[test]
    fn whoever_comes_and_goes_beside_one_who_stays_saves_up_no_work() {
        let (mut locks, mut table) = (Locks::default(), PathTable::default());
        for hash in [0, 1].into_iter().cycle().take(200) {
            let lock = locks.insert(|_| Lock::new(OrgKey::at(0), "path", Stage::Grown(None)));
            table.insert(&mut locks, hash, lock);
            if table.len() > 1 {
                take_out(&mut locks, &mut table, (lock, hash), false);
            }
            table.assert_whole(1);
            assert!(table.allowed <= 2 + ROUND);
        }
    }

    fn take_out(
        locks: &mut Locks,
        table: &mut PathTable,
        (lock, hash): (LockKey, u32),
        is_young: bool,
    ) {
        if is_young {
            locks.remove(lock);
            table.remove(locks, hash, lock);
        } else {
            locks.retire(lock);
            locks.let_go(&[lock], Namer::Order);
            table.pass(locks);
        }
    }
}
