//! The writing half of a connection: what is taken from its outbox, and written when what it rests on is on disk.
//!
//! Knows bytes, and no requests. Must hold: nothing leaves before its mark is reached; what is written is written in the
//! order in which it was taken.

use std::future::poll_fn;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::pass;
use crate::gate::{Gate, Held};
use crate::outbox::{Exchanged, Outbox, Unwritten};
use crate::outlet::Socket;
use crate::streams::Listener;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES: usize = 64 * 1024;

/// Reading stops while more than this is to be written.
pub(super) const UNWRITTEN_MAX: usize = 256 * 1024;

/// What is on its way out.
pub(super) struct Outbound<W> {
    writer: W,
    /// What is to be written next. Swapped with the outbox's when all of it is.
    pub(super) unwritten: Unwritten,
    /// Whether its mark is awaited.
    pub(super) is_held: bool,
    /// Whether all that was written has left the writer, which under TLS has a buffer of its own.
    pub(super) is_flushed: bool,
    pub(super) progress: Instant,
    /// Where the writer leads, if others may write to it: under TLS what is written has to be enciphered.
    socket: Option<Socket>,
}

impl<W> Outbound<W> {
    /// Nothing so far. Others may write where the writer leads, if its socket is given.
    pub(super) fn new(writer: W, socket: Option<Socket>) -> Self {
        Self {
            writer,
            unwritten: Unwritten::default(),
            is_held: false,
            is_flushed: true,
            progress: Instant::now(),
            socket,
        }
    }

    /// Takes what is to be written next, if all that was taken before is written.
    pub(super) fn exchange(
        &mut self,
        outbox: &Outbox,
        woken: &mut Vec<Arc<Listener>>,
    ) -> Exchanged {
        let bytes = &mut self.unwritten.bytes;
        if bytes.is_empty() && bytes.capacity() > KEPT_BYTES {
            *bytes = BytesMut::new();
        }
        outbox.exchange(&mut self.unwritten, woken)
    }

    /// Leaves the socket to others until the connection wakes, if it can.
    pub(super) fn lend(&mut self, outbox: &Outbox) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let unwritten = take(&mut self.unwritten.bytes);
        outbox.outlet.lend(socket.clone(), unwritten);
        true
    }

    /// Whether what is unwritten may be written. If not, the connection is woken when it may.
    pub(super) fn may_write(&mut self, gate: &Gate, outbox: &Arc<Outbox>) -> bool {
        if gate.is_reached(self.unwritten.mark) {
            if self.is_held {
                self.is_held = false;
                self.progress = Instant::now();
            }
            return true;
        }
        if !self.is_held {
            self.is_held = true;
            gate.hold(self.unwritten.mark, Held::Connection(Arc::clone(outbox)));
        }
        false
    }

    /// Whether more may be read, if so many bytes are in the outbox.
    pub(super) fn has_room_beside(&self, left: usize) -> bool {
        self.unwritten.bytes.len() + left < UNWRITTEN_MAX
    }

    pub(super) fn has_more(&self) -> bool {
        !self.unwritten.bytes.is_empty() || !self.is_flushed
    }
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    /// Writes some of what there is. May be dropped at any time: what was done is known.
    pub(super) async fn advance(&mut self) -> std::io::Result<()> {
        let unwritten = &mut self.unwritten.bytes;
        if !unwritten.is_empty() {
            let count = self.writer.write(unwritten).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            let is_done = count == unwritten.len();
            pass(unwritten, count);
            self.is_flushed = false;
            // What the socket has taken whole needs no watching.
            if !is_done || self.socket.is_none() {
                self.progress = Instant::now();
            }
            if !is_done {
                return Ok(());
            }
        }
        // TLS keeps what the socket did not take at once, until it is asked to let go of it.
        self.writer.flush().await?;
        self.is_flushed = true;
        Ok(())
    }

    /// Writes what can be written without waiting, if anything may be: nearly always all. Nothing if it has to wait.
    pub(super) async fn advance_now(&mut self, may_write: bool) -> Option<std::io::Result<()>> {
        if !may_write || !self.has_more() {
            return None;
        }
        let mut advance = pin!(self.advance());
        let look = |context: &mut Context<'_>| match advance.as_mut().poll(context) {
            Poll::Ready(written) => Poll::Ready(Some(written)),
            Poll::Pending => Poll::Ready(None),
        };
        poll_fn(look).await
    }

    /// Writes what is left, and what comes meanwhile.
    pub(super) async fn finish(
        &mut self,
        outbox: &Arc<Outbox>,
        gate: &Gate,
    ) -> std::io::Result<()> {
        loop {
            while self.has_more() {
                while !self.may_write(gate, outbox) {
                    outbox.ready().await;
                }
                self.advance().await?;
            }
            self.exchange(outbox, &mut Vec::new());
            if self.unwritten.bytes.is_empty() {
                return self.writer.shutdown().await;
            }
        }
    }
}
