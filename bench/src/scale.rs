//! What very many holds, sessions and connections come to: [`memory`], [`keep`], [`expiry`] and [`idle`].
//!
//! ```text
//!  measurement --> bulk (a connection that asks in bulk) --> crowd (the sessions on it, in its system's words) --> server
//! ```
//!
//! A [`Crowd`] is all that differs between systems; the measurements know none. Rule: what a server has not granted, or not
//! told, is no figure but an error.

mod bulk;
pub mod expiry;
pub mod idle;
pub mod keep;
pub mod memory;
mod probe;
mod redis;
mod tenure;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;
use hdrhistogram::Histogram;

pub use self::bulk::Bulk;
use self::redis::RedisCrowd;
use self::tenure::TenureCrowd;

/// A system that is measured.
#[derive(Debug, Clone)]
pub enum System {
    /// Tenure, and the API key for a server that asks for one.
    Tenure(Option<Arc<str>>),
    /// Redis: a lock is a key that is set if it is not there, with a time to live.
    Redis,
    /// Valkey, in the same words.
    Valkey,
}

impl System {
    /// What people call it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tenure(_) => "tenure",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// Over how many connections the notices come, of so many that are wanted. Redis sends all of them to everybody.
    #[must_use]
    pub const fn listening_connections(&self, wanted: u32) -> u32 {
        match self {
            Self::Tenure(_) => wanted,
            Self::Redis | Self::Valkey => 1,
        }
    }

    /// A connection with so many sessions on it, introduced and opened, whose holders stand in the session.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer as it should.
    fn open(
        &self,
        address: SocketAddr,
        connection: u32,
        sessions: u32,
    ) -> Result<(Bulk, Box<dyn Crowd>)> {
        let mut bulk = Bulk::connect(address)?;
        let mut crowd = self.crowd(connection, sessions, Shape::InTheSession);
        crowd.open(&mut bulk)?;
        Ok((bulk, crowd))
    }

    /// So many sessions, to be introduced on the connection with this number.
    #[must_use]
    pub fn crowd(&self, connection: u32, sessions: u32, shape: Shape) -> Box<dyn Crowd> {
        match self {
            Self::Tenure(key) => Box::new(TenureCrowd::new(
                key.clone(),
                connection,
                sessions.max(1),
                shape,
            )),
            Self::Redis | Self::Valkey => Box::new(RedisCrowd::new(shape)),
        }
    }
}

/// Where it stands who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In 52 bytes of content with every hold, as in a key's value.
    InTheHold,
    /// In the session: owner, name and 80 bytes of metadata, once for all that it holds. A system without sessions has 80
    /// bytes of content with every hold.
    InTheSession,
}

/// The sessions that speak over one connection. A lock is known by its number, which also says which session is meant.
pub trait Crowd: Send {
    /// Introduces the connection, and opens its sessions.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn open(&mut self, bulk: &mut Bulk) -> Result<()>;

    /// Asks to be told of locks whose time is over, where that has to be asked for.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn listen(&mut self, bulk: &mut Bulk) -> Result<()>;

    /// Ends the sessions. They hold nothing any more.
    ///
    /// # Errors
    /// The server does not answer, or not as it should.
    fn close(&mut self, bulk: &mut Bulk) -> Result<()>;

    /// Appends a request for a lock that lives for so long.
    fn acquire(&mut self, number: u32, ttl: Duration, out: &mut BytesMut);

    /// Appends the request to let go of it.
    fn release(&mut self, number: u32, out: &mut BytesMut);

    /// The numbers of the requests that it takes to renew these locks, which are all that its sessions hold.
    fn renewals(&self, holds: Range<u32>) -> Range<u32>;

    /// Appends the one of them with this number, after which its locks live for so long.
    fn renew(&mut self, number: u32, ttl: Duration, out: &mut BytesMut);

    /// Appends a sign of life, which is answered.
    fn beat(&mut self, out: &mut BytesMut);

    /// Reads what is at the front of what has come in, and tells how many bytes it took.
    ///
    /// # Errors
    /// The server has answered anything but yes or no.
    fn hear(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<usize>;
}

/// What a server has said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Requests that were answered with yes.
    pub done: u32,
    /// Requests that were answered with no.
    pub refused: u32,
    /// Numbers of the locks whose time was told to be over.
    pub expired: Vec<u32>,
}

fn microseconds() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(120_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(took.as_micros() as u64);
}

/// The numbers of the locks, of so many, that one of some connections has.
fn share(holds: u32, connection: u32, connections: u32) -> Range<u32> {
    let before = |number: u32| u64::from(holds) * u64::from(number) / u64::from(connections);
    before(connection) as u32..before(connection + 1) as u32
}
