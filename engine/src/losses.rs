//! What a session was told of and may not have heard: for its resume, and for whoever asks about a lock that was lost.
//!
//! A million locks may be lost in one second, nearly all because their time was over. So such a loss lies in place, in 40
//! bytes with a path of up to 24, and whatever says more lies apart. They lie in blocks: whatever is kept stays where it was
//! put, however many come behind it. Whoever has lost much and goes on acquiring is looked up with each grant: a full block
//! is passed over by a glance at two bytes for each path in it.
//!
//! Must hold: oldest first; no block is empty, unless there is only one; no lock is lost twice, since whoever holds it again
//! is forgiven the first; whoever is attached hears at once, and is reminded of no more than [`LOSSES_MAX`] for
//! [`LOSS_KEPT`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{iter, mem};

use compact_str::CompactString;
use hashbrown::DefaultHashBuilder;

use crate::event::{Cause, Missed, WaitEnd};
use crate::ids::{Token, WaitId};
use crate::limits::{LOSS_KEPT, LOSSES_MAX};
use crate::org::hash_of;
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
struct Older(VecDeque<Full>);

type Block = Vec<Told>;

/// A block that was full, behind which nothing is written any more.
#[derive(Debug, Clone)]
struct Full {
    told: Block,
    /// Once a path has been looked for in here.
    tags: Option<[Tag; BLOCK]>,
}

/// Some of the hash of a path, as much as makes it rare that another path has the same.
type Tag = u16;

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
            if self.forget_block() {
                continue;
            }
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

    /// Forgets the oldest block, if there is enough without it: after a resume there can be very many.
    fn forget_block(&mut self) -> bool {
        let len = self.len();
        let Some(older) = &mut self.older else {
            return false;
        };
        let oldest = older.0.front().map_or(0, |full| full.told.len());
        if oldest == 0 || len - oldest < LOSSES_MAX {
            return false;
        }
        older.0.pop_front();
        self.older_len -= oldest as u32;
        true
    }

    fn expect_since(&mut self, oldest: LogTime) {
        self.since = u32::try_from(oldest.0 / AGE).unwrap_or(u32::MAX);
    }

    /// Whoever holds a lock need not be told that it was lost before. Nearly always there is nothing to be told.
    #[inline]
    pub(crate) fn forgive(&mut self, path: &str, hashing: &DefaultHashBuilder) {
        if !self.is_empty() {
            self.forgive_kept(path, hashing);
        }
    }

    fn forgive_kept(&mut self, path: &str, hashing: &DefaultHashBuilder) {
        let found = self.find_older(path, hashing).or_else(|| {
            let blocks = self.older.as_ref().map_or(0, |older| older.0.len());
            Some((blocks, position(&self.newest, path)?))
        });
        if let Some((block, index)) = found {
            self.remove(block, index);
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// In which of the blocks before the newest it is, and where.
    fn find_older(&mut self, path: &str, hashing: &DefaultHashBuilder) -> Option<(usize, usize)> {
        let older = self.older.as_mut()?;
        let tag = tag_of(path, hashing);
        let mut blocks = older.0.iter_mut().enumerate();
        blocks.find_map(|(block, full)| Some((block, full.position(path, tag, hashing)?)))
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
        match kept.find(|kept| kept.path() == Some(path))?.missed() {
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
        let older = older.map(|full| &full.told);
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
                let told = mem::replace(&mut self.newest, next);
                let older = self.older.get_or_insert_default();
                older.0.push_back(Full { told, tags: None });
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
            Some(full) => {
                full.remove(index);
                self.older_len -= 1;
                if full.told.is_empty() {
                    older.0.remove(block);
                }
            }
            None => {
                self.newest.remove(index);
                if self.newest.is_empty() {
                    let last = older.0.pop_back();
                    self.newest = last.map_or_else(Block::new, |full| full.told);
                    self.older_len -= self.newest.len() as u32;
                }
            }
        }
        if older.0.is_empty() {
            self.older = None;
        }
    }
}

impl Full {
    #[inline]
    fn position(&mut self, path: &str, tag: Tag, hashing: &DefaultHashBuilder) -> Option<usize> {
        let tags = self.tags.get_or_insert_with(|| tags(&self.told, hashing));
        // All of them: that is an instruction or two, where to stop at the first is a loop.
        let is_there = tags.iter().fold(false, |is, known| is | (*known == tag));
        if !is_there {
            return None;
        }
        let mut told = self.told.iter().zip(tags);
        told.position(|((_, kept), known)| *known == tag && kept.path() == Some(path))
    }

    /// What is left with little gives its room back. What is left of the last tag tells of nothing.
    fn remove(&mut self, index: usize) {
        self.told.remove(index);
        if let Some(tags) = &mut self.tags {
            tags.copy_within(index + 1.., index);
        }
        if self.told.len() <= self.told.capacity() / 4 {
            self.told.shrink_to_fit();
        }
    }
}

fn position(told: &Block, path: &str) -> Option<usize> {
    told.iter().position(|(_, kept)| kept.path() == Some(path))
}

#[cold]
fn tags(told: &Block, hashing: &DefaultHashBuilder) -> [Tag; BLOCK] {
    debug_assert!(told.len() <= BLOCK, "each path of a block has a tag");
    let mut tags = [0; BLOCK];
    for (tag, (_, kept)) in tags.iter_mut().zip(told) {
        *tag = kept.path().map_or(0, |path| tag_of(path, hashing));
    }
    tags
}

fn tag_of(path: &str, hashing: &DefaultHashBuilder) -> Tag {
    (hash_of(hashing, path) >> 16) as Tag
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

    /// The lock that was lost, if it was one.
    fn path(&self) -> Option<&str> {
        match self {
            Self::Expired { path, .. } => Some(path),
            Self::Other(missed) => match &**missed {
                Missed::Lost { path, .. } => Some(path),
                Missed::WaitEnded { .. } => None,
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
            let hashing = DefaultHashBuilder::default();
            let mut now = LogTime::ZERO;
            for (number, (path, passes, is_attached, forgives)) in (1..).zip(steps) {
                let path = format!("path/{path}");
                now = now + Millis(passes * LOSS_KEPT.0 / 100);
                if forgives {
                    losses.forgive(&path, &hashing);
                    expected.retain(|(_, known, _)| *known != path);
                } else {
                    // Only who holds can lose, and who holds is forgiven.
                    losses.forgive(&path, &hashing);
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

    /// However many there were when they came back, and wherever in a block the first of them stands.
    #[test]
    fn whoever_is_attached_is_reminded_of_so_many() {
        let most = LOSSES_MAX as u64;
        for before in (most - 2..most + 2 * BLOCK as u64).chain([10 * most + 3]) {
            let mut losses = Losses::default();
            let lost = |number| Kept::lost("path", Token(number), &Cause::Expired);
            for number in 0..before {
                losses.keep(LogTime::ZERO, lost(number), false);
            }
            assert_eq!(losses.iter().count() as u64, before);
            losses.keep(LogTime::ZERO, lost(before), true);
            let tokens = losses.iter().map(|(_, missed)| match missed {
                Missed::Lost { token, .. } => token,
                Missed::WaitEnded { .. } => unreachable!("none was kept"),
            });
            let first = (before + 1).saturating_sub(most);
            assert!(tokens.eq((first..=before).map(Token)), "{before} before");
        }
    }
}
