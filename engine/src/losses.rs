//! What a session was told of and may not have heard: for its resume, and for whoever asks about a lock that was lost.
//!
//! A million locks may be lost in one second, nearly all because their time was over. So such a loss lies in place, in 40
//! bytes with a path of up to 24, and whatever says more lies apart. Must hold: oldest first; whoever is attached hears
//! at once, and is reminded of no more than [`LOSSES_MAX`] for [`LOSS_KEPT`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use compact_str::CompactString;

use crate::event::{Cause, Missed};
use crate::ids::Token;
use crate::limits::{LOSS_KEPT, LOSSES_MAX};
use crate::reply::Loss;
use crate::time::LogTime;

/// See the file's header. A ring of slots, of which there are none, or a power of two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses {
    slots: Vec<Slot>,
    /// The slot of the oldest.
    first: u32,
    len: u32,
    /// When the oldest happened, or before: so it is looked at only when it may be old.
    since: LogTime,
}

/// Whatever was told, and when. Slots in which nothing is are there all the same: so the next can be looked at before it is
/// written, and the write does not wait for memory.
type Slot = (LogTime, Option<Kept>);

/// A ring begins with so many slots.
const LEAST: usize = 4;

#[derive(Debug, Clone)]
enum Kept {
    Expired { path: CompactString, token: Token },
    Other(Box<Missed>),
}

impl Losses {
    /// Keeps what a session is told, or is to be told at its resume.
    pub(crate) fn keep(&mut self, now: LogTime, missed: &Missed<&str>, is_attached: bool) {
        if is_attached {
            self.forget_old(now);
        }
        self.push((now, Some(Kept::of(missed))));
    }

    /// Forgets what somebody who is attached is not reminded of any more.
    fn forget_old(&mut self, now: LogTime) {
        while self.len() >= LOSSES_MAX || self.since + LOSS_KEPT < now {
            let Some((oldest, _)) = self.all().next() else {
                return;
            };
            self.since = *oldest;
            if self.len() >= LOSSES_MAX || self.since + LOSS_KEPT < now {
                self.pop();
            }
        }
    }

    /// Whoever holds a lock need not be told that it was lost before. Nearly always there is nothing to be told.
    #[inline]
    pub(crate) fn forgive(&mut self, path: &str) {
        if !self.is_empty() {
            self.forgive_kept(path);
        }
    }

    fn forgive_kept(&mut self, path: &str) {
        let is_forgiven =
            |(_, kept): &Slot| kept.as_ref().is_some_and(|kept| kept.is_loss_of(path));
        let mut passed = 0;
        loop {
            let index = self.all().skip(passed).position(is_forgiven);
            let Some(index) = index else { break };
            passed += index;
            self.remove(passed);
        }
        if self.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Looks at the slot of the next; see `ahead.rs`.
    pub(crate) fn glance(&self) -> u64 {
        let next = self.slots.get(self.slot(self.len()));
        next.map_or(0, |(at, kept)| at.0 ^ u64::from(kept.is_some()))
    }

    /// The last loss of a lock.
    pub(crate) fn last_of(&self, path: &str) -> Option<Loss> {
        let mut kept = self.all().rev().filter_map(|(_, kept)| kept.as_ref());
        match kept.find(|kept| kept.is_loss_of(path))?.missed() {
            Missed::Lost { token, cause, .. } => Some(Loss { token, cause }),
            Missed::WaitEnded { .. } => None,
        }
    }

    /// All of it, with when it happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LogTime, Missed)> + '_ {
        let all = self.all();
        all.filter_map(|(at, kept)| Some((*at, kept.as_ref()?.missed())))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    // The ring.

    const fn len(&self) -> usize {
        self.len as usize
    }

    const fn slot(&self, index: usize) -> usize {
        (self.first as usize + index) & self.slots.len().wrapping_sub(1)
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        (0..self.len()).map(|index| &self.slots[self.slot(index)])
    }

    fn push(&mut self, slot: Slot) {
        let len = self.len();
        if len == 0 {
            self.since = slot.0;
        }
        if len == self.slots.len() {
            self.slots.rotate_left(self.first as usize);
            self.first = 0;
            let more = (2 * len).max(LEAST);
            self.slots.reserve_exact(more - len);
            self.slots.resize_with(more, || (LogTime::ZERO, None));
        }
        let at = self.slot(len);
        self.slots[at] = slot;
        self.len += 1;
    }

    /// Takes out whatever stands there. The fewer of those before it and behind it move up: whoever takes back what was
    /// lost mostly begins with the oldest.
    fn remove(&mut self, index: usize) {
        let behind = index + 1..self.len();
        if index < behind.len() {
            for index in (0..index).rev() {
                self.swap_with_next(index);
            }
            self.pop();
        } else {
            for index in behind {
                self.swap_with_next(index - 1);
            }
            self.len -= 1;
            let last = self.slot(self.len());
            self.slots[last].1 = None;
        }
    }

    fn swap_with_next(&mut self, index: usize) {
        let (one, next) = (self.slot(index), self.slot(index + 1));
        self.slots.swap(one, next);
    }

    fn pop(&mut self) {
        self.slots[self.first as usize].1 = None;
        self.first = self.slot(1) as u32;
        self.len -= 1;
    }
}

impl FromIterator<(LogTime, Missed)> for Losses {
    fn from_iter<I: IntoIterator<Item = (LogTime, Missed)>>(missed: I) -> Self {
        let mut losses = Self::default();
        for (at, missed) in missed {
            losses.push((at, Some(Kept::of(&missed))));
        }
        losses
    }
}

impl Kept {
    fn of<S: AsRef<str> + Clone + Into<Arc<str>>>(missed: &Missed<S>) -> Self {
        match missed {
            Missed::Lost {
                path,
                token,
                cause: Cause::Expired,
            } => Self::Expired {
                path: CompactString::new(path),
                token: *token,
            },
            other @ (Missed::Lost { .. } | Missed::WaitEnded { .. }) => {
                Self::Other(Box::new(other.clone().into_owned()))
            }
        }
    }

