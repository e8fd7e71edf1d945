//! How much may be asked for in a time: says when to come back, instead of letting the companion say so.
//!
//! Two uses of a token bucket: whoever hands over too much is told so at once, and what waits in a queue is let go no faster
//! than the companion takes it. Rule: what the companion itself has asked for (`Retry-After`) holds for all of the client.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::{Error, ErrorKind};

/// So many a second, and so many at once. Zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// After a pause.
    pub burst: u32,
}

impl Rate {
    fn quota(self) -> Quota {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(positive(self.per_second)).allow_burst(positive(self.burst))
    }
}

/// See the file's header.
pub(super) struct Limiter<C: Clock = DefaultClock> {
    bucket: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    clock: C,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        Self {
            bucket: RateLimiter::direct_with_clock(rate.quota(), clock.clone()),
            clock,
        }
    }

    /// Takes one, or says when there is one to be had.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.bucket
            .check()
            .map_err(|full| full.wait_time_from(self.clock.now()))
    }
}

/// Lets through no more than is taken. Whoever is first asks first; the order of others is not kept.
pub(super) struct Pace {
    limiter: Limiter,
    /// The companion has asked not to be asked before.
    not_before: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            limiter: Limiter::new(rate),
            not_before: Mutex::default(),
        }
    }

    /// Waits until one more may go. Cancel-safe.
    pub(super) async fn wait(&self) {
        loop {
            let not_before = *self.not_before.lock();
            match not_before {
                Some(at) if at > Instant::now() => sleep_until(at).await,
                _ => match self.limiter.take() {
                    Ok(()) => return,
                    Err(wait) => sleep(wait).await,
                },
            }
        }
    }

    /// Takes one if it may go at once; else says when.
    pub(super) fn take(&self) -> Result<(), Error> {
        let not_before = *self.not_before.lock();
        let held = not_before.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        let taken = if held.is_zero() {
            self.limiter.take()
        } else {
            Err(held)
        };
        taken.map_err(|wait| {
            let why = format!("more requests than are taken; in {wait:.1?} there is room for one");
            Error::new(ErrorKind::RateLimited, why).with_retry_after(wait)
        })
    }

    /// Nobody goes for so long.
    pub(super) fn hold(&self, span: Duration) {
        let until = Instant::now() + span;
        let mut not_before = self.not_before.lock();
        *not_before = Some(not_before.map_or(until, |at| at.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn whoever_asks_for_too_much_is_told_when_to_come_back() {
        let clock = FakeRelativeClock::default();
        let rate = Rate {
            per_second: 10,
            burst: 3,
        };
        let limiter = Limiter::with_clock(rate, clock.clone());
        for _ in 0..3 {
            limiter.take().unwrap();
        }
        let wait = limiter.take().unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        clock.advance(wait);
        limiter.take().unwrap();
        limiter.take().unwrap_err();
        clock.advance(Duration::from_secs(60));
        for _ in 0..3 {
            limiter.take().unwrap();
        }
        limiter.take().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_companion_asks_for_holds_for_all() {
        let pace = Pace::new(Rate {
            per_second: 1_000_000,
            burst: 1000,
        });
        let began = Instant::now();
        pace.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        pace.hold(Duration::from_secs(5));
        pace.hold(Duration::from_secs(2));
        pace.wait().await;
        assert!(began.elapsed() >= Duration::from_secs(5));
    }
}
