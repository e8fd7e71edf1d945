//! Bytes that are not messages: cut off, changed, made up, or lying about what comes. Each is an error that says what is
//! wrong and whom it concerns, and costs no more than the bytes that came.

use proptest::prelude::*;
use tenure_protocol::{ErrorCode, FromClient, FromServer, frame, limits};

use crate::samples::{self, Message};

/// Decodes as whoever gets such a message; what is sound must mean the same when it is written again.
fn decode(like: &Message, payload: &[u8]) -> Result<(), tenure_protocol::DecodeError> {
    match like {
        Message::FromClient(_) => {
            let read = FromClient::decode(payload)?;
            let again = frame_of(|out| read.request.encode(read.id, out));
            assert_eq!(FromClient::decode(&again), Ok(read));
        }
        Message::FromServer(_) => {
            let read = FromServer::decode(payload)?;
            let again = match &read {
                FromServer::Reply { id, reply } => frame_of(|out| reply.encode(*id, out)),
                FromServer::Error { id, error } => frame_of(|out| error.encode(*id, out)),
                FromServer::Push(push) => frame_of(|out| push.encode(out)),
                FromServer::UnknownPush { .. } => return Ok(()),
            };
            assert_eq!(FromServer::decode(&again), Ok(read));
        }
    }
    Ok(())
}

fn frame_of(write: impl FnOnce(&mut bytes::BytesMut) -> usize) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    write(&mut out);
    out.split_off(frame::HEADER).to_vec()
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_an_error() {
    for sample in samples::all() {
        let payload = sample.message.payload();
        for length in 0..payload.len() {
            let cut = &payload[..length];
            let error = decode(&sample.message, cut).expect_err(&format!(
                "{} cut to {length} bytes is a message",
                sample.name
            ));
            assert_eq!(
                error.code(),
                ErrorCode::BadMessage,
                "{}: {error}",
                sample.name
            );
        }
    }
}

#[test]
fn a_request_that_is_cut_off_after_its_id_fails_alone() {
    for sample in samples::all() {
        let Message::FromClient(call) = &sample.message else {
            continue;
        };
        let payload = sample.message.payload();
        // The header of the array, the op and the id are a byte each: all the numbers are small.
        for length in 0..payload.len() {
            let error = FromClient::decode(&payload[..length]).expect_err("it is cut off");
            let expected = (length >= 3).then_some(call.id);
            assert_eq!(error.id, expected, "{} cut to {length} bytes", sample.name);
            assert_eq!(error.fails_connection(), length < 3);
        }
    }
}

#[test]
fn a_frame_that_is_cut_off_anywhere_is_awaited() {
    for sample in samples::all() {
        let bytes = sample.message.frame();
        for length in 0..bytes.len() {
            assert_eq!(
                frame::peek(&bytes[..length], limits::FRAME_FROM_CLIENT),
                Ok(None)
            );
        }
    }
}

#[test]
fn a_message_with_any_byte_changed_is_an_error_or_another_message() {
    for sample in samples::all() {
        let payload = sample.message.payload();
        for place in 0..payload.len() {
            let mut changed = payload.clone();
            for value in [
                0x00, 0x7f, 0x80, 0x9f, 0xa0, 0xc0, 0xc1, 0xc6, 0xcf, 0xdb, 0xdd, 0xff,
            ] {
                changed[place] = value;
                let _ = decode(&sample.message, &changed);
            }
        }
    }
}

#[test]
fn bytes_after_a_message_are_an_error_of_that_request() {
    for sample in samples::all() {
        let Message::FromClient(FromClient { id, request }) = sample.message else {
            continue;
        };
        let mut payload = frame_of(|out| request.encode(id, out));
        payload.push(0xc0);
        let error = FromClient::decode(&payload).expect_err(&sample.name);
        assert_eq!(error.id, Some(id));
        assert_eq!(
            error.to_string(),
            "expected the end of the message, found 1 more bytes",
            "{}",
            sample.name
        );
    }
}

