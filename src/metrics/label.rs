//! The values that labels take: short lists, so that the number of series is known. A name never changes meaning.
//! Knows the engine's words and turns them into labels; counts nothing itself.

use tenure_engine::{Cause, Reply, SessionEnd, WaitEnd};
use tenure_protocol::Class;

/// Declares a list of label values: the enum, all of them in order, and their names.
macro_rules! labels {
    (
        $(#[$of_list:meta])*
        $visibility:vis enum $List:ident { $($(#[$of_value:meta])* $Value:ident = $name:literal,)+ }
    ) => {
        $(#[$of_list])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $List { $($(#[$of_value])* $Value,)+ }

        impl $List {
            /// Every value; its index is its number.
            $visibility const ALL: [Self; [$($name),+].len()] = [$(Self::$Value),+];

            /// As the label says it.
            #[must_use]
            $visibility const fn name(self) -> &'static str {
                match self { $(Self::$Value => $name,)+ }
            }
        }
    };
}

labels! {
    /// How a command was answered.
    pub enum CommandOutcome {
        /// It is so.
        Done = "done",
        /// The answer will follow.
        Queued = "queued",
        /// The lock is not to be had.
        Refused = "refused",
        /// The lock is not held, or not any more.
        NotHeld = "not_held",
        /// It cannot be done at all.
        Rejected = "rejected",
        /// The principal may not.
        Denied = "denied",
        /// The request makes no sense.
        Malformed = "malformed",
        /// The server cannot now; the same request may be sent again.
        Unavailable = "unavailable",
        /// The server has a defect.
        Failed = "failed",
    }
}

labels! {
    /// Why a connection was turned away before it could say anything.
    pub enum ConnectionRefusal {
        /// As many are open as may.
        Full = "full",
        /// The TLS handshake failed.
        Tls = "tls",
        /// It did not say who it is in time.
        HelloTimeout = "hello_timeout",
        /// What it said first is not of the protocol.
        HelloMalformed = "hello_malformed",
        /// Its key is none of ours.
        Key = "key",
    }
}

labels! {
    /// Why a hold ended: [`Cause`] without names.
    pub(super) enum HoldEnd {
        Released = "released",
        Expired = "expired",
        SessionClosed = "session_closed",
        SessionLost = "session_lost",
        Forced = "forced",
        Seized = "seized",
        HandedOver = "handed_over",
    }
}

labels! {
    /// Why a wait ended without a grant: [`WaitEnd`] without reasons.
    pub(super) enum WaitEndReason {
        TimedOut = "timed_out",
        Cancelled = "cancelled",
        Refused = "refused",
        SessionEnded = "session_ended",
        Detached = "detached",
        TooManyHolds = "too_many_holds",
    }
}

labels! {
    /// Why a session ended.
    pub(super) enum SessionEndReason {
        Closed = "closed",
        GraceOver = "grace_over",
        LastHoldOver = "last_hold_over",
        Idle = "idle",
    }
}

labels! {
    /// What else happens to locks.
    pub(super) enum LockEvent {
        Granted = "granted",
        Converted = "converted",
        Queued = "queued",
        Orphaned = "orphaned",
        Adopted = "adopted",
    }
}

labels! {
    /// What else happens to sessions.
    pub(super) enum SessionEvent {
        Opened = "opened",
        Detached = "detached",
        Resumed = "resumed",
    }
}

impl CommandOutcome {
    /// How the engine has answered.
    #[must_use]
    pub const fn of(reply: &Reply) -> Self {
        match reply {
            Reply::Queued { .. } => Self::Queued,
            Reply::Refused(_) | Reply::RefusedAll(_) => Self::Refused,
            Reply::NotHeld(_) => Self::NotHeld,
            Reply::Rejected(_) => Self::Rejected,
            Reply::Done
            | Reply::Opened { .. }
            | Reply::Resumed(_)
            | Reply::SessionRenewed { .. }
            | Reply::Granted(_)
            | Reply::GrantedAll(_)
            | Reply::Released(_)
            | Reply::Cancelled
            | Reply::GrantedBefore(_)
            | Reply::HandedOver { .. }
            | Reply::Forced { .. } => Self::Done,
        }
    }

    /// How a request was answered that came to no engine.
    #[must_use]
    pub const fn of_error(class: Class) -> Self {
        match class {
            Class::Retry | Class::Reconnect => Self::Unavailable,
            Class::FixRequest => Self::Malformed,
            Class::NotAllowed => Self::Denied,
            Class::ServerFault => Self::Failed,
        }
    }
}

impl HoldEnd {
    pub(super) const fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Released => Self::Released,
            Cause::Expired => Self::Expired,
            Cause::SessionClosed => Self::SessionClosed,
            Cause::SessionLost => Self::SessionLost,
            Cause::Forced { .. } => Self::Forced,
            Cause::Seized { .. } => Self::Seized,
            Cause::HandedTo { .. } => Self::HandedOver,
        }
    }
}

impl WaitEndReason {
    pub(super) const fn of(why: WaitEnd) -> Self {
        match why {
            WaitEnd::TimedOut => Self::TimedOut,
            WaitEnd::Cancelled => Self::Cancelled,
            WaitEnd::Refused(_) => Self::Refused,
            WaitEnd::SessionEnded => Self::SessionEnded,
            WaitEnd::Detached => Self::Detached,
            WaitEnd::TooManyHolds => Self::TooManyHolds,
        }
    }
}

impl SessionEndReason {
    pub(super) const fn of(why: SessionEnd) -> Self {
        match why {
            SessionEnd::Closed => Self::Closed,
            SessionEnd::GraceOver => Self::GraceOver,
            SessionEnd::LastHoldOver => Self::LastHoldOver,
            SessionEnd::Idle => Self::Idle,
        }
    }
}
