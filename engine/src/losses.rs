//! What a session was told of and may not have heard: for its resume, and for whoever asks about a lock that was lost.
//!
//! A million locks may be lost in one second, nearly all because their time was over. So such a loss lies in place, in 40
//! bytes with a path of up to 24, and whatever says more lies apart. They lie in blocks: whatever is kept stays where it was
//! put, however many come behind it. Must hold: oldest first; no block is empty, unless there is only one; no lock is lost
//! twice, since whoever holds it again is forgiven the first; whoever is attached hears at once, and is reminded of no more
//! than [`LOSSES_MAX`] for [`LOSS_KEPT`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{iter, mem};

use compact_str::CompactString;

use crate::event::{Cause, Missed, WaitEnd};
use crate::ids::{Token, WaitId};
use crate::limits::{LOSS_KEPT, LOSSES_MAX};
use crate::reply::Loss;
use crate::time::LogTime;

/// See the file's header. What is next to be written behind lies in front.
#[derive(Debug, Clone, Default)]
#[repr(C)]
pub(crate) struct Losses {
    newest: Block,
    older_len: u32,
    /// When the oldest happened, or before, in whole [`AGE`]s: so it is looked at only when it may be old.
    since: u32,
    older: Option<Box<Older>>,
}

/// The blocks before the newest.
#[derive(Debug, Clone, Default)]
struct Older(VecDeque<Block>);

type Block = Vec<Told>;

/// Whatever was told, and when.
type Told = (LogTime, Kept);

/// Nearly everybody loses nothing, or one lock: so the first block begins small.
const LEAST: usize = 4;

/// A block has room for so many.
const BLOCK: usize = if cfg!(debug_assertions) { 6 } else { 16 };

/// In milliseconds.
const AGE: u64 = 1024;

/// What was told, as it is kept.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    Expired { path: CompactString, token: Token },
    Other(Box<Missed>),
}

impl Losses {
    /// Keeps what a session is told, or is to be told at its resume.
    pub(crate) fn keep(&mut self, now: LogTime, kept: Kept, is_attached: bool) {
        if is_attached {
            self.forget_old(now);
        }
        self.push((now, kept));
    }

    /// Forgets what somebody who is attached is not reminded of any more.
    fn forget_old(&mut self, now: LogTime) {
        while self.len() >= LOSSES_MAX || LogTime(u64::from(self.since) * AGE) + LOSS_KEPT < now {
            let Some((oldest, _)) = self.all().next() else {
                return;
            };
            let oldest = *oldest;
            if self.len() < LOSSES_MAX && oldest + LOSS_KEPT >= now {
                self.expect_since(oldest);
                return;
            }
            self.remove(0, 0);
        }
    }

    fn expect_since(&mut self, oldest: LogTime) {
        self.since = u32::try_from(oldest.0 / AGE).unwrap_or(u32::MAX);
    }

    /// Whoever holds a lock need not be told that it was lost before. Nearly always there is nothing to be told.
    #[inline]
    pub(crate) fn forgive(&mut self, path: &str) {
        if !self.is_empty() {
            self.forgive_kept(path);
        }
    }

