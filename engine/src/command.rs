//! The vocabulary of change: everything that can happen in a history.
//!
//! A command borrows its names and texts from whoever read them (a socket's buffer, a journal's page): the engine copies
//! what it keeps. Sizes and spellings are the caller's business; the engine takes any string and never panics on one.

use crate::ids::{ResumeKey, SessionId, SessionRef, Token, WaitId};
use crate::policy::PolicyLayer;
use crate::time::{LogTime, Millis, WallTime};

/// One step of history: when, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Log time of the step. One that lies before the engine's own time counts as the engine's own time.
    pub at: LogTime,
    /// Wall time of the step, for people to read.
    pub wall: WallTime,
    /// What is to happen. Lent, since a command is large beside what is done with most of them.
    pub command: &'a Command<'a>,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// A server has begun to lead: every session is detached, its grace counts from here and is at least
    /// [`RESTART_GRACE_MIN`](crate::limits::RESTART_GRACE_MIN).
    Started,
    /// Time has passed: sweeps what is due, a bounded number at a time.
    Tick,
    /// Replaces one layer of policy; an empty layer removes it.
    Configure {
        /// Whose layer.
        scope: Scope<'a>,
        /// The overrides.
        layer: PolicyLayer,
        /// The authenticated principal, for the audit trail.
        principal: &'a str,
    },
    /// Settles one lock's overdue holders and waiters, as any command that touches it does. Proposed before a read.
    Settle {
        /// The tenant.
        org: &'a str,
        /// The lock.
        path: &'a str,
    },

    /// Opens a session, attached to the asking connection.
    OpenSession(OpenSession<'a>),
    /// Attaches a session anew, after a reconnect.
    ResumeSession(ResumeSession<'a>),
    /// The connection of this attachment is gone. Changes nothing when the session has been attached anew since.
    DetachSession(SessionRef),
    /// Renews every hold of the session by that hold's own TTL, in constant time.
    RenewSession(SessionRef),
    /// Ends the session: holds released, waits cancelled.
    CloseSession(SessionRef),

    /// Asks for a lock.
    Acquire(Acquire<'a>),
    /// Asks for several locks, all or nothing.
    AcquireAll(AcquireAll<'a>),
    /// Extends a hold of the session's owner.
    Renew(Renew<'a>),
    /// Lets go of a hold of the session's owner.
    Release(Release<'a>),
    /// Ends a wait.
    Cancel {
        /// Who waits.
        by: SessionRef,
        /// For what.
        wait: WaitId,
    },
    /// Changes the mode of a hold without letting go.
    Convert(Convert<'a>),
    /// Gives a hold to a waiter in one step.
    HandOver {
        /// A session of the holder's.
        by: SessionRef,
        /// The lock.
        path: &'a str,
        /// The waiter; `None` is the first who left a note.
        to: Option<WaitId>,
    },
    /// Tells a waiter who left a note that the answer is no. The wait goes on.
    Decline {
        /// A session of the holder's.
        by: SessionRef,
        /// The lock.
        path: &'a str,
        /// The waiter.
        to: WaitId,
    },
    /// Ends holds of others, at most [`PAGE_MAX`](crate::limits::PAGE_MAX) a step.
    ForceRelease(ForceRelease<'a>),
}

/// Whose layer of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Of every org.
    Server,
    /// Of one org.
    Org(&'a str),
    /// Of one kind of path in one org.
    Kind {
        /// The tenant.
        org: &'a str,
        /// First segment of the paths.
        kind: &'a str,
    },
}

/// How much a principal may do, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Whether others may hold beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// With other shared holders, up to the limit of the phase.
    Shared,
    /// Alone.
    Exclusive,
}

/// See [`Command::OpenSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSession<'a> {
    /// The tenant.
    pub org: &'a str,
    /// On whose behalf the session acts.
    pub owner: &'a str,
    /// How people call the owner.
    pub name: &'a str,
    /// Opaque to the engine, shown to others with the holds.
    pub metadata: &'a [u8],
    /// How much the session may do; at most what its principal may.
    pub role: Role,
    /// Lets a later connection resume.
    pub resume_key: ResumeKey,
    /// What a disconnect does; `None` as the policy says.
    pub on_disconnect: Disconnect,
}

/// What a new session wants a disconnect to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disconnect {
    /// What the policy of the org says.
    ByPolicy,
    /// Release after this grace, or the policy's.
    Release(Option<Millis>),
    /// Keep the holds until their TTL is over.
    Keep,
}

/// See [`Command::ResumeSession`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeSession<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Which session.
    pub session: SessionId,
    /// Its secret.
    pub resume_key: ResumeKey,
    /// How much the connection's principal may do; the session's role falls to it if it was higher.
    pub role: Role,
}

/// See [`Command::Acquire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquire<'a> {
    /// Who asks.
    pub by: SessionRef,
    /// The lock.
    pub path: &'a str,
    /// Alone or beside others.
    pub mode: Mode,
    /// Owners that may share at most; the first holder of a phase fixes it. `None` is as many as come.
    pub limit: Option<u32>,
    /// How long the hold lives without renewal; `None` as the policy says.
    pub ttl: Option<Millis>,
    /// How long to wait for it; zero wants an answer at once.
    pub wait: Millis,
    /// "May I have it?", told to the holders when the acquire is queued.
    pub note: Option<&'a str>,
    /// Take it from its holders, for this reason.
    pub seize: Option<Seize<'a>>,
    /// Opaque to the engine, shown to others with the hold. Empty leaves the hold's as it is.
    pub metadata: &'a [u8],
}

/// Why, and in whose name, a lock is taken from its holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seize<'a> {
    /// Told to the losers, and kept.
    pub reason: &'a str,
    /// The authenticated principal behind the session, for the audit trail.
    pub principal: &'a str,
}

/// See [`Command::AcquireAll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireAll<'a> {
    /// Who asks.
    pub by: SessionRef,
    /// At most [`ACQUIRE_ALL_MAX`](crate::limits::ACQUIRE_ALL_MAX) locks of the session's org, no path twice.
    pub items: &'a [Item<'a>],
    /// As in [`Acquire::ttl`].
    pub ttl: Option<Millis>,
    /// As in [`Acquire::wait`].
    pub wait: Millis,
    /// As in [`Acquire::metadata`].
    pub metadata: &'a [u8],
}

