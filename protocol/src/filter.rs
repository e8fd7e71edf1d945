//! Which paths a subscriber cares for: one, all below one, or all.
//!
//! Server and client judge with this one type, so an event that was sent for a filter is given to it.
//! Rule: whatever is a filter has kept [`limits::FILTER`]; there is no other way to one.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::limits;
use crate::messagepack::{Read, Value};
use crate::reader::Reader;
use crate::shape::Type;
use crate::writer::Writer;

/// What follows a path to mean all below it.
const BELOW: &str = "/**";

/// A pattern for paths: `doc/quote-123`, `ticket/**` or `**`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter<'a> {
    text: &'a str,
}

/// What a [`Filter`] is for, to sort filters by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// This path alone.
    Path(&'a str),
    /// Every path that has this one and a `/` before it; not the path itself.
    Below(&'a str),
    /// Every path.
    All,
}

impl<'a> Filter<'a> {
    /// Every path of an org.
    pub const ALL: Filter<'static> = Filter { text: "**" };

    /// The filter that is spelled so.
    ///
    /// # Errors
    /// [`BadValue`](crate::ErrorCode::BadValue) when it is not in its bounds, [`limits::FILTER`].
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        match limits::FILTER.breach(text) {
            Some(found) => Err(Fault::value(limits::FILTER.to_string(), found)),
            None => Ok(Self { text }),
        }
    }

    /// How it is spelled.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// What it is for.
    #[must_use]
    pub fn scope(&self) -> Scope<'a> {
        match self.text.strip_suffix(BELOW) {
            Some(path) => Scope::Below(path),
            None if *self == Self::ALL => Scope::All,
            None => Scope::Path(self.text),
        }
    }

    /// Whether it is for this path. Costs a comparison of the two texts; nothing is allocated.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self.scope() {
            Scope::Path(wanted) => wanted == path,
            Scope::Below(above) => path
                .strip_prefix(above)
                .is_some_and(|rest| rest.starts_with('/')),
            Scope::All => true,
        }
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl Value for Filter<'_> {
    const TYPE: &'static Type = &Type::Text;

    fn put(&self, out: &mut Writer<'_>) {
        out.text(self.text);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.write(serializer)
    }
}

impl<'a> Read<'a> for Filter<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Self::parse(reader.text()?)
    }
}

impl Serialize for Filter<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer)
    }
}
