//! `tenure-chat archive`: moves old messages to the archive, and cleans up chats in which nobody ever wrote, at once and
//! not when the schedule comes by.
//!
//! Rule: it waits its turn, so that it never works beside another run; it may be stopped anywhere, and begins again where
//! there is something left.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tenure_chat::archiving::{Begun, Ended, Job, LEASE, Plan, Run, Tally, begin};
use tenure_chat::config::{ARCHIVE_EMPTY_FOR, ARCHIVE_OLDER_THAN};
use tenure_chat::store::Store;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::database::{Database, org};
use super::output::{Output, is_watched, remark};
use super::signals::stopping;

/// Move old messages to the archive, and clean up empty chats
///
/// A service does so by itself once a day (`--archive-every`). What is in the archive is read, found and
/// exported as before, and cannot be edited. Of each chat the last message stays. It goes in steps of
/// about 10 ms with rests between them, beside a service that runs: who sends waits for one step at
/// most. It may be stopped at any time, or killed, and goes on where it was when it is run again.
/// What was done is in the audit log of each organisation.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Archive {
    /// Messages that are older move to the archive
    #[arg(long, env = "TENURE_CHAT_ARCHIVE_OLDER_THAN", default_value = ARCHIVE_OLDER_THAN)]
    #[arg(value_parser = humantime::parse_duration, value_name = "AGE")]
    older_than: Duration,
    /// Chats without a message that have had no activity for as long are cleaned up
    #[arg(long, env = "TENURE_CHAT_ARCHIVE_EMPTY_FOR", default_value = ARCHIVE_EMPTY_FOR)]
    #[arg(value_parser = humantime::parse_duration, value_name = "AGE")]
    empty_for: Duration,
    /// One organisation alone
    #[arg(long, value_parser = org)]
    org: Option<String>,
    /// Only say what there is to do
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    database: Database,
}

const AFTER_HELP: &str = "\
Examples:
  tenure-chat archive --dry-run
  tenure-chat archive --older-than 180d --org acme
  tenure-chat archive --json | jq .messages

Exit status: 0 nothing old is left, 1 it was stopped or another run is at work, 2 trouble";

/// How often a bar is drawn, a second.
const DRAWN: u8 = 10;

/// How long another run is waited for: one that was killed has the turn until its lease is over.
const WAIT: Duration = LEASE.saturating_add(Duration::from_secs(2));

pub(super) fn run(archive: &Archive) -> anyhow::Result<Exit> {
    let plan = Plan {
        older_than: archive.older_than,
        empty_for: archive.empty_for,
        org: archive.org.clone(),
    };
    archive.database.with(async |store| {
        if archive.dry_run {
            return say_what_there_is(store, &plan, archive.output).await;
        }
        let stop = stopping();
        let Some(run) = turn(store, &stop).await? else {
            return Ok(Exit::No);
        };
        let began = Instant::now();
        let tally = watched(store, &plan, run, &stop).await?;
        told(&tally, began.elapsed(), archive.output)
    })
}

async fn say_what_there_is(store: &Store, plan: &Plan, output: Output) -> anyhow::Result<Exit> {
    let messages = Job::Messages.count(store, plan).await?;
    let chats = Job::Chats.count(store, plan).await?;
    output.answer(
        &json!({"dry_run": true, "messages": messages, "chats": chats}),
        &format!(
            "{messages} messages would move to the archive, {chats} empty chats would be cleaned up"
        ),
    )?;
    Ok(Exit::Yes)
}

/// Waits for the turn; not for a run that lives.
async fn turn(store: &Store, stop: &CancellationToken) -> anyhow::Result<Option<Run>> {
    let until = Instant::now() + WAIT;
    let mut is_told = false;
    loop {
        let left = match begin(store, Duration::ZERO).await? {
            Begun::Run(run) => return Ok(Some(run)),
            Begun::Others(left) | Begun::Later(left) => left,
        };
        if stop.is_cancelled() || Instant::now() + left > until {
            remark(
                "tenure-chat: another run is at work, of a service or of this command; see `tenure-chat audit`",
            );
            return Ok(None);
        }
        if !is_told {
            let left = left.as_secs() + 1;
            remark(&format!(
                "another run is at work, or was killed; it is known within {left} s"
            ));
            is_told = true;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(left + Duration::from_millis(10)) => {}
        }
    }
}

/// Works, with a bar for whoever watches.
async fn watched(
    store: &Store,
    plan: &Plan,
    run: Run,
    stop: &CancellationToken,
) -> anyhow::Result<Tally> {
    let bar = if is_watched() {
        let all = Job::Messages.count(store, plan).await?;
        let all = u64::try_from(all).unwrap_or(0);
        ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr_with_hz(DRAWN))
    } else {
        ProgressBar::hidden()
    };
    let style = "{bar:40} {human_pos} of {human_len} messages, {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).context("the template of the bar")?);
    let worked = run.work(plan, stop, |step| {
        if step.job == Job::Messages {
            bar.inc(u64::try_from(step.done).unwrap_or(0));
        }
    });
    let tally = worked.await;
    bar.finish_and_clear();
    Ok(tally?)
}

fn told(tally: &Tally, took: Duration, output: Output) -> anyhow::Result<Exit> {
    let Tally {
        run,
        messages,
        chats,
        ended,
    } = tally;
    let seconds = took.as_secs_f64();
    output.answer(
        &json!({"run": run, "messages": messages, "chats": chats, "ended": ended.to_string(), "seconds": seconds}),
        &format!(
            "{messages} messages moved to the archive, {chats} empty chats cleaned up, in {seconds:.1} s; run {run}"
        ),
    )?;
    Ok(match ended {
        Ended::Complete => Exit::Yes,
        Ended::Stopped => {
            remark("stopped before all was done: run it again to go on");
            Exit::No
        }
        Ended::Displaced => {
            remark("another run has taken over: this one was held up for too long");
            Exit::No
        }
    })
}
