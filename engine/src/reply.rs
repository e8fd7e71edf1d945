//! The vocabulary of answers. `apply` always gives exactly one; what users do wrong is an answer too.
//! Knows no wire and no person's language. Answers own what they name: they outlive the command that they answer.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Mode, Role};
use crate::event::{Cause, Missed};
use crate::ids::{Attach, SessionId, Token, WaitId};
use crate::policy::OnDisconnect;
use crate::time::{Millis, WallTime};

/// What `apply` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is so, and there is nothing more to say.
    Done,
    /// To `OpenSession`.
    Opened {
        /// The session's number.
        session: SessionId,
        /// Its first attachment.
        attach: Attach,
        /// What a disconnect will do, after policy.
        on_disconnect: OnDisconnect,
    },
    /// To `ResumeSession`.
    Resumed(Box<Resumed>),
    /// To `RenewSession`.
    SessionRenewed {
        /// Holds that live on.
        holds: u32,
    },
    /// To `Acquire`, `Convert` and `Renew`: the lock is held.
    Granted(Grant),
    /// To `AcquireAll`: all are held, in the order asked.
    GrantedAll(Vec<Grant>),
    /// To `Acquire`, `AcquireAll` and `Convert`: an answer will follow as a notice.
    Queued {
        /// Names the wait in every later notice.
        wait: WaitId,
        /// Eligible and detached waiters ahead of it, plus one. An `AcquireAll` has the place 0: it stands in no queue.
        place: u32,
    },
    /// To `Acquire` and `Convert`: no, and why.
    Refused(Box<Refusal>),
    /// To `AcquireAll`: no, because of these items.
    RefusedAll(Vec<RefusedItem>),
    /// To `Release`.
    Released(Released),
    /// To `Renew`, `Release`, `Convert`, `HandOver`, `Decline`: the owner does not hold the lock (any more).
    NotHeld(Box<NotHeld>),
    /// To `Cancel`: the wait is over, nothing was granted.
    Cancelled,
    /// To `Cancel`: the grant came first; the session holds the lock.
    GrantedBefore(Vec<Held>),
    /// To `HandOver`: the waiter holds the lock.
    HandedOver {
        /// The waiter's token.
        token: Token,
        /// The waiter's owner.
        owner: Arc<str>,
    },
    /// To `ForceRelease`.
    Forced {
        /// What was ended in this step, in path order.
        ended: Vec<EndedHold>,
        /// Where the next step begins; `None` when all is done.
        next: Option<Arc<str>>,
    },
    /// What was asked cannot be done at all.
    Rejected(Rejection),
}

/// A lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// The mode held, which may be stronger than the one asked for.
    pub mode: Mode,
    /// How long a renewal lasts, after policy.
    pub ttl: Millis,
    /// How long the hold lives from here, which may be longer than the TTL: joining shortens nothing.
    pub remaining: Millis,
    /// How it came about.
    pub kind: GrantKind,
}

/// How a grant came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// The owner did not hold the lock.
    Fresh,
    /// The owner held it already: the session joined, or renewed.
    Joined,
    /// The owner held it in another mode.
    Converted,
}

/// Why an acquire or a convert is refused, and the truth about the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Who holds it, and how many wait.
    pub truth: Truth,
}

/// Why an acquire or a convert is refused, or a queued one ended without a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// Others hold it in a way that leaves no room.
    Held,
    /// There is room, but others wait ahead.
    QueuedAhead,
    /// The shared phase has another limit.
    LimitDiffers,
    /// Another owner is already waiting to upgrade: both would wait for ever.
    UpgradePending,
    /// As many wait as may.
    QueueFull,
    /// A holder's role is higher than the seizing session's.
    RoleTooLow,
}

/// One item of an `AcquireAll` that could not be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedItem {
    /// Its place among the items, from 0.
    pub item: u32,
    /// Why.
    pub refusal: Refusal,
}

