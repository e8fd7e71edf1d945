//! The vocabulary of consequences: what a session must be told, and what has happened in an org.
//!
//! Rule: within one entry, a loser's notice is emitted before the winner's grant (promise 4).

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Mode;
use crate::ids::{SessionId, SessionRef, Token, WaitId};
use crate::reply::{Grant, Held, RefusalReason};
use crate::time::{Millis, WallTime};

/// Where consequences go: a router in the server, a recorder in tests, nothing in a replay.
pub trait Effects {
    /// Something that this attachment of a session must be told. Only attached sessions are told; what a detached one
    /// misses is kept for its resume.
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>);
    /// Something that has happened, for whoever listens. It is lent: nothing is copied for what nobody wants to keep.
    fn event(&mut self, event: &Event<&str>);
}

/// Throws every consequence away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Effects for Discard {
    fn notice(&mut self, _: SessionRef, _: Notice<&str>) {}
    fn event(&mut self, _: &Event<&str>) {}
}

/// What a session must be told: as it is lent, with a borrowed path, or kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<S = Arc<str>> {
    /// A wait has become a hold (one, or all of an `AcquireAll`). The client renews at once.
    Granted {
        /// The wait that is over.
        wait: WaitId,
        /// What is held.
        holds: Vec<Held>,
    },
    /// A hold is over.
    Lost {
        /// The lock.
        path: S,
        /// The token it had.
        token: Token,
        /// Why.
        cause: Cause,
    },
    /// A hold goes on with another mode or token.
    Changed {
        /// The lock.
        path: S,
        /// What it is held as.
        grant: Grant,
    },
    /// Somebody would like to have the lock.
    Asked {
        /// The lock.
        path: S,
        /// The wait to hand over to, or to decline.
        wait: WaitId,
        /// Who asks.
        who: Who,
        /// What they say.
        note: Arc<str>,
    },
    /// A holder has said no. The wait goes on.
    Declined {
        /// The wait that had left a note.
        wait: WaitId,
        /// The lock.
        path: S,
        /// Who said no.
        who: Who,
    },
    /// A wait is over without a grant.
    WaitEnded {
        /// Which.
        wait: WaitId,
        /// Why.
        why: WaitEnd,
    },
    /// The session has been attached elsewhere; this attachment is void.
    Moved,
    /// The session is over.
    Closed {
        /// Why.
        why: SessionEnd,
    },
}

/// What a session was to be told, and may not have heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// As [`Notice::Lost`].
    Lost {
        /// The lock.
        path: Arc<str>,
        /// The token it had.
        token: Token,
        /// Why.
        cause: Cause,
    },
    /// As [`Notice::WaitEnded`].
    WaitEnded {
        /// Which.
        wait: WaitId,
        /// Why.
        why: WaitEnd,
    },
}

/// A person or a service, as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who<S = Arc<str>> {
    /// Owner id.
    pub owner: S,
    /// How people call them.
    pub name: S,
}

/// Why a hold has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Let go by its owner.
    Released,
    /// Not renewed in time.
    Expired,
    /// Its last session was closed.
    SessionClosed,
    /// Its last session was not resumed within its grace.
    SessionLost,
    /// Ended by an operator.
    Forced {
        /// The principal.
        by: Arc<str>,
        /// What they said.
        reason: Arc<str>,
    },
    /// Taken by a moderator.
    Seized {
        /// Who has it.
        by: Who,
        /// What they said.
        reason: Arc<str>,
    },
    /// Given to a waiter.
    HandedTo {
        /// Who has it.
        to: Who,
    },
}

/// Why a wait is over without a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitEnd {
    /// Its time is up.
    TimedOut,
    /// Cancelled by its session.
    Cancelled,
    /// It can no longer be granted.
    Refused(RefusalReason),
    /// Its session is over.
    SessionEnded,
    /// Its session keeps its holds on disconnect, and has been disconnected.
    Detached,
    /// A limit of the org or the session stood in the way when its turn came.
    TooManyHolds,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEnd {
    /// Closed by whoever opened it.
    Closed,
    /// Not resumed within its grace.
    GraceOver,
    /// It kept its holds on disconnect, and the last of them is over.
    LastHoldOver,
    /// Without hold or wait for [`IDLE_MAX`](crate::limits::IDLE_MAX).
    Idle,
}

