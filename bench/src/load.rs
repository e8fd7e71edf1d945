//! A load: so many connections with so many requests in flight each, which follow a [`Course`] for so long. In a closed loop
//! each answer is followed by the next request; in an open one requests come at a fixed rate, a connection's all at once.
//!
//! ```text
//!  open all connections -> warm up -> measure -> drain: nothing more is asked, what is held is released
//! ```
//!
//! Knows no protocol. Rules: every run ends by itself, whatever the server does; what is counted lies within the measured
//! time alone.

mod connection;
mod course;
mod pace;
mod tally;
mod worker;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;

use self::connection::Connection;
pub use self::course::Course;
use self::course::{Plan, Slots};
use self::pace::Pace;
use self::tally::Tally;
use self::worker::Worker;
use crate::cpu::CpuTime;
use crate::dialect::{Conversation, System};
pub use crate::lookout::AWAKE;

/// How often whoever watches is told how far a run is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How long a slot may wait for its turn in an open loop, before servers take its connection for dead.
const TURN_MAX: Duration = Duration::from_secs(10);

/// What a server is put under.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub server_pid: Option<u32>,
    /// What its slots do.
    pub course: Course,
    /// How many pairs a second begin in total, or requests in a course without pairs, those of a connection all at once;
    /// `None` is as many as are answered.
    pub rate: Option<u32>,
    /// How many connections.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// How many paths are chosen from.
    pub paths: u32,
    /// Threads of the generator.
    pub threads: usize,
    /// How long each of them looks in vain before it sleeps, in a closed loop.
    pub awake: Duration,
    /// How long before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
}

/// What has come of it.
#[derive(Debug)]
pub struct Measured {
    /// How long it was measured.
    pub elapsed: Duration,
    /// Locks that were granted.
    pub acquired: u64,
    /// Locks that were released. After an acquire that is a pair, or a hand-off where others wait.
    pub released: u64,
    /// Locks that were renewed.
    pub renewed: u64,
    /// Acquires that were refused, since another had the path.
    pub conflicts: u64,
    /// Releases and renewals of what was held no more. A server that works has none.
    pub lost: u64,
    /// Requests that were due, in an open loop, and could not be sent before the end. They count in the latency.
    pub overdue: u64,
    /// From when a request was handed over, or due in an open loop, to when its answer was read, in nanoseconds. Without
    /// those that wait in line.
    pub latency: Histogram<u64>,
    /// The same of those that wait in line, to when they were granted the lock.
    pub waits: Histogram<u64>,
    /// By how many places such grants were not in their turn: more or fewer had asked before than were granted before. What
    /// crosses on its way to the server counts too.
    pub places_off: Histogram<u64>,
    /// The server's processor time.
    pub server: Option<CpuTime>,
    /// The generator's own, without what it looked in vain for.
    pub generator: Option<Duration>,
}

impl Measured {
    /// All requests that were answered with yes.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.acquired + self.released + self.renewed
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since it began, warming up included.
    pub elapsed: Duration,
    /// Of it since the last time: requests that were answered with yes.
    pub operations_per_second: f64,
}

/// What the threads of a run share.
#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    /// For the progress alone.
    operations: AtomicU64,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp = 0,
    Measure = 1,
    Drain = 2,
}

impl Shared {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Drain,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// Runs a load from beginning to end, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, stops answering, or answers with an error; or the load makes no sense.
pub fn run(load: &Load, system: &dyn System, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let shared = Shared {
        phase: AtomicU8::new(Phase::WarmUp as u8),
        operations: AtomicU64::new(0),
    };
    let slots = Slots {
        connections: load.connections,
        depth: load.depth,
        orgs: system.orgs(),
    };
    let plan = Plan::new(load.course, slots, load.paths)?;
    for &ask in load.course.asks() {
        ensure!(
            system.supports(ask),
            "this system cannot be asked to {ask:?}"
        );
    }
    let mut workers = workers(load, &shared)?;
    let worker_count = workers.len();
    for number in 0..load.connections {
        let mut dialect = system.dialect(number);
        let mut conversation = Conversation::connect(load.address)?;
        dialect.open(&mut conversation)?;
        let worker = &mut workers[number as usize % worker_count];
        let slots = (0..load.depth).map(|slot| plan.slot(number, slot));
        let place = worker.connection_count();
        worker.add(Connection::new(conversation, dialect, slots, place)?)?;
    }
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(|| worker.run()))
            .collect();
        let mut clock = Watch {
            shared: &shared,
            watch,
            began: Instant::now(),
            seen: 0,
        };
        let has_ended = || threads.iter().any(thread::ScopedJoinHandle::is_finished);
        clock.wait(load.warm_up, has_ended);
        let (server, generator) = (load.server_pid.and_then(CpuTime::of), CpuTime::own());
        shared.enter(Phase::Measure);
        let start = Instant::now();
        clock.wait(load.duration, has_ended);
        let elapsed = start.elapsed();
        shared.enter(Phase::Drain);
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after? - before?);
        let server = since(server, load.server_pid.and_then(CpuTime::of));
        let generator = since(generator, CpuTime::own()).map(CpuTime::total);

        let mut tally = Tally::new()?;
        for thread in threads {
            let of_worker = thread.join().map_err(|_| anyhow!("a thread has failed"))?;
            tally.add(&of_worker?)?;
        }
        Ok(Measured {
            elapsed,
            acquired: tally.acquired,
            released: tally.released,
            renewed: tally.renewed,
            conflicts: tally.conflicts,
            lost: tally.lost,
            overdue: tally.overdue,
            latency: tally.latency,
            waits: tally.waits,
            places_off: tally.places_off,
            server,
            generator: generator.map(|spent| spent.saturating_sub(tally.idle)),
        })
    })
}

fn workers<'s>(load: &Load, shared: &'s Shared) -> Result<Vec<Worker<'s>>> {
    let count = load.threads.clamp(1, load.connections.max(1) as usize);
    if let Some(rate) = load.rate {
        ensure!(
            load.course != Course::HandOff,
            "a hand-off has no rate: it takes as long as it takes"
        );
        let slots = u64::from(load.connections) * u64::from(load.depth);
        let rate_min = slots.div_ceil(TURN_MAX.as_secs());
        ensure!(
            u64::from(rate) >= rate_min,
            "expected a rate of {rate_min} at least for {slots} slots, found {rate}: connections would fall asleep"
        );
    }
    let (rate, now) = (
        load.rate.map(|rate| f64::from(rate) / count as f64),
        Instant::now(),
    );
    let pace = || rate.map(|rate| Pace::new(rate, load.depth, now));
    (0..count)
        .map(|_| Worker::new(shared, pace(), load.awake))
        .collect()
}

/// Passes the time of a run, and tells how far it is.
struct Watch<'s> {
    shared: &'s Shared,
    watch: &'s mut dyn FnMut(Progress),
    began: Instant,
    seen: u64,
}

impl Watch<'_> {
    /// Waits so long, or until a thread has ended, which it does too early only if it has failed.
    fn wait(&mut self, duration: Duration, has_ended: impl Fn() -> bool) {
        let until = Instant::now() + duration;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || has_ended() {
                return;
            }
            let step = left.min(PROGRESS_EVERY);
            thread::sleep(step);
            let operations = self.shared.operations.load(Ordering::Relaxed);
            let fresh = operations - std::mem::replace(&mut self.seen, operations);
            (self.watch)(Progress {
                elapsed: self.began.elapsed(),
                operations_per_second: fresh as f64 / step.as_secs_f64(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