/// The truth about a path: what one round trip must tell (promise 9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Truth {
    /// Mode of the holds; `None` when the path is free.
    pub mode: Option<Mode>,
    /// Limit of the shared phase.
    pub limit: Option<u32>,
    /// Token of the holds; `None` when the path is free.
    pub token: Option<Token>,
    /// The first [`TRUTH_HOLDERS_MAX`](crate::limits::TRUTH_HOLDERS_MAX) holders, longest first.
    pub holders: Vec<Holder>,
    /// How many there are in all.
    pub holder_count: u32,
    /// Waits that stand in its queue, those of `AcquireAll` included.
    pub waiters: u32,
}

/// One holder of a lock, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// On whose behalf.
    pub owner: Arc<str>,
    /// How people call them: the name of the session that has been in the hold longest.
    pub name: Arc<str>,
    /// The sessions in the hold.
    pub sessions: u32,
    /// Whether none of them is attached to a connection.
    pub orphaned: bool,
    /// Since when, for people to read.
    pub since: WallTime,
    /// For how long already.
    pub held: Millis,
    /// For how long still, unless renewed.
    pub remaining: Millis,
    /// The hold's metadata.
    pub metadata: Arc<[u8]>,
}

/// A session as it is after a resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The attachment that the resume made.
    pub attach: Attach,
    /// On whose behalf the session acts.
    pub owner: Arc<str>,
    /// What a disconnect will do.
    pub on_disconnect: OnDisconnect,
    /// How much it may do.
    pub role: Role,
    /// What it holds, oldest first.
    pub holds: Vec<Held>,
    /// What it awaits, oldest first.
    pub waits: Vec<Waiting>,
    /// What it was to be told while nobody was there to hear, and the losses it may not have heard of; in order.
    pub missed: Vec<Missed>,
}

/// A hold as its own session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lock.
    pub path: Arc<str>,
    /// The hold.
    pub grant: Grant,
}

/// A wait as its own session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub wait: WaitId,
    /// The lock, or all of an `AcquireAll`.
    pub paths: Vec<Arc<str>>,
    /// As in [`Reply::Queued`].
    pub place: u32,
    /// How long it still waits.
    pub remaining: Millis,
}

/// How a release went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The hold is over.
    Ended,
    /// The session has left; the owner's other sessions hold on.
    Left,
    /// It had expired already, which is as good.
    AlreadyExpired,
}

/// The owner does not hold the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHeld {
    /// How the session lost it, if it held it and remembers.
    pub lost: Option<Loss>,
    /// Who holds it.
    pub truth: Truth,
}

/// How a hold was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The token it had.
    pub token: Token,
    /// Why it ended.
    pub cause: Cause,
}

/// A hold that an operator ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedHold {
    /// The lock.
    pub path: Arc<str>,
    /// Whose hold it was.
    pub owner: Arc<str>,
    /// How people call them.
    pub name: Arc<str>,
    /// The token it had.
    pub token: Token,
}

/// Why something cannot be done at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such session (any more), or not in this org, or the resume key is another.
    UnknownSession,
    /// The session is attached elsewhere, or to nothing.
    NotAttached,
    /// The session's role only looks.
    RoleTooLow,
    /// The session has no such wait (any more).
    UnknownWait,
    /// The waiter cannot be granted the lock in this step: detached, out of time, or others hold on beside.
    NotGrantable,
    /// An `AcquireAll` of no path, too many, or one path twice.
    BadItems,
    /// A lock that nobody may share: a limit of 0.
    BadLimit,
    /// A policy under which a hold may be over when it begins: a shortest TTL of 0.
    BadPolicy,
    /// The org has as many sessions as its policy allows.
    TooManySessions,
    /// The org has as many holds as its policy allows.
    TooManyHolds,
    /// The session has as many holds as the policy allows.
    TooManySessionHolds,
    /// The session has as many waits as the policy allows.
    TooManySessionWaits,
    /// A seizure is of an exclusive lock, at once.
    BadSeize,
    /// All tokens have been used: the history is at its end.
    TokensExhausted,
}
