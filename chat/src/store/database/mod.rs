//! One narrow door to both databases: statements go in with their values, rows come out by column name.
//!
//! Statements number their parameters `$1`, which both understand; where the dialects differ, a statement is written
//! twice ([`Sql`]). Values and rows are of the few types that the store keeps, mapped to each driver by hand. Knows no
//! table. A transaction that is dropped without a commit has done nothing, and nobody is to be told what it has seen.

mod line;
mod migrations;
mod postgres;
mod sqlite;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreOptions;
use super::error::{Error, Result};
use line::Turn;
pub(crate) use values::{Row, Value, values};

/// A statement, as each database has to be told it. Never made at run time.
#[derive(Clone, Copy)]
pub(crate) struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Sql {
    /// One that has to be said differently.
    pub(crate) const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self::each(both, both)
    }
}

/// An open database.
pub(crate) struct Database {
    pools: Pools,
    statements: Arc<AtomicU64>,
}

enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools),
}

impl Database {
    /// Opens it by its URL, and brings its tables up to date.
    pub(crate) async fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        let pools = match url.split_once(':') {
            Some(("sqlite", _)) => Pools::Sqlite(sqlite::open(url, options).await?),
            Some(("postgres" | "postgresql", _)) => {
                Pools::Postgres(postgres::open(url, options).await?)
            }
            _ => {
                return Err(Error::Unusable(
                    "expected a database as sqlite:PATH or postgres://USER@HOST/NAME, found neither"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            pools,
            statements: Arc::default(),
        })
    }

    /// Begins to write: alone on SQLite, row by row on PostgreSQL.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        self.begin_at(Turn::InLine).await
    }

    /// Begins to write, and does not wait for as many as there are requests: for the outbox, which has to keep up with
    /// all of them.
    pub(crate) async fn begin_ahead(&self) -> Result<Transaction> {
        self.begin_at(Turn::Ahead).await
    }

    async fn begin_at(&self, turn: Turn) -> Result<Transaction> {
        let inner = match &self.pools {
            Pools::Sqlite(pools) => Inner::Act(pools.begin(turn).await?),
            Pools::Postgres(pools) => Inner::Postgres(
                pools
                    .at(turn)
                    .begin_with("BEGIN ISOLATION LEVEL READ COMMITTED")
                    .await?,
            ),
        };
        Ok(self.transaction(inner))
    }

    /// Begins to read: all statements see the same instant.
    pub(crate) async fn snapshot(&self) -> Result<Transaction> {
        let inner = match &self.pools {
            Pools::Sqlite(pools) => Inner::Sqlite(pools.snapshot().await?),
            Pools::Postgres(pools) => Inner::Postgres(
                pools
                    .at(Turn::InLine)
                    .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?,
            ),
        };
        Ok(self.transaction(inner))
    }

    /// The rows of one reading statement.
    pub(crate) async fn rows(&self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<Vec<Row>> {
        self.rows_at(Turn::InLine, sql.into(), values).await
    }

    /// The first row of one reading statement, as [`begin_ahead`](Self::begin_ahead).
    pub(crate) async fn row_ahead(
        &self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Option<Row>> {
        let rows = self.rows_at(Turn::Ahead, sql.into(), values).await?;
        Ok(rows.into_iter().next())
    }

    async fn rows_at(&self, turn: Turn, sql: Sql, values: Vec<Value>) -> Result<Vec<Row>> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(match &self.pools {
            Pools::Sqlite(pools) => sqlite::rows(pools.readers(), sql.sqlite, values).await?,
            Pools::Postgres(pools) => postgres::rows(pools.at(turn), sql.postgres, values).await?,
        })
    }

    /// The first row of one reading statement.
    pub(crate) async fn row(&self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Statements sent so far, without those that begin and end transactions.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pools) => pools.close().await,
        }
    }

    fn transaction(&self, inner: Inner) -> Transaction {
        Transaction {
            inner,
            statements: Arc::clone(&self.statements),
        }
    }
}

/// Several statements that happen together or not at all.
pub(crate) struct Transaction {
    inner: Inner,
    statements: Arc<AtomicU64>,
}

enum Inner {
    /// What writes to SQLite.
    Act(line::Act),
    /// What reads from it.
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Transaction {
    /// The rows of a statement.
    pub(crate) async fn rows(
        &mut self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = sql.into();
        Ok(match &mut self.inner {
            Inner::Act(act) => sqlite::rows(act.connection()?, sql.sqlite, values).await?,
            Inner::Sqlite(tx) => sqlite::rows(&mut **tx, sql.sqlite, values).await?,
            Inner::Postgres(tx) => postgres::rows(&mut **tx, sql.postgres, values).await?,
        })
    }

    /// The first row of a statement.
    pub(crate) async fn row(
        &mut self,
        sql: impl Into<Sql>,
        values: Vec<Value>,
    ) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Does a statement; answers how many rows it has touched.
    pub(crate) async fn run(&mut self, sql: impl Into<Sql>, values: Vec<Value>) -> Result<u64> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let sql = sql.into();
        Ok(match &mut self.inner {
            Inner::Act(act) => sqlite::run(act.connection()?, sql.sqlite, values).await?,
            Inner::Sqlite(tx) => sqlite::run(&mut **tx, sql.sqlite, values).await?,
            Inner::Postgres(tx) => postgres::run(&mut **tx, sql.postgres, values).await?,
        })
    }

    /// Whether nobody else writes meanwhile, so that no row has to be locked.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.inner, Inner::Act(_) | Inner::Sqlite(_))
    }

    /// Makes it so, durably.
    pub(crate) async fn commit(self) -> Result<()> {
        match self.inner {
            Inner::Act(act) => act.keep().await?,
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Undoes it. What it has seen is durable when this returns: on SQLite it may have seen what others have not yet
    /// committed, and whoever is told of that has to be told the truth.
    pub(crate) async fn leave(self) -> Result<()> {
        match self.inner {
            Inner::Act(act) => act.leave().await?,
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}
