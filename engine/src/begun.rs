//! The holds that have been begun, because they may be over soon, in the order in which they are over.
//!
//! They come as lists: what has stood in a list of timers, or what the young have. Each is put in order by itself, and the
//! first of all is the first of the lists' firsts (a heap of runs, as in the merge of Knuth's external sorting): so nothing
//! here goes through more than one list, however many holds are due together. Nearly always there is one list, or two. Knows
//! no rule: whether a hold is over, it says itself.

use alloc::collections::BinaryHeap;
use alloc::collections::binary_heap::PeekMut;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use crate::keys::{HoldId, LockKey};
use crate::time::LogTime;

/// A hold that may be over at a time. Over for certain it is only if that is still its deadline.
pub(crate) type DueHold = (LogTime, HoldId, LockKey);

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Begun {
    lists: BinaryHeap<List<Vec<DueHold>>>,
}

/// What is left of a list, last first. Never nothing.
#[derive(Debug, Clone)]
struct List<H>(H);

impl Begun {
    /// Puts the holds of a list in order, among those of others. Those of each part come before those of the next.
    pub(crate) fn add<const PARTS: usize>(&mut self, parts: [Vec<DueHold>; PARTS]) {
        let mut holds = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        for mut part in parts.into_iter().rev() {
            part.sort_unstable_by_key(|hold| Reverse(*hold));
            holds.append(&mut part);
        }
        if !holds.is_empty() {
            self.lists.push(List(holds));
        }
    }

    /// What comes first.
    pub(crate) fn first(&self) -> Option<DueHold> {
        self.lists.peek()?.first()
    }

    /// Forgets what comes first.
    pub(crate) fn pass(&mut self) {
        if let Some(mut list) = self.lists.peek_mut() {
            list.0.pop();
            if list.0.is_empty() {
                PeekMut::pop(list);
            }
        }
    }

    /// Puts what comes next behind what is in a list of locks already, as far as there is room.
    pub(crate) fn look_up_next(&self, locks: &mut Vec<LockKey>) {
        let all = self.lists.as_slice();
        let list_at = |at: usize| all.get(at).map(|list| (List(&*list.0), at));
        let mut next: BinaryHeap<_> = list_at(0).into_iter().collect();
        while locks.len() < locks.capacity()
            && let Some((List(mut left), at)) = next.pop()
        {
            if left.len() == all[at].0.len() {
                // It is the first of its list: those below in the heap come after it.
                next.extend([2 * at + 1, 2 * at + 2].into_iter().filter_map(list_at));
            }
            let others = next.peek().and_then(|(list, _)| list.first());
            while locks.len() < locks.capacity()
                && let [rest @ .., hold] = left
                && others.is_none_or(|other| *hold <= other)
            {
                locks.push(hold.2);
                left = rest;
            }
            if !left.is_empty() {
                next.push((List(left), at));
            }
        }
    }

    /// All of them, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DueHold> + '_ {
        self.lists.iter().flat_map(|list| list.0.iter().copied())
    }
}

impl<H: AsRef<[DueHold]>> List<H> {
    fn first(&self) -> Option<DueHold> {
        self.0.as_ref().last().copied()
    }
}

/// A heap gives its greatest: that is the list that comes first.
impl<H: AsRef<[DueHold]>> Ord for List<H> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.first().cmp(&self.first())
    }
}

impl<H: AsRef<[DueHold]>> PartialOrd for List<H> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<H: AsRef<[DueHold]>> PartialEq for List<H> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<H: AsRef<[DueHold]>> Eq for List<H> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However they are begun, holds come up by time and age; lists are begun while others are gone through.
        #[test]
        fn holds_that_have_been_begun_come_in_order(
            lists in prop::collection::vec((prop::collection::vec((0_u64..20, 0_u64..50), 0..20), 0_usize..30), 0..10),
            room in 1_usize..20,
        ) {
            let (mut begun, mut expected) = (Begun::default(), Vec::new());
            // A lock for each hold, so that the order of locks tells that of holds.
            let mut locks = (0..).map(LockKey::at);
            for (list, passed) in lists {
                let hold = |((at, id), lock)| (LogTime(at), HoldId(id), lock);
                let holds: Vec<_> = list.into_iter().zip(&mut locks).map(hold).collect();
                expected.extend(&holds);
                expected.sort_unstable();
                let (early, late): (Vec<_>, Vec<_>) = holds.into_iter().partition(|hold| hold.0.0 < 7);
                begun.add([early, late]);
                let mut next = Vec::with_capacity(room);
                begun.look_up_next(&mut next);
                let locks = expected.iter().map(|(_, _, lock)| *lock);
                prop_assert_eq!(&next, &locks.take(room).collect::<Vec<_>>());
                for _ in 0..passed {
                    prop_assert_eq!(begun.first(), expected.first().copied());
                    prop_assert_eq!(begun.iter().count(), expected.len());
                    begun.pass();
                    expected.drain(..1.min(expected.len()));
                }
            }
            for hold in expected {
                prop_assert_eq!(begun.first(), Some(hold));
                begun.pass();
            }
            prop_assert_eq!(begun.first(), None);
        }
    }
}
