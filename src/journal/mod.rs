//! The journal: what was acknowledged stays. A log of segments with group commit, snapshots, and the way back from both.
//!
//! Keeps entries of the lock engine that have changed something, and nothing else; presence and streams are never in it.
//! Knows no socket, no task, and no rule of locks. [`Journal`] is the whole, [`Appender`] is what a shard has of it.
//!
//! Must hold: nothing counts as kept before the sync that covers it ([`Intake::is_safe`]); after a write that failed
//! nothing is written any more; what is read back is exactly what was kept, or an error that says where it is not.

mod backup;
mod command;
mod compaction;
mod directory;
mod error;
mod intake;
mod machinery;
mod pinned;
mod record;
mod recovery;
mod segment;
mod snapshot;
mod storage;
mod trail;
mod verify;
mod writer;

pub use backup::{Copied, backup};
pub use compaction::{Compacted, compact};
pub use directory::{Contents, Directory};
pub use error::{Damage, JournalError};
pub use intake::{Appender, Durability, Full, Intake, Mark};
pub use machinery::{Hooks, INTERVAL, Journal, Options, Parts, SEGMENT_BYTES, end_process};
pub use pinned::WrittenUpTo;
pub use record::{Head, Record, RecordError, Step, bytes_max};
pub use recovery::{Lived, Progress, Recovered, Shard, Torn, go_on, recover};
pub use segment::{Block, SECTOR, Segment, SegmentHead, Tail, segment_index, segment_name};
pub use snapshot::{SnapshotHead, snapshot_name, snapshot_place};
pub use storage::{Append, Disk, Rest, Storage, no_rest};
pub use verify::{Inspected, InspectedRecord, Report, ShardReport, inspect, verify};
pub use writer::{Preparer, Writer};
