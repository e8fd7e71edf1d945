//! What a subscription tells: what has happened in an organisation, where in its stream, and what was left out.
//!
//! Owned, as everything in `types.rs`; `convert/streams.rs` makes them from what comes over the wire. Rule: whatever may
//! have been missed is told as such; nothing is ever left out in silence.

use std::fmt;
use std::slice;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind};
use crate::policy::ListedHold;
use crate::types::{Loss, Mode, RefusalReason, Who};
use crate::viewing::{PathViewers, ViewersChange};

/// A place in the stream of an organisation. Spelled `EPOCH:OFFSET`, for whoever wants to store it.
///
/// Offsets are dense within an epoch. Positions of different epochs cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// Which life of the stream; never comes again.
    pub epoch: u64,
    /// Which event in it, from 1; 0 is before the first.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.split_once(':');
        let parts =
            parts.and_then(|(epoch, offset)| Some((epoch.parse().ok()?, offset.parse().ok()?)));
        let (epoch, offset) = parts.ok_or_else(|| {
            let message = format!("expected a position such as 46116860:229, found {text:?}");
            Error::new(ErrorKind::BadRequest, message)
        })?;
        Ok(Self { epoch, offset })
    }
}

/// What a [`Subscription`](crate::Subscription) gives, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StreamEvent {
    /// Something has happened.
    Happened(Arc<Happened>),
    /// The stream goes on after a reconnect, or from the position that was asked for: nothing was missed.
    Recovered {
        /// From where on.
        position: Position,
    },
    /// Events were left out. What was known from events has to be read anew; a subscription
    /// [with state](crate::Subscribe::with_state) does that by itself.
    Lost {
        /// Why.
        why: LostWhy,
        /// From where on the stream is whole again.
        position: Position,
    },
    /// Who is at a path has changed. Only [with presence](crate::Subscribe::with_presence).
    ViewersChanged(Arc<ViewersChange>),
    /// Changes of presence were left out, as after every reconnect. Who is where has to be read anew; a subscription
    /// [with state](crate::Subscribe::with_state) does that by itself.
    ViewersLost,
    /// The state follows: forget the holds, or the viewers, that were known before.
    StateBegins(StateOf),
    /// Holds, by path.
    Holds(Vec<ListedHold>),
    /// Viewers, by path.
    Viewers(Vec<PathViewers>),
    /// The state has been told. What happens from here on changes it.
    StateWhole(StateOf),
    /// The subscription is over. Nothing follows.
    Ended {
        /// Why: the client was closed, or the server does not allow it any more.
        why: Error,
    },
}

/// Which state of a subscription [with state](crate::Subscribe::with_state).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateOf {
    /// Who holds what.
    Holds,
    /// Who is where.
    Viewers,
}

/// Why events were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostWhy {
    /// The stream has begun anew, say with the server.
    Epoch,
    /// The subscription came back too late: the server does not keep them any more.
    Trimmed,
    /// The stream has not come so far: the position is not of this stream.
    Ahead,
    /// This connection did not read fast enough for what the server keeps.
    SlowConnection,
    /// Whoever reads this subscription did not take them fast enough for what it keeps.
    SlowReader,
}

impl LostWhy {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
            Self::SlowConnection => "slow_connection",
            Self::SlowReader => "slow_reader",
        }
    }
}

impl fmt::Display for LostWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that has happened, and where in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Happened {
    /// Its place. Store it to [go on from there](crate::Subscribe::since) another time.
    pub position: Position,
    /// When, by the server's wall clock: for people to read, not to compare.
    pub at: SystemTime,
    /// What.
    pub event: Event,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An owner has a lock that it did not have.
    LockGranted {
        /// The lock.
        path: String,
        /// Who has it.
        who: Who,
        /// How.
        mode: Mode,
        /// The fencing token.
        token: u64,
        /// How long the owner has waited.
        waited: Duration,
    },
    /// A hold goes on in another mode.
    LockConverted {
        /// The lock.
        path: String,
        /// Who has it.
        who: Who,
        /// How from now on.
        mode: Mode,
        /// The fencing token from now on.
        token: u64,
    },
    /// A hold is over.
    LockEnded {
        /// Who had it.
        who: Who,
        /// Which lock, the token it had, why it ended, and by whom.
        loss: Loss,
        /// How long they had it.
        held_for: Duration,
    },
    /// The last session in a hold has lost its connection. The hold lives on for its grace or its TTL.
    LockOrphaned {
        /// The lock.
        path: String,
        /// Who has it.
        who: Who,
        /// The token it has.
        token: u64,
    },
    /// A session in a hold that had been orphaned is connected again.
    LockAdopted {
        /// The lock.
        path: String,
        /// Who has it.
        who: Who,
        /// The token it has.
        token: u64,
    },
    /// Somebody waits.
    LockQueued {
        /// For what: one lock, or all of an acquire of several.
        paths: Vec<String>,
        /// Who waits.
        who: Who,
        /// Names the wait.
        wait: u64,
    },
    /// A wait is over without a grant.
    LockWaitEnded {
        /// For what it was.
        paths: Vec<String>,
        /// Who waited.
        who: Who,
        /// Which wait.
        wait: u64,
        /// Why.
        why: WaitEnd,
    },
    /// An application has published something.
    Published {
        /// What it is about.
        path: String,
        /// What the application calls it.
        event: String,
        /// What goes with it.
        payload: Vec<u8>,
        /// The id that it was published with.
        id: Option<String>,
    },
}

impl Event {
    /// The paths it happened at: one, or all of an acquire of several.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        match self {
            Self::LockGranted { path, .. }
            | Self::LockConverted { path, .. }
            | Self::LockOrphaned { path, .. }
            | Self::LockAdopted { path, .. }
            | Self::Published { path, .. } => slice::from_ref(path),
            Self::LockEnded { loss, .. } => slice::from_ref(&loss.path),
            Self::LockQueued { paths, .. } | Self::LockWaitEnded { paths, .. } => paths,
        }
    }

    /// Its name as on the wire, for JSON and logs: `lock.granted`, `published`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LockGranted { .. } => "lock.granted",
            Self::LockConverted { .. } => "lock.converted",
            Self::LockEnded { .. } => "lock.ended",
            Self::LockOrphaned { .. } => "lock.orphaned",
            Self::LockAdopted { .. } => "lock.adopted",
            Self::LockQueued { .. } => "lock.queued",
            Self::LockWaitEnded { .. } => "lock.wait_ended",
            Self::Published { .. } => "published",
        }
    }
}

/// Why somebody's wait is over without a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitEnd {
    /// Its time was up.
    TimedOut,
    /// Cancelled by its session.
    Cancelled,
    /// It could no longer be granted.
    Refused(RefusalReason),
    /// Its session is over.
    SessionEnded,
    /// Its session keeps its holds on disconnect, and has been disconnected.
    Detached,
    /// A limit on holds was reached when its turn came.
    TooManyHolds,
}

impl WaitEnd {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Refused(_) => "refused",
            Self::SessionEnded => "session_ended",
            Self::Detached => "detached",
            Self::TooManyHolds => "too_many_holds",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Position {
            epoch: 46_116_860,
            offset: 229,
        };
        let text = position.to_string();
        assert_eq!(text, "46116860:229");
        assert_eq!(text.parse::<Position>().ok(), Some(position));
        for wrong in ["", ":", "1", "1:", ":1", "1:2:3", "a:1", "-1:2"] {
            let error = wrong.parse::<Position>().expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::BadRequest);
        }
    }
}
