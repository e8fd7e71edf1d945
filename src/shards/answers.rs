//! What the connection that asks is told of its batch: the answers, and between them what its own sessions hear of it.
//!
//! Must hold: frames stand in the order in which they are said, so a loser hears before the winner is answered.

use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::Push;

use crate::outbox::Outbox;

/// See the file's header.
pub(super) struct Answers<'o> {
    pub(super) asker: &'o Arc<Outbox>,
    pub(super) bytes: BytesMut,
    /// How many frames there are in them.
    pub(super) frames: u64,
}

impl<'o> Answers<'o> {
    /// None yet, with room for some.
    pub(super) const fn to(asker: &'o Arc<Outbox>, room: BytesMut) -> Self {
        Self {
            asker,
            bytes: room,
            frames: 0,
        }
    }

    /// Whether this is the outbox of whoever asks.
    pub(super) fn are_for(&self, outbox: &Arc<Outbox>) -> bool {
        Arc::ptr_eq(self.asker, outbox)
    }

    /// Something that a session of whoever asks is told.
    pub(super) fn push(&mut self, push: &Push<'_>) {
        push.encode(&mut self.bytes);
        self.frames += 1;
    }
}
