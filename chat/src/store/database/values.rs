//! What goes into statements and comes out of rows, for either driver: the few types that the store keeps. A value of
//! another type is an error of the program, and says which column it was.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};
use uuid::Uuid;

use crate::store::error::Result;
use crate::store::types::{ChatId, MessageId, UnixMs};

/// A value of a statement. Lists are arrays to PostgreSQL and JSON to SQLite.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Id(Option<Uuid>),
    Bytes(Vec<u8>),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Ids(Vec<Uuid>),
}

/// The values of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::database::Value::from($value)),*]
    };
}
pub(crate) use values;

macro_rules! from {
    ($($from:ty => |$name:ident| $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($name: $from) -> Self {
                $value
            }
        })*
    };
}

from! {
    i64 => |value| Self::Int(Some(value));
    Option<i64> => |value| Self::Int(value);
    bool => |value| Self::Int(Some(i64::from(value)));
    UnixMs => |value| Self::Int(Some(value.0));
    Option<UnixMs> => |value| Self::Int(value.map(|at| at.0));
    &str => |value| Self::Text(Some(value.to_owned()));
    String => |value| Self::Text(Some(value));
    &String => |value| Self::Text(Some(value.clone()));
    Option<String> => |value| Self::Text(value);
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Uuid => |value| Self::Id(Some(value));
    Option<Uuid> => |value| Self::Id(value);
    ChatId => |value| Self::Id(Some(value.0));
    Option<ChatId> => |value| Self::Id(value.map(|id| id.0));
    MessageId => |value| Self::Id(Some(value.0));
    Vec<u8> => |value| Self::Bytes(value);
    Vec<i64> => |value| Self::Ints(value);
    Vec<String> => |value| Self::Texts(value);
    Vec<Uuid> => |value| Self::Ids(value);
}

/// A row that came out.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column. Fails if there is no such column, or it holds something else.
    pub(crate) fn get<T>(&self, column: &str) -> Result<T>
    where
        T: for<'r> Decode<'r, Sqlite>
            + Type<Sqlite>
            + for<'r> Decode<'r, Postgres>
            + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A column that holds 0 or 1.
    pub(crate) fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.get::<i64>(column)? != 0)
    }

    /// A column that holds a time.
    pub(crate) fn time(&self, column: &str) -> Result<UnixMs> {
        Ok(UnixMs(self.get(column)?))
    }

    /// A column that holds a time, or nothing.
    pub(crate) fn maybe_time(&self, column: &str) -> Result<Option<UnixMs>> {
        Ok(self.get::<Option<i64>>(column)?.map(UnixMs))
    }
}
