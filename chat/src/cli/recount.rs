//! `tenure-chat recount`: counts again what is unread, and puts right what was wrong.
//! Asks the database itself, so it may run beside a companion, or without one.

use clap::Args;

use super::Exit;
use super::database::{Database, org};
use super::output::Output;

/// Count again what is unread, and put right what was wrong
///
/// Counters are raised and lowered with each message, and are right at every moment: anything that is
/// wrong is a fault of ours, and worth a report. Goes chat by chat beside a service that runs.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Recount {
    /// The organisation
    #[arg(value_parser = org)]
    org: String,
    /// One person of it alone
    #[arg(long)]
    person: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    database: Database,
}

const AFTER_HELP: &str = "\
Examples:
  tenure-chat recount acme
  tenure-chat recount acme --person bob --json

Exit status: 0 all was right, 1 something was wrong, and is right now, 2 trouble";

pub(super) fn run(recount: &Recount) -> anyhow::Result<Exit> {
    let recounted = recount.database.with(async |store| {
        Ok(store
            .recount(&recount.org, recount.person.as_deref())
            .await?)
    })?;
    recount.output.answer(
        &recounted,
        &format!(
            "{} counters, {} wrong, by {} in all",
            recounted.counters, recounted.wrong, recounted.drift
        ),
    )?;
    Ok(if recounted.wrong == 0 {
        Exit::Yes
    } else {
        Exit::No
    })
}
