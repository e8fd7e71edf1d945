//! One connection under load: reads what is there, and writes in one go what follows from it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;

use super::course::{Course, Slot};
use crate::dialect::{Answer, Conversation, Dialect};

/// Bytes that are read at once, which is more than the answers of any sensible depth.
const READ_BYTES: usize = 64 * 1024;

/// See the file's header.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    dialect: Box<dyn Dialect>,
    slots: Vec<Slot>,
    depth: u32,
    /// Slots that have a request in flight.
    busy: u32,
    inbound: Vec<u8>,
    filled: usize,
    outbound: Vec<u8>,
    written: usize,
    answers: Vec<Answer>,
}

impl Connection {
    /// One that has been introduced.
    pub(crate) fn new(
        conversation: Conversation,
        dialect: Box<dyn Dialect>,
        depth: u32,
    ) -> Result<Self> {
        let (stream, read) = conversation.into_parts();
        stream.set_nonblocking(true)?;
        let mut inbound = vec![0; READ_BYTES];
        inbound[..read.len()].copy_from_slice(&read);
        Ok(Self {
            stream: TcpStream::from_std(stream),
            dialect,
            slots: Vec::with_capacity(depth as usize),
            depth,
            busy: 0,
            inbound,
            filled: read.len(),
            outbound: Vec::new(),
            written: 0,
            answers: Vec::new(),
        })
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Fills every slot.
    pub(crate) fn begin(&mut self, course: &mut Course) -> Result<()> {
        let now = Instant::now();
        for number in 0..self.depth {
            let slot = course.begin(now);
            self.dialect
                .ask(number, slot.ask, &slot.path, &mut self.outbound);
            self.slots.push(slot);
        }
        self.busy = self.depth;
        self.write()
    }

    /// Reads all that is there, and asks on.
    pub(crate) fn read(&mut self, course: &mut Course) -> Result<()> {
        loop {
            let room = &mut self.inbound[self.filled..];
            let most = room.len();
            match self.stream.read(room) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(count) => {
                    self.filled += count;
                    self.take_answers(course)?;
                    // A socket that gave less than it could is empty, and tells when it is not: no need to ask it.
                    if count < most {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
        self.write()
    }

    fn take_answers(&mut self, course: &mut Course) -> Result<()> {
        let now = Instant::now();
        let read = &self.inbound[..self.filled];
        let used = self.dialect.answers(read, &mut self.answers)?;
        self.inbound.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.filled == self.inbound.len() {
            bail!("the server has sent an answer of more than {READ_BYTES} bytes");
        }
        for answer in self.answers.drain(..) {
            let slot = self
                .slots
                .get_mut(answer.slot as usize)
                .context("the server has answered what nobody asked")?;
            if course.answered(slot, answer.outcome, now) {
                self.dialect
                    .ask(answer.slot, slot.ask, &slot.path, &mut self.outbound);
            } else {
                self.busy -= 1;
            }
        }
        Ok(())
    }

    /// Writes what there is to be written, as far as the socket takes it; the rest when it takes more.
    pub(crate) fn write(&mut self) -> Result<()> {
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