/// Something that has happened in an org: as it is lent, with borrowed texts, or kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<S = Arc<str>> {
    /// The tenant.
    pub org: S,
    /// When, for people to read.
    pub wall: WallTime,
    /// What.
    pub what: What<S>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What<S = Arc<str>> {
    /// An owner holds a lock that it did not hold.
    Granted {
        /// The lock.
        path: S,
        /// Who.
        who: Who<S>,
        /// How.
        mode: Mode,
        /// The fencing token.
        token: Token,
        /// How long it had waited.
        waited: Millis,
    },
    /// An owner's hold has another mode.
    Converted {
        /// The lock.
        path: S,
        /// Who.
        who: Who<S>,
        /// How.
        mode: Mode,
        /// The fencing token.
        token: Token,
    },
    /// An owner's hold is over.
    Ended {
        /// The lock.
        path: S,
        /// Who.
        who: Who<S>,
        /// The token it had.
        token: Token,
        /// Why.
        cause: Cause,
        /// How long it was held.
        held: Millis,
    },
    /// The last attached session of a hold has been detached.
    Orphaned {
        /// The lock.
        path: S,
        /// Who.
        who: Who<S>,
        /// The fencing token.
        token: Token,
    },
    /// A session of an orphaned hold has come back.
    Adopted {
        /// The lock.
        path: S,
        /// Who.
        who: Who<S>,
        /// The fencing token.
        token: Token,
    },
    /// Somebody waits.
    Queued {
        /// The locks: one, or all of an `AcquireAll`.
        paths: Vec<S>,
        /// Who.
        who: Who<S>,
        /// The wait.
        wait: WaitId,
    },
    /// Somebody waits no more, and was not granted.
    WaitEnded {
        /// The locks: one, or all of an `AcquireAll`.
        paths: Vec<S>,
        /// Who.
        who: Who<S>,
        /// The wait.
        wait: WaitId,
        /// Why.
        why: WaitEnd,
    },
    /// A session has begun.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// On whose behalf.
        who: Who<S>,
    },
    /// A session has lost its connection.
    SessionDetached {
        /// Which.
        session: SessionId,
        /// On whose behalf.
        who: Who<S>,
        /// Whether it lives by its holds alone from here on.
        keeps: bool,
    },
    /// A session has come back.
    SessionResumed {
        /// Which.
        session: SessionId,
        /// On whose behalf.
        who: Who<S>,
    },
    /// A session is over.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// On whose behalf.
        who: Who<S>,
        /// Why.
        why: SessionEnd,
    },
}

impl Notice<&str> {
    /// A copy to keep.
    #[must_use]
    pub fn into_owned(self) -> Notice {
        match self {
            Self::Granted { wait, holds } => Notice::Granted { wait, holds },
            Self::Lost { path, token, cause } => Notice::Lost {
                path: Arc::from(path),
                token,
                cause,
            },
            Self::Changed { path, grant } => Notice::Changed {
                path: Arc::from(path),
                grant,
            },
            Self::Asked {
                path,
                wait,
                who,
                note,
            } => Notice::Asked {
                path: Arc::from(path),
                wait,
                who,
                note,
            },
            Self::Declined { wait, path, who } => Notice::Declined {
                wait,
                path: Arc::from(path),
                who,
            },
            Self::WaitEnded { wait, why } => Notice::WaitEnded { wait, why },
            Self::Moved => Notice::Moved,
            Self::Closed { why } => Notice::Closed { why },
        }
    }
}

impl Event<&str> {
    /// A copy to keep.
    #[must_use]
    pub fn into_owned(self) -> Event {
        Event {
            org: Arc::from(self.org),
            wall: self.wall,
            what: self.what.into_owned(),
        }
    }
}

impl Who<&str> {
    /// A copy to keep.
    #[must_use]
    pub fn into_owned(self) -> Who {
        Who {
            owner: Arc::from(self.owner),
            name: Arc::from(self.name),
        }
    }
}

impl What<&str> {
    /// A copy to keep.
    #[must_use]
    pub fn into_owned(self) -> What {
        let all = |paths: Vec<&str>| paths.into_iter().map(Arc::from).collect();
        match self {
            Self::Granted {
                path,
                who,
                mode,
                token,
                waited,
            } => What::Granted {
                path: Arc::from(path),
                who: who.into_owned(),
                mode,
                token,
                waited,
            },
            Self::Converted {
                path,
                who,
                mode,
                token,
            } => What::Converted {
                path: Arc::from(path),
                who: who.into_owned(),
                mode,
                token,
            },
            Self::Ended {
                path,
                who,
                token,
                cause,
                held,
            } => What::Ended {
                path: Arc::from(path),
                who: who.into_owned(),
                token,
                cause,
                held,
            },
            Self::Orphaned { path, who, token } => What::Orphaned {
                path: Arc::from(path),
                who: who.into_owned(),
                token,
            },
            Self::Adopted { path, who, token } => What::Adopted {
                path: Arc::from(path),
                who: who.into_owned(),
                token,
            },
            Self::Queued { paths, who, wait } => What::Queued {
                paths: all(paths),
                who: who.into_owned(),
                wait,
            },
            Self::WaitEnded {
                paths,
                who,
                wait,
                why,
            } => What::WaitEnded {
                paths: all(paths),
                who: who.into_owned(),
                wait,
                why,
            },
            Self::SessionOpened { session, who } => What::SessionOpened {
                session,
                who: who.into_owned(),
            },
            Self::SessionDetached {
                session,
                who,
                keeps,
            } => What::SessionDetached {
                session,
                who: who.into_owned(),
                keeps,
            },
            Self::SessionResumed { session, who } => What::SessionResumed {
                session,
                who: who.into_owned(),
            },
            Self::SessionEnded { session, who, why } => What::SessionEnded {
                session,
                who: who.into_owned(),
                why,
            },
        }
    }
}
