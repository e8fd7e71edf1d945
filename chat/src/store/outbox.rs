//! What has to be told to others: written by the transaction that made it so, and gone once it is told.
//!
//! Rows of one chat are told in their order. Who takes rows of a chat has it for a lease; others pass it over
//! meanwhile. Taking is done by one worker at a time, and leases go by the database's clock, so companions need not
//! agree on the time. What a worker that dies has taken is taken again when its lease is over, with the same event
//! ids.

use std::time::Duration;

use serde_json::from_str;
use uuid::Uuid;

use super::Shared;
use super::database::{Row, Sql, Transaction, values};
use super::error::{Error, Result};
use super::limits::{self, BATCH_MAX};
use super::rows;
use super::types::{Actor, ChatId, UnixMs};
use super::upkeep::{EventName, Notify, OutboxLag, OutboxRow};

/// What is to be told of one act.
pub(super) struct Told {
    pub(super) event: EventName,
    /// The chat's, as of the act.
    pub(super) rev: i64,
    pub(super) payload: String,
    pub(super) notify: Vec<Notify>,
}

/// Has it told, if the transaction is committed.
pub(super) async fn tell(
    tx: &mut Transaction,
    who: &Actor,
    chat: ChatId,
    now: UnixMs,
    told: Told,
) -> Result<()> {
    tell_org(tx, &who.org, chat, now, told).await
}

/// As [`tell`], for what nobody in particular does.
pub(super) async fn tell_org(
    tx: &mut Transaction,
    org: &str,
    chat: ChatId,
    now: UnixMs,
    told: Told,
) -> Result<()> {
    let event = serde_json::to_value(told.event).unwrap_or_default();
    tx.run(
        "INSERT INTO outbox (org, chat_id, rev, event_id, event, payload, notify, committed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        values![
            org,
            chat,
            told.rev,
            Uuid::now_v7(),
            event.as_str(),
            told.payload,
            rows::to_json(&told.notify),
            now,
        ],
    )
    .await?;
    Ok(())
}

/// One worker at a time: SQLite has one writer anyway.
const ALONE: &str = "SELECT pg_advisory_xact_lock(7310571906)";

/// Rows are looked at in the order of their writing, at most so many for each that is asked for, so that one chat with
/// a long backlog that is being told does not hide all others.
const LOOKAHEAD: i64 = 8;

const TAKE: Sql = Sql::each(
    "UPDATE outbox SET worker = $1, leased_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $2, \
         attempts = attempts + 1 \
     WHERE id IN (SELECT o.id FROM (SELECT id, chat_id FROM outbox \
                      WHERE leased_until < CAST(unixepoch('subsec') * 1000 AS INTEGER) ORDER BY id LIMIT $4) o \
                  WHERE (SELECT first.leased_until FROM outbox first WHERE first.chat_id = o.chat_id \
                         ORDER BY first.rev LIMIT 1) < CAST(unixepoch('subsec') * 1000 AS INTEGER) \
                  ORDER BY o.id LIMIT $3) \
     RETURNING id, org, chat_id, rev, event_id, event, payload, notify, committed_at, attempts - 1 AS attempts",
    "UPDATE outbox SET worker = $1, \
         leased_until = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $2, attempts = attempts + 1 \
     WHERE id IN (SELECT o.id FROM (SELECT id, chat_id FROM outbox \
                      WHERE leased_until < CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT) \
                      ORDER BY id LIMIT $4) o \
                  WHERE (SELECT first.leased_until FROM outbox first WHERE first.chat_id = o.chat_id \
                         ORDER BY first.rev LIMIT 1) \
                      < CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT) \
                  ORDER BY o.id LIMIT $3) \
     RETURNING id, org, chat_id, rev, event_id, event, payload, notify, committed_at, attempts - 1 AS attempts",
);

/// Notes what was told, and takes the oldest rows that nobody else has, for so long.
pub(super) async fn take(
    store: &Shared,
    worker: Uuid,
    told: &[i64],
    limit: u32,
    lease: Duration,
) -> Result<Vec<OutboxRow>> {
    if told.is_empty() && is_empty(store).await? {
        return Ok(Vec::new());
    }
    let limit = limits::limit(limit, BATCH_MAX);
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 4);
    let mut tx = store.database.begin_ahead().await?;
    if !told.is_empty() {
        tx.run(DONE, values![told.to_vec()]).await?;
    }
    if !tx.is_alone() {
        tx.rows(ALONE, values![]).await?;
    }
    let taken = values![worker, lease, limit, limit * LOOKAHEAD];
    let rows = tx.rows(TAKE, taken).await?;
    tx.commit().await?;
    let mut rows = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// So that a worker with nothing to do does not write.
async fn is_empty(store: &Shared) -> Result<bool> {
    let any = "SELECT id FROM outbox ORDER BY id LIMIT 1";
    Ok(store.database.row_ahead(any, values![]).await?.is_none())
}

const DONE: Sql = Sql::each(
    "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))",
    "DELETE FROM outbox WHERE id = ANY($1)",
);

/// These were told.
pub(super) async fn done(store: &Shared, ids: &[i64]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut tx = store.database.begin_ahead().await?;
    tx.run(DONE, values![ids.to_vec()]).await?;
    tx.commit().await
}

/// Gives back what a worker has taken and not done.
pub(super) async fn give_back(store: &Shared, worker: Uuid) -> Result<()> {
    let mut tx = store.database.begin_ahead().await?;
    let back = "UPDATE outbox SET worker = NULL, leased_until = 0 WHERE worker = $1";
    tx.run(back, values![worker]).await?;
    tx.commit().await
}

/// What waits.
pub(super) async fn lag(store: &Shared) -> Result<OutboxLag> {
    let waiting = "SELECT COUNT(*) AS waiting, MIN(committed_at) AS oldest FROM outbox";
    let Some(row) = store.database.row_ahead(waiting, values![]).await? else {
        return Ok(OutboxLag::default());
    };
    let oldest: Option<i64> = row.get("oldest")?;
    let age = oldest.map_or(0, |oldest| store.now().0.saturating_sub(oldest));
    Ok(OutboxLag {
        rows: row.get("waiting")?,
        oldest: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
    })
}

fn row(row: &Row) -> Result<OutboxRow> {
    let event: String = row.get("event")?;
    Ok(OutboxRow {
        id: row.get("id")?,
        org: row.get("org")?,
        chat: ChatId(row.get("chat_id")?),
        rev: row.get("rev")?,
        event_id: row.get("event_id")?,
        event: from_str(&format!("\"{event}\"")).map_err(|_| {
            Error::Unusable(format!(
                "expected an event of this version in the outbox, found {event:?}"
            ))
        })?,
        payload: row.get("payload")?,
        notify: rows::json(row, "notify")?,
        committed_at: row.time("committed_at")?,
        attempts: row.get("attempts")?,
    })
}
