//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. The paths lie with the locks, all
//! over memory; so a run keeps beside each key the four bytes in which its paths differ first, and looks at a path only
//! where these are equal. Eight bytes a lock.

use alloc::vec::Vec;
use core::ops::{Bound, Range};

use compact_str::CompactString;
use slab::Slab;

use crate::keys::LockKey;
use crate::lock::Lock;

/// A run that has become longer is cut in two. Few where mistakes are looked for.
const RUN_MAX: usize = if cfg!(debug_assertions) { 8 } else { 512 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathOrder {
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
    /// What comes after these, of each.
    heads: Vec<u32>,
    locks: Vec<LockKey>,
}

impl PathOrder {
    /// Takes in a lock whose path is not in here.
    pub(crate) fn insert(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(path);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(Run::of(locks, Vec::from([lock])));
            return;
        };
        run.make_room_for(locks, path);
        let index = run.places(locks, path).start;
        run.heads.insert(index, head(path, run.skip));
        run.locks.insert(index, lock);
        if run.locks.len() > RUN_MAX {
            // Whoever inserts in order leaves full runs behind.
            let keep = if index == RUN_MAX {
                RUN_MAX
            } else {
                RUN_MAX / 2
            };
            let rest = run.locks.split_off(keep);
            let first = core::mem::take(&mut run.locks);
            self.runs[at] = Run::of(locks, first);
            self.runs.insert(at + 1, Run::of(locks, rest));
        }
    }

    /// Takes out a lock that is in here.
    pub(crate) fn remove(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(path);
        let run = &mut self.runs[at];
        let index = run.place_of(path, lock);
        run.heads.remove(index);
        run.locks.remove(index);
        if run.locks.is_empty() {
            self.runs.remove(at);
        } else if run.locks.len() < run.locks.capacity() / 4 {
            self.join_with_next(locks, at);
        }
    }

    /// Few runs cost less than many short ones.
    fn join_with_next(&mut self, locks: &Slab<Lock>, at: usize) {
        let length = self.runs[at].locks.len();
        let next = self
            .runs
            .get(at + 1)
            .map_or(RUN_MAX, |next| next.locks.len());
        if length + next <= RUN_MAX / 2 {
            let next = self.runs.remove(at + 1);
            self.runs[at].locks.extend(next.locks);
            let joined = core::mem::take(&mut self.runs[at].locks);
            self.runs[at] = Run::of(locks, joined);
        }
        let run = &mut self.runs[at];
        run.heads.shrink_to(2 * length);
        run.locks.shrink_to(2 * length);
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
        let run = self.runs.get(at);
        let first = run.map_or(&[][..], |run| {
            let places = run.places(locks, path);
            let index = if is_excluded {
                places.end
            } else {
                places.start
            };
            &run.locks[index..]
        });
        let later = self.runs.get(at + 1..).unwrap_or_default();
        let later = later.iter().flat_map(|run| &run.locks);
        first.iter().chain(later).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.locks.len()).sum()
    }

    /// The run that has the path, or would have it.
    fn run_of(&self, path: &str) -> usize {
        let beyond = self.runs.partition_point(|run| *run.from <= *path);
        beyond.saturating_sub(1)
    }
}

impl Run {
    /// A run of these locks, which are some and in order.
    fn of(all: &Slab<Lock>, locks: Vec<LockKey>) -> Self {
        let path = |lock: Option<&LockKey>| lock.map_or("", |lock| path_of(all, *lock));
        let (first, last) = (path(locks.first()), path(locks.last()));
        let skip = in_common(first, last);
        let heads = locks.iter().map(|lock| head(path_of(all, *lock), skip));
        Self {
            from: CompactString::new(first),
            skip,
            heads: heads.collect(),
            locks,
        }
    }

    /// Lets the paths have no more in common than they will have with this one.
    fn make_room_for(&mut self, all: &Slab<Lock>, path: &str) {
        let skip = in_common(&self.from, path);
        if skip < self.skip {
            self.skip = skip;
            let heads = self.heads.iter_mut().zip(&self.locks);
            heads.for_each(|(known, lock)| *known = head(path_of(all, *lock), skip));
        }
        if *path < *self.from {
            self.from = CompactString::new(path);
        }
    }

    /// Where a lock stands that is in here. No other is looked at for that: they lie all over memory.
    fn place_of(&self, path: &str, lock: LockKey) -> usize {
        let Range { start, end } = self.alike(path);
        let alike = self.locks[start..end].iter();
        let among = alike.copied().position(|known| known == lock);
        start + among.expect("the lock is in the run that would have it")
    }

    /// The places whose heads are as that of the path.
    fn alike(&self, path: &str) -> Range<usize> {
        let head = head(path, self.skip);
        let start = self.heads.partition_point(|known| *known < head);
        let count = self.heads[start..].partition_point(|known| *known == head);
        start..start + count
    }

    /// Where the path stands: one place, or none between two.
    fn places(&self, all: &Slab<Lock>, path: &str) -> Range<usize> {
        let (own, other) = (self.from.as_bytes(), path.as_bytes());
        match other[..self.skip.min(other.len())].cmp(&own[..self.skip]) {
            core::cmp::Ordering::Less => return 0..0,
            core::cmp::Ordering::Greater => return self.locks.len()..self.locks.len(),
            core::cmp::Ordering::Equal => {}
        }
        let Range { start: first, end } = self.alike(path);
        let alike = &self.locks[first..end];
        let start = first + alike.partition_point(|lock| path_of(all, *lock) < path);
        let is_there = self
            .locks
            .get(start)
            .is_some_and(|lock| path_of(all, *lock) == path);
        start..start + usize::from(is_there)
    }
}

/// The four bytes of a path after so many, which sort as they do.
fn head(path: &str, skip: usize) -> u32 {
    let mut head = [0; 4];
    let bytes = path.as_bytes().get(skip..).unwrap_or_default();
    let length = bytes.len().min(4);
    head[..length].copy_from_slice(&bytes[..length]);
    u32::from_be_bytes(head)
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
                prop_assert!(order.runs.iter().all(|run| !run.locks.is_empty() && run.locks.len() <= RUN_MAX));
            }
            for start in [Bound::Included(&*start), Bound::Excluded(&*start), Bound::Unbounded] {
                let found = order.from(&locks, start);
                let range = expected.range::<str, _>((start, Bound::Unbounded));
                prop_assert!(found.eq(range.map(|(_, lock)| *lock)));
            }
        }
    }
}
