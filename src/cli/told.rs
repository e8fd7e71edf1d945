//! What `tenure-client` tells, in the words and the JSON of the wire.
//!
//! The client has types of its own, so that services are spared the growth of the wire; what `--json` promises are the
//! names of `docs/protocol.md`. Decides nothing.

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use tenure_client::RefusalReason as Reason;
use tenure_client::{LockGuard, Loss, LossCause, PathStatus, Refusal};
use tenure_protocol::{Cause, Holder, Mode, RefusalReason, Truth, WaitEnd, Who};

use super::duration::ms;
use super::words;

/// What happens to a lock that a process holds, for programs: one object a line, `op` saying what it is.
#[derive(Serialize)]
#[serde(tag = "op")]
pub(super) enum Told<'a> {
    /// It is held.
    #[serde(rename = "lock.acquire")]
    Granted { status: &'static str, grant: Held },
    /// It is not granted.
    #[serde(rename = "lock.acquire")]
    Refused {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<RefusalReason>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<WaitEnd>,
        truth: Truth<'a>,
    },
    /// It is waited for, at this place.
    #[serde(rename = "lock.place")]
    Place { path: &'a str, place: u32 },
    /// Who has it says no, and it is waited for still.
    #[serde(rename = "lock.declined")]
    Declined { path: &'a str, who: Who<'a> },
    /// Somebody would like to have it.
    #[serde(rename = "lock.asked")]
    Asked {
        path: &'a str,
        wait: u64,
        who: Who<'a>,
        note: &'a str,
    },
    /// It is over.
    #[serde(rename = "lock.lost")]
    Lost {
        path: &'a str,
        token: u64,
        cause: Why<'a>,
    },
    /// It was let go.
    #[serde(rename = "lock.release")]
    Released { status: &'static str },
}

/// A hold as this side knows it.
#[derive(Serialize)]
pub(super) struct Held {
    pub(super) token: u64,
    pub(super) mode: &'static str,
    pub(super) ttl_ms: u64,
    pub(super) remaining_ms: u64,
}

/// A cause of the wire, or one that this side has found.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Why<'a> {
    Wire(Cause<'a>),
    Here { kind: &'static str },
}

impl Held {
    pub(super) fn of(guard: &LockGuard) -> Self {
        Self {
            token: guard.token(),
            mode: mode(guard.mode()).name(),
            ttl_ms: ms(guard.ttl()),
            remaining_ms: ms(guard.remaining()),
        }
    }
}

impl<'a> Told<'a> {
    pub(super) fn refusal(refusal: &'a Refusal) -> Self {
        let (reason, why) = match ending(refusal) {
            Ending::Refused(reason) => (Some(reason), None),
            Ending::Wait(why) => (None, Some(why)),
        };
        Self::Refused {
            status: if why.is_some() {
                "wait_ended"
            } else {
                "refused"
            },
            reason,
            why,
            truth: truth(&refusal.status),
        }
    }

    pub(super) fn loss(loss: &'a Loss) -> Self {
        Self::Lost {
            path: &loss.path,
            token: loss.token,
            cause: match cause(loss) {
                Some(cause) => Why::Wire(cause),
                None => Why::Here {
                    kind: loss.cause.name(),
                },
            },
        }
    }
}

/// Why a lock was not granted, and who has it, for people.
pub(super) fn refusal_in_words(refusal: &Refusal) -> String {
    let truth = truth(&refusal.status);
    match ending(refusal) {
        Ending::Refused(reason) => words::refusal(reason, &truth),
        Ending::Wait(why) => words::wait_end(why, &truth),
    }
}

/// How a lock was lost, for people.
pub(super) fn loss_in_words(loss: &Loss) -> Cow<'static, str> {
    match cause(loss) {
        Some(cause) => Cow::Owned(words::cause(cause)),
        None if loss.cause == LossCause::ExpiredHere => {
            Cow::Borrowed("it could not be renewed in time")
        }
        None if loss.cause == LossCause::SessionMoved => {
            Cow::Borrowed("somebody else has taken its session over")
        }
        None => Cow::Borrowed("the server does not have it any more"),
    }
}

/// How an acquire without a grant ended.
enum Ending {
    Refused(RefusalReason),
    Wait(WaitEnd),
}

fn ending(refusal: &Refusal) -> Ending {
    match refusal.reason {
        Reason::WaitTimedOut => Ending::Wait(WaitEnd::TimedOut),
        Reason::TooManyHolds => Ending::Wait(WaitEnd::TooManyHolds),
        Reason::Held
        | Reason::QueuedAhead
        | Reason::LimitDiffers
        | Reason::UpgradePending
        | Reason::QueueFull
        | Reason::RoleTooLow
        | _ => Ending::Refused(reason(refusal.reason).unwrap_or(RefusalReason::Held)),
    }
}

/// Why a lock was not granted, unless it was waited for.
pub(super) const fn reason(reason: Reason) -> Option<RefusalReason> {
    Some(match reason {
        Reason::Held => RefusalReason::Held,
        Reason::QueuedAhead => RefusalReason::QueuedAhead,
        Reason::LimitDiffers => RefusalReason::LimitDiffers,
        Reason::UpgradePending => RefusalReason::UpgradePending,
        Reason::QueueFull => RefusalReason::QueueFull,
        Reason::RoleTooLow => RefusalReason::RoleTooLow,
        Reason::WaitTimedOut | Reason::TooManyHolds | _ => return None,
    })
}

pub(super) fn cause(loss: &Loss) -> Option<Cause<'_>> {
    let by = loss.by.as_ref();
    let who = Who {
        owner: by.map_or("", |by| &by.owner),
        name: by.map_or("", |by| &by.name),
    };
    let reason = loss.reason.as_deref().unwrap_or_default();
    Some(match loss.cause {
        LossCause::Released => Cause::Released,
        LossCause::Expired => Cause::Expired,
        LossCause::SessionClosed => Cause::SessionClosed,
        LossCause::SessionLost => Cause::SessionLost,
        LossCause::Forced => Cause::Forced {
            by: who.owner,
            reason,
        },
        LossCause::Seized => Cause::Seized { by: who, reason },
        LossCause::HandedOver => Cause::HandedTo { to: who },
        LossCause::ExpiredHere | LossCause::SessionMoved | LossCause::Unknown | _ => return None,
    })
}

fn truth(status: &PathStatus) -> Truth<'_> {
    Truth {
        mode: status.mode.map(mode),
        limit: status.limit,
        token: status.token,
        holders: status.holders.iter().map(holder).collect(),
        holder_count: status.holder_count,
        waiters: status.waiters,
    }
}

fn holder(holder: &tenure_client::Holder) -> Holder<'_> {
    Holder {
        owner: &holder.owner,
        name: &holder.name,
        sessions: holder.sessions,
        orphaned: holder.orphaned,
        since: holder.since.duration_since(UNIX_EPOCH).map_or(0, ms),
        held_ms: ms(holder.held_for),
        remaining_ms: ms(holder.remaining),
        metadata: &holder.metadata,
    }
}

pub(super) const fn mode(mode: tenure_client::Mode) -> Mode {
    match mode {
        tenure_client::Mode::Shared => Mode::Shared,
        tenure_client::Mode::Exclusive => Mode::Exclusive,
    }
}
