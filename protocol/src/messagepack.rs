//! MessagePack as the wire uses it: a reader over a frame, and the two traits of whatever stands in a message.
//!
//! Writing goes through `serde` and `rmp-serde`, from the same implementation that gives JSON. Reading does not: a
//! `Deserializer` reports a fault as one sentence, while the wire has to name the field, what was expected and what was
//! found, and has to keep the id of a request whose fields are wrong. So the reader stands on `rmp`'s markers.
//! Rule: nothing is allocated because of a length that was only claimed, and nothing recurses into what is skipped.

use rmp::Marker;
use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::limits::NUMBER_MAX;
use crate::shape::Type;

/// Whatever may stand in a message: how it is written, and what bounds it has.
pub(crate) trait Value {
    /// What the document calls its type.
    const TYPE: &'static Type;

    /// Writes it: by position and number where the format is binary, by name where it is for people.
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

/// Lets `serde` write a [`Value`].
pub(crate) struct Wire<'v, T>(pub(crate) &'v T);

impl<T: Value> Serialize for Wire<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

/// What is left of a frame.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else MessagePack has is a mismatch"
)]
impl<'a> Reader<'a> {
    pub(crate) const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The number of bytes that have not been read.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// A number. Most are small ones, in one byte.
    #[inline]
    pub(crate) fn number(&mut self, expected: &'static str) -> Result<u64, Fault> {
        match self.rest {
            [small @ 0..=0x7f, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*small))
            }
            _ => self.any_number(expected),
        }
    }

    fn any_number(&mut self, expected: &'static str) -> Result<u64, Fault> {
        let number = match self.marker(expected)? {
            Marker::FixPos(number) => u64::from(number),
            Marker::U8 => u64::from(u8::from_be_bytes(self.array()?)),
            Marker::U16 => u64::from(u16::from_be_bytes(self.array()?)),
            Marker::U32 => u64::from(u32::from_be_bytes(self.array()?)),
            Marker::U64 => u64::from_be_bytes(self.array()?),
            // Some encoders write every number as a signed one.
            Marker::I8 => not_negative(i8::from_be_bytes(self.array()?).into(), expected)?,
            Marker::I16 => not_negative(i16::from_be_bytes(self.array()?).into(), expected)?,
            Marker::I32 => not_negative(i32::from_be_bytes(self.array()?).into(), expected)?,
            Marker::I64 => not_negative(i64::from_be_bytes(self.array()?), expected)?,
            other => return Err(mismatch(expected, other)),
        };
        if number > NUMBER_MAX {
            return Err(Fault::value("a number up to 2^53-1", number.to_string()));
        }
        Ok(number)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let length = match self.marker("text")? {
            Marker::FixStr(length) => usize::from(length),
            Marker::Str8 => self.length_8()?,
            Marker::Str16 => self.length_16()?,
            Marker::Str32 => self.length_32()?,
            other => return Err(mismatch("text", other)),
        };
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| Fault::value("text in UTF-8", "other bytes"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = match self.marker("bytes")? {
            Marker::Bin8 => self.length_8()?,
            Marker::Bin16 => self.length_16()?,
            Marker::Bin32 => self.length_32()?,
            other => return Err(mismatch("bytes", other)),
        };
        self.take(length)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Fault> {
        match self.marker("true or false")? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            other => Err(mismatch("true or false", other)),
        }
    }

    /// The length of a list, which is only a claim.
    pub(crate) fn list(&mut self) -> Result<usize, Fault> {
        match self.marker("a list")? {
            Marker::FixArray(length) => Ok(usize::from(length)),
            Marker::Array16 => self.length_16(),
            Marker::Array32 => self.length_32(),
            other => Err(mismatch("a list", other)),
        }
    }

    /// Passes over a nil, if that is what comes.
    pub(crate) fn nil(&mut self) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == Marker::Null.to_u8() => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Passes over one value, whatever it is and however deep.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        // Values still to pass over. Each takes a byte at least, so a huge claim ends where the frame ends.
        let mut values: u64 = 1;
        while values > 0 {
            values -= 1;
            let (inside, bytes) = self.extent()?;
            values = values.saturating_add(inside);
            self.take(bytes)?;
        }
        Ok(())
    }

    /// Reads a marker, and gives how many values and how many bytes belong to it.
    fn extent(&mut self) -> Result<(u64, usize), Fault> {
        Ok(match self.marker("a value")? {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
                (0, 0)
            }
            Marker::U8 | Marker::I8 => (0, 1),
            Marker::U16 | Marker::I16 | Marker::FixExt1 => (0, 2),
            Marker::FixExt2 => (0, 3),
            Marker::U32 | Marker::I32 | Marker::F32 => (0, 4),
            Marker::FixExt4 => (0, 5),
            Marker::U64 | Marker::I64 | Marker::F64 => (0, 8),
            Marker::FixExt8 => (0, 9),
            Marker::FixExt16 => (0, 17),
            Marker::FixStr(length) => (0, usize::from(length)),
            Marker::Str8 | Marker::Bin8 => (0, self.length_8()?),
            Marker::Str16 | Marker::Bin16 => (0, self.length_16()?),
            Marker::Str32 | Marker::Bin32 => (0, self.length_32()?),
            // An extension has its type in one byte beside its length.
            Marker::Ext8 => (0, self.length_8()? + 1),
            Marker::Ext16 => (0, self.length_16()? + 1),
            Marker::Ext32 => (0, self.length_32()?.saturating_add(1)),
            Marker::FixArray(length) => (u64::from(length), 0),
            Marker::Array16 => (self.length_16()? as u64, 0),
            Marker::Array32 => (self.length_32()? as u64, 0),
            Marker::FixMap(length) => (2 * u64::from(length), 0),
            Marker::Map16 => (2 * self.length_16()? as u64, 0),
            Marker::Map32 => (2 * self.length_32()? as u64, 0),
            other @ Marker::Reserved => return Err(mismatch("a value", other)),
        })
    }

    fn marker(&mut self, expected: &'static str) -> Result<Marker, Fault> {
        let [first, rest @ ..] = self.rest else {
            return Err(Fault::shape(expected, THE_END));
        };
        self.rest = rest;
        Ok(Marker::from_u8(*first))
    }

    fn length_8(&mut self) -> Result<usize, Fault> {
        self.array()
            .map(|bytes| usize::from(u8::from_be_bytes(bytes)))
    }

    fn length_16(&mut self) -> Result<usize, Fault> {
        self.array()
            .map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn length_32(&mut self) -> Result<usize, Fault> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(Fault::shape("more bytes", THE_END));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(Fault::shape(format!("{length} bytes"), THE_END));
        };
        self.rest = rest;
        Ok(bytes)
    }
}

