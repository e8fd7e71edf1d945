//! `tenure-chat audit`: who has done what that others have to know, newest first.
//!
//! Asks the database itself, so it may run beside a companion, or without one.

use std::time::{Duration, SystemTime};

use clap::Args;
use tenure_chat::store::{AuditLine, PageRequest, UnixMs};

use super::database::{Database, operator};

/// Lines on a page that the database is asked for.
const PAGE: u32 = 100;

/// Which part of it.
#[derive(Debug, Args)]
pub(super) struct Audit {
    /// The organisation.
    org: String,
    /// How far back: `1h`, `30d`.
    #[arg(long, default_value = "7d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

pub(super) fn run(audit: &Audit) -> anyhow::Result<()> {
    let since = UnixMs::now().before(audit.since);
    audit.database.with(async |store| {
        let actor = operator(&audit.org);
        let mut cursor = None;
        loop {
            let page = store
                .audit(
                    &actor,
                    since,
                    PageRequest {
                        cursor,
                        limit: PAGE,
                    },
                )
                .await?;
            for line in &page.items {
                super::answer(&if audit.json {
                    serde_json::to_string(line)?
                } else {
                    told(line)
                });
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    })
}

fn told(line: &AuditLine) -> String {
    let at = humantime::format_rfc3339_seconds(SystemTime::from(line.at));
    let chat = line
        .chat
        .map(|chat| format!(" chat {chat}"))
        .unwrap_or_default();
    format!(
        "{at} {} {} x{}{chat} {}",
        line.actor, line.act, line.count, line.detail
    )
}
