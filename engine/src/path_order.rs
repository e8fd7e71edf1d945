//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. The paths lie with the locks, all
//! over memory; so bytes in which paths differ first stand beside the keys, eight for a run and four for a lock, and a path
//! is looked at only where these are equal. Eight bytes a lock. Whoever goes leaves a gap, which the next who comes beside
//! it fills; a run with more gaps than locks is closed up.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hint::black_box;
use core::ops::{Bound, Range};

use compact_str::CompactString;
use slab::Slab;

use crate::keys::LockKey;
use crate::lock::Lock;

/// A run that has become longer is cut in two. Few where mistakes are looked for.
const RUN_MAX: usize = if cfg!(debug_assertions) { 8 } else { 512 };

/// A run that is full grows by so many.
const RUN_STEP: usize = RUN_MAX.div_ceil(32);

/// More with the same head are not searched one by one because there are gaps among them.
const ALIKE_FEW: usize = 4;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathOrder {
    /// So many bytes at their beginning all `from` have in common.
    skip: usize,
    /// What comes after these, of each.
    heads: Vec<u64>,
    /// None is empty.
    runs: Vec<Run>,
}

/// Locks whose paths follow each other.
#[derive(Debug, Clone)]
struct Run {
    /// Not above the first path, and above those of the run before.
    from: CompactString,
    /// So many bytes at their beginning all paths and `from` have in common.
    skip: usize,
    /// What comes after these, and whose it is. A gap has the head of whoever was there.
    places: Vec<(u32, Option<LockKey>)>,
    gaps: usize,
}

impl PathOrder {
    /// Takes in a lock whose path is not in here.
    pub(crate) fn insert(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(path);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(Run::of(locks, path, &[lock]));
            self.mark_all();
            return;
        };
        run.share_with(locks, path);
        if *path < *run.from {
            run.from = CompactString::new(path);
            self.heads.remove(at);
            self.mark(at);
        }
        if let Some(rest) = self.runs[at].insert(locks, path, lock) {
            self.runs.insert(at + 1, rest);
            self.mark(at + 1);
        }
    }

    /// Takes out a lock that is in here.
    pub(crate) fn remove(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(path);
        let run = &mut self.runs[at];
        run.leave_gap(path, lock);
        if run.len() == 0 {
            self.runs.remove(at);
            self.heads.remove(at);
        } else if run.gaps > run.len() {
            run.close_gaps();
            self.join_with_next(locks, at);
        }
    }

    /// Few runs cost less than many short ones.
    fn join_with_next(&mut self, locks: &Slab<Lock>, at: usize) {
        let next = self.runs.get(at + 1).map_or(RUN_MAX, Run::len);
        if self.runs[at].len() + next > RUN_MAX / 2 {
            return;
        }
        let next = self.runs.remove(at + 1);
        self.heads.remove(at + 1);
        let run = &mut self.runs[at];
        let joined: Vec<_> = run.locks_from(0).chain(next.locks_from(0)).collect();
        *run = Run::of(locks, &run.from, &joined);
    }

    /// The locks in path order, from `start` on.
    pub(crate) fn from<'a>(
        &'a self,
        locks: &'a Slab<Lock>,
        start: Bound<&'a str>,
    ) -> impl Iterator<Item = LockKey> + 'a {
        let (path, is_excluded) = match start {
            Bound::Included(path) => (path, false),
            Bound::Excluded(path) => (path, true),
            Bound::Unbounded => ("", false),
        };
        let at = self.run_of(path);
        let first = self.runs.get(at).map(|run| {
            let is_before = |known: &str| *known < *path || is_excluded && *known == *path;
            run.locks_from(run.place_after(locks, path, is_before))
        });
        let later = self.runs.get(at + 1..).unwrap_or_default();
        let later = later.iter().flat_map(|run| run.locks_from(0));
        first.into_iter().flatten().chain(later)
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// The run that has the path, or would have it.
    fn run_of(&self, path: &str) -> usize {
        let Some(first) = self.runs.first() else {
            return 0;
        };
        let beyond = match compare_prefix(path, &first.from, self.skip) {
            Ordering::Less => 0,
            Ordering::Greater => self.runs.len(),
            Ordering::Equal => {
                let head = head_of_run(path, self.skip);
                let start = self.heads.partition_point(|known| *known < head);
                let alike = self.heads[start..].iter();
                let alike = alike.take_while(|known| **known == head).count();
                let alike = &self.runs[start..start + alike];
                start + alike.partition_point(|run| *run.from <= *path)
            }
        };
        beyond.saturating_sub(1)
    }

    /// Puts the head of a run beside it, which has none yet.
    fn mark(&mut self, at: usize) {
        let from = &self.runs[at].from;
        let others = [self.runs.first(), self.runs.last()];
        let shares = |other: &Run| in_common(from, &other.from) >= self.skip;
        if others.into_iter().flatten().all(shares) {
            self.heads.insert(at, head_of_run(from, self.skip));
        } else {
            self.mark_all();
        }
    }

    fn mark_all(&mut self) {
        let from =
            |run: Option<&Run>| run.map_or_else(CompactString::default, |run| run.from.clone());
        self.skip = in_common(&from(self.runs.first()), &from(self.runs.last()));
        let heads = self
            .runs
            .iter()
            .map(|run| head_of_run(&run.from, self.skip));
        self.heads = heads.collect();
    }
}

