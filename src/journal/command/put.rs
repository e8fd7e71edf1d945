//! What a record is made of: values by position, at the end of a buffer.
//!
//! The bytes are those that serde would write, which is how they are read again. Reading is for a restart; writing is done
//! under a shard's mutex, for every command, and serde takes nearly twice as many instructions for it.

use tenure_protocol::Writer;

/// A value that can be put at the end of a record.
pub(in super::super) trait Put {
    fn put(&self, out: &mut RecordWriter<'_>);
}

/// Puts bytes at the end of a record.
pub(in super::super) type RecordWriter<'b> = Writer<'b, Vec<u8>>;

impl Put for () {
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.nil();
    }
}

impl Put for bool {
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.flag(*self);
    }
}

impl Put for u32 {
    #[inline]
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.number((*self).into());
    }
}

impl Put for u64 {
    #[inline]
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.number(*self);
    }
}

/// Too large for a number: its bytes.
impl Put for u128 {
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.bytes(&self.to_be_bytes());
    }
}

impl Put for &str {
    #[inline]
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.text(self);
    }
}

impl<T: Put> Put for Option<T> {
    #[inline]
    fn put(&self, out: &mut RecordWriter<'_>) {
        match self {
            None => out.nil(),
            Some(value) => value.put(out),
        }
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.array(self.len());
        self.iter().for_each(|value| value.put(out));
    }
}
