//! A data directory of the file system: one server at a time, a fixed number of shards, and clear words for what cannot be.
//! Each message is held against what an operator has to be told: what to do next.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use tenure::journal::{
    Directory, Durability, JournalError, SECTOR, Storage as _, backup, go_on, recover,
    segment_name, verify,
};

use crate::faulty::Faulty;
use crate::life::{Life, SHARDS, open};
use crate::threads::keep_a_few;

#[test]
fn a_second_server_on_a_directory_is_told_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    let first = Directory::open(&path, 4).unwrap();
    let second = Directory::open(&path, 4).unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }), "{second}");
    assert!(
        second.to_string().contains("in use by another server"),
        "{second}"
    );
    drop(first);
    Directory::open(&path, 4).unwrap();
}

#[test]
fn the_number_of_shards_is_the_directory_s_own() {
    let folder = TempDir::new().unwrap();
    assert_eq!(Directory::open(folder.path(), 4).unwrap().shards(), 4);
    assert_eq!(Directory::open(folder.path(), 16).unwrap().shards(), 4);
}

#[test]
fn a_directory_of_a_later_version_is_not_touched() {
    let folder = TempDir::new().unwrap();
    drop(Directory::open(folder.path(), 4).unwrap());
    let about = folder.path().join("about");
    fs::write(&about, "format 2\nshards 4\ntenure 9.1.0\n").unwrap();
    let error = Directory::open(folder.path(), 4).unwrap_err().to_string();
    assert!(error.contains("start tenure 9.1.0 or later"), "{error}");
    fs::write(&about, "something else\n").unwrap();
    let error = Directory::open(folder.path(), 4).unwrap_err().to_string();
    assert!(
        error.contains("expected lines `format N` and `shards N`"),
        "{error}"
    );
    fs::remove_file(&about).unwrap();
    fs::write(folder.path().join(segment_name(1)), "").unwrap();
    let error = Directory::open(folder.path(), 4).unwrap_err().to_string();
    assert!(error.contains("the file is missing"), "{error}");
}

#[test]
fn what_is_no_directory_is_said() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Directory::open(&file, 4).unwrap_err().to_string();
    assert!(error.contains("cannot make"), "{error}");
    let error = verify(&folder.path().join("none"), |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("there is no such directory"), "{error}");
    let error = verify(folder.path(), |_| {}).unwrap_err().to_string();
    assert!(error.contains("it has no file `about`"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_directory_is_for_its_own_user() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data");
    drop(Directory::open(&path, 1).unwrap());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("about"))), (0o700, 0o600));
}

/// The head of a segment says that version 0.9.9 has lived by other rules.
fn live_by_other_rules(segment: &mut [u8]) {
    segment[12..16].copy_from_slice(&7_u32.to_le_bytes());
    segment[32..64].fill(0);
    segment[32..37].copy_from_slice(b"0.9.9");
    let crc = crc32fast::hash(&segment[..SECTOR - 4]);
    segment[SECTOR - 4..SECTOR].copy_from_slice(&crc.to_le_bytes());
}

/// A copy that cannot be read back is none, and is in nobody's way.
#[test]
fn a_backup_that_fails_leaves_its_folder_empty() {
    let (data, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    keep_a_few(data.path());
    let segment = data.path().join(segment_name(1));
    let whole = fs::read(&segment).unwrap();
    let mut other = whole.clone();
    live_by_other_rules(&mut other);
    fs::write(&segment, other).unwrap();
    let error = backup(data.path(), copies.path()).unwrap_err();
    assert!(
        matches!(error, JournalError::OtherBehaviour { .. }),
        "{error}"
    );
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 0);
    fs::write(&segment, whole).unwrap();
    assert!(backup(data.path(), copies.path()).unwrap().files > 0);
}

/// Other rules would make another state of the same history.
#[test]
fn a_history_of_other_rules_names_the_binary_to_start() {
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    life.live(0, open("ann"));
    life.settle();
    let mut bytes = life.disk.read(&segment_name(1)).unwrap();
    live_by_other_rules(&mut bytes);
    let disk = life.disk.with(&segment_name(1), bytes);
    let directory = Directory::on(Arc::new(disk), SHARDS).unwrap();
    let error = recover(&directory, go_on).unwrap_err().to_string();
    assert!(
        error.contains("start tenure 0.9.9 and stop it cleanly"),
        "{error}"
    );
}
