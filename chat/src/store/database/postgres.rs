//! PostgreSQL: one pool for all. Several companions may share a database.
//!
//! Acts that change a chat lock its row first, so they wait for each other and never deadlock. A commit is on disk
//! when it returns, if the server is set up so; a server that is not is complained of in the log.

use std::str::FromStr;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{Executor, PgPool, Postgres, Row as _};

use super::migrations::{self, POSTGRES};
use super::values::{Row, Value};
use crate::store::StoreOptions;
use crate::store::error::Result;

/// Connects, with at least one connection.
pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<PgPool> {
    let server = PgConnectOptions::from_str(url)?.application_name("tenure-chat");
    let pool = PgPoolOptions::new()
        .acquire_timeout(options.patience)
        .max_connections(options.connections_max.max(1))
        .connect_with(server)
        .await?;
    migrations::run(&POSTGRES, &mut *pool.acquire().await?).await?;
    complain_of_lost_commits(&pool).await?;
    Ok(pool)
}

async fn complain_of_lost_commits(pool: &PgPool) -> Result<()> {
    let settings =
        "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS waits";
    let row = sqlx::query(settings).fetch_one(pool).await?;
    let (fsync, waits): (String, String) = (row.try_get("fsync")?, row.try_get("waits")?);
    if fsync == "off" || waits == "off" {
        tracing::warn!(
            fsync,
            synchronous_commit = waits,
            "the database may lose what it has committed: messages that were acknowledged can vanish"
        );
    }
    Ok(())
}

pub(super) async fn rows<'e>(
    executor: impl Executor<'e, Database = Postgres>,
    sql: &'static str,
    values: Vec<Value>,
) -> sqlx::Result<Vec<Row>> {
    let rows = bind(sql, values).fetch_all(executor).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

pub(super) async fn run<'e>(
    executor: impl Executor<'e, Database = Postgres>,
    sql: &'static str,
    values: Vec<Value>,
) -> sqlx::Result<u64> {
    let done = bind(sql, values).execute(executor).await?;
    Ok(done.rows_affected())
}

fn bind(sql: &'static str, values: Vec<Value>) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Id(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Ints(values) => query.bind(values),
        Value::Texts(values) => query.bind(values),
        Value::Ids(values) => query.bind(values),
    })
}
