//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. The paths lie with the locks, all
//! over memory; so bytes in which paths differ first stand beside the keys, eight for a run and four for a lock, and a path
//! is looked at only where these are equal. Eight bytes a lock. Whoever goes leaves a gap, which the next who comes beside
//! it fills; a run with more gaps than locks is closed up.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::{Bound, Range};

use compact_str::CompactString;

use crate::keys::LockKey;
use crate::locks::Locks;

/// A run that has become longer is cut in two. Few where mistakes are looked for.
const RUN_MAX: usize = if cfg!(debug_assertions) { 8 } else { 512 };

/// Two that have no more are joined.
const JOINED_MAX: usize = RUN_MAX / 8;

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

/// Where a lock stands as long as nothing is done to its run: at a place of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    run: usize,
    place: usize,
}

impl PathOrder {
    /// Takes in a lock whose path is not in here.
    pub(crate) fn insert(&mut self, locks: &Locks, lock: LockKey) {
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

    /// Takes out a lock that is in here, and that stood there when it was looked for last.
    pub(crate) fn remove(&mut self, locks: &Locks, lock: LockKey, there: Option<Standing>) {
        let is_there = |there: &Standing| {
            let run = self.runs.get(there.run);
            run.is_some_and(|run| run.stands_at(there.place, lock))
        };
        let Standing { run: at, place } = there.filter(is_there).unwrap_or_else(|| {
            let path = path_of(locks, lock);
            let at = self.run_of(path);
            let run = &self.runs[at];
            let place = run.place_among(run.alike(path), lock);
            let place = place.expect("the lock is in the run that would have it");
            Standing { run: at, place }
        });
        let run = &mut self.runs[at];
        run.leave_gap(place);
        if run.len() == 0 {
            self.runs.remove(at);
            self.heads.remove(at);
        } else if run.gaps > run.len() {
            run.close_gaps();
            self.join_with_next(locks, at);
        }
    }

    /// Few runs cost less than many short ones; but to join them, all of their locks are looked at.
    fn join_with_next(&mut self, locks: &Locks, at: usize) {
        let next = self.runs.get(at + 1).map_or(RUN_MAX, Run::len);
        if self.runs[at].len() + next > JOINED_MAX {
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
        locks: &'a Locks,
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

    /// The search for the run of a path.
    fn search(&self, path: &str) -> Search<'_, u64, u64> {
        let first = self.runs.first();
        let side = first.map(|first| compare_prefix(path, &first.from, self.skip));
        let (first, rest) = match side {
            Some(Ordering::Equal) => (0, &*self.heads),
            Some(Ordering::Greater) => (self.heads.len(), &[][..]),
            Some(Ordering::Less) | None => (0, &[][..]),
        };
        let head = head_of_run(path, self.skip);
        Search { head, first, rest }
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
    fn of(all: &Locks, from: &str, locks: &[LockKey]) -> Self {
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
    fn share_with(&mut self, all: &Locks, path: &str) {
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
    fn insert(&mut self, all: &Locks, path: &str, lock: LockKey) -> Option<Self> {
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

    /// Where a lock stands among these. It is not looked at for that, nor is another: they lie all over memory.
    fn place_among(&self, mut places: Range<usize>, lock: LockKey) -> Option<usize> {
        places.find(|place| self.stands_at(*place, lock))
    }

    fn stands_at(&self, place: usize, lock: LockKey) -> bool {
        let place = self.places.get(place);
        place.is_some_and(|(_, known)| *known == Some(lock))
    }

    /// Takes out the lock that stands there.
    fn leave_gap(&mut self, place: usize) {
        self.places[place].1 = None;
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
    fn place_after(&self, all: &Locks, path: &str, is_before: impl Fn(&str) -> bool) -> usize {
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

/// Finds out where locks stand that are in here, all at the same time; see `ahead.rs`.
pub(crate) fn find_together(sought: &[(&PathOrder, &str, LockKey)]) -> Vec<Option<Standing>> {
    let runs = sought.iter().map(|(order, path, _)| order.search(path));
    let runs = search_together(runs.collect(), |head| *head);
    let found = sought.iter().zip(runs);
    let runs = found.map(|((order, path, _), (first, head))| {
        let is_alike = order.heads.get(first) == Some(&head);
        let at = if is_alike {
            order.run_of(path)
        } else {
            first.saturating_sub(1)
        };
        (at, order.runs.get(at))
    });
    let runs: Vec<_> = runs.collect();
    let places = sought
        .iter()
        .zip(&runs)
        .map(|((_, path, _), (_, run))| Search {
            head: run.map_or(0, |run| head(path, run.skip)),
            first: 0,
            rest: run.map_or(&[], |run| &run.places),
        });
    let places = search_together(places.collect(), |(head, _)| *head);
    let found = sought.iter().zip(runs).zip(places);
    let found = found.map(|(((_, _, lock), (at, run)), (first, head))| {
        let run = run?;
        let alike = run.places[first..]
            .iter()
            .take_while(|(known, _)| *known == head);
        let place = run.place_among(first..first + alike.count(), *lock)?;
        Some(Standing { run: at, place })
    });
    found.collect()
}

/// A search for the first that is not below a head.
struct Search<'a, E, H> {
    head: H,
    /// All before this are below it.
    first: usize,
    /// What may be.
    rest: &'a [E],
}

/// Searches for all at the same time, one half after the other: a processor waits for many places of memory no longer than
/// for one. Gives where each ended, and what it was for.
fn search_together<E, H: Copy + Ord>(
    mut searches: Vec<Search<'_, E, H>>,
    head_of: impl Fn(&E) -> H,
) -> impl Iterator<Item = (usize, H)> {
    while searches.iter().any(|search| !search.rest.is_empty()) {
        for Search { head, first, rest } in &mut searches {
            let (before, after) = rest.split_at(rest.len() / 2);
            *rest = match after.split_first() {
                Some((middle, after)) if head_of(middle) < *head => {
                    *first += before.len() + 1;
                    after
                }
                _ => before,
            };
        }
    }
    let ended = searches.into_iter();
    ended.map(|search| (search.first, search.head))
}

/// Compares the first bytes of a path with those of another, which has so many.
fn compare_prefix(path: &str, other: &str, count: usize) -> Ordering {
    let (path, other) = (path.as_bytes(), other.as_bytes());
    path[..count.min(path.len())].cmp(&other[..count])
}

/// The four bytes of a path after so many, which sort as they do.
fn head(path: &str, skip: usize) -> u32 {
    u32::from_be_bytes(first_bytes(path, skip))
}

/// The eight.
fn head_of_run(path: &str, skip: usize) -> u64 {
    u64::from_be_bytes(first_bytes(path, skip))
}

/// So many bytes of a path after so many; with zeros for those that it does not have.
fn first_bytes<const COUNT: usize>(path: &str, skip: usize) -> [u8; COUNT] {
    let bytes = path.as_bytes().get(skip..).unwrap_or_default();
    bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut first = [0; COUNT];
        first[..bytes.len()].copy_from_slice(bytes);
        first
    })
}

fn in_common(one: &str, other: &str) -> usize {
    let bytes = one.bytes().zip(other.bytes());
    bytes.take_while(|(one, other)| one == other).count()
}

fn path_of(locks: &Locks, lock: LockKey) -> &str {
    &locks[lock].path
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::lock::Lock;
    use crate::nursery::Stage;

    proptest! {
        /// As a `BTreeMap` would have it.
        #[test]
        fn locks_are_found_in_the_order_of_their_paths(
            paths in prop::collection::vec(("(aaaaa)?[ab]{1,9}", prop::bool::weighted(0.2)), 1..200),
            start in "(aaaaa)?[ab]{0,9}",
        ) {
            let (mut locks, mut order) = (Locks::default(), PathOrder::default());
            let mut expected = BTreeMap::<String, LockKey>::new();
            let mut known = BTreeMap::<LockKey, Standing>::new();
            for (path, looks) in paths {
                let elsewhere = path.clone();
                // Whoever comes again goes.
                if let Some(gone) = expected.remove(&path) {
                    order.remove(&locks, gone, known.get(&gone).copied());
                } else {
                    let stage = Stage::Grown(None);
                    let lock = locks.insert(|_| Lock::new(OrgKey::at(0), &path, stage));
                    order.insert(&locks, lock);
                    expected.insert(path, lock);
                }
                if looks {
                    let sought = expected.iter();
                    let sought = sought.map(|(path, lock)| (&order, path.as_str(), *lock));
                    let sought = sought.chain([(&order, &*elsewhere, LockKey::at(1 << 20))]);
                    let mut found = find_together(&sought.collect::<Vec<_>>());
                    prop_assert!(found.pop().is_some_and(|found| found.is_none()));
                    prop_assert!(found.iter().all(Option::is_some), "{found:?}");
                    let found = expected.values().copied().zip(found.into_iter().flatten());
                    // What was found out before may be known for long.
                    known = found.collect();
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
