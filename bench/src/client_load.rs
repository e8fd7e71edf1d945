//! Pairs as a service asks for them: tasks that share one connection of the client crate, each acquiring a path and
//! releasing it, over and over. What the generator of [`load`](crate::load) costs beside it is what the client adds.
//!
//! Rule: it counts as that generator does, so that both can stand in one table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tenure_client::{Attempted, Client, Released, Session};
use tokio::runtime::Builder;

use crate::cpu::CpuTime;
use crate::load::{Measured, Progress};
use crate::paths::Path;

/// How often whoever watches is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What a server is put under.
#[derive(Debug, Clone)]
pub struct ClientLoad {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub server_pid: Option<u32>,
    /// The API key, for a server that asks for one.
    pub key: Option<Arc<str>>,
    /// Tasks on the one connection, each with one request under way.
    pub tasks: u32,
    /// How many paths are chosen from.
    pub paths: u32,
    /// Threads of the runtime.
    pub threads: usize,
    /// How long before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
}

/// What the tasks share.
#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    operations: AtomicU64,
}

/// Values of the phase, which begins with 0.
const MEASURE: u8 = 1;
const END: u8 = 2;

/// What one task has counted.
struct Tally {
    acquired: u64,
    released: u64,
    conflicts: u64,
    latency: Histogram<u64>,
}

/// Runs it from beginning to end, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, or answers with an error.
pub fn run(load: &ClientLoad, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(load.threads.max(1))
        .enable_all()
        .build()?;
    runtime.block_on(measure(load, watch))
}

async fn measure(load: &ClientLoad, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let mut options = Client::builder(load.address.to_string());
    if let Some(key) = &load.key {
        options = options.api_key(&**key);
    }
    let client = options.connect().await?;
    let session = client.session("bench-client", "owner").await?;
    let shared = Arc::new(Shared::default());
    let tasks: Vec<_> = (0..load.tasks)
        .map(|task| {
            let own = (task..load.paths.max(load.tasks)).step_by(load.tasks as usize);
            tokio::spawn(pairs(session.clone(), Arc::clone(&shared), own))
        })
        .collect();

    let began = Instant::now();
    pass(load.warm_up, began, &shared, watch).await;
    let before = (load.server_pid.and_then(CpuTime::of), CpuTime::own());
    shared.phase.store(MEASURE, Ordering::Relaxed);
    let start = Instant::now();
    pass(load.duration, began, &shared, watch).await;
    let elapsed = start.elapsed();
    shared.phase.store(END, Ordering::Relaxed);
    let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after? - before?);
    let mut measured = Measured {
        elapsed,
        acquired: 0,
        released: 0,
        renewed: 0,
        conflicts: 0,
        lost: 0,
        overdue: 0,
        latency: nanoseconds()?,
        waits: nanoseconds()?,
        places_off: nanoseconds()?,
        server: since(before.0, load.server_pid.and_then(CpuTime::of)),
        generator: since(before.1, CpuTime::own()).map(CpuTime::total),
    };
    for task in tasks {
        let tally = task.await.context("a task has failed")??;
        measured.acquired += tally.acquired;
        measured.released += tally.released;
        measured.conflicts += tally.conflicts;
        measured.latency.add(&tally.latency)?;
    }
    session.close().await?;
    client.close().await;
    Ok(measured)
}

async fn pass(
    duration: Duration,
    began: Instant,
    shared: &Shared,
    watch: &mut dyn FnMut(Progress),
) {
    let until = Instant::now() + duration;
    let mut seen = shared.operations.load(Ordering::Relaxed);
    loop {
        let step = until
            .saturating_duration_since(Instant::now())
            .min(PROGRESS_EVERY);
        if step.is_zero() {
            return;
        }
        tokio::time::sleep(step).await;
        let operations = shared.operations.load(Ordering::Relaxed);
        let fresh = operations - std::mem::replace(&mut seen, operations);
        watch(Progress {
            elapsed: began.elapsed(),
            operations_per_second: fresh as f64 / step.as_secs_f64(),
        });
    }
}

/// One task. Its paths are its own, since sessions of one owner do not keep one another out.
async fn pairs(
    session: Session,
    shared: Arc<Shared>,
    own: impl ExactSizeIterator<Item = u32> + Clone,
) -> Result<Tally> {
    let mut random = fastrand::Rng::new();
    let mut tally = Tally {
        acquired: 0,
        released: 0,
        conflicts: 0,
        latency: nanoseconds()?,
    };
    loop {
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == END {
            return Ok(tally);
        }
        let number = own.clone().nth(random.usize(..own.len().max(1)));
        let path = Path::at(number.context("a task has a path of its own")?);
        let asked = Instant::now();
        let lock = match session.try_acquire(path.as_str()).await? {
            Attempted::Granted(lock) => lock,
            Attempted::Held(_) => {
                tally.conflicts += u64::from(phase == MEASURE);
                continue;
            }
        };
        let acquired = Instant::now();
        let released = lock.release().await?;
        ensure!(
            released == Released::Ended,
            "expected a lock that was held, found {released:?}"
        );
        shared.operations.fetch_add(2, Ordering::Relaxed);
        if phase == MEASURE {
            tally.acquired += 1;
            tally.released += 1;
            for took in [acquired - asked, acquired.elapsed()] {
                tally.latency.saturating_record(took.as_nanos() as u64);
            }
        }
    }
}

fn nanoseconds() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000_000, 3)?)
}
