//! When requests are due in an open loop: at a fixed rate, whatever becomes of those before.
//!
//! Rule: what is sent late, since all slots were busy, counts from when it was due; else a server that stands still for a
//! second would be charged for one request instead of all that should have come in that second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A slot that waits for its time: its connection, and its number there.
pub(crate) type Waiting = (usize, u32);

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    due: Instant,
    waiting: VecDeque<Waiting>,
}

impl Pace {
    /// So many a second.
    pub(crate) fn new(rate: f64, now: Instant) -> Self {
        Self {
            every: Duration::from_secs_f64(rate.recip()),
            due: now,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn wait(&mut self, slot: Waiting) {
        self.waiting.push_back(slot);
    }

    /// A slot whose time has come, and when that was: the one that waits longest, for what was due first.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Waiting, Instant)> {
        if now < self.due {
            return None;
        }
        let slot = self.waiting.pop_front()?;
        let due = self.due;
        self.due += self.every;
        Some((slot, due))
    }

    /// All that was due and has found no slot.
    pub(crate) fn overdue(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let dues = (0..).map(move |number| self.due + self.every * number);
        dues.map_while(move |due| now.checked_duration_since(due))
    }

    /// The slots that wait, which will not be asked for any more.
    pub(crate) fn into_waiting(self) -> VecDeque<Waiting> {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_counts_from_when_it_was_due() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut pace = Pace::new(1000.0, began);
        assert_eq!(pace.take_due(after(3)), None, "no slot is free");
        pace.wait((0, 0));
        pace.wait((0, 1));
        assert_eq!(pace.take_due(after(3)), Some(((0, 0), began)));
        assert_eq!(pace.take_due(after(3)), Some(((0, 1), after(1))));
        let late: Vec<_> = pace.overdue(after(3)).collect();
        assert_eq!(late, [Duration::from_millis(1), Duration::ZERO]);
        pace.wait((0, 0));
        assert_eq!(pace.take_due(after(1)), None, "it is not due yet");
    }
}
