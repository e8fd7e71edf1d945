//! A circuit breaker: when the lock server has not answered several times in a row, nobody else waits for it.
//!
//! Pure: time is an argument. Rule: after a pause one request is let through to see whether it is back; the rest are turned
//! away at once until that one has come back with an answer.
//!
//! ```text
//!   Closed(failures) ──FAILURES_MAX in a row──▶ Open(until) ──one asks after the pause──▶ Trying
//!        ▲                                        ▲  failed: twice the pause                │
//!        └───────────────an answer────────────────┼────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// So many requests without an answer in a row open it.
const FAILURES_MAX: u32 = 3;

/// The first pause; it doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// See the file's header.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One is on its way since then; were it never to come back, another goes after the longest pause.
    Trying {
        since: Instant,
    },
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            pause: PAUSE_MIN,
        }
    }

    /// Lets a request through, or says when it is of use to come back.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(until - now),
            State::Trying { since } if now < since + PAUSE_MAX => Err(PAUSE_MIN),
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { since: now };
                Ok(())
            }
        }
    }

    /// There was an answer, whichever.
    pub(super) const fn answered(&mut self) {
        self.state = State::Closed { failures: 0 };
        self.pause = PAUSE_MIN;
    }

    /// There was none.
    pub(super) fn failed(&mut self, now: Instant) {
        match self.state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
            }
            State::Closed { .. } => self.open(now),
            State::Trying { .. } => {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.open(now);
            }
            State::Open { .. } => {}
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open {
            until: now + self.pause,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_an_answer() {
        let mut breaker = Breaker::new();
        let mut now = Instant::now();
        breaker.failed(now);
        breaker.failed(now);
        breaker.answered();
        breaker.failed(now);
        breaker.failed(now);
        assert!(breaker.admit(now).is_ok());
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Err(PAUSE_MIN));

        now += PAUSE_MIN;
        assert!(breaker.admit(now).is_ok(), "one is let through");
        assert!(breaker.admit(now).is_err(), "and one alone");
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Err(PAUSE_MIN * 2));

        now += PAUSE_MIN * 2;
        assert!(breaker.admit(now).is_ok());
        breaker.answered();
        assert!(!breaker.is_open());
        assert!(breaker.admit(now).is_ok());
    }

    #[test]
    fn one_that_never_comes_back_does_not_keep_it_open_for_ever() {
        let mut breaker = Breaker::new();
        let now = Instant::now();
        for _ in 0..FAILURES_MAX {
            breaker.failed(now);
        }
        assert!(breaker.admit(now + PAUSE_MIN).is_ok());
        assert!(breaker.admit(now + PAUSE_MIN + PAUSE_MAX).is_ok());
    }

    #[test]
    fn the_pause_has_a_bound() {
        let mut breaker = Breaker::new();
        let mut now = Instant::now();
        for _ in 0..20 {
            now += PAUSE_MAX;
            if breaker.admit(now).is_ok() {
                breaker.failed(now);
            }
        }
        assert!(breaker.admit(now).is_err_and(|pause| pause <= PAUSE_MAX));
    }
}
