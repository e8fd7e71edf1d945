//! A circuit breaker: when the companion has not answered several times in a row, nobody else waits for it.
//!
//! Pure: time and chance are arguments. Rule: after a pause one request is let through to see whether it is back; the rest are
//! turned away at once until that one has come back with an answer.
//!
//! ```text
//!   Closed(failures) ──failures_max in a row──▶ Open(until) ──one asks after the pause──▶ Trying
//!        ▲                                        ▲  failed: twice the pause                │
//!        └───────────────an answer────────────────┼────────────────────────────────────────┘
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Whoever asks while one is being tried asks again after this; they are woken earlier if it comes back.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// See the file's header.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause_min: Duration,
    /// One that is tried and never comes back counts as failed after this.
    trial_max: Duration,
    state: State,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Trying { since: Instant },
}

/// What an answer or its absence has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Same,
    /// It has opened: the companion is away.
    Opened,
    /// It has closed: the companion is back.
    Closed,
}

impl Breaker {
    pub(super) const fn new(failures_max: u32, pause_min: Duration, trial_max: Duration) -> Self {
        Self {
            failures_max,
            pause_min,
            trial_max,
            state: State::Closed { failures: 0 },
            pause: pause_min,
        }
    }

    /// Lets a request through, or says when it is of use to come back.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        self.look(now)?;
        if self.is_open() {
            self.state = State::Trying { since: now };
        }
        Ok(())
    }

    /// Whether a request would be let through, or how long it is of no use to ask.
    pub(super) fn look(&self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Open { until } if now < until => Err(until - now),
            State::Trying { since } if now < since + self.trial_max => Err(ASK_AGAIN),
            State::Closed { .. } | State::Open { .. } | State::Trying { .. } => Ok(()),
        }
    }

    /// There was an answer, whichever.
    pub(super) fn answered(&mut self) -> Turn {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        self.pause = self.pause_min;
        if was_open { Turn::Closed } else { Turn::Same }
    }

    /// There was none. `chance`, between 0 and 1, shortens the pause by at most half, so that many do not come back at once.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) -> Turn {
        match self.state {
            State::Closed { failures } if failures + 1 < self.failures_max => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
                Turn::Same
            }
            State::Closed { .. } => {
                self.open(now, chance);
                Turn::Opened
            }
            State::Trying { .. } => {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.open(now, chance);
                Turn::Same
            }
            // Of those that were on their way when it opened.
            State::Open { .. } => Turn::Same,
        }
    }

    /// Whoever was let through has gone without asking: another may be tried.
    pub(super) fn given_up(&mut self, now: Instant) {
        if let State::Trying { .. } = self.state {
            self.state = State::Open { until: now };
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    fn open(&mut self, now: Instant, chance: f64) {
        self.state = State::Open {
            until: now + self.pause.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const TRIAL: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        Breaker::new(3, MIN, TRIAL)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_an_answer() {
        let mut breaker = breaker();
        let mut now = Instant::now();
        assert_eq!(breaker.failed(now, 1.0), Turn::Same);
        breaker.failed(now, 1.0);
        assert_eq!(breaker.answered(), Turn::Same);
        breaker.failed(now, 1.0);
        breaker.failed(now, 1.0);
        assert!(breaker.admit(now).is_ok());
        assert_eq!(breaker.failed(now, 1.0), Turn::Opened);
        assert_eq!(breaker.admit(now), Err(MIN));
        assert_eq!(
            breaker.failed(now, 1.0),
            Turn::Same,
            "one that was on its way"
        );

        now += MIN;
        assert!(breaker.admit(now).is_ok(), "one is let through");
        assert!(breaker.admit(now).is_err(), "and one alone");
        breaker.failed(now, 1.0);
        assert_eq!(breaker.admit(now), Err(MIN * 2));

        now += MIN * 2;
        assert!(breaker.admit(now).is_ok());
        assert_eq!(breaker.answered(), Turn::Closed);
        assert!(!breaker.is_open());
        assert!(breaker.admit(now).is_ok());
    }

    #[test]
    fn one_that_never_comes_back_does_not_keep_it_open_for_ever() {
        let mut breaker = breaker();
        let now = Instant::now();
        for _ in 0..3 {
            breaker.failed(now, 1.0);
        }
        assert!(breaker.admit(now + MIN).is_ok());
        assert!(breaker.admit(now + MIN).is_err());
        breaker.given_up(now + MIN);
        assert!(breaker.admit(now + MIN).is_ok(), "it did not even ask");
        assert!(breaker.admit(now + MIN + TRIAL).is_ok());
    }

    #[test]
    fn the_pause_has_bounds() {
        let mut breaker = breaker();
        let mut now = Instant::now();
        for round in 0..60 {
            now += PAUSE_MAX;
            if breaker.admit(now).is_ok() {
                breaker.failed(now, f64::from(round % 3) / 2.0);
            }
        }
        let pause = breaker.admit(now).unwrap_err();
        assert!((PAUSE_MAX / 2..=PAUSE_MAX).contains(&pause), "{pause:?}");
    }
}
