//! The bytes of a segment: a head, then blocks, then zeros. A block is what one write has brought, all or nothing.
//!
//! Knows no disk and no thread. Must hold: what a crash has torn is told from what was on disk and is damaged. A block says
//! which records were on disk before it was written; so whatever is unreadable in front of those is damage, and whatever
//! is unreadable behind them may be a write that never ended.
//!
//! Blocks begin at multiples of a sector, so that writing one never touches the bytes of another.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::Range;

use super::error::{Damage, JournalError};

/// The format of segments; a later one is not read.
pub(super) const FORMAT: u32 = 1;

/// What a disk writes as a whole, at least.
pub const SECTOR: usize = 512;

/// Bytes before the records of a block.
pub(super) const BLOCK_HEAD: usize = 32;

const MAGIC: [u8; 8] = *b"TENUREJ\n";
const PREFIX: &str = "journal-";
const BINARY_MAX: usize = 32;

/// What stands at the beginning of a segment. It takes one sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHead {
    /// Which segment; they are numbered from 1 on without a hole.
    pub index: u64,
    /// The behaviour by which its history was lived.
    pub behaviour: u32,
    /// Shards of the directory.
    pub shards: u32,
    /// Mixed into every checksum, so that no bytes from elsewhere pass for a block of this segment.
    pub salt: u32,
    /// The version of what wrote it.
    pub binary: String,
}

/// One block, where it lies in its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub offset: u64,
    /// Number of its first record in the whole journal.
    pub first: u64,
    /// How many records it has.
    pub count: u32,
    /// The records below this one were on disk before the block was written.
    pub synced: u64,
    records: Range<usize>,
}

/// A segment, as far as it can be read.
#[derive(Debug)]
pub struct Segment<'b> {
    /// Its file.
    pub name: String,
    /// Its head.
    pub head: SegmentHead,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
    /// Where the last block ends.
    pub end: u64,
    /// What comes then.
    pub tail: Tail,
    bytes: &'b [u8],
}

/// What follows the last block that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// So many bytes of a write that did not end.
    Torn(u64),
    /// Something that was on disk, and is not what it was.
    Damaged(Damage),
}

/// The file of a segment.
#[must_use]
pub fn segment_name(index: u64) -> String {
    format!("{PREFIX}{index:012}")
}

/// Which segment a file is, if it is one.
#[must_use]
pub fn segment_index(name: &str) -> Option<u64> {
    let index = name.strip_prefix(PREFIX)?.parse().ok()?;
    (segment_name(index) == name).then_some(index)
}

/// Whether a file begins as a segment does, whatever it is called.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The room that so many bytes take in a segment.
pub(super) const fn sectors(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR)
}

impl SegmentHead {
    /// The head of a segment that is written here.
    pub(super) fn new(index: u64, shards: u32) -> Self {
        Self {
            index,
            behaviour: tenure_engine::limits::BEHAVIOUR,
            shards,
            salt: RandomState::new().build_hasher().finish() as u32,
            binary: String::from(env!("CARGO_PKG_VERSION")),
        }
    }

    /// Its sector.
    #[must_use]
    pub fn encode(&self) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[12..16].copy_from_slice(&self.behaviour.to_le_bytes());
        out[16..20].copy_from_slice(&self.shards.to_le_bytes());
        out[20..24].copy_from_slice(&self.salt.to_le_bytes());
        out[24..32].copy_from_slice(&self.index.to_le_bytes());
        let binary = &self.binary.as_bytes()[..self.binary.len().min(BINARY_MAX)];
        out[32..32 + binary.len()].copy_from_slice(binary);
        let crc = crc32fast::hash(&out[..SECTOR - 4]);
        out[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the head of a segment.
    ///
    /// # Errors
    ///
    /// It is none, or of a format that is not known here.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, JournalError> {
        let damage = |what: &str| Err(JournalError::from(Damage::new(name, 0, what)));
        let Some(head) = bytes.get(..SECTOR).filter(|head| head[..8] == MAGIC) else {
            return damage("expected the head of a segment, found none");
        };
        if crc32fast::hash(&head[..SECTOR - 4]) != number(head, SECTOR - 4) {
            return damage("the head of the segment is not what was written");
        }
        let binary = String::from_utf8_lossy(&head[32..32 + BINARY_MAX]);
        let binary = String::from(binary.trim_end_matches('\0'));
        let found = number(head, 8);
        if found > FORMAT {
            return Err(JournalError::Newer {
                file: String::from(name),
                found,
                ours: FORMAT,
                binary,
            });
        }
        let index = long(head, 24);
        if segment_index(name).is_some_and(|named| named != index) {
            return damage("the file has been renamed: its head has another index");
        }
        Ok(Self {
            index,
            behaviour: number(head, 12),
            shards: number(head, 16),
            salt: number(head, 20),
            binary,
        })
    }
}

