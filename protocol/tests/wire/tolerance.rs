//! What other versions and other encoders may write: fields appended, absent fields left off, numbers in more bytes than
//! they need. It means the same.

use tenure_protocol::{FromClient, FromServer};

use crate::samples::{self, Message};

/// The message that `payload` is, read as the other side of `like` would.
fn read(like: &Message, payload: &[u8]) -> String {
    match like {
        Message::FromClient(_) => format!("{:?}", FromClient::decode(payload)),
        Message::FromServer(_) => format!("{:?}", FromServer::decode(payload)),
    }
}

/// The same payload with an array header that claims `change` more elements.
fn with_more_elements(payload: &[u8], change: i8) -> Vec<u8> {
    let mut payload = payload.to_vec();
    assert_eq!(
        payload[0] & 0xf0,
        0x90,
        "no message has more than 15 elements"
    );
    let count = (payload[0] & 0x0f)
        .checked_add_signed(change)
        .expect("a small array");
    assert!(count <= 15, "it still fits the short header");
    payload[0] = 0x90 | count;
    payload
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    // Nil, a list with a map and an extension in it, a float.
    let appended = [
        vec![0xc0],
        vec![
            0x92, 0x81, 0xa1, b'k', 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xd6, 1, 2, 3, 4, 5,
        ],
        vec![0xca, 0, 0, 0, 0],
    ];
    for sample in samples::all() {
        let payload = sample.message.payload();
        let expected = read(&sample.message, &payload);
        for field in &appended {
            let mut longer = with_more_elements(&payload, 1);
            longer.extend_from_slice(field);
            assert_eq!(read(&sample.message, &longer), expected, "{}", sample.name);
        }
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over_inside_others_too() {
    // lock.changed [142, 7, "d", [9, 2, 5000, 4000, 1]], its grant with two more.
    let plain = b"\x94\xcc\x8e\x07\xa1d\x95\x09\x02\xcd\x13\x88\xcd\x0f\xa0\x01";
    let longer = b"\x94\xcc\x8e\x07\xa1d\x97\x09\x02\xcd\x13\x88\xcd\x0f\xa0\x01\xa1x\x90";
    let read = |payload| FromServer::decode(payload).expect("it is sound");
    assert_eq!(read(plain), read(longer));

    // lock.lost [141, 7, "d", 9, [2]], its cause with one more.
    let plain = b"\x95\xcc\x8d\x07\xa1d\x09\x91\x02";
    let longer = b"\x95\xcc\x8d\x07\xa1d\x09\x92\x02\xa1x";
    assert_eq!(read(plain), read(longer));
}

#[test]
fn absent_fields_may_be_left_off_the_end() {
    for sample in samples::all() {
        let payload = sample.message.payload();
        let expected = read(&sample.message, &payload);
        let mut shorter = payload.clone();
        // Every nil at the end of a payload is a field of the message itself, or of the array that is its last field; only
        // the former can be left off by changing the first header.
        while shorter.last() == Some(&0xc0) && last_field_is_nil(&sample.message) {
            shorter.pop();
            shorter = with_more_elements(&shorter, -1);
            assert_eq!(read(&sample.message, &shorter), expected, "{}", sample.name);
        }
    }
}

/// Whether the last field of the message itself, not of one inside it, is absent.
fn last_field_is_nil(message: &Message) -> bool {
    message.json().ends_with(":null}")
}

#[test]
fn absent_defaults_may_be_left_off_and_be_nil() {
    // lock.acquire [20, 1, 7, "d", 2], with its defaults absent, nil, and said.
    let absent = b"\x95\x14\x01\x07\xa1d\x02";
    let nil = b"\x9b\x14\x01\x07\xa1d\x02\xc0\xc0\xc0\xc0\xc0\xc0";
    let said = b"\x9b\x14\x01\x07\xa1d\x02\x00\xc0\xc0\xc0\xc0\xc4\x00";
    let read = |payload| FromClient::decode(payload).expect("it is sound");
    assert_eq!(read(absent), read(said));
    assert_eq!(read(nil), read(said));
}

#[test]
fn a_field_that_is_needed_is_not_absent() {
    for (payload, message) in [
        (
            &b"\x94\x14\x01\x07\xa1d"[..],
            "mode: expected Mode, found no such field",
        ),
        (
            b"\x95\x14\x01\x07\xa1d\xc0",
            "mode: expected a number, found nil",
        ),
        (
            b"\x92\x0d\x01",
            "session: expected number, found no such field",
        ),
    ] {
        let error = FromClient::decode(payload).expect_err("it is incomplete");
        assert_eq!((error.id, error.to_string().as_str()), (Some(1), message));
    }
}

#[test]
fn numbers_may_take_more_bytes_than_they_need() {
    let short = b"\x93\x0d\x05\x07";
    let read = |payload| FromClient::decode(payload).expect("it is sound");
    for wide in [
        &b"\x93\xcc\x0d\xcd\x00\x05\xce\x00\x00\x00\x07"[..],
        b"\x93\xd0\x0d\xd1\x00\x05\xd2\x00\x00\x00\x07",
        b"\x93\xcf\x00\x00\x00\x00\x00\x00\x00\x0d\x05\xd3\x00\x00\x00\x00\x00\x00\x00\x07",
        b"\xdc\x00\x03\x0d\x05\x07",
        b"\xdd\x00\x00\x00\x03\x0d\x05\x07",
    ] {
        assert_eq!(read(wide), read(short));
    }
}

#[test]
fn pushes_of_a_later_version_are_recognised_as_such() {
    assert_eq!(
        FromServer::decode(b"\x93\xcc\xaa\x01\xa1x"),
        Ok(FromServer::UnknownPush { op: 170 })
    );
}
