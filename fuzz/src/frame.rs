//! Bytes to frames. Knows nothing of what is in them. Must hold: however the bytes arrive, the frames are the same, and a
//! length that is only claimed costs no memory.

use bytes::{Bytes, BytesMut};
use tenure_protocol::frame::{self, FrameError, Frames};
use tenure_protocol::limits;

/// What was cut off, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    payloads: Vec<Bytes>,
    failed: Option<FrameError>,
    rest: usize,
}

/// The first byte chooses how large a frame may be and how large the pieces are that arrive; the rest arrives.
pub fn run(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else {
        return;
    };
    let max = match choice % 4 {
        0 => 16,
        1 => limits::FRAME_BEFORE_HELLO,
        2 => limits::FRAME_FROM_CLIENT,
        _ => limits::FRAME_FROM_SERVER,
    };
    let whole = arriving(stream, max, stream.len().max(1));
    assert_eq!(borrowed(stream, max), whole);
    assert_eq!(arriving(stream, max, 1), whole, "byte by byte");
    assert_eq!(
        arriving(stream, max, 1 + usize::from(choice / 4)),
        whole,
        "in pieces"
    );
    assert_eq!(
        &written(&whole)[..],
        &stream[..stream.len() - whole.rest],
        "written again"
    );
}

/// As the server does: from one buffer that holds all that has been read.
fn borrowed(stream: &[u8], max: usize) -> Cut {
    let mut frames = Frames::new(stream, max);
    let mut cut = Cut {
        payloads: Vec::new(),
        failed: None,
        rest: 0,
    };
    for frame in &mut frames {
        match frame {
            Ok(payload) => {
                assert!((1..=max).contains(&payload.len()));
                cut.payloads.push(Bytes::copy_from_slice(payload));
            }
            Err(error) => cut.failed = Some(error),
        }
    }
    cut.rest = stream.len() - frames.consumed();
    cut
}

/// As a client does: cut off a buffer that grows by `piece` bytes at a time.
fn arriving(stream: &[u8], max: usize, piece: usize) -> Cut {
    let mut buffer = BytesMut::new();
    let mut cut = Cut {
        payloads: Vec::new(),
        failed: None,
        rest: 0,
    };
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        while cut.failed.is_none() {
            let room = buffer.capacity();
            match frame::cut(&mut buffer, max) {
                Ok(Some(payload)) => cut.payloads.push(payload),
                Ok(None) => break,
                Err(error) => cut.failed = Some(error),
            }
            assert!(buffer.capacity() <= room, "no room is made for a claim");
        }
    }
    cut.rest = buffer.len();
    cut
}

fn written(cut: &Cut) -> BytesMut {
    let mut out = BytesMut::new();
    for payload in &cut.payloads {
        let length = frame::append(&mut out, |out| out.extend_from_slice(payload));
        assert_eq!(length, frame::HEADER + payload.len());
    }
    out
}
