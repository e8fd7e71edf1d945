//! The vocabulary of change: everything that can happen to presence. A command borrows its texts; the machine copies what
//! it keeps. Sizes and spellings are the caller's business; any string is taken.

use crate::ids::{SessionId, SessionRef};

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Time has passed: sweeps and tells what is due, a bounded number at a time.
    Tick,
    /// A session is at a path, or still is. Answered with [`Reply::Entered`](super::Reply::Entered).
    Enter(Enter<'a>),
    /// A session does something at a path that it has entered. Answered with [`Reply::Updated`](super::Reply::Updated).
    Update(Update<'a>),
    /// A session is no longer at a path. Answered with [`Reply::Left`](super::Reply::Left), also when it never was.
    Leave {
        /// Who.
        by: SessionRef,
        /// Where.
        path: &'a str,
    },
    /// What a session was typing at a path has been sent.
    EndTyping {
        /// Who.
        session: SessionId,
        /// Where.
        path: &'a str,
    },

    /// The locks' side: the holders of a path have changed.
    LockChanged {
        /// The tenant.
        org: &'a str,
        /// The lock.
        path: &'a str,
    },
    /// The locks' side: a session has been attached anew. It is told afresh how near others come.
    SessionResumed(SessionRef),
    /// The locks' side: a session has lost its connection.
    SessionDetached {
        /// Which.
        session: SessionId,
        /// Whether it lives by its holds alone from here on; then it is nowhere.
        keeps: bool,
    },
    /// The locks' side: a session is over.
    SessionEnded(SessionId),
}

/// See [`Command::Enter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enter<'a> {
    /// Who.
    pub by: SessionRef,
    /// Where, in the org of the session.
    pub path: &'a str,
    /// What it does there.
    pub activity: Activity,
    /// Who may see that it types. Of other activities this says nothing.
    pub typing_for: Audience,
    /// Opaque, shown to others with the viewer.
    pub metadata: &'a [u8],
}

/// See [`Command::Update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// Who.
    pub by: SessionRef,
    /// Where.
    pub path: &'a str,
    /// What it does there.
    pub activity: Activity,
    /// Who may see that it types.
    pub typing_for: Audience,
}

/// What a session does at a path. A viewer is shown with the strongest that its sittings do, which is the last of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// Has it open and does nothing.
    Idle,
    /// Looks at it.
    Viewing,
    /// Writes something. For some seconds; then it is viewing again.
    Typing,
    /// Changes it.
    Editing,
}

/// Who sees something. Whatever everyone sees, insiders see too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Members and higher.
    Insiders,
    /// Observers too.
    Everyone,
}
