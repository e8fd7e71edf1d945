//! `tenure journal verify` and `inspect` from outside: exit status, what people read, what programs read.
//! What is sound and what is damage is in `damage.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tenure::journal::{SECTOR, segment_name};

use crate::threads::{SHARDS, keep_a_few};

/// Exit status, stdout, stderr.
fn tenure(arguments: &[&str], path: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let output = command
        .arg("journal")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_whole_directory_is_said_to_be_whole() {
    let folder = TempDir::new().unwrap();
    keep_a_few(folder.path());
    let (status, out, _) = tenure(&["verify"], folder.path());
    assert_eq!(status, Some(0), "{out}");
    assert!(
        out.contains("is whole") && out.contains("records to replay"),
        "{out}"
    );
    let (status, out, _) = tenure(&["verify", "--json"], folder.path());
    let [report] = &*objects(&out) else {
        panic!("one object: {out}")
    };
    assert_eq!((status, &report["sound"]), (Some(0), &Value::Bool(true)));
    assert_eq!(report["shards"].as_array().unwrap().len(), SHARDS as usize);
    assert!(report["torn"].is_null(), "{report}");
}

#[test]
fn a_torn_end_is_whole_and_said() {
    let folder = TempDir::new().unwrap();
    keep_a_few(folder.path());
    let file = folder.path().join(segment_name(1));
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap()
        .next_multiple_of(SECTOR);
    bytes.resize(bytes.len().max(end + 3), 0);
    bytes[end..end + 3].copy_from_slice(b"abc");
    fs::write(&file, bytes).unwrap();
    let (status, out, _) = tenure(&["verify"], folder.path());
    let cut = format!("a start cuts 3 bytes of a write that did not end, from byte {end}");
    assert!(status == Some(0) && out.contains(&cut), "{out}");
    let (status, out, _) = tenure(&["inspect"], &file);
    assert!(
        status == Some(0) && out.contains("3 bytes of a write that did not end"),
        "{out}"
    );
}

#[test]
fn damage_is_a_no_with_file_and_offset() {
    let folder = TempDir::new().unwrap();
    keep_a_few(folder.path());
    let file = folder.path().join(segment_name(1));
    let mut bytes = fs::read(&file).unwrap();
    bytes[SECTOR + 40] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (status, out, _) = tenure(&["verify"], folder.path());
    assert_eq!(status, Some(1), "{out}");
    assert!(
        out.contains("journal-000000000001 is damaged at byte 512"),
        "{out}"
    );
    let (status, out, _) = tenure(&["verify", "--json"], folder.path());
    let damaged = &objects(&out)[0];
    assert_eq!(
        (status, &damaged["sound"], &damaged["offset"]),
        (Some(1), &Value::Bool(false), &Value::from(512))
    );
    let (status, out, _) = tenure(&["inspect", "--json"], &file);
    let last = objects(&out).pop().unwrap();
    assert_eq!(
        (status, &last["damage"]["offset"]),
        (Some(1), &Value::from(512))
    );
}

#[test]
fn a_segment_shows_its_records() {
    let folder = TempDir::new().unwrap();
    keep_a_few(folder.path());
    let file = folder.path().join(segment_name(1));
    let (status, out, _) = tenure(&["inspect"], &file);
    assert_eq!(status, Some(0), "{out}");
    for text in [
        "OFFSET SEQUENCE SHARD",
        "Tokens { from: 1",
        "OpenSession",
        "ann",
        "ResumeKey(..)",
        "the records end at",
    ] {
        assert!(out.contains(text), "{text} in {out}");
    }
    let (_, out, _) = tenure(&["inspect", "--json"], &file);
    let [head, records @ .., tail] = &*objects(&out) else {
        panic!("a head, records, a tail: {out}")
    };
    assert_eq!(
        (&head["kind"], &head["records"]),
        (&Value::from("segment"), &Value::from(records.len()))
    );
    assert_eq!(records[0]["sequence"], 0);
    assert_eq!(tail["torn_bytes"], 0);
}

#[test]
fn what_is_no_directory_or_file_of_ours_is_trouble() {
    let folder = TempDir::new().unwrap();
    let (status, _, err) = tenure(&["verify"], folder.path());
    assert!(
        status == Some(2) && err.contains("no data directory"),
        "{err}"
    );
    let (status, _, err) = tenure(&["inspect"], &folder.path().join("none"));
    assert!(status == Some(2) && err.contains("cannot read"), "{err}");
    assert_eq!(err.matches("os error").count(), 1, "said once: {err}");
    fs::write(folder.path().join("text"), "some text").unwrap();
    let (status, _, err) = tenure(&["inspect"], &folder.path().join("text"));
    assert!(
        status == Some(2) && err.contains("is neither a segment, such as journal-"),
        "{err}"
    );
    let (status, _, err) = tenure(&["inspect"], folder.path());
    assert!(
        status == Some(2) && err.contains("is a folder") && err.contains("tenure journal verify"),
        "{err}"
    );
}

#[test]
fn a_segment_without_its_head_is_damaged_and_a_copy_may_have_any_name() {
    let folder = TempDir::new().unwrap();
    keep_a_few(folder.path());
    let file = folder.path().join(segment_name(1));
    let copy = folder.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    let (status, out, _) = tenure(&["inspect"], &copy);
    assert!(status == Some(0) && out.contains("OpenSession"), "{out}");
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (status, out, _) = tenure(&["inspect"], &file);
    assert!(
        status == Some(1) && out.contains("expected the head of a segment"),
        "{out}"
    );
}
