//! All that differs between systems when something is published: how a connection is introduced, how it listens, how a
//! message is sent, and what of what comes in is one. Knows no socket and no load.

use std::sync::Arc;

use anyhow::Result;

use super::nats::NatsFeed;
use super::redis::RedisFeed;
use super::tenure::{TenureFeed, Told};
use crate::dialect::Conversation;
use crate::scale;

/// A system that is measured.
#[derive(Debug, Clone)]
pub enum System {
    /// Tenure's streams, and the API key for a server that asks for one.
    Tenure(Option<Arc<str>>),
    /// The same, but what is told is what happens to a lock.
    TenureLock(Option<Arc<str>>),
    /// Channels of Redis.
    Redis,
    /// Channels of Valkey.
    Valkey,
    /// Subjects of NATS, without streams.
    Nats,
}

/// What was at the front of what has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Messages.
    pub messages: u64,
    /// Bytes that they took, with what else there was.
    pub bytes: usize,
}

/// One connection's way to publish and to listen.
pub trait Feed: Send {
    /// Introduces the connection.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn open(&mut self, conversation: &mut Conversation) -> Result<()>;

    /// Asks for everything that is published from now on, and returns when that is certain.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn subscribe(&mut self, conversation: &mut Conversation) -> Result<()>;

    /// Appends a message.
    fn publish(&mut self, payload: &[u8], out: &mut Vec<u8>);

    /// Looks at what has come in.
    ///
    /// # Errors
    /// It is neither a message nor the answer to a publish.
    fn hear(&mut self, bytes: &[u8]) -> Result<Heard>;
}

impl System {
    /// What people call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tenure(_) => "tenure",
            Self::TenureLock(_) => "tenure, a lock",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Nats => "nats",
        }
    }

    /// Who asks for locks beside, where there are any.
    pub(super) fn crowd(&self) -> Option<scale::System> {
        match self {
            Self::Tenure(key) | Self::TenureLock(key) => Some(scale::System::Tenure(key.clone())),
            Self::Redis => Some(scale::System::Redis),
            Self::Valkey => Some(scale::System::Valkey),
            Self::Nats => None,
        }
    }

    /// The feed of one connection, for messages of so many bytes.
    pub(super) fn feed(&self, payload_bytes: usize) -> Box<dyn Feed> {
        match self {
            Self::Tenure(key) => Box::new(TenureFeed::new(key.clone(), Told::Published)),
            Self::TenureLock(key) => Box::new(TenureFeed::new(key.clone(), Told::Lock)),
            Self::Redis | Self::Valkey => Box::new(RedisFeed::new(payload_bytes)),
            Self::Nats => Box::new(NatsFeed::new(payload_bytes)),
        }
    }
}

/// How many messages, all alike, stand at the front, where one begins as `pattern` does.
pub(super) fn alike(bytes: &[u8], pattern: &[u8], length: usize) -> u64 {
    let messages = bytes.chunks_exact(length);
    messages
        .take_while(|message| message.starts_with(pattern))
        .count() as u64
}
