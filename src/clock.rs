//! The one clock: log time for decisions, wall time for people. Nothing else in the server reads either.
//!
//! Log time is monotonic and the same for all shards; it advances while this process runs, so neither an NTP step nor the
//! time that a server was down expires anything. Wall time is looked at now and then, and counted on between, so that a
//! stamp costs one reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tenure_engine::{LogTime, WallTime};

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Clock {
    base: LogTime,
    started: Instant,
    /// Unix time in milliseconds when this process began, by the last look at it.
    began: AtomicU64,
}

/// When a batch happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) at: LogTime,
    pub(crate) wall: WallTime,
    /// What the clock itself has said.
    pub(crate) instant: Instant,
}

impl Clock {
    /// A clock whose log time goes on from `base`.
    pub(crate) fn from(base: LogTime) -> Self {
        Self {
            base,
            started: Instant::now(),
            began: AtomicU64::new(millis(since_epoch())),
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let instant = Instant::now();
        let elapsed = millis(instant.duration_since(self.started));
        Stamp {
            at: LogTime(self.base.0.saturating_add(elapsed)),
            wall: WallTime(self.began.load(Ordering::Relaxed).saturating_add(elapsed)),
            instant,
        }
    }

    pub(crate) fn now(&self) -> LogTime {
        LogTime(self.base.0.saturating_add(self.elapsed()))
    }

    /// Looks at what the operating system takes for the time of day, which somebody may have set. To be called about once
    /// a second.
    pub(crate) fn look_at_the_wall(&self) {
        let began = millis(since_epoch()).saturating_sub(self.elapsed());
        self.began.store(began, Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// When log time will be `at`, for a sleep; `None` when that is beyond what a timer can wait for.
    pub(crate) fn instant_of(&self, at: LogTime) -> Option<Instant> {
        self.started
            .checked_add(Duration::from_millis(at.0.saturating_sub(self.base.0)))
    }
}

/// Microseconds of Unix time: where tokens begin when nothing is kept, so that a restart does not give lower ones.
pub(crate) fn unix_micros() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
