//! All that differs between systems under load: how a connection is introduced, how a lock is asked for, and what an
//! answer means. Knows no socket, no clock and no load.
//!
//! Rule: a dialect says that something was done only if the lock was truly had, or let go, by whoever asked.

mod conversation;
mod etcd;
mod nats;
mod resp;
mod slock;
mod tenure;

use anyhow::Result;

use crate::paths::Path;

pub use conversation::Conversation;
pub use etcd::Etcd;
pub use nats::Nats;
pub use resp::Resp;
pub use slock::Slock;
pub use tenure::{OnTheFloor, Tenure};

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The lock of a path that the asker does not hold, at once or not at all.
    Acquire,
    /// That it be free again.
    Release,
    /// That it be held for its whole term again.
    Renew,
    /// The lock, or else a place in line for it.
    Wait,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is so, and was not so before.
    Done,
    /// Somebody else holds the lock, or another request of this connection does; or the asker holds what is to be renewed
    /// or released no more.
    Refused,
    /// The asker stands in line. The slot is still in flight: its second answer says how that ended.
    Queued,
}

/// An answer to the one request that a slot has in flight: the only one, unless it is [`Outcome::Queued`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The slot, as it was given with the request.
    pub slot: u32,
    /// What came of the request.
    pub outcome: Outcome,
}

/// One connection's way to speak to its server.
pub trait Dialect: Send {
    /// Introduces the connection, as far as the server needs it before the first request.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn open(&mut self, conversation: &mut Conversation) -> Result<()>;

    /// Appends a request. A slot has one in flight at a time.
    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>);

    /// Reads the answers at the front of what has come in, and tells how many bytes they took.
    ///
    /// # Errors
    /// The server has answered anything but yes or no: then there is nothing to be measured.
    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize>;
}

/// A system under load: makes the dialects of its connections.
pub trait System: Sync {
    /// Over how many orgs its connections are spread in turn, or over what stands for them: only those whose numbers differ
    /// by a multiple of it want the same locks.
    fn orgs(&self) -> u32;

    /// Whether it can be asked so. One that cannot wait refuses only to be asked again, which is another load.
    fn supports(&self, ask: Ask) -> bool;

    /// Requests in flight on a connection that it makes use of; `None` is as many as there are.
    fn depth_max(&self) -> Option<u32> {
        None
    }

    /// The dialect of one connection, by its number from 0.
    fn dialect(&self, connection: u32) -> Box<dyn Dialect>;
}
