//! What the client speaks of with its users: modes, holders, refusals, losses. All owned, with `Duration`s for spans.
//!
//! These are the client's own types, so that the wire may grow without breaking whoever depends on this crate.
//! `convert.rs` alone makes them from what comes over the wire.

use std::fmt;
use std::time::{Duration, SystemTime};

/// How much a principal or a session may do, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Looks.
    Observer,
    /// Locks.
    Member,
    /// Takes from others.
    Moderator,
    /// Administers.
    Admin,
}

/// Whether others may hold the lock beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// With other shared holders, up to the limit.
    Shared,
    /// Alone.
    Exclusive,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        })
    }
}

/// What the end of the connection does to a session that is not resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnDisconnect {
    /// Its holds are released when the grace is over. This is what people at a screen want.
    Release {
        /// How long it may be resumed; `None` is what the policy says, 10 s by default.
        grace: Option<Duration>,
    },
    /// Its holds live by their TTL alone. This is what scripts and stateless callers want.
    Keep,
}

/// A person or a service, as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    /// Owner id; of an operator, the principal.
    pub owner: String,
    /// How people call them; may be empty.
    pub name: String,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.name.is_empty() {
            &self.owner
        } else {
            &self.name
        })
    }
}

/// One holder of a lock, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// On whose behalf.
    pub owner: String,
    /// How people call them; may be empty.
    pub name: String,
    /// The owner's sessions that are in the hold.
    pub sessions: u32,
    /// Whether none of them is connected.
    pub orphaned: bool,
    /// Since when, by the server's wall clock: for people to read, not to compare.
    pub since: SystemTime,
    /// For how long already.
    pub held_for: Duration,
    /// For how long still, unless renewed.
    pub remaining: Duration,
    /// What the holder put there; opaque.
    pub metadata: Vec<u8>,
}

impl Holder {
    /// The name, or the owner's id if there is none.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() {
            &self.owner
        } else {
            &self.name
        }
    }
}

/// The truth about a path at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStatus {
    /// The lock.
    pub path: String,
    /// How it is held; `None` when it is free.
    pub mode: Option<Mode>,
    /// How many owners may share it; `None` when it is free, exclusive or without a limit.
    pub limit: Option<u32>,
    /// The fencing token of the holds; `None` when it is free.
    pub token: Option<u64>,
    /// The first holders, longest first. There may be more: see `holder_count`.
    pub holders: Vec<Holder>,
    /// How many holders there are in all.
    pub holder_count: u32,
    /// How many wait.
    pub waiters: u32,
}

impl PathStatus {
    /// Whether nobody holds it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.mode.is_none()
    }

    /// Who has held it longest.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        self.holders.first()
    }
}

/// Why a lock was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Others hold it in a way that leaves no room.
    Held,
    /// There is room, but others wait ahead.
    QueuedAhead,
    /// It is shared with another limit.
    LimitDiffers,
    /// Another owner waits to upgrade already: both would wait for ever.
    UpgradePending,
    /// As many wait as may.
    QueueFull,
    /// A holder's role is higher than the seizing session's.
    RoleTooLow,
    /// It was waited for, and did not come free in time.
    WaitTimedOut,
    /// A limit on holds was reached when its turn came.
    TooManyHolds,
}

impl RefusalReason {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::QueuedAhead => "queued_ahead",
            Self::LimitDiffers => "limit_differs",
            Self::UpgradePending => "upgrade_pending",
            Self::QueueFull => "queue_full",
            Self::RoleTooLow => "role_too_low",
            Self::WaitTimedOut => "wait_timed_out",
            Self::TooManyHolds => "too_many_holds",
        }
    }
}

/// The lock was not granted, and this is who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why not.
    pub reason: RefusalReason,
    /// Who holds it, since when, for how long still, and how many wait.
    pub status: PathStatus,
}

impl Refusal {
    /// The lock that was refused.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.status.path
    }

    /// Who has held it longest.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        self.status.holder()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path(), self.reason.name())?;
        if let Some(holder) = self.holder() {
            write!(f, ", held by {}", holder.display_name())?;
        }
        Ok(())
    }
}

/// Why a hold is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossCause {
    /// Let go, by another session of the owner.
    Released,
    /// The server has ended it: it was not renewed in time.
    Expired,
    /// Its deadline has passed on this side's clock, without a renewal that succeeded. The server may see it a little
    /// later, since this side counts from the sending of its requests.
    ExpiredHere,
    /// Its session was closed.
    SessionClosed,
    /// Its session was not resumed within its grace.
    SessionLost,
    /// Its session is attached to another connection, which has the hold.
    SessionMoved,
    /// An operator has ended it. See [`Loss::by`] and [`Loss::reason`].
    Forced,
    /// A moderator has taken it. See [`Loss::by`] and [`Loss::reason`].
    Seized,
    /// It was given to a waiter. See [`Loss::by`].
    HandedOver,
    /// The server does not have it, and does not remember why.
    Unknown,
}

impl LossCause {
    /// Its name in snake case, for JSON and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::ExpiredHere => "expired_here",
            Self::SessionClosed => "session_closed",
            Self::SessionLost => "session_lost",
            Self::SessionMoved => "session_moved",
            Self::Forced => "forced",
            Self::Seized => "seized",
            Self::HandedOver => "handed_over",
            Self::Unknown => "unknown",
        }
    }
}

/// How a hold was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The lock.
    pub path: String,
    /// The fencing token that the hold had.
    pub token: u64,
    /// Why it ended.
    pub cause: LossCause,
    /// Who has ended it, or who has it, if the cause knows one.
    pub by: Option<Who>,
    /// What they said.
    pub reason: Option<String>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.cause.name())?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// How a release went. All of these are success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Released {
    /// The hold is over, and the next waiter has the lock.
    Ended,
    /// This session has left; other sessions of the owner hold on.
    OwnerHolds,
    /// This guard has left; other guards of this session hold on, or an acquire that is under way takes over.
    SessionHolds,
    /// The hold had expired already.
    AlreadyExpired,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// Closed by this client, or by whoever else has its ticket.
    Closed,
    /// Not resumed within its grace.
    GraceOver,
    /// It kept its holds on disconnect, and the last of them is over.
    LastHoldOver,
    /// Without hold or wait for too long.
    Idle,
    /// It is attached to another connection.
    Moved,
    /// The server does not know it any more.
    Unknown,
    /// The client has been closed.
    ClientClosed,
}

/// How a wait goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitProgress {
    /// It is in the queue at this place, 1 being next; 0 is a wait for several locks, which stands in no queue.
    Place(u32),
    /// A holder has declined the note. The wait goes on.
    Declined(Who),
}
