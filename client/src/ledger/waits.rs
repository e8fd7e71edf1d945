//! Waits at the server: their progress, their grant and its confirmation, their end, their cancellation.
//!
//! Rule: a wait is cancelled when nobody shares it, and never while a request that is unanswered may have come to share it.

use std::sync::Arc;

use tenure_protocol::{self as wire, Reply, Request, reply, request};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Ledger;
use super::asking::Attempt;
use super::calls::Then;
use super::errands::Errand;
use super::sessions::{SessionKey, session_over};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::standing::HoldCell;
use crate::types::{RefusalReason, WaitProgress};

/// A wait at the server. Several attempts of a session may share one: asked again, the server gives the same.
#[derive(Default)]
pub(crate) struct Wait {
    pub(crate) attempts: Vec<Attempt>,
    /// Once it is granted: how many of its holds are not confirmed yet.
    pub(crate) unconfirmed: Option<usize>,
    /// The holds that it was granted.
    pub(crate) granted: Vec<Arc<HoldCell>>,
}

impl Wait {
    pub(crate) fn is_given_up(&self) -> bool {
        self.attempts.iter().all(Attempt::is_given_up)
    }

    pub(crate) fn fail(self, error: &Error) {
        for attempt in self.attempts {
            attempt.fail(error.clone());
        }
    }

    /// Ends it as the server said, if that was without a grant.
    fn end(self, why: wire::WaitEnd) {
        for attempt in self.attempts {
            attempt.end(why);
        }
    }

    pub(crate) fn touches(&self, path: &str) -> bool {
        self.attempts
            .iter()
            .any(|attempt| attempt.items.iter().any(|item| &*item.path == path))
    }

    pub(crate) fn tell(&self, progress: &WaitProgress) {
        for attempt in &self.attempts {
            attempt.tell(progress.clone());
        }
    }
}

impl Attempt {
    /// Its wait is over without a grant.
    pub(crate) fn end(self, why: wire::WaitEnd) {
        let error = wait_ended(self.first_path(), why);
        self.fail(error);
    }
}

impl Ledger {
    /// A wait has become a hold. It is renewed at once, and whoever waited gets it when that is answered: only then is
    /// there a sending to count from.
    pub(crate) fn wait_granted(&mut self, now: Instant, push: &wire::push::Granted<'_>) {
        let Some(&session) = self.numbers.get(&push.session) else {
            return;
        };
        let mut cells = Vec::with_capacity(push.holds.len());
        for held in &push.holds {
            let path: Arc<str> = held.path.into();
            self.note_grant(now, None, session, &path, &held.grant);
            let entry = self.sessions.get_mut(&session);
            if let Some(hold) = entry.and_then(|entry| entry.slot(&path).hold.as_mut()) {
                hold.claims += 1;
                cells.push(Arc::clone(&hold.cell));
            }
        }
        let wait = self
            .sessions
            .get_mut(&session)
            .and_then(|entry| entry.waits.get_mut(&push.wait));
        if let Some(wait) = wait {
            wait.unconfirmed = Some(cells.len());
            wait.granted.clone_from(&cells);
            for cell in cells.into_iter().rev() {
                self.errands
                    .push_front(Errand::RenewHold(session, cell, Some(push.wait)));
            }
        } else {
            // It was cancelled a moment ago.
            self.unclaim(session, &cells);
        }
    }

    /// Takes back what a granted wait claimed.
    pub(crate) fn unclaim(&mut self, session: SessionKey, cells: &[Arc<HoldCell>]) {
        for cell in cells {
            let entry = self.sessions.get_mut(&session);
            if let Some(hold) = entry.and_then(|entry| entry.slot(&cell.path).hold_of(cell)) {
                hold.claims = hold.claims.saturating_sub(1);
            }
            self.settle_soon(session, &cell.path);
        }
    }

