//! What is done now and then, by one worker of all that share a database: whose turn it is, and when it is due again.
//!
//! Knows nothing of what is done. A turn is held by a lease, which goes by the database's clock; who is cut off loses it
//! when the lease is over, and what was not ended is due at once. When it was begun last is kept, so that neither a
//! restart nor another companion does it again before its time.

use std::time::Duration;

use uuid::Uuid;

use super::Shared;
use super::database::{Sql, values};
use super::error::{Error, Result};
use super::upkeep::Turn;

/// Takes the turn, if it is free and due.
pub(super) async fn take(
    store: &Shared,
    job: &str,
    worker: Uuid,
    every: Duration,
    lease: Duration,
) -> Result<Turn> {
    const TAKE: Sql = Sql::each(
        "UPDATE jobs SET worker = $2, began_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), \
             leased_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $4 \
         WHERE name = $1 AND leased_until <= CAST(unixepoch('subsec') * 1000 AS INTEGER) \
             AND (ended_at < began_at OR began_at + $3 <= CAST(unixepoch('subsec') * 1000 AS INTEGER)) RETURNING name",
        "UPDATE jobs SET worker = $2, began_at = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), \
             leased_until = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $4 \
         WHERE name = $1 AND leased_until <= CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) \
             AND (ended_at < began_at \
                  OR began_at + $3 <= CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)) RETURNING name",
    );
    const LEFT: Sql = Sql::each(
        "SELECT leased_until - CAST(unixepoch('subsec') * 1000 AS INTEGER) AS leased_ms, \
             CASE WHEN ended_at < began_at THEN 0 \
                  ELSE began_at + $2 - CAST(unixepoch('subsec') * 1000 AS INTEGER) END AS due_ms \
         FROM jobs WHERE name = $1",
        "SELECT leased_until - CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS leased_ms, \
             CASE WHEN ended_at < began_at THEN 0 \
                  ELSE began_at + $2 - CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) END AS due_ms \
         FROM jobs WHERE name = $1",
    );
    let mut tx = store.database.begin().await?;
    let taken = values![job, worker, ms(every), ms(lease)];
    if tx.row(TAKE, taken).await?.is_some() {
        tx.commit().await?;
        return Ok(Turn::Mine);
    }
    let Some(row) = tx.row(LEFT, values![job, ms(every)]).await? else {
        return Err(Error::Unusable(format!(
            "expected a job {job:?} in the table of jobs, found none"
        )));
    };
    let (leased, due) = (row.get("leased_ms")?, row.get("due_ms")?);
    Ok(if leased > 0 {
        Turn::Others(span(leased))
    } else {
        Turn::Later(span(due))
    })
}

/// Makes the lease longer; not if the turn is another's by now.
pub(super) async fn keep(store: &Shared, job: &str, worker: Uuid, lease: Duration) -> Result<bool> {
    const KEEP: Sql = Sql::each(
        "UPDATE jobs SET leased_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3 \
         WHERE name = $1 AND worker = $2",
        "UPDATE jobs SET leased_until = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $3 \
         WHERE name = $1 AND worker = $2",
    );
    let mut tx = store.database.begin().await?;
    let kept = tx.run(KEEP, values![job, worker, ms(lease)]).await? > 0;
    tx.commit().await?;
    Ok(kept)
}

/// Gives the turn back; if it was done, it is not due before its time.
pub(super) async fn end(store: &Shared, job: &str, worker: Uuid, done: bool) -> Result<()> {
    const END: Sql = Sql::each(
        "UPDATE jobs SET worker = NULL, leased_until = 0, ended_at = CASE WHEN $3 = 0 THEN ended_at \
             ELSE MAX(began_at, CAST(unixepoch('subsec') * 1000 AS INTEGER)) END \
         WHERE name = $1 AND worker = $2",
        "UPDATE jobs SET worker = NULL, leased_until = 0, ended_at = CASE WHEN $3 = 0 THEN ended_at \
             ELSE GREATEST(began_at, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)) END \
         WHERE name = $1 AND worker = $2",
    );
    let mut tx = store.database.begin().await?;
    tx.run(END, values![job, worker, done]).await?;
    tx.commit().await
}

/// In milliseconds; far ahead is far enough.
fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).map_or(i64::MAX / 4, |span| span.min(i64::MAX / 4))
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
