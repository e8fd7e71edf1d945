//! The writing half of a connection: what is taken from its outbox, and written when what it rests on is on disk.
//!
//! Knows bytes, and no requests. Must hold: nothing leaves before its mark is reached; what is written is written in the
//! order in which it was taken.

use std::future::poll_fn;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::gate::{Gate, Held};
use crate::journal::Mark;
use crate::outbox::{Exchanged, Outbox};
use crate::outlet::Socket;
use crate::streams::Listener;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES: usize = 64 * 1024;

/// What is on its way out.
pub(super) struct Outbound<W> {
    writer: W,
    /// Swapped with the outbox's when all of it is written.
    pub(super) unwritten: BytesMut,
    /// What is unwritten may be written when this is reached.
    mark: Mark,
    /// Whether that is awaited.
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
            unwritten: BytesMut::new(),
            mark: Mark::default(),
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
        if self.unwritten.is_empty() {
            if self.unwritten.capacity() > KEPT_BYTES {
                self.unwritten = BytesMut::new();
            }
            self.unwritten.clear();
        }
        let found = outbox.exchange(&mut self.unwritten, woken);
        self.mark = self.mark.max(found.mark);
        found
    }

    /// Leaves the socket to others until the connection wakes, if it can.
    pub(super) fn lend(&mut self, outbox: &Outbox) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let unwritten = take(&mut self.unwritten);
        outbox.outlet.lend(socket.clone(), unwritten);
        true
    }

    /// Whether what is unwritten may be written. If not, the connection is woken when it may.
    pub(super) fn may_write(&mut self, gate: &Gate, outbox: &Arc<Outbox>) -> bool {
        if gate.is_reached(self.mark) {
            if self.is_held {
                self.is_held = false;
                self.progress = Instant::now();
            }
            return true;
        }
        if !self.is_held {
            self.is_held = true;
            gate.hold(self.mark, Held::Connection(Arc::clone(outbox)));
        }
        false
    }

    pub(super) fn has_more(&self) -> bool {
        !self.unwritten.is_empty() || !self.is_flushed
    }
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    /// Writes some of what there is. May be dropped at any time: what was done is known.
    pub(super) async fn advance(&mut self) -> std::io::Result<()> {
        if !self.unwritten.is_empty() {
            let count = self.writer.write(&self.unwritten).await?;
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            self.unwritten.advance(count);
            self.is_flushed = false;
            let is_done = self.unwritten.is_empty();
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
            if self.unwritten.is_empty() {
                return self.writer.shutdown().await;
            }
        }
    }
}