/// One lock of an [`AcquireAll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// The lock.
    pub path: &'a str,
    /// Alone or beside others.
    pub mode: Mode,
    /// As in [`Acquire::limit`].
    pub limit: Option<u32>,
}

/// See [`Command::Renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renew<'a> {
    /// A session of the holder's.
    pub by: SessionRef,
    /// The lock.
    pub path: &'a str,
    /// As in [`Acquire::ttl`], `None` being the hold's own; the longer of the two is the hold's from here on.
    pub ttl: Option<Millis>,
    /// Only if this is still the token.
    pub token: Option<Token>,
}

/// See [`Command::Release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release<'a> {
    /// A session of the holder's.
    pub by: SessionRef,
    /// The lock.
    pub path: &'a str,
    /// Who lets go.
    pub scope: ReleaseScope,
    /// Only if this is still the token.
    pub token: Option<Token>,
}

/// Who lets go of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseScope {
    /// This session; the hold ends with its last one.
    Session,
    /// The owner: the hold ends for all the sessions in it.
    Owner,
}

/// See [`Command::Convert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convert<'a> {
    /// A session of the holder's.
    pub by: SessionRef,
    /// The lock.
    pub path: &'a str,
    /// The mode wanted.
    pub mode: Mode,
    /// The limit of the shared phase that a downgrade opens.
    pub limit: Option<u32>,
    /// How long an upgrade may wait; zero wants an answer at once.
    pub wait: Millis,
}

/// See [`Command::ForceRelease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForceRelease<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Which holds.
    pub target: Target<'a>,
    /// Goes on after this path: the cursor of the step before.
    pub after: Option<&'a str>,
    /// Told to the losers, and kept.
    pub reason: &'a str,
    /// The authenticated principal, for the audit trail.
    pub principal: &'a str,
}

/// Which holds of an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Those on one path.
    Path(&'a str),
    /// Those on the paths that begin so.
    Prefix(&'a str),
    /// Those of one owner.
    Owner(&'a str),
    /// Those that one session is in.
    Session(SessionId),
    /// All.
    All,
}
