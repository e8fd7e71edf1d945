//! The grown locks of an org in path order: sorted runs of keys, each short enough to be changed in place.
//!
//! A B-tree of height two, like the sorted list of lists of Grant Jenks' sortedcontainers. The paths lie with the locks, all
//! over memory; so bytes in which paths differ first stand beside the keys, eight for a run and four for a lock, and a path
//! is looked at only where these are equal. Eight bytes a lock.
//!
//! Whoever goes is not looked for. It is retired: its place among the locks keeps its path, and is nobody else's. Behind
//! those who go a hand goes round, [`ROUND`] entries for each of them, run by run, and takes out who is retired. So hardly more
//! are retired than a third of all that stand in here.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hint::black_box;
use core::mem;
use core::ops::Bound;

use compact_str::CompactString;

use crate::keys::LockKey;
use crate::locks::{Locks, Namer, ROUND};

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

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathOrder {
    /// So many bytes at their beginning all `from` have in common.
    skip: usize,
    /// What comes after these, of each.
    heads: Vec<u64>,
    /// None is empty.
    runs: Vec<Run>,
    /// The locks in here that are not retired.
    len: usize,
    /// Where the hand is: at this run, and so many entries may be gone through.
    hand: usize,
    allowed: usize,
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
}

impl PathOrder {
    /// Takes in a lock whose path only such may have in here that are retired.
    pub(crate) fn insert(&mut self, locks: &mut Locks, lock: LockKey) {
        self.len += 1;
        let at = self.run_of(locks.path(lock));
        let mut most = RUN_MAX;
        if let Some(run) = self.runs.get_mut(at)
            && run.places.len() >= RUN_MAX
        {
            run.let_go_of_retired(locks);
            // One that is nearly full then would be gone through again soon.
            most = RUN_MAX * 3 / 4;
        }
        let path = locks.path(lock);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(Run::of(locks, path, &[lock]));
            self.mark_all();
            return;
        };
        run.share(locks, in_common(&run.from, path));
        if *path < *run.from {
            run.from = CompactString::new(path);
            self.heads.remove(at);
            self.mark(at);
        }
        if let Some(rest) = self.runs[at].insert(locks, (path, lock), most) {
            self.runs.insert(at + 1, rest);
            self.mark(at + 1);
            if at < self.hand {
                self.hand += 1;
            }
        }
    }

    /// A lock that is in here has been retired.
    pub(crate) fn pass(&mut self, locks: &mut Locks) {
        self.len -= 1;
        if self.len == 0 {
            let mut rest = mem::take(self).runs;
            rest.iter_mut().for_each(|run| run.let_go_of_retired(locks));
            return;
        }
        self.allowed += ROUND;
        while let Some(run) = self.runs.get(self.hand)
            && run.places.len() <= self.allowed
        {
            self.allowed -= run.places.len();
            self.go_on(locks);
        }
    }

    /// The hand takes out who is retired of its run, and goes on to the next. Few runs cost less than many short ones.
    fn go_on(&mut self, locks: &mut Locks) {
        let at = self.hand;
        let run = &mut self.runs[at];
        run.let_go_of_retired(locks);
        let len = run.places.len();
        let before = at.checked_sub(1).map(|before| &mut self.runs[before]);
        let before = before.filter(|before| before.places.len() + len <= JOINED_MAX);
        if len == 0 || before.is_some() {
            let run = self.runs.remove(at);
            self.heads.remove(at);
            if len > 0 {
                self.runs[at - 1].join(locks, run);
            }
        } else {
            self.hand += 1;
        }
        if self.hand >= self.runs.len() {
            self.hand = 0;
        }
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
            &run.places[run.place_after(locks, path, is_before)..]
        });
        let later = self.runs.get(at + 1..).unwrap_or_default();
        let later = later.iter().flat_map(|run| &run.places);
        let all = first.into_iter().flatten().chain(later);
        all.map(|(_, lock)| *lock)
            .filter(|lock| !locks.is_retired(*lock, Namer::Order))
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
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
        let last = locks.last().map_or(from, |lock| all.path(*lock));
        let skip = in_common(from, last);
        let place = |lock: &LockKey| (head(all.path(*lock), skip), *lock);
        Self {
            from: CompactString::new(from),
            skip,
            places: locks.iter().map(place).collect(),
        }
    }

    /// Takes out who is retired.
    fn let_go_of_retired(&mut self, locks: &mut Locks) {
        // Without a branch for each, and before anything else is done with them: their places lie all over memory.
        let mut retired: Vec<_> = self.places.iter().map(|(_, lock)| *lock).collect();
        let (mut kept, mut gone) = (0, 0);
        for at in 0..self.places.len() {
            let place = self.places[at];
            let is_retired = locks.is_retired(place.1, Namer::Order);
            (self.places[kept], retired[gone]) = (place, place.1);
            kept += usize::from(!is_retired);
            gone += usize::from(is_retired);
        }
        self.places.truncate(kept);
        retired.truncate(gone);
        locks.let_go(&retired, Namer::Order);
        if self.places.capacity() > self.places.len() + RUN_STEP {
            self.places.shrink_to(self.places.len() + RUN_STEP);
        }
    }

    /// Takes in the run that follows.
    fn join(&mut self, all: &Locks, mut next: Self) {
        let skip = in_common(&self.from, &next.from);
        self.share(all, skip.min(next.skip));
        next.share(all, self.skip);
        self.places.append(&mut next.places);
    }

    /// Lets all paths have no more in common than so much.
    fn share(&mut self, all: &Locks, most: usize) {
        if most < self.skip {
            self.skip = most;
            for (known, lock) in &mut self.places {
                *known = head(all.path(*lock), most);
            }
        }
    }

    /// Takes in a lock with whose path it shares what it has in common. If there are more than `most` then, gives half of them
    /// as another run.
    fn insert(&mut self, all: &Locks, (path, lock): (&str, LockKey), most: usize) -> Option<Self> {
        let at = self.place_after(all, path, |known| *known < *path);
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(RUN_STEP);
        }
        self.places.insert(at, (head(path, self.skip), lock));
        let len = self.places.len();
        (len > most).then(|| {
            // Whoever inserts in order leaves full runs behind.
            let keep = if at + 1 == len { at } else { len / 2 };
            let locks: Vec<_> = self.places.iter().map(|(_, lock)| *lock).collect();
            let (first, rest) = locks.split_at(keep);
            *self = Self::of(all, &self.from, first);
            let from = rest.first().map_or("", |lock| all.path(*lock));
            Self::of(all, from, rest)
        })
    }

    /// The place after all that are before the path.
    fn place_after(&self, all: &Locks, path: &str, is_before: impl Fn(&str) -> bool) -> usize {
        match compare_prefix(path, &self.from, self.skip) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.places.len(),
            Ordering::Equal => {}
        }
        let head = head(path, self.skip);
        let start = self.places.partition_point(|(known, _)| *known < head);
        let alike = self.places[start..].iter();
        let count = alike.take_while(|(known, _)| *known == head).count();
        let alike = &self.places[start..start + count];
        start + alike.partition_point(|(_, lock)| is_before(all.path(*lock)))
    }
}

