//! Bytes to what a server keeps: a record, a block of records, a segment that is damaged somewhere. The first byte says
//! which.
//!
//! Must hold: no bytes lead to a panic; what is read as a record can be written and read again, and takes no more room than
//! is asked for it before it is written; what was on disk and is damaged is never taken for a torn end, nor the other way.
//!
//! The journal's own files are compiled in by their paths, so that no server has to be built for it.

use std::convert::Infallible;

use self::record::{Head, Record, Step};
use self::segment::{BLOCK_HEAD, SECTOR, Segment, SegmentHead, Tail};

#[path = "../../src/journal/command/mod.rs"]
mod command;
#[path = "../../src/journal/error.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the server uses more of it, and shows it"
)]
mod error;
#[path = "../../src/journal/record.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the server uses more of it, and shows it"
)]
mod record;
#[path = "../../src/journal/segment.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the server uses more of it, and shows it"
)]
mod segment;

/// Blocks of a segment that is damaged.
const BLOCKS_MAX: usize = 6;

/// The number of its first record.
const FIRST: u64 = 1000;

const NAME: &str = "journal-000000000007";

/// The bytes are one of three things.
pub fn run(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    match which % 3 {
        0 => a_record(data),
        1 => a_segment(data),
        _ => a_damaged_segment(data),
    }
}

/// A record as the target is fed with one.
#[must_use]
pub fn seed(record: &[u8]) -> Vec<u8> {
    [&[0], record].concat()
}

fn a_record(data: &[u8]) {
    let Ok(record) = Record::decode(data) else {
        return;
    };
    let head = Head::decode(data).expect("a record begins with its head");
    assert_eq!(head, record.head);
    let written = written(&record);
    let again = Record::decode(&written).expect("what is written can be read");
    assert_eq!(told(&again), told(&record));
    assert_eq!(
        self::written(&again),
        written,
        "there is one way to write it"
    );
}

/// A record, written as a server would; no command takes more than was asked for.
fn written(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.head.encode(&mut bytes);
    let lent = record.lend(|step| {
        let before = bytes.len();
        match step {
            Step::Entry(entry) => {
                record::encode_command(entry.command, &mut bytes);
                assert!(bytes.len() - before <= record::bytes_max(entry.command));
            }
            Step::Tokens { from, below } => record::encode_tokens(from, below, &mut bytes),
        }
        Ok::<(), Infallible>(())
    });
    match lent {
        Ok(()) => bytes,
    }
}

fn told(record: &Record<'_>) -> Vec<String> {
    let mut told = vec![format!("{:?}", record.head)];
    let lent = record.lend(|step| {
        told.push(format!("{step:?}"));
        Ok::<(), Infallible>(())
    });
    match lent {
        Ok(()) => told,
    }
}

/// Any bytes: as a whole segment, behind the head of one, and as the records of a block that is what was written.
fn a_segment(data: &[u8]) {
    read_all(data);
    let head = head();
    read_all(&[&head.encode()[..], data].concat());
    if data.is_empty() {
        return;
    }
    let mut block = [&[0; BLOCK_HEAD], data].concat();
    let count = u32::from(data[0]).max(1);
    segment::seal_block(&mut block, FIRST, count, FIRST, head.salt);
    let bytes = [&head.encode()[..], &block].concat();
    let segment = Segment::read(NAME, &bytes, Some(FIRST)).expect("its head can be read");
    assert_eq!((segment.blocks.len(), &segment.tail), (1, &Tail::Clean));
    read_all(&bytes);
}

fn read_all(bytes: &[u8]) {
    segment::is_unfinished(NAME, bytes);
    let Ok(segment) = Segment::read(NAME, bytes, None) else {
        return;
    };
    assert!(segment.end as usize <= bytes.len().next_multiple_of(SECTOR));
    for block in &segment.blocks {
        let Ok(records) = segment.records(block) else {
            continue;
        };
        assert_eq!(records.len(), block.count as usize);
        for (offset, record) in records {
            assert_eq!(bytes[offset as usize + 4..][..record.len()], *record);
            if let Ok(record) = Record::decode(record) {
                told(&record);
            }
        }
    }
}

fn head() -> SegmentHead {
    SegmentHead {
        index: 7,
        behaviour: 1,
        shards: 4,
        salt: 0x7e57_5a17,
        binary: String::from("0.1.0"),
    }
}

/// Where a block was written.
struct Written {
    begin: usize,
    end: usize,
    first: u64,
    synced: u64,
}

/// A few blocks of any sizes, each written when some of those before were on disk, of which a byte is changed, or all are
/// lost from some sector on: it is read up to there; then it is damage if a later block says that what is missing was on
/// disk, and a torn end if none does.
fn a_damaged_segment(data: &[u8]) {
    let mut data = data.iter().copied();
    let mut next = || data.next().map_or(0, usize::from);
    let (kind, place, change) = (next(), next() << 8 | next(), next().max(1) as u8);
    let mut bytes = head().encode().to_vec();
    let (mut blocks, mut record): (Vec<Written>, _) = (Vec::new(), FIRST);
    for _ in 0..=next() % BLOCKS_MAX {
        let (count, size, lag) = (1 + next() % 3, next() * 4, next() as u64 % 4);
        let mut block = vec![0; BLOCK_HEAD];
        for number in 0..count {
            let text = vec![b'a' + number as u8; size + 1];
            block.extend_from_slice(&(text.len() as u32).to_le_bytes());
            block.extend_from_slice(&text);
        }
        let (begin, end) = (bytes.len(), bytes.len() + block.len());
        let synced = record.saturating_sub(lag).max(FIRST);
        segment::seal_block(&mut block, record, count as u32, synced, head().salt);
        bytes.extend_from_slice(&block);
        let first = record;
        blocks.push(Written {
            begin,
            end,
            first,
            synced,
        });
        record += count as u64;
    }
    let written = bytes.len();
    bytes.resize(written + SECTOR, 0);
    let place = SECTOR + place % (written - SECTOR);
    let is_lost = kind % 2 == 1;
    if is_lost {
        bytes[place / SECTOR * SECTOR..].fill(0);
    } else {
        bytes[place] ^= change;
    }
    let reached = if is_lost {
        place / SECTOR * SECTOR
    } else {
        place
    };
    let hit = blocks.iter().position(|block| {
        let is_before = block.begin <= reached;
        reached < block.end && (is_before || is_lost)
    });
    let segment = Segment::read(NAME, &bytes, Some(FIRST)).expect("its head is what it was");
    let Some(hit) = hit else {
        // What lies between a block and the end of its last sector is nobody's.
        assert_eq!(
            (segment.blocks.len(), &segment.tail),
            (blocks.len(), &Tail::Clean)
        );
        return;
    };
    assert_eq!(segment.blocks.len(), hit);
    let missing = &blocks[hit];
    let mut later = blocks[hit + 1..].iter();
    if !is_lost && later.any(|later| later.synced > missing.first) {
        let Tail::Damaged(damage) = &segment.tail else {
            panic!("damage is taken for {:?}", segment.tail);
        };
        assert_eq!(damage.offset, missing.begin as u64);
    } else {
        let is_all_gone = bytes[missing.begin..].iter().all(|byte| *byte == 0);
        match &segment.tail {
            Tail::Clean => assert!(is_all_gone),
            Tail::Torn(_) => assert!(!is_all_gone),
            Tail::Damaged(damage) => panic!("a torn end is taken for {damage}"),
        }
    }
}
