//! `tenure-chat audit`: who has done what that others have to know, newest first.
//!
//! Asks the database itself, so it may run beside a companion, or without one.

use std::time::{Duration, SystemTime};

use clap::Args;
use tenure_chat::store::{AuditLine, PageRequest, UnixMs};

use super::Exit;
use super::database::{Database, operator, org};
use super::output::{Output, remark};

/// Lines on a page that the database is asked for.
const PAGE: u32 = 100;

/// Show the audit log of an organisation, newest first
///
/// Locks that were seized or freed by force, messages that were deleted for others or sent in spite of
/// newer ones, and what a run of the archive has moved: one line for each run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Audit {
    /// The organisation
    #[arg(value_parser = org)]
    org: String,
    /// How far back: `1h`, `30d`
    #[arg(long, default_value = "7d", value_parser = humantime::parse_duration, value_name = "AGE")]
    since: Duration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    database: Database,
}

const AFTER_HELP: &str = "\
Examples:
  tenure-chat audit acme
  tenure-chat audit acme --since 90d --json | jq -r 'select(.act == \"messages.archived\") | .count'

--json has one object for each line, as in the answer to GET /v1/audit.
Exit status: 0 there are lines, 1 there are none, 2 trouble";

pub(super) fn run(audit: &Audit) -> anyhow::Result<Exit> {
    let since = UnixMs::now().before(audit.since);
    audit.database.with(async |store| {
        let actor = operator(&audit.org);
        let mut headings = Some(["WHEN", "WHO", "ACT", "COUNT", "CHAT", "DETAIL"]);
        let mut cursor = None;
        loop {
            let page = PageRequest {
                cursor,
                limit: PAGE,
            };
            let page = store.audit(&actor, since, page).await?;
            if page.items.is_empty() {
                break;
            }
            let rows: Vec<_> = page.items.iter().map(row).collect();
            audit.output.table(headings.take(), &rows, &page.items)?;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if headings.is_none() {
            return Ok(Exit::Yes);
        }
        if !audit.output.is_json() {
            remark("nothing in that time");
        }
        Ok(Exit::No)
    })
}

fn row(line: &AuditLine) -> [String; 6] {
    let at = humantime::format_rfc3339_seconds(SystemTime::from(line.at));
    [
        at.to_string(),
        line.actor.clone(),
        line.act.clone(),
        line.count.to_string(),
        line.chat
            .map_or_else(|| "-".to_owned(), |chat| chat.to_string()),
        line.detail.to_string(),
    ]
}
