//! What is due when, in the order in which a sweep takes it.
//!
//! A timer may be armed too early, never too late: renewals move a deadline without touching its timer, and the timer is
//! armed anew only when it comes up. The order in which due things come out does not depend on how they were armed.

use alloc::collections::BTreeSet;

use crate::ids::{SessionId, WaitId};
use crate::keys::{HoldId, LockKey};
use crate::time::LogTime;

/// What can be due. The order of the variants is the order of a sweep where deadlines are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A hold, by its age.
    Hold(HoldId, LockKey),
    /// A wait in the queue of a lock.
    Wait(WaitId, LockKey),
    /// A wait for several locks.
    Group(WaitId),
    /// A session: its grace, or its idleness.
    Session(SessionId),
}

/// A timer: what it is for lies with the thing, which remembers when it is armed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadlines {
    armed: BTreeSet<(LogTime, Due)>,
}

impl Deadlines {
    pub(crate) fn arm(&mut self, at: LogTime, due: Due) {
        self.armed.insert((at, due));
    }

    pub(crate) fn disarm(&mut self, at: LogTime, due: Due) {
        self.armed.remove(&(at, due));
    }

    /// The timer that comes up first.
    pub(crate) fn first(&self) -> Option<(LogTime, Due)> {
        self.armed.first().copied()
    }

    /// Whether nothing is due, for certain, at `now`.
    pub(crate) fn none_due(&self, now: LogTime) -> bool {
        self.first().is_none_or(|(at, _)| at > now)
    }

    pub(crate) fn is_armed(&self, at: LogTime, due: Due) -> bool {
        self.armed.contains(&(at, due))
    }

    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}
