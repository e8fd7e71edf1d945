//! Frames: a length of four bytes, big-endian, and so many bytes of payload.
//!
//! Knows nothing of what is in a frame. Rule: no memory is set aside because of a length that was only claimed; the
//! caller reads into its buffer as bytes arrive, and learns that a frame is too large from its first four.

use bytes::{Buf, Bytes, BytesMut};

use crate::ErrorCode;

/// Bytes of the length before each payload.
pub const HEADER: usize = 4;

/// Why bytes are not a frame. The connection cannot go on, since nobody knows where the next frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is larger than this side takes.
    #[error("expected a frame of at most {max} bytes, found one of {claimed}{}", hint(*claimed))]
    TooLarge {
        /// Bytes of the payload, as its header says.
        claimed: u32,
        /// Bytes that this side takes.
        max: usize,
    },
    /// The frame has no payload.
    #[error("expected a frame of at least 1 byte, found an empty one")]
    Empty,
}

impl FrameError {
    /// What the other side is told in the goodbye.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::Empty => ErrorCode::BadFrame,
        }
    }
}

/// A first guess for whoever reads the log: other protocols begin with bytes that make a huge length.
fn hint(claimed: u32) -> &'static str {
    match claimed.to_be_bytes() {
        [0x16, 0x03, _, _] => " (does the other side speak TLS?)",
        [b'G', b'E', b'T', b' '] | [b'P', b'O', b'S', b'T'] | [b'H', b'T', b'T', b'P'] => {
            " (does the other side speak HTTP?)"
        }
        _ => "",
    }
}

/// The payload of the frame at the front of `bytes`, if it is there as a whole. The frame is [`HEADER`] bytes longer.
///
/// # Errors
/// When the frame is larger than `max`, which shows as soon as its header is there, or empty.
pub fn peek(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let claimed = u32::from_be_bytes(*header);
    match claimed as usize {
        0 => Err(FrameError::Empty),
        length if length > max => Err(FrameError::TooLarge { claimed, max }),
        length => Ok(rest.get(..length)),
    }
}

/// Cuts the frame at the front off `bytes`, if it is there as a whole, and gives its payload without copying it.
///
/// # Errors
/// As [`peek`].
pub fn cut(bytes: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = peek(bytes, max)?.map(<[u8]>::len) else {
        return Ok(None);
    };
    bytes.advance(HEADER);
    Ok(Some(bytes.split_to(length).freeze()))
}

/// The frames at the front of what has been read, borrowed: for whoever decodes a batch before reading on.
///
/// Ends at the first frame that is not there as a whole, or after the first error. What it has given is counted by
/// [`consumed`](Self::consumed), and is for the caller to drop from its buffer.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    max: usize,
    consumed: usize,
    failed: bool,
}

impl<'a> Frames<'a> {
    /// The frames of `bytes`, each of at most `max` bytes of payload.
    #[must_use]
    pub const fn new(bytes: &'a [u8], max: usize) -> Self {
        Self {
            bytes,
            max,
            consumed: 0,
            failed: false,
        }
    }

    /// How many bytes the frames took that have been given.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        self.consumed
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match peek(&self.bytes[self.consumed..], self.max).transpose()? {
            Ok(payload) => {
                self.consumed += HEADER + payload.len();
                Some(Ok(payload))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// Appends a frame to `out`: `write` appends the payload, then the length before it is filled in. Gives the length of the
/// frame, header included.
///
/// # Panics
/// When the payload has more than 2^32-1 bytes.
#[inline(always)]
pub fn append(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let payload = out.len() - start - HEADER;
    let length = u32::try_from(payload).expect("no message comes near 4 GiB");
    out[start..start + HEADER].copy_from_slice(&length.to_be_bytes());
    HEADER + payload
}
