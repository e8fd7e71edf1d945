//! Looking at what a sweep is about to touch, all of it at once.
//!
//! A hold that is over has a lock and a session with losses. Where very many are held, each of these lies where nothing was
//! for a while, and a sweep would wait for one after the other. Here nothing depends on what is found: a processor fetches
//! many at the same time. Changes nothing and decides nothing.

use alloc::vec::Vec;
use core::hint::black_box;

use crate::engine::Engine;
use crate::keys::LockKey;
use crate::limits::SWEEP_MAX;
use crate::path_order;
use crate::session::Session;

/// With so few locks, they and their sessions are near at hand. An engine is one of several that share a processor's caches,
/// and come up in turn when very many holds are over.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 4 * 1024 };

/// With so few, path order is: it takes a tenth of the room.
const FEW_PLACES: usize = if cfg!(debug_assertions) { 4 } else { 64 * 1024 };

/// So many are looked at together: more than a processor fetches at once, and few enough to be still there afterwards.
pub(crate) const TOGETHER: usize = SWEEP_MAX;

impl Engine {
    /// Looks at what the next holds need that are over, as many as one step ends.
    pub(crate) fn look_ahead(&self) {
        if self.locks.len() <= FEW {
            return;
        }
        let mut due = Vec::with_capacity(TOGETHER);
        self.deadlines.begun().look_up_next(&mut due);
        self.look_at_locks(&due);
        self.look_at_holders(&due);
    }

    /// Looks at locks themselves.
    pub(crate) fn look_at_locks(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let found = locks.iter().filter_map(|key| self.locks.get(*key));
        black_box(found.fold(0, |seen, lock| seen ^ lock.glance()));
    }

    /// Looks at what their deadlines depend on, once they have been looked at themselves.
    pub(crate) fn look_at_renewals(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let renewed = self.holders(locks).map(|session| &session.renewed_at);
        look_at(renewed, |at| at.0);
    }

    /// Looks at where these locks will stand in path order.
    pub(crate) fn look_at_places(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW_PLACES {
            return;
        }
        let locks = locks.iter().map(|key| self.lock(*key));
        let sought = locks.map(|lock| (&self.org(lock.org).paths.in_order, &*lock.path));
        path_order::look_at_places(&sought.collect::<Vec<_>>());
    }

    /// Looks at what the holders of locks write when they lose these.
    fn look_at_holders(&self, locks: &[LockKey]) {
        let mut holders = Vec::with_capacity(TOGETHER);
        holders.extend(self.holders(locks));
        let holders = holders.iter().copied();
        look_at(holders.clone(), Session::glance);
        look_at(holders, |session| session.losses.glance());
    }

    /// The sessions that are in the first holds of locks, once these have been looked at themselves.
    fn holders(&self, locks: &[LockKey]) -> impl Iterator<Item = &Session> {
        let found = locks.iter().filter_map(|key| self.locks.get(*key));
        found.filter_map(|lock| self.sessions.get(lock.holds.first()?.first))
    }
}

/// Where each of them lies is found out first; so a processor does next to nothing between one and the next, and is far
/// ahead of what it waits for.
fn look_at<'n, N: 'n>(all: impl Iterator<Item = &'n N>, glance: impl Fn(&N) -> u64) {
    let mut places = Vec::with_capacity(TOGETHER);
    places.extend(all);
    let seen = |seen, one: &N| seen ^ glance(one);
    black_box(places.into_iter().fold(0, seen));
}
