//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. The paths lie with the locks, all
//! over memory; so bytes in which paths differ first stand beside the keys, eight for a run and four for a lock, and a path
//! is looked at only where these are equal. Eight bytes a lock. Whoever goes is only noted with its run, and not looked for in
//! it; when more are gone than there are, all of them are taken out.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hint::black_box;
use core::mem;
use core::ops::{Bound, Range};

use compact_str::CompactString;

use crate::keys::LockKey;
use crate::locks::Locks;

/// A run that has become longer is cut in two. Few where mistakes are looked for.
const RUN_MAX: usize = if cfg!(debug_assertions) { 8 } else { 512 };

/// Two that have no more are joined. Enough, where runs are short, for two to have no more.
const JOINED_MAX: usize = if cfg!(debug_assertions) {
    RUN_MAX / 2
} else {
    RUN_MAX / 8
};

/// A run that is full grows by so many.
const RUN_STEP: usize = RUN_MAX.div_ceil(32);

/// More with the same head are not looked at one by one because some of them may be gone.
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
    /// How often there has been another run at a place of these.
    moved: u64,
}

/// Locks whose paths follow each other.
#[derive(Debug, Clone)]
struct Run {
    /// Not above the first path, and above those of the run before.
    from: CompactString,
    /// So many bytes at their beginning all paths and `from` have in common.
    skip: usize,
    /// What comes after these, and whose it is.
    places: Vec<(u32, LockKey)>,
    /// Who of these is gone. When one of them comes again, all are taken out.
    gone: Vec<LockKey>,
}

/// In which run a path was found, as long as none has moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunFound {
    at: usize,
    moved: u64,
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
            self.moved += 1;
        }
    }

    /// Takes out a lock that is in here under that path, and whose run was found to be that one.
    pub(crate) fn remove(
        &mut self,
        locks: &Locks,
        (path, lock): (&str, LockKey),
        found: Option<RunFound>,
    ) {
        let found = found.filter(|found| found.moved == self.moved);
        let at = found.map_or_else(|| self.run_of(path), |found| found.at);
        let run = &mut self.runs[at];
        run.gone.push(lock);
        if run.len() == 0 {
            self.runs.remove(at);
            self.heads.remove(at);
            self.moved += 1;
        } else if run.gone.len() > run.len() {
            run.settle();
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
        self.moved += 1;
        let run = &mut self.runs[at];
        let joined: Vec<_> = run.settled(0).chain(next.settled(0)).collect();
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
            run.settled(run.place_after(locks, path, is_before))
        });
        let later = self.runs.get(at + 1..).unwrap_or_default();
        let later = later.iter().flat_map(|run| run.settled(0));
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

    /// Who went last of a run, if it was found; see `ahead.rs`.
    pub(crate) fn last_gone(&self, found: RunFound) -> Option<&LockKey> {
        self.runs.get(found.at)?.gone.last()
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
        let place = |lock: &LockKey| (head(path_of(all, *lock), skip), *lock);
        Self {
            from: CompactString::new(from),
            skip,
            places: locks.iter().map(place).collect(),
            gone: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.places.len() - self.gone.len()
    }

    /// Those from that place on who are not gone.
    fn settled(&self, place: usize) -> impl Iterator<Item = LockKey> + '_ {
        let mut gone = self.gone.clone();
        gone.sort_unstable();
        let there = self.places[place..].iter().map(|(_, lock)| *lock);
        there.filter(move |lock| gone.binary_search(lock).is_err())
    }

    /// Takes out all who are gone. No lock is looked at for that: they lie all over memory.
    fn settle(&mut self) {
        let mut gone = mem::take(&mut self.gone);
        gone.sort_unstable();
        self.places
            .retain(|(_, lock)| gone.binary_search(lock).is_err());
        self.places.shrink_to(self.places.len() + RUN_STEP);
    }

    /// Lets the paths have no more in common than they will have with this one.
    fn share_with(&mut self, all: &Locks, path: &str) {
        let skip = in_common(&self.from, path);
        if skip < self.skip {
            self.settle();
            self.skip = skip;
            for (known, lock) in &mut self.places {
                *known = head(path_of(all, *lock), skip);
            }
        }
    }

    /// Takes in a lock with whose path it shares what it has in common. Gives what has become too much, as another run.
    fn insert(&mut self, all: &Locks, path: &str, lock: LockKey) -> Option<Self> {
        let is_before = |known: &str| *known < *path;
        if !self.gone.is_empty() {
            let is_full = self.places.len() >= RUN_MAX || self.alike(path).len() > ALIKE_FEW;
            if is_full || self.gone.contains(&lock) {
                self.settle();
            }
        }
        let at = self.place_after(all, path, is_before);
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(RUN_STEP);
        }
        self.places.insert(at, (head(path, self.skip), lock));
        (self.places.len() > RUN_MAX).then(|| {
            // Whoever inserts in order leaves full runs behind.
            let keep = if at == RUN_MAX { RUN_MAX } else { RUN_MAX / 2 };
            let locks: Vec<_> = self.settled(0).collect();
            let (first, rest) = locks.split_at(keep);
            *self = Self::of(all, &self.from, first);
            let from = rest.first().map_or("", |lock| path_of(all, *lock));
            Self::of(all, from, rest)
        })
    }

    /// The places whose heads are as that of the path.
    fn alike(&self, path: &str) -> Range<usize> {
        let head = head(path, self.skip);
        let start = self.places.partition_point(|(known, _)| *known < head);
        let alike = self.places[start..].iter();
        let count = alike.take_while(|(known, _)| *known == head).count();
        start..start + count
    }

    /// The place after all that are before the path. If some are gone, those with the same head are looked at one by one.
    fn place_after(&self, all: &Locks, path: &str, is_before: impl Fn(&str) -> bool) -> usize {
        match compare_prefix(path, &self.from, self.skip) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.places.len(),
            Ordering::Equal => {}
        }
        let Range { start, end } = self.alike(path);
        let alike = &self.places[start..end];
        start
            + if self.gone.is_empty() {
                alike.partition_point(|(_, lock)| is_before(path_of(all, *lock)))
            } else {
                let is_before = |(_, lock): &(u32, LockKey)| {
                    !self.gone.contains(lock) && is_before(path_of(all, *lock))
                };
                let last = alike.iter().rposition(is_before);
                last.map_or(0, |last| last + 1)
            }
    }
}