impl Run {
    /// A run of these locks, which are some and in order.
    fn of(all: &Slab<Lock>, from: &str, locks: &[LockKey]) -> Self {
        let last = locks.last().map_or(from, |lock| path_of(all, *lock));
        let skip = in_common(from, last);
        let place = |lock: &LockKey| (head(path_of(all, *lock), skip), Some(*lock));
        Self {
            from: CompactString::new(from),
            skip,
            places: locks.iter().map(place).collect(),
            gaps: 0,
        }
    }

    fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    fn locks_from(&self, place: usize) -> impl Iterator<Item = LockKey> + '_ {
        self.places[place..].iter().filter_map(|(_, lock)| *lock)
    }

    /// Lets the paths have no more in common than they will have with this one.
    fn share_with(&mut self, all: &Slab<Lock>, path: &str) {
        let skip = in_common(&self.from, path);
        if skip < self.skip {
            self.skip = skip;
            self.gaps = 0;
            let heads = |(_, lock): &(u32, Option<LockKey>)| {
                let lock = (*lock)?;
                Some((head(path_of(all, lock), skip), Some(lock)))
            };
            self.places = self.places.iter().filter_map(heads).collect();
        }
    }

    /// Takes in a lock with whose path it shares what it has in common. Gives what has become too much, as another run.
    fn insert(&mut self, all: &Slab<Lock>, path: &str, lock: LockKey) -> Option<Self> {
        let is_before = |known: &str| *known < *path;
        if self.gaps > 0 && (self.places.len() >= RUN_MAX || self.alike(path).len() > ALIKE_FEW) {
            self.close_gaps();
        }
        let at = self.place_after(all, path, is_before);
        let place = (head(path, self.skip), Some(lock));
        let around = at.saturating_sub(1)..self.places.len().min(at + 1);
        if let Some(gap) = self.places[around]
            .iter_mut()
            .find(|place| place.1.is_none())
        {
            *gap = place;
            self.gaps -= 1;
            return None;
        }
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(RUN_STEP);
        }
        self.places.insert(at, place);
        (self.places.len() > RUN_MAX).then(|| {
            // Whoever inserts in order leaves full runs behind.
            let keep = if at == RUN_MAX { RUN_MAX } else { RUN_MAX / 2 };
            let locks: Vec<_> = self.locks_from(0).collect();
            let (first, rest) = locks.split_at(keep);
            *self = Self::of(all, &self.from, first);
            let from = rest.first().map_or("", |lock| path_of(all, *lock));
            Self::of(all, from, rest)
        })
    }

    /// Takes out a lock that is in here. No other is looked at for that: they lie all over memory.
    fn leave_gap(&mut self, path: &str, lock: LockKey) {
        let alike = self.alike(path);
        let mut alike = self.places[alike].iter_mut();
        let place = alike.find(|place| place.1 == Some(lock));
        place.expect("the lock is in the run that would have it").1 = None;
        self.gaps += 1;
    }

    fn close_gaps(&mut self) {
        self.places.retain(|(_, lock)| lock.is_some());
        self.places.shrink_to(self.places.len() + RUN_STEP);
        self.gaps = 0;
    }

    /// The places whose heads are as that of the path.
    fn alike(&self, path: &str) -> Range<usize> {
        let head = head(path, self.skip);
        let start = self.places.partition_point(|(known, _)| *known < head);
        let alike = self.places[start..].iter();
        let count = alike.take_while(|(known, _)| *known == head).count();
        start..start + count
    }

    /// The place after all that are before the path. With gaps, those with the same head are looked at one by one.
    fn place_after(&self, all: &Slab<Lock>, path: &str, is_before: impl Fn(&str) -> bool) -> usize {
        match compare_prefix(path, &self.from, self.skip) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.places.len(),
            Ordering::Equal => {}
        }
        let is_before = |(_, lock): &(u32, Option<LockKey>)| {
            lock.is_some_and(|lock| is_before(path_of(all, lock)))
        };
        let Range { start, end } = self.alike(path);
        let alike = &self.places[start..end];
        start
            + if self.gaps == 0 {
                alike.partition_point(is_before)
            } else {
                let last = alike.iter().rposition(is_before);
                last.map_or(0, |last| last + 1)
            }
    }
}

