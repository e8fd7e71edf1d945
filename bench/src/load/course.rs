//! What a slot does next, and what is counted: an acquire of a random path, and if that was granted its release, again and
//! again. Knows no socket and no protocol.

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Phase;
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// Latencies are told apart from 1 ns up to this, to three digits.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// One of the requests that a connection has in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) path: Path,
    pub(crate) ask: Ask,
    pub(crate) asked: Instant,
}

/// See the file's header.
pub(crate) struct Course {
    random: fastrand::Rng,
    paths: u32,
    phase: Phase,
    tally: Tally,
    /// Also what was not measured.
    pub(crate) pairs: u64,
}

/// What one thread has counted, while it was measured.
pub(crate) struct Tally {
    pub(crate) pairs: u64,
    pub(crate) conflicts: u64,
    pub(crate) lost: u64,
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            pairs: 0,
            conflicts: 0,
            lost: 0,
            latency: Histogram::new_with_max(LATENCY_MAX.as_nanos() as u64, 3)?,
        })
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.pairs += other.pairs;
        self.conflicts += other.conflicts;
        self.lost += other.lost;
        self.latency.add(&other.latency)?;
        Ok(())
    }
}

impl Course {
    /// Equal seeds choose equal paths.
    pub(crate) fn new(seed: u64, paths: u32) -> Result<Self> {
        Ok(Self {
            random: fastrand::Rng::with_seed(seed),
            paths,
            phase: Phase::WarmUp,
            tally: Tally::new()?,
            pairs: 0,
        })
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    /// A slot that begins.
    pub(crate) fn begin(&mut self, now: Instant) -> Slot {
        Slot {
            path: self.random_path(),
            ask: Ask::Acquire,
            asked: now,
        }
    }

    /// Takes the answer of a slot. Tells whether the slot goes on, with what stands in it then.
    pub(crate) fn answered(&mut self, slot: &mut Slot, outcome: Outcome, now: Instant) -> bool {
        self.count(slot, outcome, now);
        slot.asked = now;
        if (slot.ask, outcome) == (Ask::Acquire, Outcome::Done) {
            slot.ask = Ask::Release;
            return true;
        }
        if self.phase == Phase::Drain {
            return false;
        }
        slot.ask = Ask::Acquire;
        slot.path = self.random_path();
        true
    }

    fn count(&mut self, slot: &Slot, outcome: Outcome, now: Instant) {
        let is_pair = (slot.ask, outcome) == (Ask::Release, Outcome::Done);
        self.pairs += u64::from(is_pair);
        if self.phase != Phase::Measure {
            return;
        }
        self.tally.pairs += u64::from(is_pair);
        match (slot.ask, outcome) {
            (Ask::Acquire | Ask::Wait, Outcome::Refused) => self.tally.conflicts += 1,
            (Ask::Release | Ask::Renew, Outcome::Refused) => self.tally.lost += 1,
            (_, Outcome::Done | Outcome::Queued) => {}
        }
        let latency = now.saturating_duration_since(slot.asked).as_nanos();
        self.tally
            .latency
            .saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
    }

    fn random_path(&mut self) -> Path {
        Path::at(self.random.u32(..self.paths.max(1)))
    }
}
