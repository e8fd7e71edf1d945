//! One connection of the hall: reads all that is there and counts it, writes as far as the socket takes it.
//! Knows no system, and no other connection.

use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;

use super::feed::Feed;
use crate::dialect::Conversation;

/// Bytes that are read at once.
const READ_BYTES: usize = 32 * 1024;

/// See the file's header.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    feed: Box<dyn Feed>,
    inbound: Vec<u8>,
    filled: usize,
    outbound: Vec<u8>,
    written: usize,
    /// How many messages have come.
    pub(super) messages: u64,
}

impl Link {
    /// One that has been introduced.
    pub(super) fn new(conversation: Conversation, feed: Box<dyn Feed>) -> Result<Self> {
        let (stream, read) = conversation.into_parts();
        stream.set_nonblocking(true)?;
        let mut inbound = vec![0; READ_BYTES];
        inbound[..read.len()].copy_from_slice(&read);
        Ok(Self {
            stream: TcpStream::from_std(stream),
            feed,
            inbound,
            filled: read.len(),
            outbound: Vec::new(),
            written: 0,
            messages: 0,
        })
    }

    /// Appends a message to what is to be written.
    pub(super) fn publish(&mut self, payload: &[u8]) {
        self.feed.publish(payload, &mut self.outbound);
    }

    /// Reads all that is there.
    pub(super) fn read(&mut self) -> Result<()> {
        loop {
            let room = &mut self.inbound[self.filled..];
            let most = room.len();
            match self.stream.read(room) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(count) => {
                    self.filled += count;
                    let heard = self.feed.hear(&self.inbound[..self.filled])?;
                    self.messages += heard.messages;
                    self.inbound.copy_within(heard.bytes..self.filled, 0);
                    self.filled -= heard.bytes;
                    if self.filled == self.inbound.len() {
                        bail!("the server has sent a message of more than {READ_BYTES} bytes");
                    }
                    // A socket that gave less than it could is empty, and tells when it is not.
                    if count < most {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
    }

    /// Writes what there is to be written, as far as the socket takes it.
    pub(super) fn write(&mut self) -> Result<()> {
        while self.written < self.outbound.len() {
            match self.stream.write(&self.outbound[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
        self.outbound.clear();
        self.written = 0;
        Ok(())
    }
}
