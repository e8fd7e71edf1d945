//! What one batch has to tell connections that have not asked, until it is known what it rests on.
//!
//! Gathered under the shard's mutex, and put into outboxes before that is given back. Must hold: each connection is told
//! in the order in which it was said.

use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::Push;

use crate::gate::{Gate, Held};
use crate::journal::Mark;
use crate::outbox::Outbox;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Notes {
    bytes: BytesMut,
    notes: Vec<Note>,
}

/// Some frames for one connection.
#[derive(Debug)]
struct Note {
    to: Arc<Outbox>,
    /// Where its bytes end; they begin where those of the one before end.
    end: usize,
    frames: u64,
}

impl Notes {
    pub(super) fn push(&mut self, to: &Arc<Outbox>, push: &Push<'_>) {
        push.encode(&mut self.bytes);
        let end = self.bytes.len();
        match self.notes.last_mut() {
            Some(last) if Arc::ptr_eq(&last.to, to) => {
                last.end = end;
                last.frames += 1;
            }
            Some(_) | None => self.notes.push(Note {
                to: Arc::clone(to),
                end,
                frames: 1,
            }),
        }
    }

    /// Puts them into their outboxes. They may be written when the mark is reached, and then their connections are woken.
    pub(super) fn deliver(&mut self, mark: Mark, gate: &Gate) {
        let mut begin = 0;
        for note in self.notes.drain(..) {
            note.to
                .tell(&self.bytes[begin..note.end], note.frames, mark);
            begin = note.end;
            gate.hold(mark, Held::Connection(note.to));
        }
        self.bytes.clear();
    }
}
