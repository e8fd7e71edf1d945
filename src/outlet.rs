//! The way past a connection that sleeps: whoever has events for it writes them to its socket at once, and no task is woken.
//!
//! A connection with nothing to write leaves its socket here before it sleeps, and takes it back when it wakes. Knows frames
//! only as bytes. Must hold: at any time one writes, the connection or one other; what the socket did not take is kept, and
//! its connection, woken, writes it before anything else.

use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    lent: Mutex<Option<Lent>>,
}

/// What a connection leaves here while it sleeps.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) socket: Socket,
    /// What the socket has not taken: nothing, when it is left here.
    pub(crate) unwritten: BytesMut,
    /// What has been written meanwhile.
    pub(crate) passed: Passed,
}

/// What has gone past the connection, which counts it when it wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Passed {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) gaps: u64,
}

/// A socket that can be written to from several places, though never at once.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Outlet {
    /// The connection is about to sleep.
    pub(crate) fn lend(&self, socket: Socket, unwritten: BytesMut) {
        let passed = Passed::default();
        *self.lent.lock() = Some(Lent {
            socket,
            unwritten,
            passed,
        });
    }

    /// The connection has woken. Waits for whoever is writing, which takes one system call.
    pub(crate) fn take_back(&self) -> Option<Lent> {
        self.lent.lock().take()
    }

    /// Has `fill` append something, tell how many frames and gaps that is, and whether there is more, and writes it. Tells
    /// whether it did, and that was all; if not, the connection has to be woken.
    pub(crate) fn write(&self, fill: impl FnOnce(&mut BytesMut) -> Filled) -> bool {
        // Somebody else is writing: that was not the connection, which is woken for this then.
        let Some(mut lent) = self.lent.try_lock() else {
            return false;
        };
        let Some(lent) = lent.as_mut().filter(|lent| lent.unwritten.is_empty()) else {
            return false;
        };
        let filled = fill(&mut lent.unwritten);
        lent.passed.bytes += lent.unwritten.len() as u64;
        lent.passed.frames += filled.frames;
        lent.passed.gaps += filled.gaps;
        lent.write_once();
        lent.unwritten.is_empty() && !filled.has_more
    }
}

/// What has been appended, to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) frames: u64,
    pub(crate) gaps: u64,
    pub(crate) has_more: bool,
}

impl Lent {
    /// Writes what the socket takes without waiting. An error is for the connection to find, which writes the rest.
    fn write_once(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let count = self.socket.0.try_write(&self.unwritten).unwrap_or(0);
        if count == self.unwritten.len() {
            self.unwritten.clear();
        } else {
            self.unwritten.advance(count);
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests;
