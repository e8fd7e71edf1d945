//! `tenure-chat archive`: moves old messages to the archive, and cleans up chats in which nobody ever wrote.
//!
//! Rule: it goes in small steps, so that nobody who sends waits for more than one; it may be stopped anywhere, and begins
//! again where there is something left.

use std::time::Duration;

use clap::Args;
use tenure_chat::store::{ArchiveRun, ArchiveStep, ChatId, Store, UnixMs};
use uuid::Uuid;

use super::database::Database;

/// Rows of one step.
const BATCH: u32 = 500;

/// What is old.
#[derive(Debug, Args)]
pub(super) struct Archive {
    /// Messages that are older move to the archive.
    #[arg(long, default_value = "365d", value_parser = humantime::parse_duration, value_name = "AGE")]
    older_than: Duration,
    /// Chats without a message that are older are cleaned up.
    #[arg(long, default_value = "90d", value_parser = humantime::parse_duration, value_name = "AGE")]
    empty_for: Duration,
    /// One organisation alone.
    #[arg(long)]
    org: Option<String>,
    /// Only says what there is to do.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    database: Database,
}

/// Which of the two.
#[derive(Clone, Copy)]
enum Job {
    Messages,
    Chats,
}

impl Job {
    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages archived",
            Self::Chats => "empty chats cleaned up",
        }
    }

    async fn count(self, store: &Store, run: &ArchiveRun) -> tenure_chat::store::Result<i64> {
        match self {
            Self::Messages => store.archive_count(run).await,
            Self::Chats => store.cleanup_count(run).await,
        }
    }

    async fn step(
        self,
        store: &Store,
        run: &ArchiveRun,
        from: Option<ChatId>,
    ) -> tenure_chat::store::Result<ArchiveStep> {
        match self {
            Self::Messages => store.archive_step(run, from).await,
            Self::Chats => store.cleanup_step(run).await,
        }
    }
}

pub(super) fn run(archive: &Archive) -> anyhow::Result<()> {
    let name = Uuid::now_v7();
    let now = UnixMs::now();
    archive.database.with(async |store| {
        for (job, age) in [
            (Job::Messages, archive.older_than),
            (Job::Chats, archive.empty_for),
        ] {
            let run = ArchiveRun {
                run: name,
                before: now.before(age),
                org: archive.org.clone(),
                batch: BATCH,
            };
            let all = job.count(store, &run).await?;
            if archive.dry_run {
                super::answer(&format!("{all} {} if this was no dry run", job.name()));
                continue;
            }
            let done = work(store, job, &run, all).await?;
            super::answer(&format!("{done} {}", job.name()));
        }
        Ok(())
    })
}

async fn work(store: &Store, job: Job, run: &ArchiveRun, all: i64) -> anyhow::Result<i64> {
    let (mut done, mut from) = (0, None);
    loop {
        let step = job.step(store, run, from).await?;
        done += step.done;
        if step.done > 0 {
            super::say(&format!("{done} of {all} {}", job.name()));
        }
        from = step.next;
        if from.is_none() {
            return Ok(done);
        }
    }
}
