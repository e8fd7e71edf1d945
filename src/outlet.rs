//! The way past a connection that sleeps: whoever has events for it writes them to its socket at once, and no task is woken.
//!
//! A connection with nothing to write leaves its socket here before it sleeps, and takes it back when it wakes. Knows frames
//! only as bytes. Must hold: at any time one writes, the connection or one other; what the socket did not take is kept, and
//! its connection, woken, writes it before anything else.

use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    lent: Mutex<Option<Lent>>,
}

/// What a connection leaves here while it sleeps.
#[derive(Debug)]
pub(crate) struct Lent {
    socket: Socket,
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

/// The half of a socket that is written to, from several places, though never at once.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<OwnedWriteHalf>);

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

    /// Has `fill` give something, tell how much that is, and whether there is more, and writes it. Tells whether it did, and
    /// that was all; if not, the connection has to be woken.
    pub(crate) fn write<'f>(&self, fill: impl FnOnce() -> Filled<'f>) -> bool {
        // Somebody else is at it: another writer, or the connection, which is waking. It is woken for this, too.
        let Some(mut lent) = self.lent.try_lock() else {
            return false;
        };
        let Some(lent) = lent.as_mut().filter(|lent| lent.unwritten.is_empty()) else {
            return false;
        };
        let filled = fill();
        lent.passed.frames += filled.frames;
        lent.passed.gaps += filled.gaps;
        lent.write(filled.bytes);
        lent.unwritten.is_empty() && !filled.has_more
    }
}

/// What is to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filled<'f> {
    /// Frames, which many may get: they need not be copied for each.
    pub(crate) bytes: &'f [u8],
    pub(crate) frames: u64,
    pub(crate) gaps: u64,
    pub(crate) has_more: bool,
}

impl Lent {
    /// Writes what the socket takes without waiting, and keeps the rest.
    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.passed.bytes += bytes.len() as u64;
        let count = self.socket.try_write(bytes);
        self.unwritten.extend_from_slice(&bytes[count..]);
    }
}

impl Socket {
    /// The other half is read from as tokio does it: after a read that has not filled its buffer it does not ask again.
    pub(crate) fn halves_of(stream: TcpStream) -> (OwnedReadHalf, Self) {
        let (reader, writer) = stream.into_split();
        (reader, Self(Arc::new(writer)))
    }

    /// An error is for the connection to find, which writes the rest.
    fn try_write(&self, bytes: &[u8]) -> usize {
        self.0.try_write(bytes).unwrap_or(0)
    }

    fn stream(&self) -> &TcpStream {
        (*self.0).as_ref()
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            // Nearly always it takes all at once, and whether it would need not be asked before.
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.stream().poll_write_ready(cx))?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(SockRef::from(self.stream()).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
pub(crate) mod tests;
