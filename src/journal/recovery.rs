//! From the files back to the engines: the last snapshot of each shard, and every record since, in order.
//!
//! Must hold: a record that is missing, out of order or leads elsewhere than it did is an error, never a guess. Only what
//! comes after the last record that is whole is cut, and that is said. Reading changes nothing; [`Recovered::mend`] does.

use std::ops::ControlFlow;

use tenure_engine::limits::BEHAVIOUR;
use tenure_engine::{Discard, Engine, Entry, LogTime, Outcome, Token};

use super::directory::{Contents, Directory};
use super::error::{About as _, Damage, JournalError};
use super::intake::Appender;
use super::record::{Head, Record, Step};
use super::segment::{Segment, Tail, is_unfinished};
use super::snapshot::SnapshotHead;
use super::storage::{Storage, no_rest};
use crate::audit::{Trail, Watch};

/// After so many records at most it is said how far a recovery has got.
const RECORDS_UNTOLD: u64 = 4096;

/// How far a recovery has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records replayed.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Segments that have been replayed.
    pub segments: usize,
    /// Segments still to be replayed.
    pub segments_left: usize,
}

/// A recovery that nobody stops.
pub const fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Whoever is told how far a recovery has got, and may stop it.
type Told<'t> = &'t mut dyn FnMut(Progress) -> ControlFlow<()>;

/// What a write that did not end has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// In which file.
    pub file: String,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A directory, read.
#[derive(Debug)]
pub struct Recovered {
    /// The shards, in order.
    pub shards: Vec<Shard>,
    /// Where log time goes on.
    pub log_time: LogTime,
    /// What was done.
    pub progress: Progress,
    /// What has to be cut.
    pub torn: Option<Torn>,
    /// Number of the next record of the whole journal.
    pub(super) next: u64,
    /// Index of the next segment.
    pub(super) segment: u64,
    /// The last segment that has records, and where they end.
    last: Option<(String, u64)>,
    /// Files that nothing is in.
    unneeded: Vec<String>,
}

/// One shard, as far as it has been replayed.
#[derive(Debug)]
pub struct Shard {
    /// Its state.
    pub engine: Engine,
    /// What privileged acts there have been.
    pub trail: Trail,
    /// Number of its next record.
    pub number: u64,
    /// Tokens below this one may have been given out, also by what is lost.
    pub tokens_below: u64,
    /// The latest time that it knows.
    pub(super) at: u64,
    /// The first segment that it needs.
    pub(super) segment: u64,
}

/// A shard at the end of a run.
#[derive(Debug)]
pub struct Lived {
    /// Its state.
    pub engine: Engine,
    /// What privileged acts there have been.
    pub trail: Trail,
    /// Its way into the journal.
    pub appender: Appender,
}