    /// One hold of a granted wait has been confirmed, or turned out to be lost.
    pub(crate) fn confirmed(&mut self, now: Instant, session: SessionKey, wait: u64) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(known) = entry.waits.get_mut(&wait) else {
            return;
        };
        let Some(unconfirmed) = &mut known.unconfirmed else {
            return;
        };
        *unconfirmed = unconfirmed.saturating_sub(1);
        if *unconfirmed > 0 {
            return;
        }
        self.complete_wait(now, session, wait);
    }

    /// A wait is over with a grant: everybody who shares it gets guards, unless some of it was lost meanwhile.
    fn complete_wait(&mut self, now: Instant, session: SessionKey, wait: u64) {
        let entry = self.sessions.get_mut(&session);
        let Some(wait) = entry.and_then(|entry| entry.waits.remove(&wait)) else {
            return;
        };
        match wait.granted.iter().find(|cell| cell.lease().is_none()) {
            None => {
                for attempt in wait.attempts {
                    self.deliver(now, session, attempt);
                }
            }
            Some(lost) => {
                let error = Error::not_held(lost.loss());
                for attempt in wait.attempts {
                    attempt.fail(error.clone());
                }
            }
        }
        self.unclaim(session, &wait.granted);
    }

    /// Cancels a wait that nobody shares, unless a request that is unanswered may have come to share it.
    pub(crate) fn settle_wait(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        wait: u64,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(known) = entry.waits.get(&wait) else {
            return;
        };
        let asking = |attempt: &Attempt| {
            attempt.items.iter().any(|item| {
                let slot = entry.slots.get(&item.path);
                slot.is_some_and(|slot| slot.asking > 0)
            })
        };
        let busy = known.unconfirmed.is_some() || known.attempts.iter().any(asking);
        if !entry.attached || busy || !known.is_given_up() {
            return;
        }
        entry.waits.remove(&wait);
        let request = Request::LockCancel(request::Cancel {
            session: entry.number,
            wait,
        });
        let then = Then::Cancel(session);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// The answer to a cancellation. If the grant came first, its push has come before this, and what it brought is let
    /// go already; what the push did not bring is let go here.
    pub(crate) fn cancelled(
        &mut self,
        now: Instant,
        sent: Instant,
        session: SessionKey,
        reply: Result<Reply<'_>>,
    ) {
        let Ok(Reply::LockCancel(reply::Cancel::Granted { holds })) = reply else {
            return;
        };
        for held in holds {
            let path: Arc<str> = held.path.into();
            let known = self.sessions.get(&session).and_then(|entry| {
                let slot = entry.slots.get(&path)?;
                Some(slot.hold.is_some() || slot.letting_go > 0)
            });
            if known != Some(true) {
                self.note_grant(now, Some(sent), session, &path, &held.grant);
                self.settle_soon(session, &path);
            }
        }
    }

    pub(crate) fn wait_ended(&mut self, push: wire::push::WaitEnded) {
        let Some(session) = self.numbers.get(&push.session) else {
            return;
        };
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        if let Some(wait) = entry.waits.remove(&push.wait) {
            wait.end(push.why);
        }
    }

    pub(crate) fn wait_progress(&mut self, session: u64, wait: u64, progress: &WaitProgress) {
        let Some(session) = self.numbers.get(&session) else {
            return;
        };
        let entry = self.sessions.get(session);
        if let Some(wait) = entry.and_then(|entry| entry.waits.get(&wait)) {
            wait.tell(progress);
        }
    }
}

fn wait_ended(path: &str, why: wire::WaitEnd) -> Error {
    let refused = |reason| Error::refused(vec![convert::bare_refusal(path, reason)]);
    match why {
        wire::WaitEnd::TimedOut => refused(RefusalReason::WaitTimedOut),
        wire::WaitEnd::Refused { reason } => refused(convert::refusal_reason(reason)),
        wire::WaitEnd::TooManyHolds => refused(RefusalReason::TooManyHolds),
        wire::WaitEnd::SessionEnded => session_over(),
        wire::WaitEnd::Cancelled => {
            Error::new(ErrorKind::Disconnected, "the wait was cancelled elsewhere")
        }
        wire::WaitEnd::Detached => Error::new(
            ErrorKind::Disconnected,
            "the wait ended with the connection",
        ),
    }
}
