//! What stands in a message, as values: how each is read and written, by position for programs and by name for people.
//!
//! The two traits, and the values that every message is made of; the bytes themselves are `reader.rs`'s and `writer.rs`'s.
//! JSON goes through `serde`, which is not asked about MessagePack: writing by hand costs a quarter, and reading by hand can
//! name the field that is wrong, and keep the id of a request whose fields are ([ADR 7](../../docs/adr/0007-positional-messagepack.md)).

use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::limits::NUMBER_MAX;
use crate::reader::{Reader, THE_END};
use crate::shape::Type;
use crate::writer::Writer;

/// Whatever may stand in a message: how it is written, and what bounds it has.
pub(crate) trait Value {
    /// What the document calls its type.
    const TYPE: &'static Type;

    /// Writes it for programs: by position and number.
    fn put(&self, out: &mut Writer<'_>);

    /// Writes it for people: by name.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Looks whether it keeps its bounds.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Whatever may be read from a message. It is read first and checked as a whole afterwards.
pub(crate) trait Read<'a>: Value + Sized {
    /// Reads one value.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault>;

    /// What it is when the message ends before it.
    fn absent() -> Option<Self> {
        None
    }
}

/// Lets `serde` write a [`Value`] for people.
pub(crate) struct Wire<'v, T>(pub(crate) &'v T);

impl<T: Value> Serialize for Wire<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl Value for u64 {
    const TYPE: &'static Type = &Type::Number;

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        out.number(*self);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*self)
    }

    #[inline]
    fn check(&self) -> Result<(), Fault> {
        if *self > NUMBER_MAX {
            return Err(Fault::value("a number up to 2^53-1", self.to_string()));
        }
        Ok(())
    }
}

impl<'a> Read<'a> for u64 {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.number("a number")
    }
}

impl Value for u32 {
    const TYPE: &'static Type = &Type::Number;

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        out.number((*self).into());
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self)
    }
}

impl<'a> Read<'a> for u32 {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let number = reader.number("a number")?;
        Self::try_from(number)
            .map_err(|_| Fault::value("a number up to 2^32-1", number.to_string()))
    }
}

impl Value for bool {
    const TYPE: &'static Type = &Type::Flag;

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        out.flag(*self);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }
}

impl<'a> Read<'a> for bool {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.flag()
    }
}

impl Value for &str {
    const TYPE: &'static Type = &Type::Text;

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        out.text(self);
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'a> Read<'a> for &'a str {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.text()
    }
}

impl Value for &[u8] {
    const TYPE: &'static Type = &Type::Bytes;

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        out.bytes(self);
    }

    /// JSON has no bytes: they are written there as hex digits.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(self))
    }
}

impl<'a> Read<'a> for &'a [u8] {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.bytes()
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<T: Value> Value for Option<T> {
    const TYPE: &'static Type = &Type::Optional(T::TYPE);

    #[inline]
    fn put(&self, out: &mut Writer<'_>) {
        match self {
            Some(value) => value.put(out),
            None => out.nil(),
        }
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_none(),
        }
    }

    #[inline]
    fn check(&self) -> Result<(), Fault> {
        self.as_ref().map_or(Ok(()), T::check)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.nil() {
            Ok(None)
        } else {
            T::read(reader).map(Some)
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Value> Value for Vec<T> {
    const TYPE: &'static Type = &Type::List(T::TYPE);

    fn put(&self, out: &mut Writer<'_>) {
        out.array(self.len());
        self.iter().for_each(|value| value.put(out));
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Wire))
    }

    fn check(&self) -> Result<(), Fault> {
        self.iter().try_for_each(T::check)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let length = reader.list()?;
        // The claim may be a lie; every value takes a byte at least.
        if length > reader.left() {
            return Err(Fault::shape(format!("{length} values"), THE_END));
        }
        let mut values = Self::new();
        for _ in 0..length {
            values.push(T::read(reader)?);
        }
        Ok(values)
    }
}
