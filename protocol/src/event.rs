//! What happens in an org, and where in its stream: events, positions, and what became of those that came meanwhile.
//!
//! An event is told to whoever listens to one of its paths; it carries nothing that a reader needs another event for.
//! Rule: an event always has a path, so that a filter can decide about it alone.

use std::slice;

use crate::{Cause, Filter, Mode, WaitEnd, Who};

message! {
    /// A place in the stream of an org. Offsets are dense and begin with 1 in every epoch; 0 is before the first.
    #[derive(Copy, Hash)]
    Position {
        /// Which life of the stream; never comes again. Positions of different epochs cannot be compared.
        epoch: u64,
        /// Which event.
        offset: u64,
    }
}

choice! {
    /// What has become of the events after the position that a subscription resumes from.
    #[derive(Copy)]
    Recovery by status {
        /// None was asked for: events follow from now on.
        1 Fresh "fresh",
        /// Every one that matches follows.
        2 Exact "exact",
        /// None follows, only what happens from now on: whatever they changed has to be read anew.
        3 Lost "lost" {
            /// Why.
            why: LostWhy,
        },
    }
}

names! {
    /// Why the events after a position cannot be told.
    LostWhy {
        /// The stream has begun anew, say with the server.
        1 Epoch "epoch",
        /// Some are no longer kept.
        2 Trimmed "trimmed",
        /// The stream has not come so far: the position is not of this stream.
        3 Ahead "ahead",
    }
}

choice! {
    /// What has happened.
    Event<'a> by kind {
        /// An owner has a lock that it did not have.
        1 LockGranted "lock.granted" {
            /// The lock.
            path: &'a str,
            /// Who has it.
            who: Who<'a>,
            /// How.
            mode: Mode,
            /// The fencing token.
            token: u64,
            /// How long the owner has waited; 0 when it had not to.
            waited_ms: u64,
        },
        /// A hold goes on in another mode.
        2 LockConverted "lock.converted" {
            /// The lock.
            path: &'a str,
            /// Who has it.
            who: Who<'a>,
            /// How from now on.
            mode: Mode,
            /// The fencing token from now on.
            token: u64,
        },
        /// A hold is over.
        3 LockEnded "lock.ended" {
            /// The lock.
            path: &'a str,
            /// Who had it.
            who: Who<'a>,
            /// The token it had.
            token: u64,
            /// Why.
            cause: Cause<'a>,
            /// How long they had it.
            held_ms: u64,
        },
        /// The last session in a hold has lost its connection. The hold lives on for its grace or its TTL.
        4 LockOrphaned "lock.orphaned" {
            /// The lock.
            path: &'a str,
            /// Who has it.
            who: Who<'a>,
            /// The token it has.
            token: u64,
        },
        /// A session in a hold that had been orphaned is attached to a connection again.
        5 LockAdopted "lock.adopted" {
            /// The lock.
            path: &'a str,
            /// Who has it.
            who: Who<'a>,
            /// The token it has.
            token: u64,
        },
        /// Somebody waits.
        6 LockQueued "lock.queued" {
            /// For what: one lock, or all of an acquire of several.
            paths: Vec<&'a str>,
            /// Who waits.
            who: Who<'a>,
            /// Names the wait.
            wait: u64,
        },
        /// A wait is over without a grant.
        7 LockWaitEnded "lock.wait_ended" {
            /// For what it was.
            paths: Vec<&'a str>,
            /// Who waited.
            who: Who<'a>,
            /// Which wait.
            wait: u64,
            /// Why.
            why: WaitEnd,
        },
        /// An application has published something.
        8 Published "published" {
            /// What it is about.
            path: &'a str,
            /// What the application calls it.
            event: &'a str,
            /// What goes with it.
            payload: &'a [u8],
            /// The id that it was published with.
            event_id: Option<&'a str>,
        },
    }
}

impl<'a> Event<'a> {
    /// The paths it happened at: one, or all of an acquire of several.
    #[must_use]
    pub fn paths(&self) -> &[&'a str] {
        match self {
            Self::LockGranted { path, .. }
            | Self::LockConverted { path, .. }
            | Self::LockEnded { path, .. }
            | Self::LockOrphaned { path, .. }
            | Self::LockAdopted { path, .. }
            | Self::Published { path, .. } => slice::from_ref(path),
            Self::LockQueued { paths, .. } | Self::LockWaitEnded { paths, .. } => paths,
        }
    }

    /// Whether a subscription with this filter hears of it.
    #[must_use]
    pub fn matches(&self, filter: &Filter<'_>) -> bool {
        self.paths().iter().any(|path| filter.matches(path))
    }
}
