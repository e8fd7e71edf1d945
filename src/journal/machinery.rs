//! The journal as a whole: its parts put together, and the three threads that drive them.
//!
//! The writer's thread writes and syncs, the preparer's has the next segment ready, the compactor's makes snapshots. Must
//! hold: only the writer's failure ends the process; what the other two cannot do they try again, and until then the disk
//! grows or [`Full`](super::Full) is the answer.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tenure_engine::{LogTime, Token, WallTime};
use tracing::{error, info, warn};

use super::compaction::{Compacted, compact};
use super::directory::{Contents, Directory};
use super::error::{About as _, JournalError};
use super::intake::{Appender, Durability, Intake, Mark};
use super::recovery::{Lived, Recovered};
use super::segment::segment_name;
use super::storage::{Rest, SMALL_PIECE, Storage, no_rest};
use super::writer::{Ahead, Preparer, Writer, make_segment};

/// Bytes of a segment, unless a test wants others. A batch of the largest commands fits in.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// How often what was written is synced, where it counts as safe before that.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// What could not be done is tried again after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// In so many parts of an interval what there is gets written, though not synced: a process that is killed loses a part.
const PARTS_OF_INTERVAL: u32 = 10;

/// What works beside the writer leaves disk and processor to others for so long after each piece of its work, unless it is
/// behind. An unhurried segment takes a second, and commands wait for no sync that is longer than that of a piece.
const REST: Duration = Duration::from_millis(2);

/// A compaction is behind when so many segments have been completed since it began.
const SEGMENTS_BEHIND: u64 = 3;

/// Exit status of a process whose disk has failed: that of all trouble.
const FAILED: i32 = 2;

/// Complete segments that are left alone at least.
const SEGMENTS_MIN: usize = 2;

/// How a journal is kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// When a record counts as safe.
    pub durability: Durability,
    /// Bytes of a segment: a multiple of a sector, below 4 GiB.
    pub segment_bytes: u64,
}

/// Whom the writer tells. Both are called on its thread, under no lock.
pub struct Hooks {
    /// More is on disk: whoever waits for a mark looks again.
    pub on_durable: Box<dyn Fn(Mark) + Send>,
    /// A write or a sync has failed. What is in the cache of the system may be gone and look as if it were not, so the
    /// process has to end; [`end_process`] does it.
    pub on_failure: Box<dyn Fn(&JournalError) + Send>,
}

/// A journal with its threads.
#[derive(Debug)]
pub struct Journal {
    directory: Directory,
    intake: Arc<Intake>,
    signals: Arc<Signals>,
    writer: Option<JoinHandle<Option<u64>>>,
    others: Vec<JoinHandle<()>>,
}

