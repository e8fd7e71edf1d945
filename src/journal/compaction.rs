//! Keeps the disk bounded: makes new snapshots out of the old ones and the complete segments, and then drops those segments.
//!
//! Works from disk alone, a few shards at a time, and never looks at a live engine. Must hold: a file is dropped only when
//! what replaces it is on disk under its name.

use std::collections::BTreeMap;
use std::ops::Range;

use super::directory::Contents;
use super::error::{About as _, Damage, JournalError};
use super::record::{Head, Record};
use super::recovery::{Shard, load};
use super::segment::{Segment, Tail};
use super::storage::{Rest, Storage};

/// So many bytes of records are replayed between two rests, in a millisecond or so.
const PIECE: usize = 64 * 1024;

/// Shards whose snapshots come to so many bytes are brought up to date together, in one pass over the segments. Few where
/// mistakes are looked for.
const TOGETHER: usize = if cfg!(debug_assertions) {
    400
} else {
    64 << 20
};

/// What has been gained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Segments dropped.
    pub segments: usize,
    /// Bytes of the snapshots that stand for them.
    pub snapshot_bytes: u64,
}

/// Brings the snapshots of all shards up to the segment `end`, which need not be complete, and drops all segments before
/// it. Does nothing if there are none.
///
/// Costs a pass over those segments, and another for each 64 MiB of snapshots; and memory for one segment, and for
/// shards of so many bytes with what the segments add to them. Takes a `rest` after each piece of it. It may be ended at any
/// point and taken up again.
///
/// # Errors
///
/// The disk is full or fails, or what is read is damaged. Nothing is lost.
pub fn compact(
    storage: &dyn Storage,
    shards: u32,
    end: u64,
    rest: Rest<'_>,
) -> Result<Compacted, JournalError> {
    let contents = Contents::of(storage)?;
    let mut compacted = Compacted::default();
    if contents.segments.range(..end).next().is_none() {
        return Ok(compacted);
    }
    let mut left = 0..shards;
    while !left.is_empty() {
        let mut group = Group::load(storage, &contents, &mut left, end)?;
        group.go_on(storage, &contents, end, rest)?;
        compacted.snapshot_bytes += group.store(storage, &contents, (shards, end), rest)?;
    }
    for name in contents.segments.range(..end).map(|(_, name)| name) {
        storage.remove(name).about("remove", name)?;
        compacted.segments += 1;
    }
    storage.sync_names().about("write", "the data directory")?;
    Ok(compacted)
}

/// Shards that are brought up to date together, by number.
#[derive(Default)]
struct Group {
    shards: BTreeMap<u32, Shard>,
    /// First segment that any of them needs, and the journal's next record at its beginning.
    from: Option<(u64, u64)>,
    /// The journal's next record.
    next: u64,
}

impl Group {
    /// Takes the next few shards that need any segment before `end`: as many as are small together, and one at least if there
    /// are any left.
    fn load(
        storage: &dyn Storage,
        contents: &Contents,
        left: &mut Range<u32>,
        end: u64,
    ) -> Result<Self, JournalError> {
        let (mut group, mut bytes) = (Self::default(), 0);
        while bytes < TOGETHER
            && let Some(index) = left.next()
        {
            let loaded = load(storage, contents, index)?;
            let begin = (loaded.shard.segment, loaded.next);
            if begin.0 < end {
                bytes += loaded.bytes;
                group.from = Some(group.from.map_or(begin, |from| from.min(begin)));
                group.shards.insert(index, loaded.shard);
            }
        }
        Ok(group)
    }

    /// Replays what the segments before `end` have of them.
    fn go_on(
        &mut self,
        storage: &dyn Storage,
        contents: &Contents,
        end: u64,
        rest: Rest<'_>,
    ) -> Result<(), JournalError> {
        let Some((from, next)) = self.from else {
            return Ok(());
        };
        self.next = next;
        for segment in from..end {
            let Some(name) = contents.segments.get(&segment) else {
                let what = "expected this segment, found none";
                return Err(Damage::new(&super::segment_name(segment), 0, what).into());
            };
            let bytes = storage.read(name).about("read", name)?;
            let segment = Segment::read(name, &bytes, Some(self.next))?;
            match &segment.tail {
                Tail::Clean => {}
                Tail::Damaged(damage) => return Err(damage.clone().into()),
                Tail::Torn(_) => {
                    let what = "expected a complete segment, found a torn end";
                    return Err(Damage::new(name, segment.end, what).into());
                }
            }
            rest();
            self.replay(&segment, rest)?;
            self.next = segment.next_record().unwrap_or(self.next);
        }
        Ok(())
    }

    /// Replays their records of a segment.
    fn replay(&mut self, segment: &Segment<'_>, rest: Rest<'_>) -> Result<(), JournalError> {
        let mut replayed = 0;
        for block in &segment.blocks {
            for (offset, bytes) in segment.records(block)? {
                let damage = |what: String| Damage::new(&segment.name, offset, what);
                let head = Head::decode(bytes).map_err(|error| damage(error.to_string()))?;
                let Some(shard) = self.shards.get_mut(&head.shard) else {
                    continue;
                };
                if head.number < shard.number {
                    continue;
                }
                let record = Record::decode(bytes).map_err(|error| damage(error.to_string()))?;
                shard.replay(&record).map_err(damage)?;
                replayed += bytes.len();
                if replayed >= PIECE {
                    replayed = 0;
                    rest();
                }
            }
        }
        Ok(())
    }

    /// Writes their snapshots, after which the segment `end` comes, and removes those before. Gives the bytes of the new ones.
    fn store(
        self,
        storage: &dyn Storage,
        contents: &Contents,
        (shards, end): (u32, u64),
        rest: Rest<'_>,
    ) -> Result<u64, JournalError> {
        let mut bytes = 0;
        for (index, shard) in self.shards {
            let mut state = Vec::new();
            shard.engine.snapshot(&mut state);
            shard.head(index, shards, end, self.next).store(
                storage,
                (&state, &shard.trail),
                rest,
            )?;
            let old = contents.snapshots.range((index, 0)..(index, end));
            for name in old.map(|(_, name)| name) {
                storage.remove(name).about("remove", name)?;
            }
            bytes += state.len() as u64;
        }
        Ok(bytes)
    }
}
