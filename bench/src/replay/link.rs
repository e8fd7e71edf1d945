//! A connection that neither waits nor sleeps: takes what is to be asked, and gives what was answered. Knows no edit.
//!
//! Rule: what does not fit the socket is kept, in order, until it does.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail};

use crate::dialect::{Answer, Ask, Conversation, Dialect};
use crate::paths::Path;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// See the file's header.
pub(super) struct Link {
    stream: TcpStream,
    dialect: Box<dyn Dialect>,
    inbound: Vec<u8>,
    filled: usize,
    outbound: Vec<u8>,
    written: usize,
}

impl Link {
    /// Connects, and introduces itself.
    pub(super) fn open(address: SocketAddr, mut dialect: Box<dyn Dialect>) -> Result<Self> {
        let mut conversation = Conversation::connect(address)?;
        dialect.open(&mut conversation)?;
        let (stream, read) = conversation.into_parts();
        stream.set_nonblocking(true)?;
        let mut inbound = vec![0; READ_BYTES];
        inbound[..read.len()].copy_from_slice(&read);
        Ok(Self {
            stream,
            dialect,
            inbound,
            filled: read.len(),
            outbound: Vec::new(),
            written: 0,
        })
    }

    pub(super) fn ask(&mut self, slot: u32, ask: Ask, path: &Path) {
        self.dialect.ask(slot, ask, path, &mut self.outbound);
    }

    /// Writes what was asked, as far as it is taken, and appends what was answered.
    pub(super) fn exchange(&mut self, answers: &mut Vec<Answer>) -> Result<()> {
        while self.written < self.outbound.len() {
            match self.stream.write(&self.outbound[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
        if self.written == self.outbound.len() {
            self.outbound.clear();
            self.written = 0;
        }
        match self.stream.read(&mut self.inbound[self.filled..]) {
            Ok(0) => bail!("the server has closed the connection"),
            Ok(count) => self.filled += count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("the connection has failed"),
        }
        let used = self
            .dialect
            .answers(&self.inbound[..self.filled], answers)?;
        self.inbound.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}
