//! Archiving as a part of the service: every so often one companion of all that share the database does it.
//!
//! Rules: whose turn it is, and when it was done last, is in the database, so that neither a deploy nor a second
//! companion does it again before its time, nor keeps it from being done; times are spread, so that companions that were
//! started together do not ask together; a failure is tried again, and never ends the service.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{Begun, Ended, Job, Plan, Step, begin};
use crate::metrics::Metrics;
use crate::store::{Result, Store};

/// When it is looked again after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The most by which times are spread.
const SPREAD_MAX: Duration = Duration::from_secs(300);

/// See the file's header.
pub(crate) struct Schedule {
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plan: Plan,
    pub(crate) every: Duration,
}

impl Schedule {
    /// Goes on until it is told to stop; then a step that is under way is finished, and the rest left to the next.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait + self.spread()) => {}
            }
            wait = match self.turn(&stop).await {
                Ok(wait) => wait,
                Err(why) => {
                    self.metrics.archive_run("failed");
                    tracing::warn!(%why, "archiving has failed, and is tried again");
                    AGAIN_AFTER.min(self.every)
                }
            };
        }
    }

    /// Works, if it is our turn; answers when to look again.
    async fn turn(&self, stop: &CancellationToken) -> Result<Duration> {
        let run = match begin(&self.store, self.every).await? {
            Begun::Run(run) => run,
            Begun::Others(left) | Begun::Later(left) => return Ok(left),
        };
        let tally = run.work(&self.plan, stop, |step| self.told(step)).await?;
        self.metrics.archive_run(match tally.ended {
            Ended::Complete => "complete",
            Ended::Stopped => "stopped",
            Ended::Displaced => "displaced",
        });
        if tally.ended == Ended::Complete {
            self.metrics.archive_completed_at.set(unix_seconds());
        }
        if tally.ended != Ended::Complete || tally.messages + tally.chats > 0 {
            tracing::info!(
                run = %tally.run,
                messages = tally.messages,
                chats = tally.chats,
                ended = %tally.ended,
                "archived"
            );
        }
        Ok(self.every)
    }

    fn told(&self, step: Step) {
        let counter = match step.job {
            Job::Messages => &self.metrics.archived_messages,
            Job::Chats => &self.metrics.cleaned_up_chats,
        };
        counter.inc_by(u64::try_from(step.done).unwrap_or(0));
        if step.done > 0 {
            let seconds = step.took.as_secs_f64();
            self.metrics.archive_step_seconds.observe(seconds);
        }
    }

    /// Up to a tenth of the time between two runs.
    fn spread(&self) -> Duration {
        (self.every / 10).min(SPREAD_MAX).mul_f64(fastrand::f64())
    }
}

fn unix_seconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
    })
}