/// The parts of a journal, for whoever drives them step by step.
#[derive(Debug)]
pub struct Parts {
    /// What waits.
    pub intake: Arc<Intake>,
    /// Who writes it.
    pub writer: Writer,
    /// Who makes segments.
    pub preparer: Preparer,
    /// Each shard's way in, in order.
    pub appenders: Vec<Appender>,
}

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Signals {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The segment that the writer writes to.
    segment: u64,
    is_closing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// Logs a failure of the disk, and ends the process without another word to anybody: what is on disk is what counts.
pub fn end_process(error: &JournalError) {
    error!(%error, "the journal cannot be written; the server ends here, and starts from what is on disk");
    std::process::exit(FAILED);
}

impl Parts {
    /// Goes on after a recovery: mends what it found, opens a segment, and has the tokens of every shard kept ahead, from
    /// `first_token` on or from where they may have got. All of that is on disk when this returns.
    ///
    /// # Errors
    ///
    /// The disk is full, or fails.
    pub fn assemble(
        directory: &Directory,
        recovered: &mut Recovered,
        (first_token, wall): (Token, WallTime),
        options: Options,
    ) -> Result<Self, JournalError> {
        recovered.mend(directory)?;
        let (storage, shards) = (directory.storage(), directory.shards());
        let (index, next, bytes) = (recovered.segment, recovered.next, options.segment_bytes);
        let first = make_segment(storage.as_ref(), shards, (index, bytes), &mut no_rest)
            .about("make", &segment_name(index))?;
        let intake = Arc::new(Intake::new(index, bytes, next, options.durability));
        let ahead = Arc::new(Ahead::default());
        let mut writer = Writer::new(Arc::clone(&intake), Arc::clone(&ahead), first, next);
        let preparer = Preparer::new(
            Arc::clone(storage),
            Arc::clone(&intake),
            ahead,
            (shards, bytes, index + 1),
        );
        let mut appenders = Vec::new();
        for (index, shard) in (0..).zip(&mut recovered.shards) {
            let from = first_token.0.max(shard.tokens_below);
            shard.engine.raise_tokens(Token(from));
            let mut appender = Appender::new(Arc::clone(&intake), index, shard.number);
            let started = appender.start(shard.engine.next_token(), recovered.log_time, wall);
            started
                .map_err(io::Error::other)
                .about("begin", "the journal")?;
            appenders.push(appender);
        }
        let name = segment_name(index);
        writer.write().about("write", &name)?;
        writer.sync().about("write", &name)?;
        Ok(Self {
            intake,
            writer,
            preparer,
            appenders,
        })
    }
}

impl Journal {
    /// As [`Parts::assemble`], with a thread for each part. Gives each shard's way in.
    ///
    /// # Errors
    ///
    /// As there; or no thread can be had.
    pub fn start(
        directory: Directory,
        recovered: &mut Recovered,
        first: (Token, WallTime),
        options: Options,
        hooks: Hooks,
    ) -> Result<(Self, Vec<Appender>), JournalError> {
        let parts = Parts::assemble(&directory, recovered, first, options)?;
        let signals = Arc::new(Signals::default());
        let (storage, shards) = (Arc::clone(directory.storage()), directory.shards());
        let mut journal = Self {
            directory,
            intake: parts.intake,
            signals: Arc::clone(&signals),
            writer: None,
            others: Vec::new(),
        };
        let (writer, told) = (parts.writer, Arc::clone(&signals));
        journal.writer = Some(spawn("journal", move || write(writer, &told, &hooks))?);
        let (preparer, told) = (parts.preparer, Arc::clone(&signals));
        journal
            .others
            .push(spawn("segments", move || prepare(preparer, &told))?);
        journal.others.push(spawn("snapshots", move || {
            keep_bounded(storage.as_ref(), (shards, options.segment_bytes), &signals);
        })?);
        Ok((journal, parts.appenders))
    }

    /// What is on disk, and whether what was decided up to a mark may be told.
    #[must_use]
    pub const fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Ends the journal: writes and syncs all that was appended, and then, if the engines are given, snapshots of them, so
    /// that the next start replays nothing and may be one of other rules. Nothing may be appended any more.
    ///
    /// # Errors
    ///
    /// The snapshots cannot be written. Nothing is lost: the records are on disk.
    pub fn close(mut self, shards: Option<(Vec<Lived>, LogTime)>) -> Result<(), JournalError> {
        self.intake.close();
        let ended = self.writer.take().map(JoinHandle::join);
        self.signals.change(|wanted| wanted.is_closing = true);
        for other in self.others.drain(..) {
            // One that has panicked has said so.
            let _ = other.join();
        }
        let (Some(Ok(Some(last))), Some((shards, now))) = (ended, shards) else {
            return Ok(());
        };
        assert_eq!(
            shards.len(),
            self.directory.shards() as usize,
            "every shard ends, or none"
        );
        let next = self.intake.durable().0;
        let storage = self.directory.storage().as_ref();
        let recovered = Recovered::of_engines(shards, now, next);
        recovered.store(storage, last + 1)?;
        drop_all_before(storage, last + 1)
    }
}

/// Removes what the snapshots stand for.
fn drop_all_before(storage: &dyn Storage, end: u64) -> Result<(), JournalError> {
    let contents = Contents::of(storage)?;
    let segments = contents.segments.into_values();
    let snapshots = contents.snapshots.into_iter();
    let old = snapshots
        .filter(|((_, segment), _)| *segment < end)
        .map(|(_, name)| name);
    for name in segments.chain(old) {
        storage.remove(&name).about("remove", &name)?;
    }
    storage.sync_names().about("write", "the data directory")
}

impl Signals {
    /// A moment's rest, unless the journal is to be closed.
    fn rest(&self) -> usize {
        let mut wanted = self.state.lock();
        if wanted.is_closing {
            return no_rest();
        }
        self.changed.wait_for(&mut wanted, REST);
        SMALL_PIECE
    }

    /// The segment that the writer writes to.
    fn segment(&self) -> u64 {
        self.state.lock().segment
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, JournalError> {
    let builder = std::thread::Builder::new().name(String::from(name));
    builder
        .spawn(run)
        .about("start a thread for", "the journal")
}

/// The writer's thread. Gives the segment that it ended in, unless it failed.
fn write(mut writer: Writer, signals: &Signals, hooks: &Hooks) -> Option<u64> {
    let ended = write_until_closed(&mut writer, signals, hooks);
    ended
        .about("write", &segment_name(writer.segment()))
        .inspect_err(|error| (hooks.on_failure)(error))
        .is_ok()
        .then(|| writer.segment())
}

fn write_until_closed(writer: &mut Writer, signals: &Signals, hooks: &Hooks) -> io::Result<()> {
    let intake = Arc::clone(writer.intake());
    let interval = match intake.durability() {
        Durability::Always => None,
        Durability::Interval(interval) => Some(interval / PARTS_OF_INTERVAL),
    };
    let (mut part, mut told, mut segment) = (0, intake.durable(), 0);
    let mut sync = Duration::ZERO;
    loop {
        let (groups, is_closing) = intake.wait(interval);
        writer.write_groups(groups)?;
        part += 1;
        if interval.is_none() || is_closing || part >= PARTS_OF_INTERVAL {
            part = 0;
            let began = Instant::now();
            writer.sync()?;
            sync = began.elapsed();
        }
        let before = mem::replace(&mut told, intake.durable());
        if told > before {
            (hooks.on_durable)(told);
        }
        if writer.segment() != segment {
            segment = writer.segment();
            signals.change(|wanted| wanted.segment = segment);
        }
        if is_closing && intake.is_empty() {
            return Ok(());
        }
        if interval.is_none() && !is_closing {
            intake.gather(told.0 - before.0, sync);
        }
    }
}

/// The preparer's thread.
fn prepare(mut preparer: Preparer, signals: &Signals) {
    let mut is_failing = false;
    let intake = Arc::clone(preparer.intake());
    loop {
        let mut made = 0;
        // Twice as large a part of it is to be ready as is taken of the one before it: so it is ready long before it is needed.
        let mut rest = || {
            let piece = if intake.taken() > made / 2 {
                no_rest()
            } else {
                signals.rest()
            };
            made += piece;
            piece
        };
        match preparer.prepare(&mut rest) {
            Ok(()) if is_failing => {
                is_failing = false;
                info!("there is room for the journal again");
            }
            Err(error) if !is_failing => {
                is_failing = true;
                warn!(%error, "the next segment of the journal cannot be had; what needs it is refused until it can");
            }
            Ok(()) | Err(_) => {}
        }
        let mut wanted = signals.state.lock();
        let stays = |wanted: &mut Wanted| !wanted.is_closing && preparer.is_ahead();
        signals.changed.wait_while(&mut wanted, stays);
        if !wanted.is_closing && is_failing {
            signals.changed.wait_for(&mut wanted, PATIENCE);
        }
        if wanted.is_closing {
            return;
        }
    }
}

/// The compactor's thread: works when the complete segments have grown beyond the snapshots.
fn keep_bounded(storage: &dyn Storage, (shards, segment_bytes): (u32, u64), signals: &Signals) {
    let (mut seen, mut snapshot_bytes) = (0, 0);
    loop {
        let segment = {
            let mut wanted = signals.state.lock();
            while !wanted.is_closing && wanted.segment <= seen {
                signals.changed.wait(&mut wanted);
            }
            if wanted.is_closing {
                return;
            }
            wanted.segment
        };
        seen = segment;
        let mut rest = || {
            if signals.segment() >= segment + SEGMENTS_BEHIND {
                return no_rest();
            }
            signals.rest()
        };
        let bytes = (segment_bytes, snapshot_bytes);
        match compact_if_worth(storage, (shards, segment), bytes, &mut rest) {
            Ok(Some(compacted)) => {
                snapshot_bytes = compacted.snapshot_bytes;
                info!(
                    segments = compacted.segments,
                    snapshot_bytes, "the journal has been compacted"
                );
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "the journal cannot be compacted; it grows until it can"),
        }
    }
}

fn compact_if_worth(
    storage: &dyn Storage,
    (shards, segment): (u32, u64),
    (segment_bytes, snapshot_bytes): (u64, u64),
    rest: Rest<'_>,
) -> Result<Option<Compacted>, JournalError> {
    let complete = Contents::of(storage)?.segments.range(..segment).count();
    let is_worth = complete >= SEGMENTS_MIN && complete as u64 * segment_bytes >= snapshot_bytes;
    is_worth
        .then(|| compact(storage, shards, segment, rest))
        .transpose()
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}
