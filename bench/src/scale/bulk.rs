//! A connection that asks in bulk: many requests in flight, and no more than a server takes. Knows no protocol.
//!
//! Rule: a server that is silent for longer than [`SILENCE_MAX`] while it owes an answer ends the measurement.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::BytesMut;

use super::{Crowd, Heard};

/// Requests that are written at once. Twice as many are in flight.
const BATCH: u32 = 256;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// How long a read waits before it looks at the time. Set once, since setting it is a system call of its own.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a server may take for an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// See the file's header.
pub struct Bulk {
    stream: TcpStream,
    inbound: Vec<u8>,
    filled: usize,
    outbound: BytesMut,
}

impl Bulk {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SILENCE_MAX)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
        Ok(Self {
            stream,
            inbound: vec![0; READ_BYTES],
            filled: 0,
            outbound: BytesMut::new(),
        })
    }

    /// Asks for each number once, and returns when all is answered. What was heard besides is in it too.
    ///
    /// # Errors
    /// The connection fails, or the server says what a crowd does not expect.
    pub fn ask<C: Crowd + ?Sized>(
        &mut self,
        crowd: &mut C,
        numbers: Range<u32>,
        mut write: impl FnMut(&mut C, u32, &mut BytesMut),
    ) -> Result<Heard> {
        let mut heard = Heard::default();
        let (mut next, last) = (numbers.start, numbers.end);
        loop {
            let answered = heard.done + heard.refused;
            let in_flight = (next - numbers.start)
                .checked_sub(answered)
                .context("the server has answered what nobody asked")?;
            if next < last && in_flight <= BATCH {
                let batch = next..last.min(next + BATCH);
                next = batch.end;
                for number in batch {
                    write(crowd, number, &mut self.outbound);
                }
                self.stream.write_all(&self.outbound)?;
                self.outbound.clear();
            } else if in_flight > 0 {
                let is_there = self.listen(crowd, SILENCE_MAX, &mut heard)?;
                ensure!(is_there, "the server has stopped answering");
            } else {
                return Ok(heard);
            }
        }
    }

    /// As [`ask`](Self::ask), where every answer has to be yes.
    ///
    /// # Errors
    /// As there; or one of the answers is no.
    pub fn ask_all<C: Crowd + ?Sized>(
        &mut self,
        crowd: &mut C,
        numbers: Range<u32>,
        write: impl FnMut(&mut C, u32, &mut BytesMut),
    ) -> Result<Heard> {
        let asked = numbers.len();
        let heard = self.ask(crowd, numbers, write)?;
        ensure!(
            heard.refused == 0,
            "expected {asked} times yes, found {} times no",
            heard.refused
        );
        Ok(heard)
    }

    /// Reads what comes within so long, or a tenth of a second longer. Tells whether anything has.
    ///
    /// # Errors
    /// The connection fails, or the server says what a crowd does not expect.
    pub fn listen<C: Crowd + ?Sized>(
        &mut self,
        crowd: &mut C,
        within: Duration,
        heard: &mut Heard,
    ) -> Result<bool> {
        let began = Instant::now();
        loop {
            match self.stream.read(&mut self.inbound[self.filled..]) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(count) => {
                    self.filled += count;
                    let used = crowd.hear(&self.inbound[..self.filled], heard)?;
                    self.inbound.copy_within(used..self.filled, 0);
                    self.filled -= used;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if began.elapsed() >= within {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
    }
}
