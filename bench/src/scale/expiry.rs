//! Very many locks whose time is over within one second: how late their holders are told, and what others notice of it.
//!
//! ```text
//!  open sessions -> acquire all, each with the time that is left until it is due -> wait -> hear of each
//!  a probe beside: acquire and release at a fixed rate, before and meanwhile, in the same org
//! ```
//!
//! Lateness is counted from when a hold was due by the clock of this process, which is up to two milliseconds before the
//! server can know: it is told too high rather than too low. Knows no system.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;

use super::probe::{Probe, Probed};
use super::{Bulk, Crowd, Heard, System, microseconds, record, share};
use crate::cpu::{CpuTime, MachineTime};

/// How long the last notice may take.
const NOTICE_WITHIN: Duration = Duration::from_secs(60);

/// All locks have to be held so long before the first is due: for the calm that the rest is compared with, and since no
/// server takes a shorter lifetime than a second.
const CALM: Duration = Duration::from_secs(2);

/// How long the probe is given, once all locks are held, to make up for what it could not ask before.
const SETTLE: Duration = Duration::from_secs(1);

/// How many requests there are between two looks at the time.
const PART: u32 = 20_000;

/// How often whoever watches is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What falls due.
#[derive(Debug, Clone)]
pub struct Due {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub pid: Option<u32>,
    /// How many locks.
    pub holds: u32,
    /// How many sessions hold them, all attached.
    pub sessions: u32,
    /// How many connections these are spread over.
    pub connections: u32,
    /// How long acquiring them may take, a calm of two seconds included.
    pub lead: Duration,
    /// Within what time they fall due.
    pub within: Duration,
    /// Pairs a second of the probe.
    pub probe_rate: u32,
}

/// What has come of it.
#[derive(Debug)]
pub struct Measured {
    /// How late the notices were, in microseconds.
    pub lateness: Histogram<u64>,
    /// How long the probe's requests took before, in microseconds.
    pub calm: Histogram<u64>,
    /// The same from when the first lock was due until the last notice.
    pub meanwhile: Histogram<u64>,
    /// The server's processor time in that while, its work for the probe included.
    pub server: Option<CpuTime>,
    /// This process's own: were it near the while itself, it would be late and not the server.
    pub generator: Option<CpuTime>,
    /// How much of the machine's processor time its host gave to others in that while: whoever waits then waits for that.
    pub stolen_percent: Option<f64>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Locks that were acquired.
    pub acquired: u32,
    /// Locks whose end was told.
    pub told: u32,
}

/// What the threads share.
struct Shared<'a> {
    due: &'a Due,
    /// When the first lock is due.
    first_due: Instant,
    acquired: AtomicU32,
    told: AtomicU32,
    is_over: AtomicBool,
}

/// What one connection has heard.
struct Notices {
    lateness: Histogram<u64>,
    /// When all of its locks were held.
    filled: Instant,
    last: Instant,
}

/// Acquires, waits and listens, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, does not grant all that is asked, or does not tell of each end.
pub fn measure(due: &Due, system: &System, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let connections = system.listening_connections(due.connections.max(1));
    let mut crowds = Vec::new();
    for number in 0..connections {
        let sessions = due.sessions / connections;
        let (mut bulk, mut crowd) = system.open(due.address, number, sessions)?;
        crowd.listen(&mut bulk)?;
        crowds.push((bulk, crowd));
    }
    let probe = system.open(due.address, connections, 1)?;
    let probe = Probe::new(probe, due.holds, due.probe_rate);
    let shared = Shared {
        due,
        first_due: Instant::now() + due.lead,
        acquired: AtomicU32::new(0),
        told: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
    };
    let shared = &shared;
    thread::scope(|scope| {
        let probe = scope.spawn(move || probe.ask_until(&shared.is_over));
        let listeners: Vec<_> = (0..)
            .zip(crowds)
            .map(|(number, (bulk, crowd))| {
                scope.spawn(move || {
                    shared.hear_of_all(bulk, crowd, share(due.holds, number, connections))
                })
            })
            .collect();
        let has_ended = || listeners.iter().all(thread::ScopedJoinHandle::is_finished);
        shared.wait(watch, || shared.first_due <= Instant::now());
        let before = (due.pid.and_then(CpuTime::of), CpuTime::own());
        let machine = MachineTime::now();
        shared.wait(watch, has_ended);
        let stolen_percent = machine.and_then(MachineTime::percent_stolen_since);
        let after = (due.pid.and_then(CpuTime::of), CpuTime::own());
        shared.is_over.store(true, Ordering::Relaxed);

        let failed = |_| anyhow!("a thread has failed");
        let probed = probe.join().map_err(failed)?;
        let mut notices = Vec::new();
        for listener in listeners {
            notices.push(listener.join().map_err(failed)??);
        }
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after? - before?);
        let mut measured = shared.summed_up(&notices, &probed?)?;
        measured.server = since(before.0, after.0);
        measured.generator = since(before.1, after.1);
        measured.stolen_percent = stolen_percent;
        Ok(measured)
    })
}

