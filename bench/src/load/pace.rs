//! When requests are due in an open loop: at a fixed rate, whatever becomes of those before.
//!
//! They are due in bursts, as many as a connection has in flight, and a connection is asked a whole burst at once: that is what
//! a client does that pipelines, and what `redis-benchmark -P` calls a pipeline. Were each due by itself, it would be a packet
//! of its own, and a depth of 64 the same as one of 1.
//!
//! Rule: what is sent late, since all connections were busy, counts from when it was due; else a server that stands still for a
//! second would be charged for one burst instead of all that should have come in that second.

use std::collections::VecDeque;
use std::iter;
use std::time::{Duration, Instant};

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Requests in a burst.
    burst: u32,
    every: Duration,
    due: Instant,
    /// Connections of which every slot waits for its time.
    waiting: VecDeque<usize>,
}

impl Pace {
    /// So many requests a second, in bursts of so many.
    pub(crate) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        Self {
            burst,
            every: Duration::from_secs_f64(f64::from(burst) / rate),
            due: now,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn wait(&mut self, connection: usize) {
        self.waiting.push_back(connection);
    }

    /// A connection whose time has come, and when that was: the one that waits longest, for what was due first.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(usize, Instant)> {
        if now < self.due {
            return None;
        }
        let connection = self.waiting.pop_front()?;
        let due = self.due;
        self.due += self.every;
        Some((connection, due))
    }

    /// For how long each request has been due that has found no connection.
    pub(crate) fn overdue(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let dues = (0..).map(|number| self.due + self.every * number);
        let late = dues.map_while(move |due| now.checked_duration_since(due));
        late.flat_map(|late| iter::repeat_n(late, self.burst as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_counts_from_when_it_was_due() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut pace = Pace::new(2000.0, 2, began);
        assert_eq!(pace.take_due(after(3)), None, "no connection is free");
        pace.wait(0);
        pace.wait(1);
        assert_eq!(pace.take_due(after(3)), Some((0, began)));
        assert_eq!(pace.take_due(after(3)), Some((1, after(1))));
        let late: Vec<_> = pace.overdue(after(3)).collect();
        let (one, none) = (Duration::from_millis(1), Duration::ZERO);
        assert_eq!(late, [one, one, none, none], "two bursts of two");
        pace.wait(0);
        assert_eq!(pace.take_due(after(1)), None, "it is not due yet");
    }
}
