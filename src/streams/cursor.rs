//! One reader's place in one ring, for all the filters that it has there.
//!
//! Must hold: for each filter, every entry that it matches is copied in order, once in the ring's order or again in an
//! order that starts over from an earlier place, or lies in a gap that is told; and whoever is not marked has nothing to
//! copy. A mark is set under the ring's own lock, so that no reader sees the entry without it. What is not shown yet stays
//! where it is: the reader is woken once more when it is.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;
use tenure_protocol::Filter;

use super::excerpt::Newest;
use super::filter_map::FilterMap;
use super::ring::{Audience, Paths, Portion, Ring};

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Number of the first entry for it that it has not seen; 0 is none.
    mark: AtomicU64,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    filters: FilterMap<Live>,
    /// How the only one is spelled, if there is but one.
    only: Option<Arc<str>>,
    /// Every entry up to here was copied, was told to be lost, or is for nobody here.
    passed: u64,
    /// There may be something to copy after `passed`, beside what is marked.
    is_behind: bool,
}

/// A filter that is in use.
#[derive(Debug, Default)]
struct Live {
    subscriptions: u32,
    /// It is for entries above this one.
    after: u64,
}

/// What one step has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Frames that were copied.
    pub(super) frames: u64,
    /// Whether a gap was told before them.
    pub(super) has_gap: bool,
    /// Every entry up to here is done with, and was shown.
    pub(super) passed: u64,
    /// There may be more to copy already.
    pub(super) has_more: bool,
    /// What was copied, if others may be given just that.
    pub(super) newest: Option<Newest>,
}

impl Cursor {
    /// An entry for it is being appended. Tells whether nobody has told it of another yet.
    pub(super) fn mark(&self, number: u64) -> bool {
        let unmarked = 0;
        let order = Ordering::SeqCst;
        // Most often, of those that are far from read, it is marked already.
        self.mark.load(order) == unmarked
            && self
                .mark
                .compare_exchange(unmarked, number, order, order)
                .is_ok()
    }

    /// Whether this is all that it has not seen yet, and shown. If so, it has seen it from here on: whoever asks has the frames
    /// at hand. Does not hold the ring.
    pub(super) fn take_newest(&self, ring: &Ring, newest: &Newest) -> bool {
        let (first, last) = (newest.first, newest.last);
        let mut place = self.place.lock();
        let (unmarked, order) = (0, Ordering::SeqCst);
        if place.is_behind
            || ring.top() != last
            || place.passed >= first
            || newest.filter.is_some() && newest.filter != place.only
            || self
                .mark
                .compare_exchange(first, unmarked, order, order)
                .is_err()
        {
            return false;
        }
        // One may have been appended since, and not marked it, because it was marked.
        let is_newest = ring.top() == last && last <= ring.shown();
        place.passed = if is_newest { last } else { first - 1 };
        place.is_behind = !is_newest;
        is_newest
    }

    /// From here on it is for these filters too, from above `after`; the ring's newest entry is `top`, and none is appended
    /// meanwhile. If it has passed that place it starts over from there, in one order for all: what the new filters match
    /// is copied once more, and what only older ones match is not.
    pub(super) fn add<'f>(
        &self,
        filters: impl IntoIterator<Item = Filter<'f>>,
        after: u64,
        top: u64,
    ) {
        let mut place = self.place.lock();
        if place.filters.is_empty() {
            self.mark.store(0, Ordering::Relaxed);
            place.passed = after;
            place.is_behind = false;
        } else if !place.is_behind {
            place.pass_unmarked(self.mark.load(Ordering::Relaxed), top);
        }
        place.start_over_from(after);
        place.is_behind |= after < top;
        for filter in filters {
            let live = place.filters.entry(filter);
            if live.subscriptions == 0 || after < live.after {
                live.after = after;
            }
            live.subscriptions += 1;
        }
        place.only = place.filters.only();
    }

    /// One subscription fewer has this filter, and no entry is appended meanwhile. Tells whether none has it any more.
    pub(super) fn remove(&self, filter: Filter<'_>) -> bool {
        let mut place = self.place.lock();
        let Some(live) = place.filters.get_mut(filter) else {
            return true;
        };
        live.subscriptions -= 1;
        let is_last = live.subscriptions == 0;
        if is_last {
            place.filters.remove(filter);
            place.only = place.filters.only();
            // What is marked may have been for this one alone: it has to be looked at.
            let marked = self.mark.load(Ordering::Relaxed);
            if marked > 0 && !place.is_behind {
                place.pass_unmarked(marked, marked);
                place.is_behind = true;
            }
        }
        is_last
    }

    /// Whether there may be something to copy.
    pub(super) fn is_behind(&self) -> bool {
        self.mark.load(Ordering::Relaxed) > 0 || self.place.lock().is_behind
    }

    /// Copies some of what there is, after `tell` has told of the entries that are lost, if any are. Holds the ring for one
    /// portion, and no longer.
    pub(super) fn step(
        &self,
        ring: &Ring,
        audience: Audience,
        portion: Portion,
        out: &mut BytesMut,
        tell: impl FnOnce(RangeInclusive<u64>, &mut BytesMut),
    ) -> Step {
        let mut place = self.place.lock();
        let log = ring.read();
        let shown = ring.shown().min(log.top());
        let marked = self.mark.swap(0, Ordering::Relaxed);
        let is_marked_only = !place.is_behind && marked > 0;
        if !place.is_behind {
            place.pass_unmarked(marked, log.top());
            place.is_behind = marked > 0;
        }
        let mut step = Step {
            frames: 0,
            has_gap: false,
            passed: place.passed.min(shown),
            has_more: false,
            newest: None,
        };
        place.is_behind &= place.passed < log.top();
        if !place.is_behind || place.passed >= shown || log.lost() > shown {
            return step;
        }
        if place.passed < log.lost() {
            tell(place.passed + 1..=log.lost(), out);
            place.passed = log.lost();
            step.has_gap = true;
        }
        let is_wanted = |number, paths: Paths<'_>| place.is_wanted(number, paths);
        let copied = log.copy((place.passed, shown), audience, portion, is_wanted, out);
        step.frames = copied.frames;
        step.has_more = copied.passed < shown;
        step.passed = copied.passed;
        place.passed = copied.passed;
        place.is_behind = copied.passed < log.top();
        if is_marked_only && !step.has_gap && !place.is_behind && place.only.is_some() {
            step.newest = Some(Newest {
                first: marked,
                last: copied.passed,
                filter: place.only.clone(),
            });
        }
        step
    }
}

impl Place {
    /// What comes before the first mark is for nobody here, and passed without a look at it.
    fn pass_unmarked(&mut self, marked: u64, top: u64) {
        let passed = marked.checked_sub(1).unwrap_or(top);
        self.passed = self.passed.max(passed);
    }

    fn start_over_from(&mut self, after: u64) {
        if after < self.passed {
            for live in self.filters.values_mut() {
                live.after = live.after.max(self.passed);
            }
            self.passed = after;
        }
    }

    fn is_wanted(&self, number: u64, paths: Paths<'_>) -> bool {
        let is_live = |live: &Live| number > live.after;
        paths
            .iter()
            .any(|path| self.filters.matching(path).any(is_live))
    }
}

#[cfg(test)]
mod tests;
