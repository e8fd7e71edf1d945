//! What can be said of a data directory and its files without changing them: `tenure journal verify` and `inspect`.
//!
//! Decides nothing: it reads as recovery does, and tells.

use std::ops::ControlFlow;
use std::path::Path;

use super::directory::Directory;
use super::error::{About as _, JournalError};
use super::pinned::WrittenUpTo;
use super::record::{Record, Step};
use super::recovery::{self, Progress, Torn};
use super::segment::{self, Segment, SegmentHead, Tail, segment_index};
use super::snapshot::{SnapshotHead, snapshot_place};
use super::storage::{Disk, Storage as _};

/// A directory that a server could start from.
#[derive(Debug)]
pub struct Report {
    /// Its shards, in order.
    pub shards: Vec<ShardReport>,
    /// Segments in it.
    pub segments: usize,
    /// Snapshots in it.
    pub snapshots: usize,
    /// What was read.
    pub progress: Progress,
    /// Where log time would go on, in milliseconds.
    pub log_time: u64,
    /// What a start would cut.
    pub torn: Option<Torn>,
    /// Whether a server has it that goes on.
    pub is_in_use: bool,
    /// How far that had got: what was read.
    pub written_up_to: Option<WrittenUpTo>,
}

/// What a shard would come back as.
#[derive(Debug)]
pub struct ShardReport {
    /// Number of its next record.
    pub number: u64,
    /// A number that equal states share.
    pub digest: u64,
    /// Tokens below this one may have been given out.
    pub tokens_below: u64,
}

/// What is in one file.
#[derive(Debug)]
pub enum Inspected {
    /// A segment.
    Segment {
        /// Its head.
        head: SegmentHead,
        /// Its records, in order.
        records: Vec<InspectedRecord>,
        /// Where the last block ends.
        end: u64,
        /// What comes then.
        tail: Tail,
    },
    /// A snapshot.
    Snapshot {
        /// Its head.
        head: SnapshotHead,
        /// Bytes of the state.
        bytes: u64,
    },
}

/// One record of a segment.
#[derive(Debug)]
pub struct InspectedRecord {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its number in the whole journal.
    pub sequence: u64,
    /// Which shard's it is.
    pub shard: u32,
    /// Its number in that shard.
    pub number: u64,
    /// Log time, in milliseconds.
    pub at: u64,
    /// Unix time, in milliseconds.
    pub wall: u64,
    /// Its commands, as text. Secrets are left out.
    pub commands: Vec<String>,
}

/// Reads a data directory as a start would that happened when this is called, and changes nothing. A server may go on in it
/// meanwhile: what that writes from then on is not looked at.
///
/// # Errors
///
/// What a start would fail with.
pub fn verify(path: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, JournalError> {
    let directory = Directory::look_at(path)?;
    let contents = directory.contents()?;
    let recovered = recovery::recover(&directory, |step| {
        progress(step);
        ControlFlow::Continue(())
    })?;
    let shard = |shard: &recovery::Shard| ShardReport {
        number: shard.number,
        digest: shard.engine.digest(),
        tokens_below: shard.tokens_below,
    };
    Ok(Report {
        shards: recovered.shards.iter().map(shard).collect(),
        segments: contents.segments.len(),
        snapshots: contents.snapshots.len(),
        progress: recovered.progress,
        log_time: recovered.log_time.0,
        torn: recovered.torn,
        is_in_use: directory.is_in_use(),
        written_up_to: directory.written_up_to().cloned(),
    })
}

/// Reads one file, as far as it can be read.
///
/// # Errors
///
/// It cannot be read at all, or is neither a segment nor a snapshot; or it is one by its name, and its head is damaged.
pub fn inspect(path: &Path) -> Result<Inspected, JournalError> {
    let no_file = |why| JournalError::NoFile {
        path: path.to_path_buf(),
        why,
    };
    if path.is_dir() {
        return Err(no_file(
            "is a folder; name one of its files, or look at all of it with `tenure journal verify`",
        ));
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = Disk::at(folder).read(&name);
    let bytes = bytes.about("read", &path.display().to_string())?;
    if snapshot_place(&name).is_some() {
        let (head, state, _) = SnapshotHead::load(&name, &bytes)?;
        return Ok(Inspected::Snapshot {
            head,
            bytes: state.len() as u64,
        });
    }
    // A copy may have any name; what has neither name nor head is something else.
    if segment_index(&name).is_none() && !segment::begins(&bytes) {
        return Err(no_file(
            "is neither a segment, such as journal-000000000001, nor a snapshot, such as snapshot-00000-000000000002",
        ));
    }
    let mut segment = Segment::read(&name, &bytes, None)?;
    let mut records = Vec::new();
    for block in &segment.blocks {
        for (sequence, (offset, bytes)) in (block.first..).zip(segment.records(block)?) {
            match Record::decode(bytes) {
                Ok(record) => records.push(InspectedRecord::of(&record, offset, sequence)),
                Err(error) => {
                    let damage = super::Damage::new(&name, offset, error.to_string());
                    segment.tail = Tail::Damaged(damage);
                    break;
                }
            }
        }
    }
    Ok(Inspected::Segment {
        head: segment.head,
        records,
        end: segment.end,
        tail: segment.tail,
    })
}

impl InspectedRecord {
    fn of(record: &Record<'_>, offset: u64, sequence: u64) -> Self {
        let mut commands = Vec::new();
        let told = record.lend(|step| -> Result<(), std::convert::Infallible> {
            commands.push(match step {
                Step::Entry(entry) => format!("{:?}", entry.command),
                Step::Tokens { from, below } => {
                    format!("Tokens {{ from: {from}, below: {below} }}")
                }
            });
            Ok(())
        });
        match told {
            Ok(()) => {}
        }
        Self {
            offset,
            sequence,
            shard: record.head.shard,
            number: record.head.number,
            at: record.head.at,
            wall: record.head.wall,
            commands,
        }
    }
}
