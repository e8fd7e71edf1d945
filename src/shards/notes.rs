//! What one batch has to tell connections that have not asked, until it is known what it rests on; and which of them have
//! to be woken for it.
//!
//! Gathered under the shard's mutex, and put into outboxes before that is given back; connections are woken afterwards.
//! Must hold: each connection is told in the order in which it was said, and whoever was told is woken.

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use tenure_engine::{SessionId, SessionRef};
use tenure_protocol::Push;

use super::hearers::Route;
use crate::gate::{Gate, Held};
use crate::journal::Mark;
use crate::outbox::Outbox;

/// Room that has grown beyond this is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// All that is said, one after the other.
    said: BytesMut,
    /// Who is told what part of that.
    notes: Vec<Note>,
    /// For whom the last parts are, if it is not known yet where these sessions are reached.
    unaddressed: Vec<(SessionRef, usize)>,
    called: Called,
}

/// One frame or several for one connection, or for nobody.
#[derive(Debug)]
struct Note {
    to: Option<Arc<Outbox>>,
    bytes: usize,
    frames: u64,
}

/// Connections that have something to write, and what that rests on. They do not know yet.
#[derive(Debug, Default)]
#[must_use = "whoever is not woken does not write"]
pub(super) struct Called(Vec<(Mark, Arc<Outbox>)>);

impl Notes {
    /// Tells a connection.
    pub(super) fn push(&mut self, to: &Arc<Outbox>, push: &Push<'_>) {
        debug_assert!(
            self.unaddressed.is_empty(),
            "what was said before comes first"
        );
        let bytes = push.encode(&mut self.said);
        self.note(Some(to), bytes);
    }

    /// Tells an attachment of a session, wherever that is: see [`address`](Self::address).
    pub(super) fn leave(&mut self, to: SessionRef, push: &Push<'_>) {
        self.unaddressed.push((to, push.encode(&mut self.said)));
    }

    pub(super) const fn has_unaddressed(&self) -> bool {
        !self.unaddressed.is_empty()
    }

    /// Finds out where those are reached for whom something was left; not all of them are any more. One after the other, and
    /// nothing else between: among very many sessions, each of them lies where nothing was for a while, and a processor
    /// looks for several at the same time (ADR 15).
    pub(super) fn address(&mut self, routes: &HashMap<SessionId, Route>) {
        let mut left = mem::take(&mut self.unaddressed);
        let route = |to: &SessionRef| {
            let route = routes.get(&to.session)?;
            (route.attach == to.attach).then_some(&route.outbox)
        };
        let found: Vec<_> = left.iter().map(|(to, bytes)| (route(to), *bytes)).collect();
        for (to, bytes) in found {
            self.note(to, bytes);
        }
        left.clear();
        self.unaddressed = left;
    }

    fn note(&mut self, to: Option<&Arc<Outbox>>, bytes: usize) {
        if let (Some(last), Some(to)) = (self.notes.last_mut(), to)
            && last.to.as_ref().is_some_and(|last| Arc::ptr_eq(last, to))
        {
            last.bytes += bytes;
            last.frames += 1;
            return;
        }
        self.notes.push(Note {
            to: to.cloned(),
            bytes,
            frames: 1,
        });
    }

    /// Puts them into their outboxes. They may be written when the mark is reached.
    pub(super) fn deliver(&mut self, mark: Mark) {
        let mut said = &self.said[..];
        for note in self.notes.drain(..) {
            let bytes;
            (bytes, said) = said.split_at(note.bytes);
            if let Some(to) = note.to
                && to.tell(bytes, note.frames, mark)
            {
                self.called.0.push((mark, to));
            }
        }
        self.said.clear();
        if self.said.capacity() > KEPT_BYTES {
            self.said = BytesMut::new();
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
    use tenure_engine::Attach;
    use tenure_protocol::push;

    use super::*;
    use crate::outbox::Unwritten;

    fn taken(outbox: &Outbox) -> usize {
        let mut written = Unwritten::default();
        outbox.exchange(&mut written, &mut Vec::new());
        written.bytes.len()
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

    #[test]
    fn what_is_left_for_sessions_comes_where_they_are_attached_and_what_is_for_nobody_comes_nowhere()
     {
        let outboxes = [(); 2].map(|()| Arc::new(Outbox::new(1 << 16)));
        let attached = |session, outbox: &Arc<Outbox>| {
            let (attach, outbox) = (Attach(7), Arc::clone(outbox));
            (SessionId(session), Route { attach, outbox })
        };
        let routes = [attached(1, &outboxes[0]), attached(2, &outboxes[1])];
        let routes = HashMap::from_iter(routes);
        let push = |session| Push::SessionMoved(push::Moved { session });
        let to = |session, attach| SessionRef {
            session: SessionId(session),
            attach: Attach(attach),
        };
        let mut notes = Notes::default();
        for (session, attach) in [(1, 7), (1, 6), (2, 7), (3, 7), (2, 7)] {
            notes.leave(
                to(session, attach),
                &push(100 * session + u64::from(attach)),
            );
        }
        notes.address(&routes);
        notes.push(&outboxes[0], &push(5));
        notes.deliver(Mark::default());
        assert_eq!(notes.called().0.len(), 2);
        for (outbox, told) in [(&outboxes[0], [107, 5]), (&outboxes[1], [207, 207])] {
            let (mut written, mut expected) = (Unwritten::default(), BytesMut::new());
            let taken = outbox.exchange(&mut written, &mut Vec::new());
            for session in told {
                push(session).encode(&mut expected);
            }
            assert_eq!((taken.frames, written.bytes), (2, expected));
        }
    }
}