impl Shared<'_> {
    /// When this lock is due. Neighbours are due at very different moments, as in life.
    fn due_at(&self, number: u32) -> Instant {
        let within_ms = self.due.within.as_millis().max(1) as u64;
        let scattered = u64::from(number.wrapping_mul(2_654_435_761));
        let place = (scattered * within_ms) >> 32;
        self.first_due + Duration::from_millis(place)
    }

    /// One connection, from the first acquire to the last notice.
    fn hear_of_all(
        &self,
        mut bulk: Bulk,
        mut crowd: Box<dyn Crowd>,
        numbers: std::ops::Range<u32>,
    ) -> Result<Notices> {
        for start in numbers.clone().step_by(PART as usize) {
            let part = start..numbers.end.min(start + PART);
            self.acquired
                .fetch_add(part.len() as u32, Ordering::Relaxed);
            bulk.ask_all(crowd.as_mut(), part, |crowd, number, out| {
                let left = self
                    .due_at(number)
                    .saturating_duration_since(Instant::now());
                // Rounded up: a hold must not end before it is due.
                crowd.acquire(number, left + Duration::from_millis(1), out);
            })?;
            let filled = Instant::now();
            ensure!(
                filled + CALM < self.first_due,
                "acquiring took too long: {} of {} after {:.1} s; give it a longer lead",
                self.acquired.load(Ordering::Relaxed),
                self.due.holds,
                self.due.lead.as_secs_f64(),
            );
        }
        let filled = Instant::now();
        let (mut lateness, mut last) = (microseconds()?, filled);
        let until = self.first_due + self.due.within + NOTICE_WITHIN;
        let mut heard = Heard::default();
        while lateness.len() < numbers.len() as u64 {
            let left = until.saturating_duration_since(Instant::now());
            ensure!(
                bulk.listen(crowd.as_mut(), left, &mut heard)?,
                "expected {} notices, found {}",
                numbers.len(),
                lateness.len()
            );
            let now = Instant::now();
            self.told
                .fetch_add(heard.expired.len() as u32, Ordering::Relaxed);
            for number in heard.expired.drain(..) {
                record(
                    &mut lateness,
                    now.saturating_duration_since(self.due_at(number)),
                );
                last = now;
            }
        }
        Ok(Notices {
            lateness,
            filled,
            last,
        })
    }

    /// All connections taken together, and the probe's requests by when they were due.
    fn summed_up(&self, notices: &[Notices], probed: &[Probed]) -> Result<Measured> {
        let mut measured = Measured {
            lateness: microseconds()?,
            calm: microseconds()?,
            meanwhile: microseconds()?,
            server: None,
            generator: None,
            stolen_percent: None,
        };
        let (mut calm_from, mut last) = (self.first_due, self.first_due);
        if let Some(filled) = notices.iter().map(|notices| notices.filled).max() {
            calm_from = filled + SETTLE;
        }
        for notices in notices {
            measured.lateness.add(&notices.lateness)?;
            last = last.max(notices.last);
        }
        for &(asked, took) in probed {
            if (self.first_due..=last).contains(&asked) {
                record(&mut measured.meanwhile, took);
            } else if (calm_from..self.first_due).contains(&asked) {
                record(&mut measured.calm, took);
            }
        }
        Ok(measured)
    }

    fn wait(&self, watch: &mut dyn FnMut(Progress), is_over: impl Fn() -> bool) {
        while !is_over() {
            let until_due = self.first_due.saturating_duration_since(Instant::now());
            let step = if until_due.is_zero() {
                Duration::from_millis(10)
            } else {
                until_due.min(PROGRESS_EVERY)
            };
            thread::sleep(step);
            watch(Progress {
                acquired: self.acquired.load(Ordering::Relaxed),
                told: self.told.load(Ordering::Relaxed),
            });
        }
    }
}
