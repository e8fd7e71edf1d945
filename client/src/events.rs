//! What the client tells of its connection, and of each session: what was kept through a reconnect, and what was lost.
//!
//! Listening is optional, and a slow listener misses events and is told how many; it never slows the connection.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::error::Error;
use crate::types::{Loss, SessionEnd};
use crate::viewing::PresenceEvent;

/// Something has happened to the connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The server has answered the hello. Sessions are resumed next.
    Connected {
        /// What the server is: `tenure/0.1.0`.
        server: String,
        /// The connection's number, as in the server's logs.
        connection: u64,
    },
    /// All sessions have been settled after a reconnect, and requests are taken again.
    Resumed(Arc<Resumption>),
    /// The connection is gone. Holds go on at the server, within the grace of their sessions.
    Disconnected {
        /// Why.
        why: Error,
    },
    /// The client has given up, or has been closed. No event follows.
    Closed {
        /// Why.
        why: Error,
    },
    /// The listener was too slow.
    Missed {
        /// How many events it has not seen.
        count: u64,
    },
}

/// What a reconnect has brought back.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Resumption {
    /// Sessions that go on.
    pub sessions: usize,
    /// Sessions that were gone and had nothing: they were opened again.
    pub reopened: usize,
    /// Sessions that are gone, with what they had.
    pub ended: Vec<EndedSession>,
    /// Holds that go on.
    pub kept: usize,
    /// Holds that were lost, of sessions that go on or are gone.
    pub lost: Vec<Loss>,
}

/// A session that could not be resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedSession {
    /// Its organisation.
    pub org: String,
    /// On whose behalf it acted.
    pub owner: String,
    /// Why it is over.
    pub why: SessionEnd,
}

/// Something has happened to one session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The connection is gone. The session waits to be resumed, within its grace.
    Detached,
    /// It goes on.
    Resumed {
        /// Paths of the holds that go on.
        kept: Vec<String>,
        /// Holds that were lost meanwhile.
        lost: Vec<Loss>,
    },
    /// It was gone and had nothing: it was opened again, under another number.
    Reopened,
    /// It is over, and its holds are lost. No event follows.
    Ended(SessionEnd),
    /// The listener was too slow.
    Missed {
        /// How many events it has not seen.
        count: u64,
    },
}

/// Events of one connection, session or presence, from the moment of listening on.
#[derive(Debug)]
pub struct Events<T> {
    receiver: broadcast::Receiver<T>,
    missed: fn(u64) -> T,
}

impl<T: Clone> Events<T> {
    /// The next event, or `None` when none can follow. Cancel-safe.
    pub async fn next(&mut self) -> Option<T> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some((self.missed)(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Events<ConnectionEvent> {
    pub(crate) fn of_connection(receiver: broadcast::Receiver<ConnectionEvent>) -> Self {
        Self {
            receiver,
            missed: |count| ConnectionEvent::Missed { count },
        }
    }
}

impl Events<SessionEvent> {
    pub(crate) fn of_session(receiver: broadcast::Receiver<SessionEvent>) -> Self {
        Self {
            receiver,
            missed: |count| SessionEvent::Missed { count },
        }
    }
}

impl Events<PresenceEvent> {
    pub(crate) fn of_presence(receiver: broadcast::Receiver<PresenceEvent>) -> Self {
        Self {
            receiver,
            missed: |count| PresenceEvent::Missed { count },
        }
    }
}
