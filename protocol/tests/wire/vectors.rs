//! The golden vectors: frames in hex beside what they mean, for clients in other languages and for us.
//!
//! What stands in `vectors/` must never change its meaning; a difference is a break with every client there is. After
//! *adding* something, write them anew with `UPDATE_VECTORS=1 cargo test -p tenure-protocol` and look at the difference.

use std::fmt::Write as _;
use std::{env, fs, path::PathBuf};

use serde_json::{Value, json};
use tenure_protocol::{FromClient, FromServer, frame};

use crate::samples::{self, Sample};

/// The files, by what the names in them begin with.
const FILES: &[&str] = &["request", "reply", "error", "push"];

#[test]
fn the_vectors_are_what_is_written() {
    for file in FILES {
        assert!(
            golden(file) == render(file),
            "{file}.json is not what is written today"
        );
    }
}

#[test]
fn the_vectors_are_read_as_what_they_mean() {
    for file in FILES {
        let vectors: Vec<Value> = serde_json::from_str(&golden(file)).expect("it is JSON");
        for vector in vectors {
            let name = vector["name"].as_str().expect("a name");
            let bytes = from_hex(vector["hex"].as_str().expect("hex digits"));
            let payload = &bytes[frame::HEADER..];
            let read = if *file == "request" {
                serde_json::to_value(FromClient::decode(payload).expect(name))
            } else {
                serde_json::to_value(FromServer::decode(payload).expect(name))
            };
            assert_eq!(read.expect("it has a JSON form"), vector["json"], "{name}");
        }
    }
}

/// The vectors in a file, after they were written anew if that is wanted.
fn golden(file: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let path = folder.join(format!("{file}.json"));
    if env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, render(file)).expect("vectors/ can be written");
    }
    fs::read_to_string(&path).expect("the file is there")
}

/// Two lines each, so that a difference shows what has changed. By hand, since `Value` would sort the fields.
fn render(file: &str) -> String {
    let of_the_file = |sample: &Sample| sample.name.split(' ').next() == Some(file);
    let vectors = samples::all()
        .into_iter()
        .filter(of_the_file)
        .map(|sample| {
            let name = json!(sample.name);
            let hex = to_hex(&sample.message.frame());
            let json = sample.message.json();
            format!("{{\"name\": {name}, \"hex\": \"{hex}\",\n \"json\": {json}}}")
        });
    format!("[\n{}\n]\n", vectors.collect::<Vec<_>>().join(",\n"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex
        .chars()
        .map(|c| c.to_digit(16).expect("a hex digit"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte"))
        .collect()
}
