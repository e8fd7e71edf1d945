//! How tables come to be: numbered steps, each done once, compiled into the program.
//!
//! A step that has been released never changes; what is to be different is another step. A database that knows a step
//! which this program does not is newer, and left alone.

use std::borrow::Cow;
use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::store::error::{Error, Result};

macro_rules! steps {
    ($folder:literal: $($number:literal $name:literal),* $(,)?) => {
        LazyLock::new(|| {
            Migrator::with_migrations(vec![$(step(
                $number,
                $name,
                include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")),
            )),*])
        })
    };
}

/// Those of SQLite.
pub(super) static SQLITE: LazyLock<Migrator> =
    steps!("sqlite": 1 "0001_chats", 2 "0002_words", 3 "0003_jobs");

/// Those of PostgreSQL.
pub(super) static POSTGRES: LazyLock<Migrator> =
    steps!("postgres": 1 "0001_chats", 2 "0002_words", 3 "0003_jobs", 4 "0004_newest");

/// Does those that are missing. Companions that start together do them once: PostgreSQL is locked by the migrator
/// itself, and SQLite by the transaction that has to be given here.
pub(super) async fn run(migrator: &Migrator, connection: &mut impl Migrate) -> Result<()> {
    // As `Migrator::run`, whose bounds keep its future from moving between threads.
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error)) => Err(Error::Database(error)),
        Err(MigrateError::VersionMissing(step)) => Err(Error::Unusable(format!(
            "expected a database of this version or an older one, found step {step} of a newer tenure-chat: start that one"
        ))),
        Err(error) => Err(Error::Unusable(format!(
            "the tables cannot be brought up to date: {error}"
        ))),
    }
}

fn step(number: i64, name: &'static str, sql: &'static str) -> Migration {
    let name = Cow::Borrowed(name.split_once('_').map_or(name, |(_, name)| name));
    Migration::new(
        number,
        name,
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )
}
