//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. Four bytes a lock: the paths lie
//! with the locks. Finding a place costs as many comparisons as a binary search, changing it a move of one run at most.

use alloc::vec::Vec;
use core::ops::Bound;

use slab::Slab;

use crate::keys::LockKey;
use crate::lock::Lock;

/// A run that has become longer is cut in two. Few where mistakes are looked for.
const RUN_MAX: usize = if cfg!(debug_assertions) { 8 } else { 512 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathOrder {
    /// None is empty.
    runs: Vec<Vec<LockKey>>,
}

impl PathOrder {
    /// Takes in a lock whose path is not in here.
    pub(crate) fn insert(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(locks, path);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(Vec::from([lock]));
            return;
        };
        let index = run.partition_point(|&other| path_of(locks, other) < path);
        run.insert(index, lock);
        if run.len() > RUN_MAX {
            // Whoever inserts in order leaves full runs behind.
            let keep = if index == RUN_MAX {
                RUN_MAX
            } else {
                RUN_MAX / 2
            };
            let rest = run.split_off(keep);
            run.shrink_to_fit();
            self.runs.insert(at + 1, rest);
        }
    }

    /// Takes out a lock that is in here.
    pub(crate) fn remove(&mut self, locks: &Slab<Lock>, lock: LockKey) {
        let path = path_of(locks, lock);
        let at = self.run_of(locks, path);
        let run = &mut self.runs[at];
        let index = run.partition_point(|&other| path_of(locks, other) < path);
        run.remove(index);
        if run.is_empty() {
            self.runs.remove(at);
        } else if run.len() < RUN_MAX / 4 {
            self.join_with_next(at);
        }
    }

    /// Few short runs cost less than many.
    fn join_with_next(&mut self, at: usize) {
        let length = self.runs[at].len();
        if self
            .runs
            .get(at + 1)
            .is_some_and(|next| length + next.len() <= RUN_MAX / 2)
        {
            let next = self.runs.remove(at + 1);
            self.runs[at].extend(next);
        }
        self.runs[at].shrink_to(2 * length);
    }

    /// The locks in path order, from `start` on.
    pub(crate) fn from<'a>(
        &'a self,
        locks: &'a Slab<Lock>,
        start: Bound<&'a str>,
    ) -> impl Iterator<Item = LockKey> + 'a {
        let (path, is_before): (_, fn(&str, &str) -> bool) = match start {
            Bound::Included(path) => (path, |other, path| other < path),
            Bound::Excluded(path) => (path, |other, path| other <= path),
            Bound::Unbounded => ("", |_, _| false),
        };
        let at = self.run_of(locks, path);
        let run = self.runs.get(at).map_or(&[][..], Vec::as_slice);
        let index = run.partition_point(|&lock| is_before(path_of(locks, lock), path));
        let later = self.runs.get(at + 1..).unwrap_or_default();
        run[index..].iter().chain(later.iter().flatten()).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// The run that has the path, or would have it.
    fn run_of(&self, locks: &Slab<Lock>, path: &str) -> usize {
        let beyond = self
            .runs
            .partition_point(|run| path_of(locks, run[0]) <= path);
        beyond.saturating_sub(1)
    }
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
    use crate::nursery::{Stage, Timers};

    proptest! {
        /// As a `BTreeMap` would have it.
        #[test]
        fn locks_are_found_in_the_order_of_their_paths(
            paths in prop::collection::vec("[ab]{1,6}", 1..200),
            start in "[ab]{0,6}",
        ) {
            let (mut locks, mut order) = (Slab::new(), PathOrder::default());
            let mut expected = BTreeMap::<String, LockKey>::new();
            for path in paths {
                // Whoever comes again goes.
                if let Some(gone) = expected.remove(&path) {
                    order.remove(&locks, gone);
                } else {
                    let stage = Stage::Grown(Timers::None);
                    let lock = locks.insert(Lock::new(OrgKey::at(0), &path, stage));
                    let lock = LockKey::at(lock);
                    order.insert(&locks, lock);
                    expected.insert(path, lock);
                }
                prop_assert_eq!(order.len(), expected.len());
                prop_assert!(order.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_MAX));
            }
            for start in [Bound::Included(&*start), Bound::Excluded(&*start), Bound::Unbounded] {
                let found = order.from(&locks, start);
                let range = expected.range::<str, _>((start, Bound::Unbounded));
                prop_assert!(found.eq(range.map(|(_, lock)| *lock)));
            }
        }
    }
}
