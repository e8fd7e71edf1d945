//! What a server says unasked. A push carries no request id; one that concerns a session names it, one that comes from an
//! org's stream or from its presence names the org and is for all subscriptions of the connection there.
//!
//! What a session must be told while it is not attached is not pushed later: it stands in the answer to its resume.

use crate::{
    Cause, Code, CollisionLevel, Counts, Event, Grant, Held, Position, Push, SessionEnd, Viewer,
    WaitEnd, Who,
};

impl Push<'_> {
    /// The session that it is for, if it concerns one.
    #[must_use]
    pub const fn session(&self) -> Option<u64> {
        Some(match self {
            Self::ServerPing(_)
            | Self::ServerGoodbye(_)
            | Self::StreamEvent(_)
            | Self::StreamPosition(_)
            | Self::StreamGap(_)
            | Self::PresenceChanged(_)
            | Self::PresenceGap(_) => return None,
            Self::SessionMoved(push) => push.session,
            Self::SessionClosed(push) => push.session,
            Self::LockGranted(push) => push.session,
            Self::LockLost(push) => push.session,
            Self::LockChanged(push) => push.session,
            Self::LockAsked(push) => push.session,
            Self::LockDeclined(push) => push.session,
            Self::LockWaitEnded(push) => push.session,
            Self::LockPlace(push) => push.session,
            Self::PresenceCollision(push) => push.session,
            Self::PresenceEnded(push) => push.session,
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

message! {
    /// Something has happened at a path that a subscription of this connection is for. Sent once, however many are.
    Happened<'a> {
        /// The tenant.
        org: &'a str,
        /// Its place in the org's stream, in the epoch that the subscribe was answered with.
        offset: u64,
        /// When, in milliseconds of Unix time, for people to read.
        at_ms: u64,
        /// What.
        event: Event<'a>,
    }
}

message! {
    /// The subscriptions of this connection have been sent everything up to here. Sent now and then when nothing matches.
    #[derive(Copy)]
    Reached<'a> {
        /// The tenant.
        org: &'a str,
        /// Where to resume from.
        position: Position,
    }
}

message! {
    /// The connection was so slow that these events are no longer kept: whatever they changed has to be read anew.
    #[derive(Copy)]
    Gap<'a> {
        /// The tenant.
        org: &'a str,
        /// Offset of the first that was left out.
        from: u64,
        /// Offset of the last; the next one goes on from there.
        to: u64,
    }
}

message! {
    /// Who is at a path has changed, told at most once in a while for each path. Applying it twice is harmless.
    ViewersChanged<'a> {
        /// The tenant.
        org: &'a str,
        /// Presence of the org after the change; rises with every one.
        version: u64,
        /// Where.
        path: &'a str,
        /// How many viewers it has now.
        total: u32,
        /// The same by what they do.
        counts: Counts,
        /// Viewers that have come or have changed, each as it is now.
        up: Vec<Viewer<'a>>,
        /// Owners that are no longer among the listed viewers.
        gone: Vec<&'a str>,
    }
}

message! {
    /// What others do at the path of a session has another level than the session was told last.
    Collision<'a> {
        /// A session that is there.
        session: u64,
        /// Where.
        path: &'a str,
        /// The most that another owner does there.
        level: CollisionLevel,
        /// The first of those who do it, at most 16.
        by: Vec<Who<'a>>,
    }
}

message! {
    /// The connection was so slow that changes of presence are no longer kept: who is where has to be read anew.
    #[derive(Copy)]
    ViewersLeftOut<'a> {
        /// The tenant.
        org: &'a str,
        /// The last that was left out.
        version: u64,
    }
}

message! {
    /// A session has given no sign of life at a path for too long and was taken from there. It enters again if it lives.
    #[derive(Copy)]
    PresenceEnded<'a> {
        /// The session.
        session: u64,
        /// Where.
        path: &'a str,
    }
}
