//! What has happened lately in an organisation, in order, for browsers that come back: a copy of what the lock server keeps.
//!
//! Pure. Rule: a position that is answered with events is answered with all of them after it; whoever asks for what is not
//! here, or of another epoch, is told that it is lost, never a part.

use std::collections::VecDeque;
use std::sync::Arc;

use tenure_client::Position;

/// Events that are kept: as many as the lock server keeps.
const EVENTS_MAX: usize = 8192;

/// Bytes of them.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// One that has happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<T> {
    pub(super) offset: u64,
    /// What it costs to keep.
    pub(super) bytes: usize,
    pub(super) what: T,
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct Ring<T> {
    epoch: u64,
    /// Everything after this is here.
    floor: u64,
    /// Everything up to this is known.
    top: u64,
    /// Everything up to this has happened, and what of it is not here yet is on its way.
    happened: u64,
    bytes: usize,
    entries: VecDeque<Arc<Entry<T>>>,
}

impl<T> Ring<T> {
    /// One that knows of nothing up to this position.
    pub(super) const fn new(from: Position) -> Self {
        Self {
            epoch: from.epoch,
            floor: from.offset,
            top: from.offset,
            happened: from.offset,
            bytes: 0,
            entries: VecDeque::new(),
        }
    }

    /// Up to where everything is known.
    pub(super) const fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.top,
        }
    }

    /// Up to where things have happened, whether or not they are known here yet.
    pub(super) fn happened(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.top.max(self.happened),
        }
    }

    /// Things have happened up to there: they are on their way.
    pub(super) fn expect(&mut self, position: Position) {
        if position.epoch == self.epoch {
            self.happened = self.happened.max(position.offset);
        }
    }

    /// Everything up to there is known, whether or not it was for this ring.
    pub(super) fn reach(&mut self, position: Position) {
        if position.epoch == self.epoch {
            self.top = self.top.max(position.offset);
        }
    }

    /// Takes in what has happened.
    pub(super) fn push(&mut self, at: Position, bytes: usize, what: T) -> Arc<Entry<T>> {
        if at.epoch != self.epoch {
            *self = Self::new(Position {
                epoch: at.epoch,
                offset: at.offset.saturating_sub(1),
            });
        }
        let entry = Arc::new(Entry {
            offset: at.offset,
            bytes,
            what,
        });
        self.top = self.top.max(at.offset);
        self.bytes += bytes;
        self.entries.push_back(Arc::clone(&entry));
        while self.entries.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.bytes;
                self.floor = oldest.offset;
            }
        }
        entry
    }

    /// Everything after a position that is known by now; what is on its way follows. `None` when that cannot be had whole.
    pub(super) fn after(&self, since: Position) -> Option<Vec<Arc<Entry<T>>>> {
        let is_here = since.epoch == self.epoch
            && (self.floor..=self.happened().offset).contains(&since.offset);
        is_here.then(|| {
            let from = self
                .entries
                .partition_point(|entry| entry.offset <= since.offset);
            self.entries.range(from..).map(Arc::clone).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: 7, offset }
    }

    fn offsets(ring: &Ring<()>, since: Position) -> Option<Vec<u64>> {
        ring.after(since)
            .map(|entries| entries.iter().map(|entry| entry.offset).collect())
    }

    #[test]
    fn what_was_before_or_of_another_epoch_is_lost() {
        let mut ring = Ring::new(at(10));
        assert_eq!(offsets(&ring, at(10)), Some(vec![]));
        assert_eq!(offsets(&ring, at(9)), None);
        ring.push(at(12), 1, ());
        assert_eq!(offsets(&ring, at(10)), Some(vec![12]));
        assert_eq!(offsets(&ring, at(13)), None, "ahead");
        ring.reach(at(20));
        assert_eq!(offsets(&ring, at(20)), Some(vec![]));
        ring.expect(at(30));
        assert_eq!(
            offsets(&ring, at(25)),
            Some(vec![]),
            "what follows is on its way"
        );
        assert_eq!(offsets(&ring, at(31)), None);
        assert_eq!((ring.position(), ring.happened()), (at(20), at(30)));
        let other = Position {
            epoch: 8,
            offset: 12,
        };
        assert!(ring.after(other).is_none());
        ring.push(other, 1, ());
        assert!(
            ring.after(at(12)).is_none(),
            "a new epoch forgets the old one"
        );
        assert_eq!(ring.position(), other);
    }

    proptest! {
        #[test]
        fn never_a_part(sizes in prop::collection::vec(1..BYTES_MAX / 8, 1..40), since in 0_u64..50) {
            let mut ring = Ring::new(at(0));
            for (index, bytes) in sizes.iter().enumerate() {
                ring.push(at(index as u64 + 1), *bytes, ());
            }
            prop_assert!(ring.bytes <= BYTES_MAX);
            let top = sizes.len() as u64;
            if let Some(found) = offsets(&ring, at(since)) {
                let all: Vec<u64> = (since + 1..=top).collect();
                prop_assert_eq!(found, all);
            }
        }
    }
}
