//! What one thread counts of a run. Knows what was asked and what came of it, and nothing of why.
//!
//! Rule: what lies outside of the measured time is not counted, but for the progress.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Phase;
use crate::dialect::{Ask, Outcome};

/// Latencies are told apart from 1 ns up to this, to three digits.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Places in a line are told apart up to this.
const PLACES_MAX: u64 = 10_000_000;

/// See the file's header.
pub(crate) struct Tally {
    pub(crate) phase: Phase,
    /// Operations of the whole run, for its progress.
    pub(crate) progress: u64,
    pub(crate) acquired: u64,
    pub(crate) released: u64,
    pub(crate) renewed: u64,
    pub(crate) conflicts: u64,
    pub(crate) lost: u64,
    pub(crate) overdue: u64,
    /// Processor time while there was nothing to do.
    pub(crate) idle: Duration,
    /// From when a request was due to its answer, waits apart.
    pub(crate) latency: Histogram<u64>,
    /// From asking to holding, of those who stood in line or might have.
    pub(crate) waits: Histogram<u64>,
    /// By how many places grants were not in their turn.
    pub(crate) places_off: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let nanoseconds = Histogram::new_with_max(LATENCY_MAX.as_nanos() as u64, 3)?;
        Ok(Self {
            phase: Phase::WarmUp,
            progress: 0,
            acquired: 0,
            released: 0,
            renewed: 0,
            conflicts: 0,
            lost: 0,
            overdue: 0,
            idle: Duration::ZERO,
            latency: nanoseconds.clone(),
            waits: nanoseconds,
            places_off: Histogram::new_with_max(PLACES_MAX, 3)?,
        })
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.acquired += other.acquired;
        self.released += other.released;
        self.renewed += other.renewed;
        self.conflicts += other.conflicts;
        self.lost += other.lost;
        self.overdue += other.overdue;
        self.idle += other.idle;
        self.latency.add(&other.latency)?;
        self.waits.add(&other.waits)?;
        self.places_off.add(&other.places_off)?;
        Ok(())
    }

    /// Counts an answer that has taken so long.
    pub(crate) fn answered(&mut self, ask: Ask, outcome: Outcome, took: Duration) {
        self.progress += u64::from(outcome == Outcome::Done);
        if self.phase != Phase::Measure {
            return;
        }
        let counter = match (ask, outcome) {
            (_, Outcome::Queued) => return,
            (Ask::Acquire | Ask::Wait, Outcome::Done) => &mut self.acquired,
            (Ask::Release, Outcome::Done) => &mut self.released,
            (Ask::Renew, Outcome::Done) => &mut self.renewed,
            (Ask::Acquire | Ask::Wait, Outcome::Refused) => &mut self.conflicts,
            (Ask::Release | Ask::Renew, Outcome::Refused) => &mut self.lost,
        };
        *counter += 1;
        let histogram = match ask {
            Ask::Wait => &mut self.waits,
            Ask::Acquire | Ask::Release | Ask::Renew => &mut self.latency,
        };
        histogram.saturating_record(nanoseconds(took));
    }

    /// Counts for how much processor time it was looked for something to do in vain.
    pub(crate) fn in_vain(&mut self, idle: Duration) {
        if self.phase == Phase::Measure {
            self.idle += idle;
        }
    }

    /// Counts how far a grant was from its turn.
    pub(crate) fn granted(&mut self, places_off: u64) {
        if self.phase == Phase::Measure {
            self.places_off.saturating_record(places_off);
        }
    }

    /// Counts a request that was due for so long and could not be sent.
    pub(crate) fn overdue(&mut self, late: Duration) {
        if self.phase == Phase::Measure {
            self.overdue += 1;
            self.latency.saturating_record(nanoseconds(late));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
