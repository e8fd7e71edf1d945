//! What is left of a frame, read value by value, on `rmp`'s markers.
//!
//! Knows MessagePack and no message. Rule: nothing is allocated because of a length that was only claimed, and nothing
//! recurses into what is skipped. What nearly every frame has is read in line; all else, and every fault, is out of the way:
//! that takes the reader and gives it back, since a reader that is only lent out of line has to lie in memory all the time.

use ascii::AsciiStr;
use rmp::Marker;

use crate::fault::Fault;
use crate::limits::NUMBER_MAX;
use crate::marker;
use crate::messagepack::Read;
use crate::shape::Type;

/// What is left of a frame.
#[derive(Clone, Copy)]
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

    /// A number. Most are kinds and sessions and times, in five bytes at most.
    #[inline(always)]
    pub(crate) fn number(&mut self, expected: &'static str) -> Result<u64, Fault> {
        let (number, rest) = match self.rest {
            [small @ 0..=marker::FIX_NUMBER_MAX, rest @ ..] => (u64::from(*small), rest),
            [marker::U16, a, b, rest @ ..] => (u16::from_be_bytes([*a, *b]).into(), rest),
            [marker::U32, a, b, c, d, rest @ ..] => {
                (u32::from_be_bytes([*a, *b, *c, *d]).into(), rest)
            }
            _ => {
                let number;
                (number, *self) = self.any_number(expected)?;
                return Ok(number);
            }
        };
        self.rest = rest;
        Ok(number)
    }

    #[inline(never)]
    fn any_number(mut self, expected: &'static str) -> Result<(u64, Self), Fault> {
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
        Ok((number, self))
    }

    #[inline(always)]
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        let length = match self.rest {
            [short @ marker::FIX_STR..=marker::FIX_STR_MAX, rest @ ..] => {
                self.rest = rest;
                usize::from(*short - marker::FIX_STR)
            }
            _ => {
                let length;
                (length, *self) = self.any_text_length()?;
                length
            }
        };
        let bytes = self.take(length)?;
        match AsciiStr::from_ascii(bytes) {
            Ok(text) => Ok(text.as_str()),
            Err(_) => text_beyond_ascii(bytes),
        }
    }

    #[inline(never)]
    fn any_text_length(mut self) -> Result<(usize, Self), Fault> {
        let length = match self.marker("text")? {
            Marker::FixStr(length) => usize::from(length),
            Marker::Str8 => self.length_8()?,
            Marker::Str16 => self.length_16()?,
            Marker::Str32 => self.length_32()?,
            other => return Err(mismatch("text", other)),
        };
        Ok((length, self))
    }

    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = match self.rest {
            [marker::BIN_8, length, rest @ ..] => {
                self.rest = rest;
                usize::from(*length)
            }
            _ => {
                let length;
                (length, *self) = self.any_bytes_length()?;
                length
            }
        };
        self.take(length)
    }

    #[inline(never)]
    fn any_bytes_length(mut self) -> Result<(usize, Self), Fault> {
        let length = match self.marker("bytes")? {
            Marker::Bin8 => self.length_8()?,
            Marker::Bin16 => self.length_16()?,
            Marker::Bin32 => self.length_32()?,
            other => return Err(mismatch("bytes", other)),
        };
        Ok((length, self))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Fault> {
        match self.marker("true or false")? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            other => Err(mismatch("true or false", other)),
        }
    }

    /// The length of a list, which is only a claim.
    #[inline(always)]
    pub(crate) fn list(&mut self) -> Result<usize, Fault> {
        match self.rest {
            [short @ marker::FIX_ARRAY..=marker::FIX_ARRAY_MAX, rest @ ..] => {
                self.rest = rest;
                Ok(usize::from(*short - marker::FIX_ARRAY))
            }
            _ => {
                let length;
                (length, *self) = self.any_list()?;
                Ok(length)
            }
        }
    }

    #[inline(never)]
    fn any_list(mut self) -> Result<(usize, Self), Fault> {
        let length = match self.marker("a list")? {
            Marker::FixArray(length) => usize::from(length),
            Marker::Array16 => self.length_16()?,
            Marker::Array32 => self.length_32()?,
            other => return Err(mismatch("a list", other)),
        };
        Ok((length, self))
    }

    /// Passes over a nil, if that is what comes.
    #[inline(always)]
    pub(crate) fn nil(&mut self) -> bool {
        match self.rest {
            [marker::NIL, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Passes over so many values, whatever they are and however deep.
    #[inline(never)]
    fn pass(mut self, values: usize) -> Result<Self, Fault> {
        // Values still to pass over. Each takes a byte at least, so a huge claim ends where the frame ends.
        let mut values = values as u64;
        while values > 0 {
            values -= 1;
            let (inside, bytes) = self.extent()?;
            values = values.saturating_add(inside);
            self.take(bytes)?;
        }
        Ok(self)
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

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(too_short(length));
        };
        self.rest = rest;
        Ok(bytes)
    }
}

/// What is found where there is no more.
pub(crate) const THE_END: &str = "the end of the message";

#[inline(never)]
fn text_beyond_ascii(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::value("text in UTF-8", "other bytes"))
}

fn not_negative(number: i64, expected: &'static str) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::shape(expected, "a negative number"))
}

#[cold]
fn too_short(length: usize) -> Fault {
    Fault::shape(format!("{length} bytes"), THE_END)
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
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// Opens the array that comes next.
    #[inline(always)]
    pub(crate) fn open(mut reader: Reader<'a>) -> Result<Self, Fault> {
        let left = reader.list()?;
        Ok(Self { reader, left })
    }

    /// The next field; one that is beyond the end of the array is absent. To call this would cost as much as to do it.
    #[inline(always)]
    pub(crate) fn take<T: Read<'a>>(&mut self, field: &'static str) -> Result<T, Fault> {
        let Some(left) = self.left.checked_sub(1) else {
            return T::absent().ok_or_else(|| missing(T::TYPE, field));
        };
        self.left = left;
        match T::read(&mut self.reader) {
            Ok(value) => Ok(value),
            Err(fault) => Err(fault.within(field)),
        }
    }

    /// Passes over what a later version has appended; gives what comes after the array.
    #[inline(always)]
    pub(crate) fn close(mut self) -> Result<Reader<'a>, Fault> {
        if self.left > 0 {
            self.reader = self.reader.pass(self.left)?;
        }
        Ok(self.reader)
    }

    /// Passes over what a later version has appended; nothing may come after the array.
    #[inline(always)]
    pub(crate) fn finish(self) -> Result<(), Fault> {
        match self.close()?.left() {
            0 => Ok(()),
            bytes => Err(more(bytes)),
        }
    }
}

#[cold]
fn missing(type_: &Type, field: &str) -> Fault {
    Fault::shape(type_.to_string(), "no such field").within(field)
}

#[cold]
fn more(bytes: usize) -> Fault {
    Fault::shape(THE_END, format!("{bytes} more bytes"))
}
