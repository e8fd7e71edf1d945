//! What messages look like: names, types and bounds of the fields, in order.
//!
//! Every message describes itself, so that the document and the golden vectors can be checked against the code. Nothing
//! on the way of a request reads this.

use std::fmt;

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// An unsigned integer up to 2^53-1.
    Number,
    /// A string in UTF-8.
    Text,
    /// Bytes; in JSON their hex digits.
    Bytes,
    /// The 16 bytes of a resume key; in JSON their hex digits.
    Key,
    /// True or false.
    Flag,
    /// May be nil.
    Optional(&'static Self),
    /// Any number of the same.
    List(&'static Self),
    /// One that the document describes under this name.
    Named(&'static str, &'static Shape),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => f.write_str("number"),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::Key => f.write_str("16 bytes"),
            Self::Flag => f.write_str("flag"),
            Self::Optional(inner) => write!(f, "{inner} or nil"),
            Self::List(inner) => write!(f, "list of {inner}"),
            Self::Named(name, _) => f.write_str(name),
        }
    }
}

/// What a message or a named type consists of.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// An array of fields; in JSON an object.
    Fields(&'static [Field]),
    /// An array of a number and the fields that go with it; in JSON an object whose `tag` has the name.
    Choice {
        /// The name, in JSON, of what tells them apart.
        tag: &'static str,
        /// What it may be.
        variants: &'static [Variant],
    },
    /// A number; in JSON a name.
    Names(&'static [(u64, &'static str)]),
    /// The number of an error; in JSON its name.
    Code,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON and in the document.
    pub name: &'static str,
    /// Its type.
    pub type_: &'static Type,
    /// What it is when it is nil or absent, if that is allowed and is not "none".
    pub default: Option<&'static str>,
    /// Its bounds.
    pub bounds: Option<fn() -> String>,
}

/// One of several things that a message may be.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its number on the wire.
    pub number: u64,
    /// Its name in JSON.
    pub name: &'static str,
    /// What goes with it.
    pub fields: &'static [Field],
}