/// Reads a directory. Calls `progress` after each snapshot, after each segment, and after some thousand records: it stops
/// where that breaks.
///
/// Costs what the snapshots and the segments since take: memory for one segment beside the state.
///
/// # Errors
///
/// Something is damaged, missing, or not to be replayed here; or it was stopped.
pub fn recover(
    directory: &Directory,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Recovered, JournalError> {
    let contents = directory.contents()?;
    let mut reading = Reading::begin(directory, &contents, &mut progress)?;
    let needed = contents.segments.range(reading.needed..);
    reading.progress.segments_left = needed.clone().count();
    for (index, name) in needed {
        reading.segment(directory.storage().as_ref(), (*index, name), &mut progress)?;
        reading.without_gap += u64::from(reading.without_gap == *index);
        reading.progress.segments += 1;
        reading.progress.segments_left -= 1;
        reading.tell(&mut progress)?;
    }
    Ok(reading.end(&contents))
}

/// A recovery under way.
struct Reading {
    shards: Vec<Shard>,
    /// First segment that any shard needs.
    needed: u64,
    /// First segment from there on that is not there.
    without_gap: u64,
    /// Segment after the last one that has records.
    segment: u64,
    /// The journal's next record.
    next: u64,
    at: u64,
    progress: Progress,
    /// The tail after which nothing may come any more.
    torn: Option<Torn>,
    last: Option<(String, u64)>,
    unneeded: Vec<String>,
}

impl Reading {
    fn begin(
        directory: &Directory,
        contents: &Contents,
        told: Told<'_>,
    ) -> Result<Self, JournalError> {
        let mut reading = Self {
            shards: Vec::new(),
            needed: u64::MAX,
            without_gap: 0,
            segment: 1,
            next: 0,
            at: 0,
            progress: Progress::default(),
            torn: None,
            last: None,
            unneeded: contents.unfinished.clone(),
        };
        for shard in 0..directory.shards() {
            let Loaded { shard, next, .. } = load(directory.storage().as_ref(), contents, shard)?;
            if shard.segment < reading.needed {
                (reading.needed, reading.next) = (shard.segment, next);
            }
            reading.segment = reading.segment.max(shard.segment);
            reading.at = reading.at.max(shard.at);
            reading.shards.push(shard);
            reading.tell(told)?;
        }
        reading.without_gap = reading.needed;
        Ok(reading)
    }

    fn tell(&self, told: Told<'_>) -> Result<(), JournalError> {
        match told(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(JournalError::Stopped),
        }
    }

    fn segment(
        &mut self,
        storage: &dyn Storage,
        (index, name): (u64, &str),
        told: Told<'_>,
    ) -> Result<(), JournalError> {
        let bytes = storage.read(name).about("read", name)?;
        self.progress.bytes += bytes.len() as u64;
        if is_unfinished(name, &bytes) {
            self.unneeded.push(String::from(name));
            return Ok(());
        }
        let segment = Segment::read(name, &bytes, Some(self.next))?;
        // What is missing in front of an empty one was empty too: segments that nothing is in are removed in any order.
        let is_empty = segment.blocks.is_empty() && segment.tail == Tail::Clean;
        if !is_empty && self.without_gap < index {
            let what = format!("segment {} before it is missing", self.without_gap);
            return Err(Damage::new(name, 0, what).into());
        }
        if let (Some(torn), false) = (&self.torn, segment.blocks.is_empty()) {
            let what = format!("expected no torn end, since {name} was written after it");
            return Err(Damage::new(&torn.file, torn.offset, what).into());
        }
        let mut untold = self.progress.records + RECORDS_UNTOLD;
        for block in &segment.blocks {
            for (offset, record) in segment.records(block)? {
                self.record(&segment, offset, record)?;
                if self.progress.records >= untold {
                    untold = self.progress.records + RECORDS_UNTOLD;
                    self.tell(told)?;
                }
            }
        }
        self.next = segment.next_record().unwrap_or(self.next);
        match &segment.tail {
            Tail::Damaged(damage) => return Err(damage.clone().into()),
            Tail::Torn(bytes) => {
                let (file, offset, bytes) = (String::from(name), segment.end, *bytes);
                self.torn = Some(Torn {
                    file,
                    offset,
                    bytes,
                });
            }
            Tail::Clean => {}
        }
        if segment.blocks.is_empty() && index >= self.segment {
            self.unneeded.push(String::from(name));
        } else {
            // Whatever seemed to be empty before has a successor.
            self.unneeded
                .retain(|unneeded| super::segment::segment_index(unneeded).is_none());
            self.segment = self.segment.max(index + 1);
            self.last = Some((segment.name, segment.end));
        }
        Ok(())
    }

    fn record(
        &mut self,
        segment: &Segment<'_>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        let damage = |what: String| JournalError::from(Damage::new(&segment.name, offset, what));
        let head = Head::decode(bytes).map_err(|error| damage(error.to_string()))?;
        let shards = self.shards.len();
        let Some(shard) = self.shards.get_mut(head.shard as usize) else {
            let found = head.shard;
            return Err(damage(format!(
                "expected one of {shards} shards, found shard {found}"
            )));
        };
        self.at = self.at.max(head.at);
        if head.number < shard.number {
            return Ok(());
        }
        if segment.head.behaviour != BEHAVIOUR {
            return Err(JournalError::OtherBehaviour {
                file: segment.name.clone(),
                found: segment.head.behaviour,
                ours: BEHAVIOUR,
                binary: segment.head.binary.clone(),
            });
        }
        let record = Record::decode(bytes).map_err(|error| damage(error.to_string()))?;
        shard.replay(&record).map_err(damage)?;
        self.progress.records += 1;
        Ok(())
    }

    fn end(mut self, contents: &Contents) -> Recovered {
        let old = contents.segments.range(..self.needed);
        self.unneeded.extend(old.map(|(_, name)| name.clone()));
        for ((shard, segment), name) in &contents.snapshots {
            let latest = self.shards.get(*shard as usize).map(|shard| shard.segment);
            if latest.is_some_and(|latest| *segment < latest) {
                self.unneeded.push(name.clone());
            }
        }
        Recovered {
            shards: self.shards,
            log_time: LogTime(self.at),
            progress: self.progress,
            torn: self.torn,
            next: self.next,
            segment: self.segment,
            last: self.last,
            unneeded: self.unneeded,
        }
    }
}

impl Shard {
    /// A shard of which nothing has been kept.
    pub(super) fn first() -> Self {
        Self {
            engine: Engine::new(Token(1)),
            trail: Trail::default(),
            number: 0,
            tokens_below: 0,
            at: 0,
            segment: 1,
        }
    }

    /// Takes the next record.
    pub(super) fn replay(&mut self, record: &Record<'_>) -> Result<(), String> {
        let (expected, found) = (self.number, record.head.number);
        if expected != found {
            let shard = record.head.shard;
            return Err(format!(
                "expected record {expected} of shard {shard}, found {found}"
            ));
        }
        self.number += 1;
        self.at = self.at.max(record.head.at);
        record.lend(|step| match step {
            Step::Tokens { from, below } => {
                self.engine.raise_tokens(Token(from));
                self.tokens_below = self.tokens_below.max(below);
                Ok(())
            }
            Step::Entry(entry) if self.live(&entry).changed => Ok(()),
            Step::Entry(_) => Err(String::from(
                "expected a command that changes something, found one that changes nothing here",
            )),
        })
    }

    /// It goes on, by this way into the journal.
    #[must_use]
    pub fn lives_on(self, appender: Appender) -> Lived {
        Lived {
            engine: self.engine,
            trail: self.trail,
            appender,
        }
    }

    fn live(&mut self, entry: &Entry<'_>) -> Outcome {
        let Self { engine, trail, .. } = self;
        let mut discard = Discard;
        let (command, wall) = (entry.command, entry.wall);
        let watched = Watch::over(command, wall, (&mut discard, trail), |watch| {
            engine.apply(entry, watch)
        });
        watched.unwrap_or_else(|| engine.apply(entry, &mut discard))
    }

    /// The head of a snapshot of it, after which `segment` comes.
    pub(super) fn head(&self, shard: u32, shards: u32, segment: u64, next: u64) -> SnapshotHead {
        SnapshotHead {
            behaviour: BEHAVIOUR,
            shard,
            shards,
            segment,
            number: self.number,
            next,
            at: self.at,
            tokens_below: self.tokens_below,
            binary: String::from(env!("CARGO_PKG_VERSION")),
        }
    }
}

/// A shard as its last snapshot has it.
pub(super) struct Loaded {
    pub(super) shard: Shard,
    /// The journal's next record at that time.
    pub(super) next: u64,
    /// Bytes of the snapshot.
    pub(super) bytes: usize,
}

/// The last snapshot of a shard, or how it began if there is none.
pub(super) fn load(
    storage: &dyn Storage,
    contents: &Contents,
    shard: u32,
) -> Result<Loaded, JournalError> {
    let Some(name) = contents.snapshot_of(shard) else {
        return Ok(Loaded {
            shard: Shard::first(),
            next: 0,
            bytes: 0,
        });
    };
    let bytes = storage.read(name).about("read", name)?;
    let (head, state, trail) = SnapshotHead::load(name, &bytes)?;
    let engine = Engine::restore(state);
    let engine = engine.map_err(|error| Damage::new(name, 0, error.to_string()))?;
    let shard = Shard {
        engine,
        trail,
        number: head.number,
        tokens_below: head.tokens_below,
        at: head.at,
        segment: head.segment,
    };
    Ok(Loaded {
        shard,
        next: head.next,
        bytes: bytes.len(),
    })
}

impl Recovered {
    /// Brings to disk what was read, cuts what was torn, and removes what is not needed, so that what comes next stands on
    /// whole ground: a process that was killed may have left in the cache what a loss of power would take away.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn mend(&mut self, directory: &Directory) -> Result<(), JournalError> {
        let storage = directory.storage();
        if let Some((name, end)) = &self.last {
            storage.cut(name, *end).about("cut", name)?;
        }
        storage.sync_names().about("write", "the data directory")?;
        for name in std::mem::take(&mut self.unneeded) {
            storage.remove(&name).about("remove", &name)?;
        }
        storage.sync_names().about("write", "the data directory")
    }

    /// What engines that have ended would be recovered as, when `next` would be the next record.
    pub(super) fn of_engines(engines: Vec<Lived>, now: LogTime, next: u64) -> Self {
        let shard = |lived: Lived| {
            let Lived {
                engine,
                trail,
                appender,
            } = lived;
            let (number, tokens_below) = appender.place();
            Shard {
                engine,
                trail,
                number,
                tokens_below,
                at: now.0,
                segment: 0,
            }
        };
        Self {
            shards: engines.into_iter().map(shard).collect(),
            log_time: now,
            progress: Progress::default(),
            torn: None,
            next,
            segment: 0,
            last: None,
            unneeded: Vec::new(),
        }
    }

    /// Writes what all shards are as snapshots, so that no record is needed any more.
    ///
    /// # Errors
    ///
    /// The disk is full, or fails. Nothing is lost.
    pub(super) fn store(&self, storage: &dyn Storage, segment: u64) -> Result<(), JournalError> {
        let shards = self.shards.len() as u32;
        for (index, shard) in (0..).zip(&self.shards) {
            let mut state = Vec::new();
            shard.engine.snapshot(&mut state);
            shard.head(index, shards, segment, self.next).store(
                storage,
                (&state, &shard.trail),
                &mut no_rest,
            )?;
        }
        Ok(())
    }
}