/// Looks at the places that paths would have, all at the same time; see `ahead.rs`.
pub(crate) fn look_at_places(sought: &[(&PathOrder, &str)]) {
    let searches = sought.iter().map(|(order, path)| order.search(path));
    let ended = search_together(searches.collect(), |head| *head);
    let runs = sought.iter().zip(ended);
    let searches = runs.filter_map(|((order, path), (first, head_of_run))| {
        let is_alike = order.heads.get(first) == Some(&head_of_run);
        let at = if is_alike {
            order.run_of(path)
        } else {
            first.saturating_sub(1)
        };
        let run = order.runs.get(at)?;
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

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::OrgKey;
    use crate::lock::Lock;
    use crate::nursery::Stage;

    fn retire(locks: &mut Locks, order: &mut PathOrder, lock: LockKey) {
        locks.retire(lock);
        locks.let_go(&[lock], Namer::Table);
        order.pass(locks);
    }

    proptest! {
        /// As a `BTreeMap` would have it; and hardly more than that.
        #[test]
        fn locks_are_found_in_the_order_of_their_paths(
            paths in prop::collection::vec(("(aaaaa)?[ab]{1,9}", prop::bool::weighted(0.2)), 1..200),
            start in "(aaaaa)?[ab]{0,9}",
        ) {
            let (mut locks, mut order) = (Locks::default(), PathOrder::default());
            let mut expected = BTreeMap::<String, LockKey>::new();
            for (path, looks) in paths {
                let elsewhere = path.clone();
                // Whoever comes again goes.
                if let Some(gone) = expected.remove(&path) {
                    retire(&mut locks, &mut order, gone);
                } else {
                    let stage = Stage::Grown(None);
                    let lock = locks.insert(|_| Lock::new(OrgKey::at(0), &path, stage));
                    order.insert(&mut locks, lock);
                    expected.insert(path, lock);
                }
                if looks {
                    let paths = expected.keys().chain([&elsewhere]);
                    let sought: Vec<_> = paths.map(|path| (&order, path.as_str())).collect();
                    look_at_places(&sought);
                }
                prop_assert_eq!((order.len(), locks.len()), (expected.len(), expected.len()));
                let entries: usize = order.runs.iter().map(|run| run.places.len()).sum();
                prop_assert!(entries <= expected.len() + expected.len() / 2 + 2 * RUN_MAX);
                prop_assert!(order.runs.iter().all(|run| (1..=RUN_MAX).contains(&run.places.len())));
                prop_assert!(order.runs.is_empty() || order.hand < order.runs.len());
                let heads = order.runs.iter().map(|run| head_of_run(&run.from, order.skip));
                prop_assert!(order.heads.iter().copied().eq(heads));
            }
            for start in [Bound::Included(&*start), Bound::Excluded(&*start), Bound::Unbounded] {
                let found = order.from(&locks, start);
                let range = expected.range::<str, _>((start, Bound::Unbounded));
                prop_assert!(found.eq(range.map(|(_, lock)| *lock)));
            }
            for gone in expected.into_values() {
                retire(&mut locks, &mut order, gone);
            }
            prop_assert!(order.runs.is_empty() && !locks.has_retired());
        }
    }
}
