//! Looking at what a sweep is about to touch, all of it at once.
//!
//! A hold that is over has a lock, a session with losses, a place in a table and one in path order. Where very many are
//! held, each of these lies where nothing was for a while, and a sweep would wait for one after the other. Here nothing
//! depends on what is found: a processor fetches many at the same time. Changes nothing, and means nothing.

use alloc::vec::Vec;
use core::hint::black_box;

use crate::engine::Engine;
use crate::keys::LockKey;
use crate::limits::SWEEP_MAX;
use crate::path_order;

/// With so few locks, everything is near at hand.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 64 * 1024 };

/// So many are looked at together: more than a processor fetches at once, and few enough to be still there afterwards.
pub(crate) const TOGETHER: usize = SWEEP_MAX;

impl Engine {
    /// Looks at what the next holds need that are over, as many as one step ends.
    pub(crate) fn look_ahead(&self) {
        if self.locks.len() <= FEW {
            return;
        }
        let due = self.deadlines.begun().take(SWEEP_MAX);
        let due: Vec<_> = due.map(|(_, _, lock)| lock).collect();
        self.look_at_locks(&due);
        let found: Vec<_> = (due.iter().filter_map(|lock| self.locks.get(lock.place()))).collect();
        let sessions = found
            .iter()
            .filter_map(|lock| self.sessions.get(lock.holds.first()?.first));
        let sessions: Vec<_> = sessions.collect();
        black_box(
            sessions
                .iter()
                .fold(0, |seen, session| seen ^ session.glance()),
        );
        look_at(sessions.iter().flat_map(|session| session.losses.ends()));
        let found = found.into_iter();
        let found = found.map(|lock| (self.address(lock.org, &lock.path), self.org(lock.org)));
        let found: Vec<_> = found.collect();
        look_at(found.iter().filter_map(|(at, org)| org.paths.near(at)));
        path_order::glance(found.iter().map(|(at, org)| (&org.paths.in_order, at.path)));
    }

    /// Looks at locks themselves.
    pub(crate) fn look_at_locks(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let found = locks.iter().filter_map(|key| self.locks.get(key.place()));
        black_box(found.fold(0, |seen, lock| seen ^ lock.glance()));
    }

    /// Looks at what their deadlines depend on, once they have been looked at themselves.
    pub(crate) fn look_at_renewals(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let found = locks.iter().filter_map(|key| self.locks.get(key.place()));
        let holders = found.filter_map(|lock| self.sessions.get(lock.holds.first()?.first));
        look_at(holders.map(|session| &session.renewed_at.0));
    }

    /// Looks at where these locks will stand in path order.
    pub(crate) fn look_at_places(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let locks = locks.iter().map(|key| self.lock(*key));
        path_order::glance(locks.map(|lock| (&self.org(lock.org).paths.in_order, &*lock.path)));
    }
}

/// Where each of them lies is found out first; so a processor does next to nothing between one and the next, and is far
/// ahead of what it waits for.
fn look_at<'n, N: Copy + Into<u64> + 'n>(all: impl Iterator<Item = &'n N>) {
    let all: Vec<_> = all.collect();
    let seen = |seen, one: &N| seen ^ (*one).into();
    black_box(all.into_iter().fold(0, seen));
}
