//! One record: what one batch of one shard has changed, with its place in the shard's history and its time.
//!
//! A record is a head and then its commands, all MessagePack by position. Knows nothing of files. Must hold: bytes that
//! are no record are an error and never a panic; a version is never given another meaning.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tenure_engine as engine;
use tenure_engine::{LogTime, WallTime};
use tenure_protocol::Writer;

use super::command::{self, Command, Put as _, Tokens};

/// The version of records, in each of them.
const VERSION: u8 = 1;

/// What a record may take beside its commands.
pub(super) const HEAD_MAX: usize = 64;

/// What stands before the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    version: u8,
    /// Which shard.
    pub shard: u32,
    /// Which record of that shard, from 0 on, without a hole.
    pub number: u64,
    /// The time at which its commands took place, as the engine counted it.
    pub at: u64,
    /// The same for people to read.
    pub wall: u64,
    /// How many commands follow. A record without any marks the time.
    pub count: u32,
}

/// A record, borrowed from the bytes of a segment.
#[derive(Debug)]
pub struct Record<'a> {
    /// Place and time.
    pub head: Head,
    commands: Vec<Command<'a>>,
}

/// One thing in a record.
#[derive(Debug)]
pub enum Step<'a> {
    /// A command took place.
    Entry(engine::Entry<'a>),
    /// Tokens are given out from `from` on, and below `below`, until another step says otherwise.
    Tokens {
        /// The first that may be given out.
        from: u64,
        /// The first that may not.
        below: u64,
    },
}

/// Bytes that are no record, and why.
#[derive(Debug, thiserror::Error)]
#[error("not a record: {0}")]
pub struct RecordError(String);

impl Head {
    pub(super) const fn new(
        shard: u32,
        number: u64,
        at: LogTime,
        wall: WallTime,
        count: u32,
    ) -> Self {
        Self {
            version: VERSION,
            shard,
            number,
            at: at.0,
            wall: wall.0,
            count,
        }
    }

    /// Appends the head.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode(self, out);
    }

    /// The head alone, which is cheaper than the whole record.
    ///
    /// # Errors
    ///
    /// The bytes do not begin with the head of a record that is known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::read(&mut rmp_serde::Deserializer::from_read_ref(bytes))
    }

    fn read<'a, D>(deserializer: D) -> Result<Self, RecordError>
    where
        D: serde::Deserializer<'a, Error = rmp_serde::decode::Error>,
    {
        let head = Self::deserialize(deserializer).map_err(|error| RecordError::of(&error))?;
        if head.version == VERSION {
            Ok(head)
        } else {
            let found = head.version;
            Err(RecordError(format!(
                "expected version {VERSION}, found {found}"
            )))
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record. Costs one allocation for the list of commands; texts are borrowed.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        let head = Head::read(&mut deserializer)?;
        let mut commands = Vec::new();
        for _ in 0..head.count {
            commands.push(
                Command::deserialize(&mut deserializer).map_err(|error| RecordError::of(&error))?,
            );
        }
        if IgnoredAny::deserialize(&mut deserializer).is_ok() {
            return Err(RecordError(String::from("there is more than its commands")));
        }
        Ok(Self { head, commands })
    }

    /// Lends its steps, in order, until one is not taken.
    ///
    /// # Errors
    ///
    /// What the taker says.
    pub fn lend<E>(&self, mut take: impl FnMut(Step<'_>) -> Result<(), E>) -> Result<(), E> {
        for command in &self.commands {
            command.lend(|command| match command {
                Ok(command) => take(Step::Entry(engine::Entry {
                    at: LogTime(self.head.at),
                    wall: WallTime(self.head.wall),
                    command: &command,
                })),
                Err(Tokens { from, below }) => take(Step::Tokens { from, below }),
            })?;
        }
        Ok(())
    }
}

/// Reads what [`encode`] has written, and nothing behind it.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    rmp_serde::from_slice(bytes).map_err(|error| RecordError::of(&error))
}

impl RecordError {
    pub(super) const fn new(what: String) -> Self {
        Self(what)
    }

    fn of(error: &rmp_serde::decode::Error) -> Self {
        Self(error.to_string())
    }
}

/// How many bytes a command takes at most in a record.
#[must_use]
pub fn bytes_max(command: &engine::Command<'_>) -> usize {
    command::bytes_max(command)
}

/// Appends a command.
pub(super) fn encode_command(command: &engine::Command<'_>, out: &mut Vec<u8>) {
    Command::from(command).put(&mut Writer::new(out));
}

/// Appends which tokens there are from here on.
pub(super) fn encode_tokens(from: u64, below: u64, out: &mut Vec<u8>) {
    Command::Tokens(Tokens { from, below }).put(&mut Writer::new(out));
}

/// Appends anything by position.
pub(super) fn encode(value: &impl Serialize, out: &mut Vec<u8>) {
    rmp_serde::encode::write(out, value)
        .expect("memory takes all that is written to it, and every length is known");
}
