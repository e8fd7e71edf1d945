//! Refusals of the store and of the lock server, as problems.
//!
//! The only place that knows both vocabularies. Rule: what must not be known to exist is not found, whoever refuses it.

use std::time::Duration;

use tenure_client::Refusal;

use super::problem::{Code, Problem};
use crate::live::NoFeed;
use crate::locks::{LockView, LossView, Trouble};
use crate::store::{Error, Thing};

/// When to come back to a database that is away or busy.
const STORE_AFTER: Duration = Duration::from_secs(1);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(Thing::Chat) => Self::not_found("chat"),
            Error::NotFound(Thing::Message) => Self::not_found("message"),
            Error::NotFound(Thing::Participant) => Self::not_found("participant"),
            Error::Forbidden { .. } => Self::new(Code::Forbidden, text),
            Error::Invalid { .. } | Error::Final(_) => Self::new(Code::Invalid, text),
            Error::Mismatch => Self::new(Code::Mismatch, text),
            Error::StaleView { last_seq, missed } => {
                let detail = "there are messages that you have not seen: look at them, and send again with \
                              `expected_last_seq` as it is now, or with `force`";
                Self::new(Code::StaleView, detail)
                    .with("last_seq", last_seq)
                    .with("missed", missed)
            }
            Error::StaleToken { current } => {
                let detail = "somebody else has had the lock since you were given this token: take the lock again";
                Self::new(Code::StaleToken, detail).with("token", current)
            }
            Error::Unusable(_) => Self::internal("the database cannot be used", &text),
            Error::Database(why) => {
                let detail = "the database is away or too busy; nothing was stored unless a repetition says so";
                Self::new(Code::StoreAway, detail)
                    .retry_after(STORE_AFTER)
                    .because(format!("the database has failed: {why}"))
            }
        }
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away { retry_after } => away(retry_after),
            Trouble::Refused(refusal) => held(&refusal, Code::Held),
            Trouble::Lost(loss) => {
                let problem = Self::new(
                    Code::LockLost,
                    "you do not hold this lock (any more): stop, and take it again",
                );
                match loss {
                    Some(loss) => problem.with("loss", LossView::from(&*loss)),
                    None => problem,
                }
            }
            Trouble::SessionOver => {
                let detail = "the session is over, and what it held is released: make another with POST /v1/sessions";
                Self::new(Code::SessionOver, detail)
            }
            Trouble::Wrong(detail) => Self::new(Code::Invalid, detail),
            Trouble::Forbidden(detail) => Self::new(Code::Forbidden, detail),
            Trouble::Full(detail) => Self::new(Code::Full, detail).retry_after(STORE_AFTER),
            Trouble::TooMany(detail) => {
                Self::new(Code::TooManyRequests, detail).retry_after(STORE_AFTER)
            }
            Trouble::Failed(detail) => Self::internal("the lock server has failed", &detail),
        }
    }
}

impl From<NoFeed> for Problem {
    fn from(no: NoFeed) -> Self {
        match no {
            NoFeed::Away => away(Duration::from_secs(1)),
            NoFeed::Full => {
                let detail = "as many feeds as may be are open; close one, or come back";
                Self::new(Code::Full, detail).retry_after(Duration::from_secs(5))
            }
        }
    }
}

/// The lock server is away.
pub(super) fn away(retry_after: Duration) -> Problem {
    Problem::new(
        Code::TenureAway,
        "the lock server is away, and is needed for this",
    )
    .retry_after(retry_after)
}

/// Somebody else holds it.
pub(super) fn held(refusal: &Refusal, code: Code) -> Problem {
    let view = LockView::from(&refusal.status);
    kept_out(&view, code).with("reason", refusal.reason.name())
}

/// The same, of a lock that was looked at.
pub(super) fn kept_out(lock: &LockView, code: Code) -> Problem {
    let holder = lock.holders.first();
    let detail = holder.map_or_else(
        || "nobody holds it, but others wait ahead or a limit is reached".to_owned(),
        |holder| {
            format!(
                "{} holds it, for another {} s at most unless it is kept",
                holder.name,
                holder.remaining_ms / 1000
            )
        },
    );
    Problem::new(code, detail)
        .with("lock", lock)
        .retry_after(lock.remaining().max(Duration::from_secs(1)))
}

/// What a chat that is held by somebody else says.
pub(super) fn locked(trouble: Trouble) -> Problem {
    if let Trouble::Refused(refusal) = trouble {
        return held(&refusal, Code::Locked);
    }
    trouble.into()
}
