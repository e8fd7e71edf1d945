//! The bytes that values begin with, under `rmp`'s names, as constants that reading can match and writing can put.

use rmp::Marker;

pub(crate) const NIL: u8 = Marker::Null.to_u8();
pub(crate) const FALSE: u8 = Marker::False.to_u8();
pub(crate) const TRUE: u8 = Marker::True.to_u8();
pub(crate) const U8: u8 = Marker::U8.to_u8();
pub(crate) const U16: u8 = Marker::U16.to_u8();
pub(crate) const U32: u8 = Marker::U32.to_u8();
pub(crate) const U64: u8 = Marker::U64.to_u8();
pub(crate) const STR_8: u8 = Marker::Str8.to_u8();
pub(crate) const STR_16: u8 = Marker::Str16.to_u8();
pub(crate) const STR_32: u8 = Marker::Str32.to_u8();
pub(crate) const BIN_8: u8 = Marker::Bin8.to_u8();
pub(crate) const BIN_16: u8 = Marker::Bin16.to_u8();
pub(crate) const BIN_32: u8 = Marker::Bin32.to_u8();
pub(crate) const ARRAY_16: u8 = Marker::Array16.to_u8();
pub(crate) const ARRAY_32: u8 = Marker::Array32.to_u8();

/// A text or an array that is short has its length in its first byte.
pub(crate) const FIX_STR: u8 = Marker::FixStr(0).to_u8();
pub(crate) const FIX_STR_MAX: u8 = FIX_STR | 31;
pub(crate) const FIX_ARRAY: u8 = Marker::FixArray(0).to_u8();
pub(crate) const FIX_ARRAY_MAX: u8 = FIX_ARRAY | 15;
/// A number that is small is its own first byte.
pub(crate) const FIX_NUMBER_MAX: u8 = 0x7f;
