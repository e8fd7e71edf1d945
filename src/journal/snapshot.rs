//! The file of a snapshot: one shard's state and its audit trail, and where in its history that is.
//!
//! Knows nothing of what the state means. Must hold: a snapshot is complete under its name, or is not there; one that is
//! damaged is an error.

use super::error::{About as _, Damage, JournalError};
use super::segment::{long, number};
use super::storage::{Rest, Storage};
use super::trail;
use crate::audit::Trail;

/// The format of snapshot files; a later one is not read.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"TENURES\n";
const HEAD: usize = 112;
const BINARY_MAX: usize = 32;
const PREFIX: &str = "snapshot-";
const UNFINISHED: &str = ".unfinished";

/// Where in a shard's history a state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The behaviour by which it was lived.
    pub behaviour: u32,
    /// Which shard.
    pub shard: u32,
    /// Shards of the directory.
    pub shards: u32,
    /// The first segment that holds what is not in it; those before are not needed for this shard.
    pub segment: u64,
    /// The shard's first record that is not in it.
    pub number: u64,
    /// The journal's first record that may not be in it.
    pub next: u64,
    /// The log time that history had reached.
    pub at: u64,
    /// Tokens below this one may have been given out.
    pub tokens_below: u64,
    /// The version of what wrote it.
    pub binary: String,
}

/// The file of a shard's snapshot.
#[must_use]
pub fn snapshot_name(shard: u32, segment: u64) -> String {
    format!("{PREFIX}{shard:05}-{segment:012}")
}

/// Which shard's snapshot a file is, and which segment comes after it, if it is one.
#[must_use]
pub fn snapshot_place(name: &str) -> Option<(u32, u64)> {
    let (shard, segment) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (shard, segment) = (shard.parse().ok()?, segment.parse().ok()?);
    (snapshot_name(shard, segment) == name).then_some((shard, segment))
}

/// Whether a file is a snapshot that was not finished.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(UNFINISHED)
}

impl SnapshotHead {
    /// Writes a snapshot: under another name first, which it changes when all of it is on disk. Takes a `rest` between two
    /// pieces.
    ///
    /// # Errors
    ///
    /// The disk is full, or fails. Nothing has changed for whoever reads.
    pub fn store(
        &self,
        storage: &dyn Storage,
        (state, trail): (&[u8], &Trail),
        rest: Rest<'_>,
    ) -> Result<(), JournalError> {
        let name = snapshot_name(self.shard, self.segment);
        let unfinished = format!("{name}{UNFINISHED}");
        let mut bytes = self.encode(state.len() as u64);
        bytes.extend_from_slice(state);
        trail::encode(trail, &mut bytes);
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let length = bytes.len() as u64;
        storage
            .create(&unfinished, &bytes, length, rest)
            .about("write", &unfinished)?;
        storage
            .rename(&unfinished, &name)
            .about("rename", &unfinished)?;
        storage.sync_names().about("write", &name)
    }

    fn encode(&self, length: u64) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&MAGIC);
        for number in [FORMAT, self.behaviour, self.shard, self.shards] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [
            self.segment,
            self.number,
            self.next,
            self.at,
            self.tokens_below,
            length,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let binary = &self.binary.as_bytes()[..self.binary.len().min(BINARY_MAX)];
        out.extend_from_slice(binary);
        out.resize(HEAD, 0);
        out
    }

    /// Reads a snapshot: its head, the state, and the audit trail.
    ///
    /// # Errors
    ///
    /// It is none, is damaged, or of a format that is not known here.
    pub fn load<'b>(name: &str, bytes: &'b [u8]) -> Result<(Self, &'b [u8], Trail), JournalError> {
        let damage = |what: &str| Err(JournalError::from(Damage::new(name, 0, what)));
        let Some(head) = bytes.get(..HEAD).filter(|head| head[4..12] == MAGIC) else {
            return damage("expected the head of a snapshot, found none");
        };
        if crc32fast::hash(&bytes[4..]) != number(bytes, 0) {
            return damage("the snapshot is not what was written");
        }
        let binary = String::from_utf8_lossy(&head[76..76 + BINARY_MAX]);
        let binary = String::from(binary.trim_end_matches('\0'));
        let found = number(head, 12);
        if found > FORMAT {
            return Err(JournalError::Newer {
                file: String::from(name),
                found,
                ours: FORMAT,
                binary,
            });
        }
        let length = usize::try_from(long(head, 68)).unwrap_or(usize::MAX);
        let Some((state, trail)) = bytes[HEAD..].split_at_checked(length) else {
            return damage("the snapshot has another length than was written");
        };
        let trail =
            trail::decode(trail).map_err(|error| Damage::new(name, 0, error.to_string()))?;
        let head = Self {
            behaviour: number(head, 16),
            shard: number(head, 20),
            shards: number(head, 24),
            segment: long(head, 28),
            number: long(head, 36),
            next: long(head, 44),
            at: long(head, 52),
            tokens_below: long(head, 60),
            binary,
        };
        match snapshot_place(name) {
            Some(place) if place != (head.shard, head.segment) => {
                damage("the file has been renamed: its head names another place")
            }
            _ => Ok((head, state, trail)),
        }
    }
}
