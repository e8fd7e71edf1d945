//! Locks whose queues one step could not serve to their ends, in the order in which the next ticks go on with them.
//!
//! Part of the state: which of them is served first is history. Must hold: a lock that stands here remembers where, and
//! somebody waits for it; a lock that does not stand here has been served to its end.

use alloc::collections::BTreeMap;
use core::num::NonZeroU64;

use crate::engine::Engine;
use crate::keys::LockKey;
use crate::step::Step;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unserved {
    in_line: BTreeMap<NonZeroU64, LockKey>,
}

impl Unserved {
    pub(crate) fn is_empty(&self) -> bool {
        self.in_line.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.in_line.len()
    }

    fn first(&self) -> Option<LockKey> {
        self.iter().next()
    }

    /// First to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LockKey> + '_ {
        self.in_line.values().copied()
    }

    /// Who stands there.
    pub(crate) fn at(&self, place: NonZeroU64) -> Option<LockKey> {
        self.in_line.get(&place).copied()
    }

    fn push(&mut self, lock: LockKey) -> NonZeroU64 {
        let last = self.in_line.last_key_value();
        let place = last.map_or(NonZeroU64::MIN, |(last, _)| last.saturating_add(1));
        self.in_line.insert(place, lock);
        place
    }
}

impl Engine {
    /// Puts a lock at the end of the line, if it does not stand in it; tells whether it has been put there.
    pub(crate) fn leave_unserved(&mut self, lock: LockKey) -> bool {
        if self.lock(lock).unserved().is_some() {
            return false;
        }
        let place = self.unserved.push(lock);
        self.lock_mut(lock).set_unserved(Some(place));
        true
    }

    /// Takes a lock out of the line, if it stands in it; tells whether it did.
    #[inline]
    pub(crate) fn take_unserved(&mut self, lock: LockKey) -> bool {
        !self.unserved.is_empty() && self.take_out_of_line(lock)
    }

    fn take_out_of_line(&mut self, lock: LockKey) -> bool {
        let Some(place) = self.lock(lock).unserved() else {
            return false;
        };
        self.unserved.in_line.remove(&place);
        self.lock_mut(lock).set_unserved(None);
        true
    }
}

impl Step<'_> {
    /// Goes on with the locks that are unserved, one after the other, as far as one step goes. Who is not served to its
    /// end stands last from then on, so that one long queue keeps no other waiting.
    pub(crate) fn go_on_serving(&mut self) {
        while self.turns_left > 0
            && let Some(lock) = self.engine.unserved.first()
        {
            self.engine.take_unserved(lock);
            self.touch();
            self.settle(lock);
        }
    }
}
