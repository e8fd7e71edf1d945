//! How much one step does, and how long nobody is disturbed after it: the slower the database is, the less.
//!
//! Knows neither the clock nor the database; the time that a step took comes in.

use std::time::Duration;

/// What a step should take. Who sends to the same chat waits for it, and with SQLite whoever sends.
const STEP: Duration = Duration::from_millis(10);

/// Rows of the first step.
const FIRST: u32 = 100;

/// Rows of the largest: past that a step costs what its rows cost, whatever its size.
const MOST: u32 = 2_000;

/// Rows of the smallest: below that a step costs what a commit costs, and a busy machine would never be done.
const LEAST: u32 = 50;

/// A rest is so many times the step before it.
const RESTS: u32 = 2;

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(1);

/// See the file's header.
#[derive(Debug)]
pub(super) struct Pace {
    batch: u32,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { batch: FIRST }
    }

    /// Rows of the next step.
    pub(super) const fn batch(&self) -> u32 {
        self.batch
    }

    /// How long to rest after a step that took so long and has done so much.
    pub(super) fn rest_after(&mut self, took: Duration, done: i64) -> Duration {
        let is_full = done >= i64::from(self.batch);
        if took > STEP.saturating_mul(2) {
            self.batch = (self.batch / 2).max(LEAST);
        } else if took > STEP {
            self.batch = (self.batch - self.batch / 8).max(LEAST);
        } else if is_full && took < STEP / 2 {
            self.batch = self.batch.saturating_mul(2).min(MOST);
        } else if is_full {
            self.batch = (self.batch + self.batch / 8).min(MOST);
        }
        if done == 0 {
            // A look that has kept nobody waiting.
            return Duration::ZERO;
        }
        took.saturating_mul(RESTS).min(REST_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the hundredth step of a database that takes so long for each.
    fn settled(row: Duration) -> u32 {
        let mut pace = Pace::new();
        for _ in 1..100 {
            let took = row.saturating_mul(pace.batch());
            let rest = pace.rest_after(took, i64::from(pace.batch()));
            assert_eq!(rest, (took * RESTS).min(REST_MAX));
        }
        pace.batch()
    }

    #[test]
    fn a_step_comes_to_take_what_it_should() {
        for micros in [5, 10, 50, 100, 200] {
            let row = Duration::from_micros(micros);
            let batch = settled(row);
            let took = row * batch;
            assert!(batch == MOST || took > STEP / 2, "{took:?} of {micros} us");
            assert!(took <= STEP * 2, "{took:?} of {micros} us");
        }
        assert_eq!(settled(Duration::from_nanos(100)), MOST);
        assert_eq!(settled(Duration::from_millis(100)), LEAST);
    }

    #[test]
    fn a_step_that_is_not_full_says_nothing_of_larger_ones() {
        let mut pace = Pace::new();
        pace.rest_after(Duration::from_millis(1), 3);
        assert_eq!(pace.batch(), FIRST);
    }

    #[test]
    fn no_rest_is_longer_than_a_second_and_a_look_needs_none() {
        let mut pace = Pace::new();
        assert_eq!(pace.rest_after(Duration::from_secs(9), 1), REST_MAX);
        assert_eq!(pace.rest_after(Duration::from_secs(9), 0), Duration::ZERO);
    }
}