/// Looks at where paths stand; see `ahead.rs`. All are searched at the same time, one half after the other.
pub(crate) fn glance<'a>(paths: impl Iterator<Item = (&'a PathOrder, &'a str)>) {
    let search = |(order, path): (&'a PathOrder, &str)| {
        let run = order.runs.get(order.run_of(path))?;
        Some((head(path, run.skip), &*run.places))
    };
    let mut searches: Vec<_> = paths.filter_map(search).collect();
    let longest = searches.iter().map(|(_, places)| places.len()).max();
    for _ in 0..longest.unwrap_or(0).checked_ilog2().unwrap_or(0) {
        for (head, places) in &mut searches {
            let (before, after) = places.split_at(places.len() / 2);
            let is_after = after.first().is_some_and(|(known, _)| known < head);
            *places = if is_after { after } else { before };
        }
    }
    black_box(searches);
}

/// Compares the first bytes of a path with those of another, which has so many.
fn compare_prefix(path: &str, other: &str, count: usize) -> Ordering {
    let (path, other) = (path.as_bytes(), other.as_bytes());
    path[..count.min(path.len())].cmp(&other[..count])
}

/// The four bytes of a path after so many, which sort as they do.
fn head(path: &str, skip: usize) -> u32 {
    let mut head = [0; 4];
    let bytes = path.as_bytes().get(skip..).unwrap_or_default();
    let length = bytes.len().min(4);
    head[..length].copy_from_slice(&bytes[..length]);
    u32::from_be_bytes(head)
}

/// The eight.
fn head_of_run(path: &str, skip: usize) -> u64 {
    let (first, second) = (head(path, skip), head(path, skip + 4));
    u64::from(first) << 32 | u64::from(second)
}

fn in_common(one: &str, other: &str) -> usize {
    let bytes = one.bytes().zip(other.bytes());
    bytes.take_while(|(one, other)| one == other).count()
}

fn path_of(locks: &Slab<Lock>, lock: LockKey) -> &str {
    &locks[lock.place()].path
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::nursery::Stage;

    proptest! {
        /// As a `BTreeMap` would have it.
        #[test]
        fn locks_are_found_in_the_order_of_their_paths(
            paths in prop::collection::vec("(aaaaa)?[ab]{1,9}", 1..200),
            start in "(aaaaa)?[ab]{0,9}",
        ) {
            let (mut locks, mut order) = (Slab::new(), PathOrder::default());
            let mut expected = BTreeMap::<String, LockKey>::new();
            for path in paths {
                // Whoever comes again goes.
                if let Some(gone) = expected.remove(&path) {
                    order.remove(&locks, gone);
                } else {
                    let stage = Stage::Grown(None);
                    let lock = locks.insert(Lock::new(OrgKey::at(0), &path, stage));
                    let lock = LockKey::at(lock);
                    order.insert(&locks, lock);
                    expected.insert(path, lock);
                }
                prop_assert_eq!(order.len(), expected.len());
                prop_assert!(order.runs.iter().all(|run| run.len() > 0 && run.places.len() <= RUN_MAX));
                let heads = order.runs.iter().map(|run| head_of_run(&run.from, order.skip));
                prop_assert!(order.heads.iter().copied().eq(heads));
            }
            for start in [Bound::Included(&*start), Bound::Excluded(&*start), Bound::Unbounded] {
                let found = order.from(&locks, start);
                let range = expected.range::<str, _>((start, Bound::Unbounded));
                prop_assert!(found.eq(range.map(|(_, lock)| *lock)));
            }
        }
    }
}