    fn missed(&self) -> Missed {
        match self {
            Self::Expired { path, token } => Missed::Lost {
                path: Arc::from(path.as_str()),
                token: *token,
                cause: Cause::Expired,
            },
            Self::Other(missed) => (**missed).clone(),
        }
    }

    fn is_loss_of(&self, lost: &str) -> bool {
        match self {
            Self::Expired { path, .. } => path == lost,
            Self::Other(missed) => match &**missed {
                Missed::Lost { path, .. } => **path == *lost,
                Missed::WaitEnded { .. } => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Millis;

    /// A loss of the most usual sort is what very many sessions keep very many of.
    #[test]
    fn an_expiry_is_kept_in_forty_bytes() {
        assert_eq!(size_of::<Slot>(), 40);
    }

    proptest! {
        /// As a `VecDeque` would have it.
        #[test]
        fn what_was_lost_is_known_until_it_is_old_or_forgiven(
            steps in prop::collection::vec((0_u32..30, 0_u64..4, any::<bool>(), any::<bool>()), 1..300),
        ) {
            let (mut losses, mut expected) = (Losses::default(), VecDeque::<(LogTime, String, Cause)>::new());
            let mut now = LogTime::ZERO;
            for (number, (path, passes, is_attached, forgives)) in (1..).zip(steps) {
                let path = format!("path/{path}");
                now = now + Millis(passes * LOSS_KEPT.0 / 100);
                if forgives {
                    losses.forgive(&path);
                    expected.retain(|(_, known, _)| *known != path);
                } else {
                    let cause = if number % 3 == 0 { Cause::Released } else { Cause::Expired };
                    let (token, path) = (Token(number), &*path);
                    losses.keep(now, &Missed::Lost { path, token, cause: cause.clone() }, is_attached);
                    expected.push_back((now, String::from(path), cause));
                    while is_attached && expected.front().is_some_and(|(at, ..)| *at + LOSS_KEPT < now) {
                        expected.pop_front();
                    }
                }
                let known = losses.iter().map(|(at, missed)| match missed {
                    Missed::Lost { path, cause, .. } => (at, String::from(&*path), cause),
                    Missed::WaitEnded { .. } => unreachable!("none was kept"),
                });
                prop_assert_eq!(known.collect::<VecDeque<_>>(), expected.clone());
                let last = expected.iter().rev().find(|(_, known, _)| *known == path);
                let found = losses.last_of(&path).map(|loss| loss.cause);
                prop_assert_eq!(found, last.map(|(.., cause)| cause.clone()));
                prop_assert_eq!(losses.is_empty(), expected.is_empty());
            }
        }
    }

    #[test]
    fn whoever_is_attached_is_reminded_of_so_many() {
        let mut losses = Losses::default();
        for number in 0..LOSSES_MAX as u64 + 10 {
            let (path, token, cause) = ("path", Token(number), Cause::Expired);
            losses.keep(LogTime::ZERO, &Missed::Lost { path, token, cause }, true);
        }
        assert_eq!(losses.iter().count(), LOSSES_MAX);
    }
}
