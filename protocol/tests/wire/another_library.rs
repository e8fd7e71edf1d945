//! What we write by hand is what `rmp-serde` reads, and would have written itself: every value in its shortest form.
//!
//! Whatever a message consists of is read into a tree that knows only MessagePack, and written again from there.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple as _, Serializer};
use tenure_protocol::{Reply, frame, reply};

use crate::samples;

/// Any value that the wire has.
#[derive(Debug, PartialEq)]
enum Value {
    Nil,
    Flag(bool),
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Self>),
}

#[test]
fn every_sample_is_what_another_library_writes() {
    for sample in samples::all() {
        same_again(&sample.message.frame()[frame::HEADER..], &sample.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Lengths and numbers of every size, around each that changes the form.
    #[test]
    fn every_size_is_what_another_library_writes(
        number in prop_oneof![0..300_u64, 65_000..66_000_u64, (1_u64 << 32) - 5..(1 << 32) + 5, 0..1_u64 << 53],
        length in prop_oneof![0..40_usize, 250..260_usize, 65_530..65_540_usize],
        count in prop_oneof![0..20_usize, 65_530..65_540_usize],
    ) {
        let text = "x".repeat(length);
        let mut out = bytes::BytesMut::new();
        let error = reply::Error { code: tenure_protocol::ErrorCode::BadValue.into(), message: &text, field: None };
        error.encode(number, &mut out);
        same_again(&out[frame::HEADER..], "an error");
        out.clear();
        let renewed = vec![reply::SessionRenewal::NotAttached; count];
        Reply::SessionRenew(reply::SessionsRenewed { results: renewed }).encode(number, &mut out);
        same_again(&out[frame::HEADER..], "a list");
    }
}

fn same_again(payload: &[u8], name: &str) {
    let value: Value = rmp_serde::from_slice(payload).expect(name);
    let again = rmp_serde::to_vec(&value).expect(name);
    assert!(again == payload, "{name}: {value:?}");
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_none(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(values) => {
                let mut array = serializer.serialize_tuple(values.len())?;
                values
                    .iter()
                    .try_for_each(|value| array.serialize_element(value))?;
                array.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that the wire has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
}
