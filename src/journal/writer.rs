//! The writer: takes all that waits, writes it as one block, syncs once, and says how far the disk has got. And the
//! preparer, which has the next segment ready before it is needed.
//!
//! Each is a few steps that a thread repeats (`machinery.rs`) and that a test can take one by one. Must hold: nothing is said
//! to be on disk before its sync; a segment is synced before the next one gets a byte; after a write or sync that failed
//! nothing is written any more.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::intake::{Group, Intake, Mark};
use super::segment::{SegmentHead, seal_block, segment_name};
use super::storage::{Append, Rest, Storage};

/// The segment that comes next, when it is there.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Option<Fresh>>);

/// A segment that nothing has been written to.
#[derive(Debug)]
pub(super) struct Fresh {
    index: u64,
    salt: u32,
    file: Box<dyn Append>,
}

/// Writes blocks into segments.
#[derive(Debug)]
pub struct Writer {
    intake: Arc<Intake>,
    ahead: Arc<Ahead>,
    segment: Fresh,
    /// Records below are on disk.
    synced: u64,
    /// Records below have been written.
    written: u64,
}

/// Makes segments.
#[derive(Debug)]
pub struct Preparer {
    storage: Arc<dyn Storage>,
    intake: Arc<Intake>,
    ahead: Arc<Ahead>,
    shards: u32,
    segment_bytes: u64,
    /// Index of the next segment to be made.
    index: u64,
}

impl Writer {
    /// A writer that begins with a segment of its own.
    pub(super) const fn new(
        intake: Arc<Intake>,
        ahead: Arc<Ahead>,
        segment: Fresh,
        next: u64,
    ) -> Self {
        Self {
            intake,
            ahead,
            segment,
            synced: next,
            written: next,
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    ///
    /// The disk fails; nothing may be written any more.
    pub fn write(&mut self) -> io::Result<()> {
        let groups = self.intake.take();
        self.write_groups(groups)
    }

    pub(super) fn write_groups(&mut self, groups: Vec<Group>) -> io::Result<()> {
        for mut group in groups {
            while self.segment.index < group.segment {
                self.turn_over()?;
            }
            let (first, count) = (group.first, group.count);
            seal_block(
                &mut group.bytes,
                first,
                count,
                self.synced,
                self.segment.salt,
            );
            self.segment.file.append(&group.bytes)?;
            self.written = first + u64::from(count);
            self.intake.reuse(group.bytes);
        }
        Ok(())
    }

    /// Brings to disk what has been written, and says so.
    ///
    /// # Errors
    ///
    /// As [`Writer::write`].
    pub fn sync(&mut self) -> io::Result<Mark> {
        if self.synced < self.written {
            self.segment.file.sync()?;
            self.synced = self.written;
            self.intake.reached(Mark(self.synced));
        }
        Ok(Mark(self.synced))
    }

    /// Goes on in the next segment. The one before is complete.
    fn turn_over(&mut self) -> io::Result<()> {
        self.sync()?;
        let next = self.ahead.0.lock().take();
        self.segment = next.expect("a record for the next segment was promised that segment");
        Ok(())
    }

    pub(super) const fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// The segment that is written to. Those before are complete.
    #[must_use]
    pub const fn segment(&self) -> u64 {
        self.segment.index
    }
}

impl Preparer {
    /// Makes segments from an index on.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        intake: Arc<Intake>,
        ahead: Arc<Ahead>,
        (shards, segment_bytes, index): (u32, u64, u64),
    ) -> Self {
        Self {
            storage,
            intake,
            ahead,
            shards,
            segment_bytes,
            index,
        }
    }

    /// Has the next segment ready, unless it is there. One is made ahead of the writer, and no more: so what waits to be
    /// written is never more than two segments. Takes a `rest` between two pieces.
    ///
    /// # Errors
    ///
    /// There is no room, or the disk fails. Nothing is lost, and it may be tried again.
    pub fn prepare(&mut self, rest: Rest<'_>) -> io::Result<()> {
        if self.is_ahead() {
            return Ok(());
        }
        let (shards, bytes) = (self.shards, self.segment_bytes);
        let fresh = make_segment(&*self.storage, shards, (self.index, bytes), rest)?;
        self.index += 1;
        *self.ahead.0.lock() = Some(fresh);
        self.intake.next_is_ready();
        Ok(())
    }

    pub(super) const fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Whether the next segment is there.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead.0.lock().is_some()
    }
}

/// A segment with its head and its room, on disk with its name.
pub(super) fn make_segment(
    storage: &dyn Storage,
    shards: u32,
    (index, bytes): (u64, u64),
    rest: Rest<'_>,
) -> io::Result<Fresh> {
    let head = SegmentHead::new(index, shards);
    let file = storage.create(&segment_name(index), &head.encode(), bytes, rest)?;
    storage.sync_names()?;
    Ok(Fresh {
        index,
        salt: head.salt,
        file,
    })
}
