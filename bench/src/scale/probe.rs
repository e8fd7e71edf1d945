//! What others notice: a session beside the measured ones that acquires and releases at a fixed rate, in the same org.
//! Knows no system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bulk, Crowd};

/// Lifetime of its locks, which it lets go of at once.
const TTL: Duration = Duration::from_secs(60);

/// How many paths it goes through.
const PATHS: u32 = 1000;

/// One of its requests: when it should have been sent, and how long it took from then.
pub(super) type Probed = (Instant, Duration);

/// See the file's header.
pub(super) struct Probe {
    bulk: Bulk,
    crowd: Box<dyn Crowd>,
    first_path: u32,
    every: Duration,
}

impl Probe {
    /// One that makes so many pairs a second, of paths from this number on.
    pub(super) fn new(
        (bulk, crowd): (Bulk, Box<dyn Crowd>),
        first_path: u32,
        pairs_per_second: u32,
    ) -> Self {
        Self {
            bulk,
            crowd,
            first_path,
            every: Duration::from_secs(1) / pairs_per_second.max(1),
        }
    }

    /// Pairs at a fixed rate, whatever becomes of them: who is asked late because of those before counts from when it
    /// should have been asked.
    pub(super) fn ask_until(mut self, is_over: &AtomicBool) -> Result<Vec<Probed>> {
        let mut probed = Vec::new();
        let began = Instant::now();
        for pair in 0.. {
            let asked = began + self.every * pair;
            thread::sleep(asked.saturating_duration_since(Instant::now()));
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let number = self.first_path + pair % PATHS;
            let (bulk, crowd) = (&mut self.bulk, self.crowd.as_mut());
            bulk.ask_all(crowd, number..number + 1, |crowd, number, out| {
                crowd.acquire(number, TTL, out);
            })?;
            let acquired = Instant::now();
            probed.push((asked, acquired - asked));
            bulk.ask_all(crowd, number..number + 1, |crowd, number, out| {
                crowd.release(number, out);
            })?;
            probed.push((acquired, acquired.elapsed()));
        }
        Ok(probed)
    }
}