#[test]
fn depth_costs_nothing() {
    const DEPTH: usize = 10_000;
    let nested = [vec![0x91; DEPTH], vec![0xc0]].concat();

    let appended = [&[0x93, 0x02, 0x05], nested.as_slice()].concat();
    assert!(
        FromClient::decode(&appended).is_ok(),
        "a ping with something appended"
    );

    let in_a_field = [&[0x93, 0x0d, 0x05], nested.as_slice()].concat();
    let error = FromClient::decode(&in_a_field).expect_err("a session is a number");
    assert_eq!(
        error.to_string(),
        "session: expected a number, found a list"
    );

    let alone = FromClient::decode(&nested).expect_err("an op is a number");
    assert!(alone.fails_connection());

    let endless = vec![0x91; DEPTH];
    let appended = [&[0x93, 0x02, 0x05], endless.as_slice()].concat();
    let error = FromClient::decode(&appended).expect_err("the innermost list is cut off");
    assert_eq!(error.id, Some(5));
}

#[test]
fn claimed_lengths_are_not_believed() {
    let huge = [0xff; 4];
    for (claim, what) in [
        (0xdd_u8, "a list"),
        (0xdb, "text"),
        (0xc6, "bytes"),
        (0xdf, "a map"),
        (0xc9, "an extension"),
    ] {
        // As the list of `session.renew`, and appended to a ping.
        for head in [&[0x93, 0x0c, 0x05], &[0x93, 0x02, 0x05]] {
            let payload = [head.as_slice(), &[claim], &huge].concat();
            let error = FromClient::decode(&payload).expect_err(what);
            assert_eq!(error.id, Some(5), "{what}");
        }
    }
    // The array of a message itself: its fields are there, what was to follow is not.
    let payload = [&[0xdd], huge.as_slice(), &[0x02, 0x05]].concat();
    assert_eq!(
        FromClient::decode(&payload)
            .expect_err("four billion fields")
            .id,
        Some(5)
    );
}

#[test]
fn a_frame_that_claims_too_much_is_refused_by_its_header() {
    let claims = [
        (limits::FRAME_BEFORE_HELLO, 4097_u32),
        (limits::FRAME_FROM_CLIENT, 256 * 1024 + 1),
        (limits::FRAME_FROM_SERVER, 16 * 1024 * 1024 + 1),
        (limits::FRAME_FROM_SERVER, u32::MAX),
    ];
    for (max, claimed) in claims {
        let header = claimed.to_be_bytes();
        let expected = Err(frame::FrameError::TooLarge { claimed, max });
        assert_eq!(frame::peek(&header, max), expected);

        let mut buffer = bytes::BytesMut::from(&header[..]);
        let capacity = buffer.capacity();
        assert!(frame::cut(&mut buffer, max).is_err());
        assert_eq!(buffer.capacity(), capacity, "no room is made for a claim");
    }
}

#[test]
fn another_protocol_is_recognised_in_the_message() {
    let error = |bytes: &[u8]| {
        frame::peek(bytes, limits::FRAME_BEFORE_HELLO)
            .expect_err("too large")
            .to_string()
    };
    assert!(error(b"GET / HTTP/1.1\r\n").contains("HTTP"));
    assert!(error(&[0x16, 0x03, 0x01, 0x02, 0x00]).contains("TLS"));
}

#[test]
fn neither_secrets_nor_payloads_stand_in_errors_and_debug_output() {
    let payload = frame_of(|out| {
        let hello = tenure_protocol::request::Hello {
            version: 1,
            client: "c",
            key: Some(tenure_protocol::Secret("hunter2\n")),
        };
        tenure_protocol::Request::Hello(hello).encode(1, out)
    });
    let error = FromClient::decode(&payload).expect_err("a key has no control characters");
    assert_eq!(error.fault.field(), Some("key"));
    assert!(!format!("{error} {error:?}").contains("hunter2"));

    let debug = format!(
        "{:?}",
        samples::all()
            .iter()
            .map(|s| &s.message)
            .collect::<Vec<_>>()
    );
    assert!(!debug.contains("tk_example"));
    assert!(!debug.contains("17, 34, 51"), "the resume key");
}

proptest! {
    #[test]
    fn noise_is_never_worse_than_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = FromClient::decode(&bytes);
        let _ = FromServer::decode(&bytes);
        for frame in frame::Frames::new(&bytes, 100) {
            let _ = frame.map(FromClient::decode);
        }
    }

    /// Noise that begins like a message goes deeper than noise alone.
    #[test]
    fn samples_with_noise_in_them_are_errors_or_other_messages(
        which in any::<prop::sample::Index>(),
        noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples::all();
        let sample = which.get(&samples);
        let mut payload = sample.message.payload();
        for (place, value) in noise {
            let place = place.index(payload.len());
            payload[place] = value;
        }
        let _ = decode(&sample.message, &payload);
    }
}
