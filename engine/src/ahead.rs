//! Looking at what a sweep is about to touch, all of it at once.
//!
//! A hold that is over has a lock, a session with losses, a place in a table and one in path order. Where very many are
//! held, each of these lies where nothing was for a while, and a sweep would wait for one after the other. Here nothing
//! depends on what is found: a processor fetches many at the same time. Changes nothing, and means nothing.

use alloc::vec::{self, Vec};
use core::hint::black_box;

use crate::engine::Engine;
use crate::keys::LockKey;
use crate::limits::SWEEP_MAX;
use crate::path_order::{self, RunFound};
use crate::session::Session;

/// With so few locks, everything is near at hand.
const FEW: usize = if cfg!(debug_assertions) { 4 } else { 64 * 1024 };

/// So many are looked at together: more than a processor fetches at once, and few enough to be still there afterwards.
pub(crate) const TOGETHER: usize = SWEEP_MAX;

/// Where locks were found that a sweep is about to take, in the order in which it takes them.
#[derive(Debug, Default)]
pub(crate) struct Ahead(vec::IntoIter<Found>);

/// Where a lock was found in the tables of its org, if it still is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    lock: LockKey,
    pub(crate) hash: u32,
    pub(crate) run: RunFound,
}

impl Ahead {
    /// Where the lock was found. Those that should have been asked for before are forgotten.
    pub(crate) fn found(&mut self, lock: LockKey) -> Option<Found> {
        let mut ahead = self.0.as_slice().iter();
        let at = ahead.position(|found| found.lock == lock)?;
        self.0.nth(at)
    }
}

impl Engine {
    /// Looks at what the next holds need that are over, as many as one step ends.
    pub(crate) fn look_ahead(&self) -> Ahead {
        if self.locks.len() <= FEW {
            return Ahead::default();
        }
        let mut due = Vec::with_capacity(TOGETHER);
        due.extend(
            self.deadlines
                .begun()
                .take(TOGETHER)
                .map(|(_, _, lock)| lock),
        );
        self.look_at_locks(&due);
        let mut sessions = Vec::with_capacity(due.len());
        sessions.extend(self.holders(&due));
        black_box(
            sessions
                .iter()
                .fold(0, |seen, session| seen ^ session.glance()),
        );
        black_box(
            sessions
                .iter()
                .fold(0, |seen, session| seen ^ session.losses.glance()),
        );
        look_at(
            sessions
                .iter()
                .filter_map(|session| session.locks.last_note()),
        );
        let mut found = Vec::with_capacity(due.len());
        found.extend(due.iter().filter_map(|key| {
            let lock = self.locks.get(*key)?;
            let at = self.address(lock.org, &lock.path);
            Some((&self.org(lock.org).paths, at, *key))
        }));
        look_at(found.iter().filter_map(|(paths, at, _)| paths.near(at)));
        let sought = found
            .iter()
            .map(|(paths, at, _)| (&paths.in_order, at.path));
        let runs = path_order::find_runs(&sought.collect::<Vec<_>>());
        let found = found.iter().zip(runs);
        look_at(
            found
                .clone()
                .filter_map(|((paths, ..), run)| paths.in_order.last_gone(run)),
        );
        let found = found.map(|((_, at, lock), run)| Found {
            lock: *lock,
            hash: at.hash(),
            run,
        });
        Ahead(found.collect::<Vec<_>>().into_iter())
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
        look_at(self.holders(locks).map(|session| &session.renewed_at.0));
    }

    /// Looks at where these locks will stand in path order.
    pub(crate) fn look_at_places(&self, locks: &[LockKey]) {
        if self.locks.len() <= FEW {
            return;
        }
        let locks = locks.iter().map(|key| self.lock(*key));
        let sought = locks.map(|lock| (&self.org(lock.org).paths.in_order, &*lock.path));
        path_order::look_at_places(&sought.collect::<Vec<_>>());
    }

    /// The sessions that are in the first holds of locks, once these have been looked at themselves.
    fn holders(&self, locks: &[LockKey]) -> impl Iterator<Item = &Session> {
        let found = locks.iter().filter_map(|key| self.locks.get(*key));
        found.filter_map(|lock| self.sessions.get(lock.holds.first()?.first))
    }
}

impl From<LockKey> for i128 {
    fn from(key: LockKey) -> Self {
        key.place() as Self
    }
}

/// Where each of them lies is found out first; so a processor does next to nothing between one and the next, and is far
/// ahead of what it waits for.
fn look_at<'n, N: Copy + Into<i128> + 'n>(all: impl Iterator<Item = &'n N>) {
    let mut places = Vec::with_capacity(2 * TOGETHER);
    places.extend(all);
    let seen = |seen, one: &N| seen ^ (*one).into();
    black_box(places.into_iter().fold(0, seen));
}