/// Makes a block out of what lies behind room for its head, and fills its last sector with zeros.
pub(super) fn seal_block(block: &mut Vec<u8>, first: u64, count: u32, synced: u64, salt: u32) {
    let length = (block.len() - BLOCK_HEAD) as u32;
    block[4..8].copy_from_slice(&length.to_le_bytes());
    block[8..16].copy_from_slice(&first.to_le_bytes());
    block[16..24].copy_from_slice(&synced.to_le_bytes());
    block[24..28].copy_from_slice(&count.to_le_bytes());
    let crc = checksum(&block[4..], salt);
    block[..4].copy_from_slice(&crc.to_le_bytes());
    block.resize(sectors(block.len()), 0);
}

fn checksum(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

impl Block {
    /// The block that begins at an offset, if there is a whole one.
    fn read(bytes: &[u8], offset: usize, salt: u32) -> Option<Self> {
        let head = bytes.get(offset..offset + BLOCK_HEAD)?;
        let (length, count) = (number(head, 4) as usize, number(head, 24));
        if length == 0 || count == 0 {
            return None;
        }
        let end = offset.checked_add(BLOCK_HEAD)?.checked_add(length)?;
        let checked = bytes.get(offset + 4..end)?;
        (checksum(checked, salt) == number(head, 0)).then(|| Self {
            offset: offset as u64,
            first: long(head, 8),
            count,
            synced: long(head, 16),
            records: offset + BLOCK_HEAD..end,
        })
    }

    fn end(&self) -> usize {
        sectors(self.records.end)
    }
}

impl<'b> Segment<'b> {
    /// Reads a segment whose first record should be `expected`, if that is known.
    ///
    /// # Errors
    ///
    /// Its head cannot be read. What is wrong further on is in [`Segment::tail`].
    pub fn read(name: &str, bytes: &'b [u8], expected: Option<u64>) -> Result<Self, JournalError> {
        let head = SegmentHead::decode(name, bytes)?;
        let mut segment = Self {
            name: String::from(name),
            head,
            blocks: Vec::new(),
            end: SECTOR as u64,
            tail: Tail::Clean,
            bytes,
        };
        segment.read_blocks(expected);
        Ok(segment)
    }

    fn read_blocks(&mut self, mut expected: Option<u64>) {
        let mut at = SECTOR;
        while let Some(block) = Block::read(self.bytes, at, self.head.salt) {
            if let Some(expected) = expected.filter(|expected| *expected != block.first) {
                let what = format!("expected record {expected}, found {}", block.first);
                self.tail = Tail::Damaged(Damage::new(&self.name, at as u64, what));
                return;
            }
            expected = Some(block.first + u64::from(block.count));
            at = block.end();
            self.end = at as u64;
            self.blocks.push(block);
        }
        self.tail = self.tail_from(at, expected.unwrap_or(0));
    }

    /// What lies behind the last block, when `expected` would be the next record.
    fn tail_from(&self, at: usize, expected: u64) -> Tail {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(last) = rest.iter().rposition(|byte| *byte != 0) else {
            return Tail::Clean;
        };
        let later = (at..at + last).step_by(SECTOR);
        let mut later = later.filter_map(|at| Block::read(self.bytes, at, self.head.salt));
        match later.find(|block| block.synced > expected) {
            Some(later) => {
                let what = format!(
                    "expected record {expected}, which was on disk when record {} was written to byte {}",
                    later.first, later.offset,
                );
                Tail::Damaged(Damage::new(&self.name, at as u64, what))
            }
            None => Tail::Torn(last as u64 + 1),
        }
    }

    /// The record after the last one of this segment, if it has any.
    #[must_use]
    pub fn next_record(&self) -> Option<u64> {
        let last = self.blocks.last()?;
        Some(last.first + u64::from(last.count))
    }

    /// The records of a block: where each begins in the file, and its bytes.
    ///
    /// # Errors
    ///
    /// They do not fill the block: it was written wrongly.
    pub fn records(&self, block: &Block) -> Result<Vec<(u64, &'b [u8])>, Damage> {
        let mut records = Vec::with_capacity(block.count as usize);
        let mut at = block.records.start;
        while at < block.records.end {
            let record = self.bytes.get(at..at + 4).and_then(|length| {
                let end = (at + 4).checked_add(number(length, 0) as usize)?;
                self.bytes[..block.records.end].get(at + 4..end)
            });
            let Some(record) = record else {
                return Err(self.misfit(block));
            };
            records.push((at as u64, record));
            at += 4 + record.len();
        }
        if records.len() == block.count as usize {
            Ok(records)
        } else {
            Err(self.misfit(block))
        }
    }

    fn misfit(&self, block: &Block) -> Damage {
        Damage::new(
            &self.name,
            block.offset,
            "the records of a block do not fill it",
        )
    }
}

/// Whether a file is a segment that was never finished, and so was never written to.
pub(super) fn is_unfinished(name: &str, bytes: &[u8]) -> bool {
    let written = bytes.get(SECTOR..).unwrap_or_default();
    matches!(
        SegmentHead::decode(name, bytes),
        Err(JournalError::Damaged(_))
    ) && written.iter().all(|byte| *byte == 0)
}

/// The u32 at a place that is known to be there.
pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The u64 at a place that is known to be there.
pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
