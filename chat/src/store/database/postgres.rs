//! PostgreSQL: a pool for requests, and a small one for what must not wait for as many as there are. Several companions may
//! share a database.
//!
//! Acts that change a chat lock its row first, so they wait for each other and never deadlock. A commit is on disk
//! when it returns, if the server is set up so; a server that is not is complained of in the log. Whoever has locked a
//! row and says no more, since its machine is frozen or cut off, holds up the others for no longer than [`LIMITS`].

use std::str::FromStr;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Connection as _, Executor, PgPool, Postgres, Row as _};

use super::line::Turn;
use super::migrations::{self, POSTGRES};
use super::values::{Row, Value};
use crate::store::StoreOptions;
use crate::store::error::Result;

/// How long a statement may take, may wait for a row, and may be waited for in a transaction, in milliseconds. Set for
/// each connection where the operator has set nothing (`ALTER ROLE ... SET`, or `options` in the URL). A statement of
/// ours takes milliseconds, and an archive's is bounded by its batch; making a table anew takes as long as it takes.
const LIMITS: &str = "SELECT set_config(name, value, false) FROM (VALUES \
        ('statement_timeout', '30000'), ('lock_timeout', '5000'), ('idle_in_transaction_session_timeout', '10000') \
    ) AS ours (name, value) WHERE current_setting(name) = '0'";

/// Connections of those that go ahead: one that takes, and one that looks how much is left.
const AHEAD_MAX: u32 = 2;

/// See the file's header.
pub(super) struct Pools {
    requests: PgPool,
    ahead: PgPool,
}

/// Connects, with at least one connection.
pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<Pools> {
    let server = PgConnectOptions::from_str(url)?.application_name("tenure-chat");
    // Before there are limits.
    let mut alone = server.connect().await?;
    migrations::run(&POSTGRES, &mut alone).await?;
    alone.close().await?;
    let pool = PgPoolOptions::new()
        .acquire_timeout(options.patience)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(LIMITS).await.map(|_| ()) })
        });
    let requests = pool
        .clone()
        .max_connections(options.connections_max.max(1))
        .connect_with(server.clone())
        .await?;
    complain_of_lost_commits(&requests).await?;
    let ahead = pool.max_connections(AHEAD_MAX).connect_lazy_with(server);
    Ok(Pools { requests, ahead })
}

impl Pools {
    pub(super) const fn at(&self, turn: Turn) -> &PgPool {
        match turn {
            Turn::InLine => &self.requests,
            Turn::Ahead => &self.ahead,
        }
    }

    pub(super) async fn close(&self) {
        self.ahead.close().await;
        self.requests.close().await;
    }
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
