//! The audit log: who did what is not everybody's to do, and what ran by itself. Lines are added, never changed, but
//! for the count of a run that goes on.

use uuid::Uuid;

use super::Shared;
use super::database::{Row, Transaction, values};
use super::error::{Error, Result};
use super::limits::{self, PAGE_MAX};
use super::page::Below;
use super::rows;
use super::types::{Actor, ChatId, Page, PageRequest, Role, UnixMs};
use super::upkeep::{ArchiveRun, AuditLine, NewAudit};

/// Adds a line, if the transaction is committed.
pub(super) async fn add(
    tx: &mut Transaction,
    org: &str,
    actor: &str,
    now: UnixMs,
    new: &NewAudit,
) -> Result<()> {
    let detail = limits::audit(new)?;
    tx.run(
        "INSERT INTO audit (org, at, actor, act, chat_id, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        values![org, now, actor, &new.act, new.chat, detail],
    )
    .await?;
    Ok(())
}

/// Counts on in the line of a run: one for each organisation and act.
pub(super) async fn count(
    tx: &mut Transaction,
    org: &str,
    now: UnixMs,
    run: &ArchiveRun,
    act: &str,
    more: i64,
) -> Result<()> {
    tx.run(
        "INSERT INTO audit (org, at, actor, act, detail, run, count) VALUES ($1, $2, 'system', $3, $4, $5, $6) \
         ON CONFLICT (run, org, act) DO UPDATE SET at = excluded.at, count = audit.count + excluded.count",
        values![
            org,
            now,
            act,
            serde_json::json!({ "run": run.run, "before": run.before }).to_string(),
            run.run,
            more,
        ],
    )
    .await?;
    Ok(())
}

/// A page of an organisation's log.
pub(super) async fn audit(
    store: &Shared,
    who: &Actor,
    since: UnixMs,
    page: &PageRequest,
) -> Result<Page<AuditLine>> {
    if who.role < Role::Admin {
        return Err(Error::Forbidden {
            expected: "an admin",
        });
    }
    let Below(below) = Below::parse(page.cursor.as_deref())?;
    let limit = limits::limit(page.limit, PAGE_MAX);
    let lines = "SELECT id, at, actor, act, chat_id, detail, count FROM audit \
                 WHERE org = $1 AND id < $2 AND at >= $3 ORDER BY id DESC LIMIT $4";
    let rows = store
        .database
        .rows(lines, values![&who.org, below, since, limit + 1])
        .await?;
    let items = rows.iter().map(line).collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(items, limit, |last| Below(last.id).to_string()))
}

fn line(row: &Row) -> Result<AuditLine> {
    Ok(AuditLine {
        id: row.get("id")?,
        at: row.time("at")?,
        actor: row.get("actor")?,
        act: row.get("act")?,
        chat: row.get::<Option<Uuid>>("chat_id")?.map(ChatId),
        count: row.get("count")?,
        detail: rows::json(row, "detail")?,
    })
}
