//! What a server says unasked. A push carries no request id; one that concerns a session names it.
//!
//! What a session must be told while it is not attached is not pushed later: it stands in the answer to its resume.

use crate::{Cause, Code, Grant, Held, Push, SessionEnd, WaitEnd, Who};

impl Push<'_> {
    /// The session that it is for, if it concerns one.
    #[must_use]
    pub const fn session(&self) -> Option<u64> {
        Some(match self {
            Self::ServerPing(_) | Self::ServerGoodbye(_) => return None,
            Self::SessionMoved(push) => push.session,
            Self::SessionClosed(push) => push.session,
            Self::LockGranted(push) => push.session,
            Self::LockLost(push) => push.session,
            Self::LockChanged(push) => push.session,
            Self::LockAsked(push) => push.session,
            Self::LockDeclined(push) => push.session,
            Self::LockWaitEnded(push) => push.session,
            Self::LockPlace(push) => push.session,
        })
    }
}

message! {
    /// A sign of life, and a request for one: the client answers with any frame.
    #[derive(Copy, Default)]
    Ping {}
}

message! {
    /// The last frame of a connection.
    #[derive(Copy)]
    Goodbye<'a> {
        /// Why; its class says whether to connect again.
        code: Code,
        /// The same for people.
        message: &'a str,
    }
}

message! {
    /// The session has been attached to another connection; this one has nothing to do with it any more.
    #[derive(Copy)]
    Moved {
        /// Its number.
        session: u64,
    }
}

message! {
    /// The session is over, and its holds and waits with it.
    #[derive(Copy)]
    Closed {
        /// Its number.
        session: u64,
        /// Why.
        why: SessionEnd,
    }
}

message! {
    /// A wait has become a hold. The client renews at once, and counts from that sending.
    Granted<'a> {
        /// The session that waited.
        session: u64,
        /// The wait that is over.
        wait: u64,
        /// What is held: one, or all of an acquire of several.
        holds: Vec<Held<'a>>,
    }
}

message! {
    /// A hold is over.
    #[derive(Copy)]
    Lost<'a> {
        /// The session that was in it.
        session: u64,
        /// The lock.
        path: &'a str,
        /// The token it had.
        token: u64,
        /// Why.
        cause: Cause<'a>,
    }
}

message! {
    /// A hold goes on with another mode or token.
    #[derive(Copy)]
    Changed<'a> {
        /// The session that is in it.
        session: u64,
        /// The lock.
        path: &'a str,
        /// What it is held as.
        grant: Grant,
    }
}

message! {
    /// Somebody would like to have the lock.
    #[derive(Copy)]
    Asked<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str,
        /// The wait to hand over to, or to decline.
        wait: u64,
        /// Who asks.
        who: Who<'a>,
        /// What they say.
        note: &'a str,
    }
}

message! {
    /// A holder has said no. The wait goes on.
    #[derive(Copy)]
    Declined<'a> {
        /// The session that waits.
        session: u64,
        /// The wait that had left a note.
        wait: u64,
        /// The lock.
        path: &'a str,
        /// Who said no.
        who: Who<'a>,
    }
}

message! {
    /// A wait is over without a grant.
    #[derive(Copy)]
    WaitEnded {
        /// The session that waited.
        session: u64,
        /// Which wait.
        wait: u64,
        /// Why.
        why: WaitEnd,
    }
}

message! {
    /// Where a wait stands.
    #[derive(Copy)]
    Place {
        /// The session that waits.
        session: u64,
        /// Which wait.
        wait: u64,
        /// Waiters ahead, plus one.
        place: u32,
    }
}
