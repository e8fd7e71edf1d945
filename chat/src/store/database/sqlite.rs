//! SQLite: one connection that writes, several that read, one file.
//!
//! Writers stand in line for their connection (`line.rs`), so none is ever told that the database is busy, and those who
//! wait share a commit. A commit is on disk when it returns (`synchronous = FULL`); readers see what was committed.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor, Sqlite, SqlitePool, Transaction};
use tokio::time::{self, Instant};

use super::line::{Act, Line, Turn};
use super::migrations::{self, SQLITE};
use super::values::{Row, Value};
use crate::store::StoreOptions;
use crate::store::error::{Error, Result};

/// How often whoever waits for the file looks again.
const TURN_EVERY: Duration = Duration::from_millis(10);

/// One connection that writes, and those that read.
pub(super) struct Pools {
    writer: Line,
    readers: SqlitePool,
}

/// Opens the file, or makes it.
pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<Pools> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(Error::Unusable(
            "expected a file, found a database in memory: nothing would survive a restart"
                .to_owned(),
        ));
    }
    let file = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(options.patience)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut alone = connect_in_turn(&file, options.patience).await?;
    let mut tx = alone.begin_with("BEGIN IMMEDIATE").await?;
    migrations::run(&SQLITE, &mut *tx).await?;
    tx.commit().await?;
    alone.close().await?;
    let readers = SqlitePoolOptions::new()
        .acquire_timeout(options.patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .max_connections(options.connections_max.max(1))
        .connect_with(file.clone().read_only(true).create_if_missing(false))
        .await?;
    Ok(Pools {
        writer: Line::new(file, options.patience),
        readers,
    })
}

/// The first connection. It may have to give the file its log of writes, for which SQLite wants the file for itself; and unlike
/// everywhere else it does not wait for that, whatever `busy_timeout` says. So whoever makes the same file just now is waited
/// for here.
async fn connect_in_turn(
    file: &SqliteConnectOptions,
    patience: Duration,
) -> sqlx::Result<SqliteConnection> {
    let since = Instant::now();
    loop {
        match file.connect().await {
            Err(error) if is_busy(&error) && since.elapsed() < patience => {
                time::sleep(TURN_EVERY).await;
            }
            done => return done,
        }
    }
}

/// Of extended codes too, the last byte says what sort of error it is.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error.as_database_error().and_then(DatabaseError::code);
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xFF == SQLITE_BUSY)
}

impl Pools {
    pub(super) async fn begin(&self, turn: Turn) -> Result<Act> {
        Ok(self.writer.begin(turn).await?)
    }

    pub(super) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.readers.begin().await?)
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(super) async fn rows<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    sql: &'static str,
    values: Vec<Value>,
) -> sqlx::Result<Vec<Row>> {
    let rows = bind(sql, values).fetch_all(executor).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

pub(super) async fn run<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    sql: &'static str,
    values: Vec<Value>,
) -> sqlx::Result<u64> {
    let done = bind(sql, values).execute(executor).await?;
    Ok(done.rows_affected())
}

fn bind(sql: &'static str, values: Vec<Value>) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Id(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Ints(values) => query.bind(json(values)),
        Value::Texts(values) => query.bind(json(values)),
        // Hexadecimal, as `unhex` reads it.
        Value::Ids(values) => query.bind(json(values.iter().map(|id| id.simple().to_string()))),
    })
}

fn json<T: Into<serde_json::Value>>(values: impl IntoIterator<Item = T>) -> String {
    values
        .into_iter()
        .collect::<serde_json::Value>()
        .to_string()
}
