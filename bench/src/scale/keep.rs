//! Very many locks that are kept: what it costs to renew them again and again, and what others notice of it.
//!
//! ```text
//!  open sessions -> acquire all -> renew all three times in each time to live, every connection at the same moment
//!  a probe beside: acquire and release at a fixed rate, in the same org
//! ```
//!
//! Rule: a lock that is lost meanwhile is an error. Knows no system.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;

use super::probe::Probe;
use super::{Bulk, Crowd, System, microseconds, record, share};
use crate::cpu::CpuTime;

/// Renewals in each time to live: two may fail.
const RENEWALS: u32 = 3;

/// How many requests there are between two looks at the time.
const PART: u32 = 20_000;

/// How often it is looked whether something is over, and whoever watches is told how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What is kept.
#[derive(Debug, Clone)]
pub struct Keep {
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
    /// How long a lock lives without renewal.
    pub ttl: Duration,
    /// For how long they are kept. The first time to live is not measured: whoever has just been acquired lies in order.
    pub duration: Duration,
    /// Pairs a second of the probe.
    pub probe_rate: u32,
}

/// What has come of it.
#[derive(Debug)]
pub struct Measured {
    /// How long it took to renew all that one connection has, in microseconds.
    pub renewed_in: Histogram<u64>,
    /// How long the probe's requests took, in microseconds.
    pub others: Histogram<u64>,
    /// The server's processor time, its work for the probe included.
    pub server: Option<CpuTime>,
    /// For how long.
    pub during: Duration,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Locks that were acquired.
    pub acquired: u32,
    /// Renewals of all that one connection has.
    pub renewed: u32,
}

/// What the threads share.
struct Shared<'a> {
    keep: &'a Keep,
    /// When all locks were held: from here on they are renewed.
    held: OnceLock<Instant>,
    acquired: AtomicU32,
    renewed: AtomicU32,
    is_over: AtomicBool,
}

/// When a renewal of all that one connection has was due, and how long it took from then.
type Renewed = (Instant, Duration);

/// Acquires and renews, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, does not grant or renew all that is asked, or ends a lock.
pub fn measure(keep: &Keep, system: &System, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let connections = keep.connections.max(1);
    let mut crowds = Vec::new();
    for number in 0..connections {
        crowds.push(system.open(keep.address, number, keep.sessions / connections)?);
    }
    let probe = system.open(keep.address, connections, 1)?;
    let probe = Probe::new(probe, keep.holds, keep.probe_rate);
    let shared = &Shared {
        keep,
        held: OnceLock::new(),
        acquired: AtomicU32::new(0),
        renewed: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let keepers: Vec<_> = (0..)
            .zip(crowds)
            .map(|(number, (bulk, crowd))| {
                let share = share(keep.holds, number, connections);
                scope.spawn(move || shared.keep(bulk, crowd, share))
            })
            .collect();
        // Before the end nobody ends but by a failure, and then there is nothing to wait for.
        let has_failed = || keepers.iter().any(thread::ScopedJoinHandle::is_finished);
        let are_held = || shared.acquired.load(Ordering::Relaxed) >= keep.holds;
        shared.wait(watch, || are_held() || has_failed());
        let from = *shared.held.get_or_init(Instant::now) + keep.ttl;
        let probe = scope.spawn(move || probe.ask_until(&shared.is_over));
        shared.wait(watch, || Instant::now() >= from || has_failed());
        let before = keep.pid.and_then(CpuTime::of);
        let until = from + keep.duration;
        shared.wait(watch, || Instant::now() >= until || has_failed());
        let after = keep.pid.and_then(CpuTime::of);
        let during = from.elapsed();
        shared.is_over.store(true, Ordering::Relaxed);

        let failed = |_| anyhow!("a thread has failed");
        let mut renewed = Vec::new();
        for keeper in keepers {
            renewed.extend(keeper.join().map_err(failed)??);
        }
        let probed = probe.join().map_err(failed)??;
        let summed_up = |all: &[(Instant, Duration)]| {
            let mut histogram = microseconds()?;
            let meanwhile = all.iter().filter(|(due, _)| (from..until).contains(due));
            meanwhile.for_each(|(_, took)| record(&mut histogram, *took));
            anyhow::Ok(histogram)
        };
        Ok(Measured {
            renewed_in: summed_up(&renewed)?,
            others: summed_up(&probed)?,
            server: before.zip(after).map(|(before, after)| after - before),
            during,
        })
    })
}

impl Shared<'_> {
    /// One connection: acquires its share, and renews it until the end.
    fn keep(
        &self,
        mut bulk: Bulk,
        mut crowd: Box<dyn Crowd>,
        share: Range<u32>,
    ) -> Result<Vec<Renewed>> {
        self.acquire(&mut bulk, crowd.as_mut(), share.clone())?;
        let held = *self.held.wait();
        let mut renewed = Vec::new();
        for round in 0.. {
            let due = held + self.keep.ttl / RENEWALS * round;
            while !self.is_over() && Instant::now() < due {
                let left = due.saturating_duration_since(Instant::now());
                thread::sleep(left.min(LOOK_EVERY));
            }
            if self.is_over() {
                break;
            }
            let renewals = crowd.renewals(share.clone());
            let heard = bulk.ask_all(crowd.as_mut(), renewals, |crowd, number, out| {
                crowd.renew(number, self.keep.ttl, out);
            })?;
            let lost = heard.expired.len();
            ensure!(lost == 0, "{lost} locks were lost");
            renewed.push((due, due.elapsed()));
            self.renewed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(renewed)
    }

    fn acquire(&self, bulk: &mut Bulk, crowd: &mut dyn Crowd, share: Range<u32>) -> Result<()> {
        let began = Instant::now();
        for start in share.clone().step_by(PART as usize) {
            let part = start..share.end.min(start + PART);
            let count = part.len() as u32;
            bulk.ask_all(crowd, part, |crowd, number, out| {
                crowd.acquire(number, self.keep.ttl, out);
            })?;
            ensure!(
                began.elapsed() < self.keep.ttl,
                "acquiring took too long: {} of {} after {:.1} s; let them live longer",
                self.acquired.load(Ordering::Relaxed),
                self.keep.holds,
                began.elapsed().as_secs_f64(),
            );
            self.acquired.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn wait(&self, watch: &mut dyn FnMut(Progress), is_so: impl Fn() -> bool) {
        while !is_so() {
            thread::sleep(LOOK_EVERY);
            watch(Progress {
                acquired: self.acquired.load(Ordering::Relaxed),
                renewed: self.renewed.load(Ordering::Relaxed),
            });
        }
    }
}
