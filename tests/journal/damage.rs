//! What a crash leaves is cut, what the years have done to a disk is refused: every byte of a record, torn and damaged.
//! The journals here are lived step by step, so that it is known which write was on disk before which.

use std::sync::Arc;

use tenure::journal::{
    Directory, Durability, JournalError, Recovered, SECTOR, Segment, SegmentHead, Storage as _,
    go_on, no_rest, recover, segment_name,
};

use crate::faulty::Faulty;
use crate::life::{Life, SHARDS, open};

/// A journal of a few blocks, each on disk before the next was written; the last one, of two records, ends at the second
/// of the numbers and begins at the first.
fn written() -> (Faulty, usize, usize) {
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    life.settle();
    for owner in ["ann", "bob"] {
        life.live(0, open(owner));
        life.settle();
    }
    life.live(1, open("cleo"));
    life.live(0, open("dora"));
    life.settle();
    let bytes = life.disk.read(&segment_name(1)).unwrap();
    let segment = Segment::read(&segment_name(1), &bytes, Some(0)).unwrap();
    let last = segment.blocks.last().unwrap();
    assert_eq!(last.count, 2);
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (life.disk.clone(), last.offset as usize, used)
}

fn read(disk: &Faulty) -> Result<Recovered, JournalError> {
    let directory = Directory::on(Arc::new(disk.clone()), SHARDS).unwrap();
    recover(&directory, go_on)
}

fn numbers(recovered: &Recovered) -> Vec<u64> {
    recovered.shards.iter().map(|shard| shard.number).collect()
}

#[test]
fn a_block_that_is_torn_at_any_byte_is_cut_and_said() {
    let (disk, begin, end) = written();
    let whole = disk.read(&segment_name(1)).unwrap();
    let all = numbers(&read(&disk).unwrap());
    for torn in begin..end {
        let mut bytes = whole.clone();
        bytes[torn..end].fill(0);
        let recovered = read(&disk.with(&segment_name(1), bytes)).unwrap();
        let found = numbers(&recovered);
        assert_eq!(
            [found[0] + 1, found[1] + 1, found[2]],
            [all[0], all[1], all[2]],
            "at byte {torn}"
        );
        let Some(cut) = &recovered.torn else {
            assert_eq!(torn, begin, "what is left of a block is said");
            continue;
        };
        assert_eq!((&*cut.file, cut.offset), (&*segment_name(1), begin as u64));
        assert!(cut.bytes <= (torn - begin) as u64);
    }
}

#[test]
fn damage_in_front_of_what_was_on_disk_is_refused_at_every_byte() {
    let (disk, begin, _) = written();
    let whole = disk.read(&segment_name(1)).unwrap();
    let segment = Segment::read(&segment_name(1), &whole, Some(0)).unwrap();
    let blocks: Vec<_> = segment.blocks.iter().map(|block| block.offset).collect();
    for at in 0..begin {
        let block = blocks.iter().rev().find(|block| **block <= at as u64);
        for wrong in [whole[at] ^ 1, whole[at] ^ 0x80, !whole[at]] {
            let mut bytes = whole.clone();
            bytes[at] = wrong;
            match (read(&disk.with(&segment_name(1), bytes)), block) {
                (Err(JournalError::Damaged(damage)), block) => {
                    let expected = (segment_name(1), block.copied().unwrap_or(0));
                    assert_eq!((damage.file, damage.offset), expected, "byte {at}");
                }
                // Between the end of a block and the next sector nothing is.
                (Ok(recovered), Some(_)) => {
                    assert_eq!((whole[at], recovered.torn), (0, None), "byte {at}")
                }
                (other, _) => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

/// A sector that reads as zeros looks like the end; what was written later says that it is not.
#[test]
fn a_block_that_is_gone_is_damage_and_no_end() {
    let (disk, begin, _) = written();
    let mut bytes = disk.read(&segment_name(1)).unwrap();
    bytes[begin - SECTOR..begin].fill(0);
    let error = read(&disk.with(&segment_name(1), bytes)).unwrap_err();
    assert!(
        matches!(&error, JournalError::Damaged(damage) if damage.offset == (begin - SECTOR) as u64)
    );
    let text = error.to_string();
    for word in [
        &*segment_name(1),
        "at byte",
        "tenure journal verify",
        "backup",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

/// Two writes of which neither was synced: the second may be there without the first.
#[test]
fn what_was_never_synced_may_be_missing_in_front_of_what_is_there() {
    let mut life = Life::begin(
        Faulty::default(),
        Durability::Interval(std::time::Duration::from_secs(1)),
    );
    life.settle();
    let before = numbers(&read(&life.disk).unwrap());
    life.live(0, open("ann"));
    life.write();
    life.live(0, open("bob"));
    life.write();
    let mut bytes = life.disk.read(&segment_name(1)).unwrap();
    let segment = Segment::read(&segment_name(1), &bytes, Some(0)).unwrap();
    let [.., first, second] = &*segment.blocks else {
        panic!("two blocks")
    };
    let (first, second) = (first.offset as usize, second.offset as usize);
    bytes[first..second].fill(0);
    let recovered = read(&life.disk.with(&segment_name(1), bytes)).unwrap();
    assert_eq!(numbers(&recovered), before);
    assert_eq!(recovered.torn.unwrap().offset, first as u64);
}

#[test]
fn a_segment_that_is_missing_is_said() {
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    for round in 0..200 {
        life.live(0, open(&format!("owner-{round}")));
        life.settle();
    }
    let names = life.disk.list().unwrap();
    assert!(names.contains(&segment_name(4)), "{names:?}");
    for missing in [1, 2, 3] {
        let disk = life.disk.after_a_kill();
        disk.remove(&segment_name(missing)).unwrap();
        let error = read(&disk).unwrap_err().to_string();
        assert!(
            error.contains(&format!("segment {missing} before it is missing")),
            "{error}"
        );
    }
}

/// A start removes empty segments; a crash may undo some of that, in any order.
#[test]
fn an_empty_segment_behind_a_missing_one_is_no_damage() {
    let (disk, ..) = written();
    let before = numbers(&read(&disk).unwrap());
    let names = disk.list().unwrap();
    assert!(
        names.contains(&segment_name(2)) && !names.contains(&segment_name(3)),
        "{names:?}"
    );
    let head = SegmentHead {
        index: 3,
        behaviour: 1,
        shards: SHARDS,
        salt: 7,
        binary: "0.1.0".to_owned(),
    };
    disk.create(&segment_name(3), &head.encode(), 4096, &mut no_rest)
        .unwrap();
    disk.remove(&segment_name(2)).unwrap();
    assert_eq!(numbers(&read(&disk).unwrap()), before);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    for round in 0..100 {
        life.live(0, open(&format!("owner-{round}")));
        life.settle();
    }
    life.compact().unwrap();
    let names = life.disk.list().unwrap();
    let snapshot = names
        .iter()
        .find(|name| name.starts_with("snapshot-00000"))
        .unwrap();
    let whole = life.disk.read(snapshot).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let error = read(&life.disk.with(snapshot, bytes)).unwrap_err();
        assert!(
            matches!(&error, JournalError::Damaged(damage) if damage.file == *snapshot),
            "{error}"
        );
    }
    let error = read(&life.disk.with(snapshot, whole[..whole.len() - 1].to_vec())).unwrap_err();
    assert!(matches!(error, JournalError::Damaged(_)), "{error}");
}
