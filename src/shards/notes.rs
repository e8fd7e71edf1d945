//! What one batch has to tell connections that have not asked, until it is known what it rests on; and which of them have
//! to be woken for it.
//!
//! Gathered under the shard's mutex, and put into outboxes before that is given back; connections are woken afterwards.
//! Must hold: each connection is told in the order in which it was said, and whoever was told is woken.

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::Push;

use crate::gate::{Gate, Held};
use crate::journal::Mark;
use crate::outbox::Outbox;

/// Among so many connections a batch mostly goes to and fro: what is for one of them is put together.
const NEAR: usize = 8;

/// Room of so many connections is used again.
const ROOMS_KEPT: usize = 8;

/// A room that has grown beyond this is given back.
const KEPT_BYTES: usize = 16 * 1024;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    rooms: Vec<BytesMut>,
    called: Called,
}

/// Some frames for one connection.
#[derive(Debug)]
struct Note {
    to: Arc<Outbox>,
    bytes: BytesMut,
    frames: u64,
}

/// Connections that have something to write, and what that rests on. They do not know yet.
#[derive(Debug, Default)]
#[must_use = "whoever is not woken does not write"]
pub(super) struct Called(Vec<(Mark, Arc<Outbox>)>);

impl Notes {
    pub(super) fn push(&mut self, to: &Arc<Outbox>, push: &Push<'_>) {
        let mut near = self.notes.iter_mut().rev().take(NEAR);
        if let Some(note) = near.find(|note| Arc::ptr_eq(&note.to, to)) {
            push.encode(&mut note.bytes);
            note.frames += 1;
            return;
        }
        let mut bytes = self.rooms.pop().unwrap_or_default();
        push.encode(&mut bytes);
        self.notes.push(Note {
            to: Arc::clone(to),
            bytes,
            frames: 1,
        });
    }

    /// Puts them into their outboxes. They may be written when the mark is reached.
    pub(super) fn deliver(&mut self, mark: Mark) {
        for mut note in self.notes.drain(..) {
            if note.to.tell(&note.bytes, note.frames, mark) {
                self.called.0.push((mark, note.to));
            }
            if self.rooms.len() < ROOMS_KEPT && note.bytes.capacity() <= KEPT_BYTES {
                note.bytes.clear();
                self.rooms.push(note.bytes);
            }
        }
    }

    /// Those who were told and are to be woken.
    pub(super) fn called(&mut self) -> Called {
        mem::take(&mut self.called)
    }
}

impl Called {
    /// Wakes them when what they were told may be written. Not to be called under a shard's mutex.
    pub(super) fn wake(self, gate: &Gate) {
        for (mark, outbox) in self.0 {
            gate.hold(mark, Held::Connection(outbox));
        }
    }

    /// Has more woken together with these.
    pub(super) fn join(&mut self, mut more: Self) {
        if self.0.is_empty() {
            *self = more;
        } else {
            self.0.append(&mut more.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_protocol::push;

    use super::*;

    fn taken(outbox: &Outbox) -> usize {
        let mut bytes = BytesMut::new();
        outbox.exchange(&mut bytes, &mut Vec::new());
        bytes.len()
    }

    #[test]
    fn what_is_for_one_connection_is_put_together_and_it_is_woken_until_it_has_taken_that() {
        let outboxes = [(); 2].map(|()| Arc::new(Outbox::new(1 << 16)));
        let ping = Push::ServerPing(push::Ping {});
        let mut bytes = BytesMut::new();
        let one = ping.encode(&mut bytes);
        let mut notes = Notes::default();
        let mut tell = |times: usize| {
            for outbox in outboxes.iter().cycle().take(2 * times) {
                notes.push(outbox, &ping);
            }
            notes.deliver(Mark::default());
            notes.called().0.len()
        };
        assert_eq!(tell(3), 2, "each of them once");
        assert_eq!(tell(1), 0, "they are at it");
        assert_eq!(taken(&outboxes[0]), 4 * one);
        assert_eq!(tell(1), 1, "one has taken what there was");
        assert_eq!(taken(&outboxes[1]), 5 * one);
    }
}