const THE_END: &str = "the end of the message";

fn not_negative(number: i64, expected: &'static str) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::shape(expected, "a negative number"))
}

#[cold]
fn mismatch(expected: &'static str, found: Marker) -> Fault {
    let found = match found {
        Marker::Null => "nil",
        Marker::True | Marker::False => "true or false",
        Marker::FixPos(_)
        | Marker::U8
        | Marker::U16
        | Marker::U32
        | Marker::U64
        | Marker::I8
        | Marker::I16
        | Marker::I32
        | Marker::I64 => "a number",
        Marker::FixNeg(_) => "a negative number",
        Marker::F32 | Marker::F64 => "a floating-point number",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "text",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "a list",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32 => "an extension",
        Marker::Reserved => "the byte c1, which is not MessagePack",
    };
    Fault::shape(expected, found)
}

/// The fields of one message, read by position.
pub(crate) struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: usize,
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Opens the array that comes next.
    pub(crate) fn open(reader: &'r mut Reader<'a>) -> Result<Self, Fault> {
        let left = reader.list()?;
        Ok(Self { reader, left })
    }

    /// The next field; one that is beyond the end of the array is absent.
    pub(crate) fn take<T: Read<'a>>(&mut self, field: &'static str) -> Result<T, Fault> {
        let value = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                T::read(self.reader)
            }
            None => T::absent().ok_or_else(|| Fault::shape(T::TYPE.to_string(), "no such field")),
        };
        value.map_err(|fault| fault.within(field))
    }

    /// Passes over what a later version has appended.
    pub(crate) fn close(self) -> Result<(), Fault> {
        for _ in 0..self.left {
            self.reader.skip()?;
        }
        Ok(())
    }

    /// Passes over what a later version has appended; nothing may come after the array.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        for _ in 0..self.left {
            self.reader.skip()?;
        }
        match self.reader.left() {
            0 => Ok(()),
            bytes => Err(Fault::shape(THE_END, format!("{bytes} more bytes"))),
        }
    }
}

impl Value for u64 {
    const TYPE: &'static Type = &Type::Number;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*self)
    }

    fn check(&self) -> Result<(), Fault> {
        if *self > NUMBER_MAX {
            return Err(Fault::value("a number up to 2^53-1", self.to_string()));
        }
        Ok(())
    }
}

impl<'a> Read<'a> for u64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.number("a number")
    }
}

impl Value for u32 {
    const TYPE: &'static Type = &Type::Number;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self)
    }
}

impl<'a> Read<'a> for u32 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let number = reader.number("a number")?;
        Self::try_from(number)
            .map_err(|_| Fault::value("a number up to 2^32-1", number.to_string()))
    }
}

impl Value for bool {
    const TYPE: &'static Type = &Type::Flag;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }
}

impl<'a> Read<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.flag()
    }
}

impl Value for &str {
    const TYPE: &'static Type = &Type::Text;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'a> Read<'a> for &'a str {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.text()
    }
}

impl Value for &[u8] {
    const TYPE: &'static Type = &Type::Bytes;

    /// JSON has no bytes: they are written there as hex digits.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Hex(self))
        } else {
            serializer.serialize_bytes(self)
        }
    }
}

impl<'a> Read<'a> for &'a [u8] {
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

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        self.as_ref().map_or(Ok(()), T::check)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
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

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Wire))
    }

    fn check(&self) -> Result<(), Fault> {
        self.iter().try_for_each(T::check)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
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
