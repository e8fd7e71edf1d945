//! Keeps the disk bounded: makes new snapshots out of the old ones and the complete segments, and then drops those segments.
//!
//! Works from disk alone, one shard at a time, and never looks at a live engine. Must hold: a file is dropped only when
//! what replaces it is on disk under its name.

use super::directory::Contents;
use super::error::{About as _, Damage, JournalError};
use super::record::{Head, Record};
use super::recovery::{Shard, load};
use super::segment::{Segment, Tail};
use super::storage::{Rest, Storage};

/// So many bytes of records are replayed between two rests, in a millisecond or so.
const PIECE: usize = 64 * 1024;

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
/// Costs a pass over those segments for each shard, and memory for one segment and one shard; takes a `rest` after each piece
/// of it. It may be ended at any point and taken up again.
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
    for shard in 0..shards {
        compacted.snapshot_bytes += compact_shard(storage, &contents, (shard, shards, end), rest)?;
    }
    for name in contents.segments.range(..end).map(|(_, name)| name) {
        storage.remove(name).about("remove", name)?;
        compacted.segments += 1;
    }
    storage.sync_names().about("write", "the data directory")?;
    Ok(compacted)
}

/// Gives the bytes of the shard's snapshot.
fn compact_shard(
    storage: &dyn Storage,
    contents: &Contents,
    (index, shards, end): (u32, u32, u64),
    rest: Rest<'_>,
) -> Result<u64, JournalError> {
    let (mut shard, mut next) =
        load(storage, contents, index)?.unwrap_or_else(|| (Shard::first(), 0));
    if shard.segment >= end {
        return Ok(0);
    }
    for segment in shard.segment..end {
        let Some(name) = contents.segments.get(&segment) else {
            let what = "expected this segment, found none";
            return Err(Damage::new(&super::segment_name(segment), 0, what).into());
        };
        let bytes = storage.read(name).about("read", name)?;
        let segment = Segment::read(name, &bytes, Some(next))?;
        match &segment.tail {
            Tail::Clean => {}
            Tail::Damaged(damage) => return Err(damage.clone().into()),
            Tail::Torn(_) => {
                let what = "expected a complete segment, found a torn end";
                return Err(Damage::new(name, segment.end, what).into());
            }
        }
        rest();
        replay(&segment, index, &mut shard, rest)?;
        next = segment.next_record().unwrap_or(next);
    }
    let mut state = Vec::new();
    shard.engine.snapshot(&mut state);
    shard
        .head(index, shards, end, next)
        .store(storage, (&state, &shard.trail), rest)?;
    let old = contents.snapshots.range((index, 0)..(index, end));
    for name in old.map(|(_, name)| name) {
        storage.remove(name).about("remove", name)?;
    }
    Ok(state.len() as u64)
}

/// Replays one shard's records of a segment.
fn replay(
    segment: &Segment<'_>,
    index: u32,
    shard: &mut Shard,
    rest: Rest<'_>,
) -> Result<(), JournalError> {
    let mut replayed = 0;
    for block in &segment.blocks {
        for (offset, bytes) in segment.records(block)? {
            let damage = |what: String| Damage::new(&segment.name, offset, what);
            let head = Head::decode(bytes).map_err(|error| damage(error.to_string()))?;
            if head.shard != index || head.number < shard.number {
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
