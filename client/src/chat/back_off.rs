//! When to try again: pauses that double, each drawn between zero and its length, and never before the other side has said.
//!
//! Pure: chance is an argument.

use std::time::Duration;

/// See the file's header.
#[derive(Debug, Clone)]
pub(super) struct BackOff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl BackOff {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure. `chance` is between 0 and 1; `after` is what the other side has asked for, which is
    /// kept, and a little more, since it asks many for the same.
    pub(super) fn next(&mut self, chance: f64, after: Option<Duration>) -> Duration {
        let doubled = self.min.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let drawn = doubled.min(self.max).mul_f64(chance);
        match after {
            Some(after) if after >= drawn => after.saturating_add(self.min.mul_f64(chance)),
            _ => drawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_up_to_the_most_and_are_drawn_from_zero_on() {
        let mut back_off = BackOff::new(ms(100), ms(1000));
        let longest: Vec<_> = (0..6).map(|_| back_off.next(1.0, None)).collect();
        assert_eq!(
            longest,
            [100, 200, 400, 800, 1000, 1000].map(ms),
            "full length"
        );
        assert_eq!(back_off.next(0.25, None), ms(250));
        assert_eq!(back_off.next(0.0, None), ms(0));
        back_off.reset();
        assert_eq!(back_off.next(1.0, None), ms(100));
    }

    #[test]
    fn nobody_comes_back_before_they_were_asked_to() {
        let mut back_off = BackOff::new(ms(100), ms(1000));
        assert_eq!(back_off.next(0.0, Some(ms(700))), ms(700));
        assert_eq!(back_off.next(0.5, Some(ms(700))), ms(750));
        assert_eq!(
            back_off.next(1.0, Some(ms(10))),
            ms(400),
            "its own is longer"
        );
        for _ in 0..200 {
            assert!(back_off.next(0.9, Some(ms(2000))) >= ms(2000));
        }
    }
}
