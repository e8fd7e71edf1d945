//! MessagePack at the end of a buffer: every value in the shortest form there is.
//!
//! Knows MessagePack and no message: what a server keeps on disk is written with it, too. Each value is one step of the
//! buffer, so that its room is looked at once; there are no errors, since a buffer in memory takes every byte.

use bytes::{BufMut, BytesMut};

use crate::marker;

/// Appends MessagePack to a buffer that grows as it has to, each value in its shortest form.
#[derive(Debug)]
pub struct Writer<'b, B = BytesMut> {
    out: &'b mut B,
}

impl<'b, B: BufMut> Writer<'b, B> {
    /// One that appends to `out`.
    pub const fn new(out: &'b mut B) -> Self {
        Self { out }
    }

    /// Nothing.
    #[inline]
    pub fn nil(&mut self) {
        self.put([marker::NIL]);
    }

    /// Yes or no.
    #[inline]
    pub fn flag(&mut self, flag: bool) {
        self.put([if flag { marker::TRUE } else { marker::FALSE }]);
    }

    /// A number, in one to nine bytes.
    #[inline]
    pub fn number(&mut self, number: u64) {
        match number {
            0..=0x7f => self.put([number as u8]),
            0x80..=0xff => self.put([marker::U8, number as u8]),
            0x100..=0xffff => self.marked_16(marker::U16, number as u16),
            0x1_0000..=0xffff_ffff => self.marked_32(marker::U32, number as u32),
            _ => {
                let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
                self.put([marker::U64, a, b, c, d, e, f, g, h]);
            }
        }
    }

    /// A text, with its length before it.
    #[inline]
    pub fn text(&mut self, text: &str) {
        match text.len() {
            length @ 0..=31 => self.put([marker::FIX_STR | length as u8]),
            length => self.length(length, [marker::STR_8, marker::STR_16, marker::STR_32]),
        }
        self.out.put_slice(text.as_bytes());
    }

    /// Bytes, with their length before them.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len(), [marker::BIN_8, marker::BIN_16, marker::BIN_32]);
        self.out.put_slice(bytes);
    }

    /// Begins an array of so many values, which are to follow.
    #[inline]
    pub fn array(&mut self, count: usize) {
        match count {
            0..=15 => self.put([marker::FIX_ARRAY | count as u8]),
            16..=0xffff => self.marked_16(marker::ARRAY_16, count as u16),
            _ => self.marked_32(marker::ARRAY_32, count as u32),
        }
    }

    fn length(&mut self, length: usize, [in_8, in_16, in_32]: [u8; 3]) {
        match length {
            0..=0xff => self.put([in_8, length as u8]),
            0x100..=0xffff => self.marked_16(in_16, length as u16),
            _ => self.marked_32(in_32, length as u32),
        }
    }

    #[inline]
    fn marked_16(&mut self, marker: u8, number: u16) {
        let [a, b] = number.to_be_bytes();
        self.put([marker, a, b]);
    }

    #[inline]
    fn marked_32(&mut self, marker: u8, number: u32) {
        let [a, b, c, d] = number.to_be_bytes();
        self.put([marker, a, b, c, d]);
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.out.put_slice(&bytes);
    }
}