/// Finds the runs of paths, all at the same time; see `ahead.rs`.
pub(crate) fn find_runs(sought: &[(&PathOrder, &str)]) -> Vec<RunFound> {
    let searches = sought.iter().map(|(order, path)| order.search(path));
    let ended = search_together(searches.collect(), |head| *head);
    let found = sought.iter().zip(ended);
    let found = found.map(|((order, path), (first, head))| {
        let is_alike = order.heads.get(first) == Some(&head);
        let at = if is_alike {
            order.run_of(path)
        } else {
            first.saturating_sub(1)
        };
        let moved = order.moved;
        RunFound { at, moved }
    });
    found.collect()
}

/// Looks at the places that paths would have, all at the same time; see `ahead.rs`.
pub(crate) fn look_at_places(sought: &[(&PathOrder, &str)]) {
    let runs = sought.iter().zip(find_runs(sought));
    let searches = runs.filter_map(|((order, path), found)| {
        let run = order.runs.get(found.at)?;
        Some(Search {
            head: head(path, run.skip),
            first: 0,
            rest: &run.places,
        })
    });
    let ended = search_together(searches.collect(), |(head, _)| *head);
    black_box(ended.map(|(first, _)| first).sum::<usize>());
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
            let mut known = BTreeMap::<LockKey, RunFound>::new();
            for (path, looks) in paths {
                let elsewhere = path.clone();
                // Whoever comes again goes, and its place is taken by the next who comes.
                if let Some(gone) = expected.remove(&path) {
                    locks.remove(gone);
                    order.remove(&locks, (&path, gone), known.remove(&gone));
                } else {
                    let stage = Stage::Grown(None);
                    let lock = locks.insert(|_| Lock::new(OrgKey::at(0), &path, stage));
                    order.insert(&locks, lock);
                    known.remove(&lock);
                    expected.insert(path, lock);
                }
                if looks {
                    let paths = expected.keys().chain([&elsewhere]);
                    let sought: Vec<_> = paths.map(|path| (&order, path.as_str())).collect();
                    let found = find_runs(&sought);
                    for ((_, path), found) in sought.iter().zip(&found) {
                        prop_assert_eq!(found.at, order.run_of(path));
                    }
                    look_at_places(&sought);
                    // What was found out may be known for long.
                    known = expected.values().copied().zip(found).collect();
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
