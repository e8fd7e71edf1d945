//! What the client has measured of itself, as figures that one can read.
//!
//! Knows nothing of what is measured. Rule: fixed space, however long it runs; reading costs a copy of the figures and no
//! more.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// The longest that is told apart: whatever took longer counts as this. In microseconds.
const LONGEST: u64 = 24 * 3600 * 1_000_000;

/// How long something took, over all times it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How often.
    pub count: u64,
    /// On average.
    pub mean: Duration,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nine in ten took no longer.
    pub p90: Duration,
    /// 99 in a hundred took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// What the client has done so far. Times are within 1 % of what they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// From handing a message over until it is known to be stored, time in the queue included.
    pub stored: Timing,
    /// From handing a message over until the feed has told of it, if a feed is heard.
    pub heard: Timing,
    /// One request that sends a message, until its answer.
    pub attempts: Timing,
    /// Messages that wait or are on their way at this moment.
    pub queued: usize,
    /// Bytes of them, about.
    pub queued_bytes: usize,
    /// For how long the oldest of them has waited.
    pub oldest_queued: Option<Duration>,
    /// Sends that were tried again.
    pub retries: u64,
    /// Messages that were stored already when they were sent: an answer had been lost.
    pub replayed: u64,
    /// Messages that were refused or given up.
    pub failed: u64,
    /// How often the companion counted as away.
    pub breaker_opened: u64,
    /// How often the feed was opened.
    pub feeds_opened: u64,
    /// Events of the feed.
    pub events: u64,
    /// Events that were told before, and were not told again.
    pub events_repeated: u64,
    /// How often something of the feed was lost.
    pub losses: u64,
    /// Pages that came from memory.
    pub cache_hits: u64,
    /// Pages that had to be asked for.
    pub cache_misses: u64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            p50,
            p99,
            max,
            ..
        } = self;
        write!(
            f,
            "{count} times: p50 {p50:?}, p99 {p99:?}, longest {max:?}"
        )
    }
}

/// Where it is counted.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) stored: Clock,
    pub(super) heard: Clock,
    pub(super) attempts: Clock,
    pub(super) retries: Count,
    pub(super) replayed: Count,
    pub(super) failed: Count,
    pub(super) breaker_opened: Count,
    pub(super) feeds_opened: Count,
    pub(super) events: Count,
    pub(super) events_repeated: Count,
    pub(super) losses: Count,
    pub(super) cache_hits: Count,
    pub(super) cache_misses: Count,
}

/// How often.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// How long.
#[derive(Debug)]
pub(super) struct Clock(Mutex<Histogram<u64>>);

impl Count {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock {
    fn new() -> Self {
        let histogram = Histogram::new_with_max(LONGEST, 2);
        Self(Mutex::new(
            histogram.expect("the bounds are constants that fit"),
        ))
    }

    pub(super) fn took(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(LONGEST);
        self.0.lock().saturating_record(micros.min(LONGEST));
    }

    fn timing(&self) -> Timing {
        let histogram = self.0.lock();
        let part = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Timing {
            count: histogram.len(),
            mean: Duration::from_secs_f64(histogram.mean() / 1e6),
            p50: part(0.5),
            p90: part(0.9),
            p99: part(0.99),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            stored: Clock::new(),
            heard: Clock::new(),
            attempts: Clock::new(),
            retries: Count::default(),
            replayed: Count::default(),
            failed: Count::default(),
            breaker_opened: Count::default(),
            feeds_opened: Count::default(),
            events: Count::default(),
            events_repeated: Count::default(),
            losses: Count::default(),
            cache_hits: Count::default(),
            cache_misses: Count::default(),
        }
    }

    /// All of them, but for the queue's.
    pub(super) fn read(&self) -> Figures {
        Figures {
            stored: self.stored.timing(),
            heard: self.heard.timing(),
            attempts: self.attempts.timing(),
            queued: 0,
            queued_bytes: 0,
            oldest_queued: None,
            retries: self.retries.so_far(),
            replayed: self.replayed.so_far(),
            failed: self.failed.so_far(),
            breaker_opened: self.breaker_opened.so_far(),
            feeds_opened: self.feeds_opened.so_far(),
            events: self.events.so_far(),
            events_repeated: self.events_repeated.so_far(),
            losses: self.losses.so_far(),
            cache_hits: self.cache_hits.so_far(),
            cache_misses: self.cache_misses.so_far(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_parts_and_never_overflow() {
        let clock = Clock::new();
        for ms in 1..=100 {
            clock.took(Duration::from_millis(ms));
        }
        let timing = clock.timing();
        assert_eq!(timing.count, 100);
        let near = |found: Duration, ms: u64| {
            let expected = Duration::from_millis(ms);
            assert!(
                found >= expected && found <= expected.mul_f64(1.02),
                "{found:?}"
            );
        };
        near(timing.p50, 50);
        near(timing.p90, 90);
        near(timing.p99, 99);
        clock.took(Duration::MAX);
        assert!(clock.timing().max >= Duration::from_micros(LONGEST));
        assert_eq!(Counters::new().read().stored, Timing::default());
    }
}
