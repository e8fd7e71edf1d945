//! Every target over what is kept for it, on plain stable Rust: the golden vectors of the protocol, the seeds in
//! `corpus/`, and what a fuzzer has left in `artifacts/`. None of it may fail; what does is named, a history with its
//! script.
//!
//! `UPDATE_SEEDS=1 cargo test --no-default-features` writes the seeds that are made from vectors and histories.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::{env, fs};

use serde_json::Value;
use tenure_fuzz::{frame, kept_record, lived_history, presence, request, server_message, snapshot};

/// What is fed to a target, by a name.
type Inputs = BTreeMap<String, Vec<u8>>;

#[test]
fn frames() {
    const HEADER: usize = tenure_protocol::frame::HEADER;
    let one_of_each = vectors(&["request"]).into_values().map(|payload| {
        let length = u32::try_from(payload.len()).expect("a vector is short");
        [&length.to_be_bytes()[..HEADER], &payload].concat()
    });
    // The choice of a frame's greatest size and of the pieces that arrive, then what arrives.
    let stream = one_of_each
        .take(8)
        .fold(vec![0x0e], |stream, frame| [stream, frame].concat());
    let cut_off = stream[..stream.len() - 3].to_vec();
    let seeds = [("requests", stream), ("requests cut off", cut_off)];
    feed(
        "frame",
        frame::run,
        seeds.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
    );
}

#[test]
fn requests() {
    feed("request", request::run, vectors(&["request"]));
}

#[test]
fn server_messages() {
    feed(
        "server_message",
        server_message::run,
        vectors(&["reply", "error", "push"]),
    );
}

#[test]
fn snapshots() {
    let histories = kept("corpus", "history").into_iter();
    let states = histories.map(|(name, bytes)| {
        let state = lived_history::snapshot_after(&bytes);
        (format!("after {name}"), state)
    });
    feed("snapshot", snapshot::run, states.collect());
}

#[test]
fn histories() {
    feed("history", lived_history::run, Inputs::new());
}

#[test]
fn histories_of_presence() {
    feed("presence", presence::run, Inputs::new());
}

/// What was written once, and is understood for good.
#[test]
fn records() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/journal/golden.txt");
    let text = fs::read_to_string(path).expect("golden records");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let named = lines.map(|line| line.split_once(' ').expect("a name and a record"));
    let seeds = named.map(|(name, hex)| (name.to_owned(), kept_record::seed(&from_hex(hex))));
    feed("record", kept_record::run, seeds.collect());
}

/// Feeds a target with its seeds and with all that is kept for it.
fn feed(target: &str, run: fn(&[u8]), seeds: Inputs) {
    if env::var_os("UPDATE_SEEDS").is_some() {
        write(target, &seeds);
    }
    let kept = [kept("corpus", target), kept("artifacts", target)];
    let inputs: Inputs = seeds
        .into_iter()
        .chain(kept.into_iter().flatten())
        .collect();
    let fails = |(name, bytes): &(String, Vec<u8>)| {
        let bytes = bytes.clone();
        catch_unwind(move || run(&bytes))
            .is_err()
            .then(|| name.clone())
    };
    let count = inputs.len();
    let failed: Vec<String> = inputs
        .into_iter()
        .filter_map(|input| fails(&input))
        .collect();
    assert!(
        failed.is_empty(),
        "{target}: {count} inputs fed, these fail: {failed:#?}"
    );
    println!("{target}: {count} inputs fed");
}

/// One of each sort is enough for a fuzzer: what stands before the comma in the name.
fn write(target: &str, seeds: &Inputs) {
    let sorts = seeds
        .iter()
        .rev()
        .map(|(name, bytes)| (name.split(',').next(), bytes));
    for (sort, bytes) in sorts.collect::<BTreeMap<_, _>>() {
        let name = sort.unwrap_or_default().replace([' ', '.'], "-");
        fs::write(folder("corpus", target).join(name), bytes).expect("corpus/ can be written");
    }
}

/// The files of a target, by their names.
fn kept(of: &str, target: &str) -> Inputs {
    let Ok(files) = fs::read_dir(folder(of, target)) else {
        return Inputs::new();
    };
    let files = files.map(|file| file.expect("a folder can be listed"));
    let named = files.map(|file| {
        let bytes = fs::read(file.path()).expect("a file can be read");
        (file.file_name().to_string_lossy().into_owned(), bytes)
    });
    named.collect()
}

fn folder(of: &str, target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(of)
        .join(target)
}

/// The payloads of some files of vectors.
fn vectors(files: &[&str]) -> Inputs {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
    let read = |file: &&str| {
        let text = fs::read_to_string(folder.join(format!("{file}.json"))).expect("vectors");
        serde_json::from_str::<Vec<Value>>(&text).expect("vectors are JSON")
    };
    let payload = |vector: &Value| {
        let name = vector["name"].as_str().expect("a name").to_owned();
        let frame = from_hex(vector["hex"].as_str().expect("hex digits"));
        (name, frame[tenure_protocol::frame::HEADER..].to_vec())
    };
    files
        .iter()
        .flat_map(read)
        .map(|vector| payload(&vector))
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