    fn forgive_kept(&mut self, path: &str) {
        let found = self.blocks().enumerate().find_map(|(block, told)| {
            let index = told.iter().position(|(_, kept)| kept.is_loss_of(path))?;
            Some((block, index))
        });
        if let Some((block, index)) = found {
            self.remove(block, index);
        }
        if self.is_empty() {
            self.clear();
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Looks at the last, behind which the next is written; see `ahead.rs`.
    pub(crate) fn glance(&self) -> u64 {
        self.newest.last().map_or(0, |(at, _)| at.0)
    }

    /// The last loss of a lock.
    pub(crate) fn last_of(&self, path: &str) -> Option<Loss> {
        let mut kept = self.all().rev().map(|(_, kept)| kept);
        match kept.find(|kept| kept.is_loss_of(path))?.missed() {
            Missed::Lost { token, cause, .. } => Some(Loss { token, cause }),
            Missed::WaitEnded { .. } => None,
        }
    }

    /// All of it, with when it happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LogTime, Missed)> + '_ {
        self.all().map(|(at, kept)| (*at, kept.missed()))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    // The blocks.

    const fn len(&self) -> usize {
        self.older_len as usize + self.newest.len()
    }

    fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        let older = self.older.iter().flat_map(|older| &older.0);
        older.chain(iter::once(&self.newest))
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Told> {
        self.blocks().flatten()
    }

    fn push(&mut self, told: Told) {
        if self.is_empty() {
            self.expect_since(told.0);
        }
        if self.newest.len() == self.newest.capacity() {
            self.make_room();
        }
        self.newest.push(told);
    }

    #[cold]
    fn make_room(&mut self) {
        match self.newest.len() {
            0 => self.newest.reserve_exact(LEAST),
            len @ 1..BLOCK => self.newest.reserve_exact(BLOCK - len),
            full => {
                let next = Vec::with_capacity(BLOCK);
                let full_one = mem::replace(&mut self.newest, next);
                self.older.get_or_insert_default().0.push_back(full_one);
                self.older_len += full as u32;
            }
        }
    }

    /// Takes out whatever stands there. A block that is left with little gives its room back.
    fn remove(&mut self, block: usize, index: usize) {
        let Some(older) = &mut self.older else {
            self.newest.remove(index);
            return;
        };
        match older.0.get_mut(block) {
            Some(told) => {
                told.remove(index);
                self.older_len -= 1;
                if told.is_empty() {
                    older.0.remove(block);
                } else if told.len() <= told.capacity() / 4 {
                    told.shrink_to_fit();
                }
            }
            None => {
                self.newest.remove(index);
                if self.newest.is_empty() {
                    self.newest = older.0.pop_back().unwrap_or_default();
                    self.older_len -= self.newest.len() as u32;
                }
            }
        }
        if older.0.is_empty() {
            self.older = None;
        }
    }
}

impl FromIterator<(LogTime, Missed)> for Losses {
    fn from_iter<I: IntoIterator<Item = (LogTime, Missed)>>(missed: I) -> Self {
        let mut losses = Self::default();
        for (at, missed) in missed {
            let kept = match missed {
                Missed::Lost { path, token, cause } => Kept::lost(&path, token, &cause),
                Missed::WaitEnded { wait, why } => Kept::wait_ended(wait, why),
            };
            losses.push((at, kept));
        }
        losses
    }
}

impl Kept {
    /// That a lock was lost.
    #[inline]
    pub(crate) fn lost(path: &str, token: Token, cause: &Cause) -> Self {
        if *cause == Cause::Expired {
            let path = CompactString::new(path);
            return Self::Expired { path, token };
        }
        let (path, cause) = (Arc::from(path), cause.clone());
        Self::Other(Box::new(Missed::Lost { path, token, cause }))
    }

    /// That a wait is over without a grant.
    pub(crate) fn wait_ended(wait: WaitId, why: WaitEnd) -> Self {
        Self::Other(Box::new(Missed::WaitEnded { wait, why }))
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
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::time::Millis;

    /// A loss of the most usual sort is what very many sessions keep very many of.
    #[test]
    fn an_expiry_is_kept_in_forty_bytes() {
        assert_eq!(size_of::<Told>(), 40);
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
                    // Only who holds can lose, and who holds is forgiven.
                    losses.forgive(&path);
                    expected.retain(|(_, known, _)| *known != path);
                    let cause = if number % 3 == 0 { Cause::Released } else { Cause::Expired };
                    let (token, path) = (Token(number), &*path);
                    losses.keep(now, Kept::lost(path, token, &cause), is_attached);
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
                prop_assert_eq!((losses.len(), losses.is_empty()), (expected.len(), expected.is_empty()));
                let oldest = expected.front().map_or(now, |(at, ..)| *at);
                prop_assert!(losses.is_empty() || u64::from(losses.since) * AGE <= oldest.0);
            }
        }
    }

    #[test]
    fn whoever_is_attached_is_reminded_of_so_many() {
        let mut losses = Losses::default();
        for number in 0..LOSSES_MAX as u64 + 10 {
            let kept = Kept::lost("path", Token(number), &Cause::Expired);
            losses.keep(LogTime::ZERO, kept, true);
        }
        assert_eq!(losses.iter().count(), LOSSES_MAX);
    }
}
