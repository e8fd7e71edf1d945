//! Looking at what a sweep is about to touch, all of it at once.
//!
//! A hold that is over has a lock, a session with losses, a place in a table and one in path order. Where very many are
//! held, each of these lies where nothing was for a while, and a sweep would wait for one after the other. Here nothing
//! depends on what is found: a processor fetches many at the same time. Changes nothing, and means nothing.

use alloc::vec::Vec;
use core::hint::black_box;

use crate::engine::Engine;
use crate::keys::{LockKey, SessionKey};
use crate::limits::SWEEP_MAX;
use crate::org::Address;

/// With so few locks, everything is near at hand.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 64 * 1024 };

impl Engine {
    /// Looks at what the next holds need that are over, as many as one step ends.
    pub(crate) fn look_ahead(&self) {
        if self.locks.len() <= FEW {
            return;
        }
        let due = self.deadlines.begun().take(SWEEP_MAX);
        let due: Vec<_> = due.filter_map(|(_, _, lock)| self.glance(lock)).collect();
        let sessions = due.iter().filter_map(|(_, session)| *session);
        let sessions = sessions.filter_map(|session| self.sessions.get(session));
        black_box(sessions.fold(0, |seen, session| seen ^ session.glance()));
        let table = due.iter().map(|(at, _)| self.org(at.org).paths.glance(at));
        black_box(table.fold(0, |seen, place| seen ^ place));
        let order = due.iter().map(|(at, _)| {
            let paths = &self.org(at.org).paths;
            paths.in_order.glance(at.path)
        });
        black_box(order.fold(0, |seen, place| seen ^ place));
    }

    /// Looks at where these locks will stand in path order.
    pub(crate) fn look_at_places(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let order = locks.iter().map(|lock| {
            let found = self.lock(*lock);
            self.org(found.org).paths.in_order.glance(&found.path)
        });
        black_box(order.fold(0, |seen, place| seen ^ place));
    }

    fn glance(&self, lock: LockKey) -> Option<(Address<'_>, Option<SessionKey>)> {
        let found = self.locks.get(lock.place())?;
        let session = found.holds.first().map(|hold| hold.first);
        Some((self.address(found.org, &found.path), session))
    }
}
