//! What is old moves to the archive, and chats in which nobody ever wrote go: one run of that, the same for the command
//! and for the schedule.
//!
//! Knows no SQL and no HTTP. Rules: a run has the turn of all that share the database, so no two are at work at once; it
//! goes in small steps with rests between them, so that who sends waits for one step at most; it may end anywhere, and
//! the next goes on where something is left.

mod pace;
mod schedule;

use std::fmt;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{ArchiveRun, ArchiveStep, ChatId, Result, Store, Turn, UnixMs};
use pace::Pace;
pub(crate) use schedule::Schedule;

/// What the store calls it.
const JOB: &str = "archive";

/// A run that is cut off keeps others waiting for so long at most.
pub const LEASE: Duration = Duration::from_secs(30);

/// How often the lease is made longer.
const KEEP_EVERY: Duration = Duration::from_secs(8);

/// What is old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Messages that are older move to the archive.
    pub older_than: Duration,
    /// Chats without a message that have had no activity for as long are cleaned up.
    pub empty_for: Duration,
    /// Of this organisation alone.
    pub org: Option<String>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Old messages.
    Messages,
    /// Empty chats.
    Chats,
}

/// A step that was done.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Of which job.
    pub job: Job,
    /// Messages or chats.
    pub done: i64,
    /// How long it took: who wrote to the same chat has waited for so long at most, and with SQLite whoever wrote.
    pub took: Duration,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its name in the audit log.
    pub run: Uuid,
    /// Messages that have moved.
    pub messages: i64,
    /// Chats that are gone.
    pub chats: i64,
    /// Why it has ended.
    pub ended: Ended,
}

/// Why a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing old was left.
    Complete,
    /// It was told to stop.
    Stopped,
    /// It was held up for longer than its lease, and the turn is another's.
    Displaced,
}

/// Whose turn it is.
pub enum Begun {
    /// Ours.
    Run(Run),
    /// Another is at work; its lease has so much left, and is made longer while it lives.
    Others(Duration),
    /// It was done, and is due in so long.
    Later(Duration),
}

/// A run that has the turn, until it has worked or its lease is over.
pub struct Run {
    store: Store,
    id: Uuid,
    kept: Instant,
}

impl Job {
    /// Both, in the order in which they are done.
    pub const ALL: [Self; 2] = [Self::Messages, Self::Chats];

    /// How many there are to do. Reads much, and keeps nobody from writing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count(self, store: &Store, plan: &Plan) -> Result<i64> {
        let run = plan.run(self, Uuid::nil(), UnixMs::now(), 1);
        match self {
            Self::Messages => store.archive_count(&run).await,
            Self::Chats => store.cleanup_count(&run).await,
        }
    }

    async fn step(
        self,
        store: &Store,
        run: &ArchiveRun,
        from: Option<ChatId>,
    ) -> Result<ArchiveStep> {
        match self {
            Self::Messages => store.archive_step(run, from).await,
            Self::Chats => store.cleanup_step(run).await,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Displaced => "displaced",
        })
    }
}

impl Plan {
    fn run(&self, job: Job, run: Uuid, now: UnixMs, batch: u32) -> ArchiveRun {
        let age = match job {
            Job::Messages => self.older_than,
            Job::Chats => self.empty_for,
        };
        ArchiveRun {
            run,
            before: now.before(age),
            org: self.org.clone(),
            batch,
        }
    }
}

/// Takes the turn, if it is free and the last run was begun so long ago, or cut off.
///
/// # Errors
/// Those of the database.
pub async fn begin(store: &Store, every: Duration) -> Result<Begun> {
    let id = Uuid::now_v7();
    let kept = Instant::now();
    Ok(match store.job_take(JOB, id, every, LEASE).await? {
        Turn::Mine => Begun::Run(Run {
            store: store.clone(),
            id,
            kept,
        }),
        Turn::Others(left) => Begun::Others(left),
        Turn::Later(left) => Begun::Later(left),
    })
}

impl Run {
    /// Does what there is to do, and gives the turn back. Tells of each step.
    ///
    /// # Errors
    /// Those of the database; what was done until then is done, and the turn is given back if that can be said.
    pub async fn work(
        mut self,
        plan: &Plan,
        stop: &CancellationToken,
        mut told: impl FnMut(Step) + Send,
    ) -> Result<Tally> {
        let mut tally = Tally {
            run: self.id,
            messages: 0,
            chats: 0,
            ended: Ended::Complete,
        };
        let now = UnixMs::now();
        let mut worked = Ok(Ended::Complete);
        for job in Job::ALL {
            let done = match job {
                Job::Messages => &mut tally.messages,
                Job::Chats => &mut tally.chats,
            };
            let told = |step: Step| {
                *done += step.done;
                told(step);
            };
            worked = self.work_at(job, plan, now, stop, told).await;
            if !matches!(worked, Ok(Ended::Complete)) {
                break;
            }
        }
        // Those of one organisation are not all.
        match worked {
            Ok(Ended::Complete) if plan.org.is_none() => {
                self.store.job_done(JOB, self.id).await?;
            }
            Ok(_) => self.store.job_give_back(JOB, self.id).await?,
            Err(_) => {
                if let Err(why) = self.store.job_give_back(JOB, self.id).await {
                    tracing::debug!(%why, "the turn at the archive waits for the end of its lease");
                }
            }
        }
        tally.ended = worked?;
        Ok(tally)
    }

    async fn work_at(
        &mut self,
        job: Job,
        plan: &Plan,
        now: UnixMs,
        stop: &CancellationToken,
        mut told: impl FnMut(Step) + Send,
    ) -> Result<Ended> {
        let mut pace = Pace::new();
        let mut from = None;
        loop {
            if stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            if !self.keep().await? {
                return Ok(Ended::Displaced);
            }
            let run = plan.run(job, self.id, now, pace.batch());
            let began = Instant::now();
            let step = job.step(&self.store, &run, from).await?;
            let took = began.elapsed();
            told(Step {
                job,
                done: step.done,
                took,
            });
            let Some(next) = step.next else {
                return Ok(Ended::Complete);
            };
            from = Some(next);
            let rest = pace.rest_after(took, step.done);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Whether the turn is still ours.
    async fn keep(&mut self) -> Result<bool> {
        if self.kept.elapsed() < KEEP_EVERY {
            return Ok(true);
        }
        let now = Instant::now();
        let is_kept = self.store.job_keep(JOB, self.id, LEASE).await?;
        self.kept = now;
        Ok(is_kept)
    }
}
