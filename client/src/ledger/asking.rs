//! Asking for locks: acquires, acquires of several and conversions, from the request to the guards.
//!
//! An attempt is unanswered, then perhaps a wait, then perhaps a grant that is being confirmed. Rule: whatever becomes of
//! it, either somebody gets guards, or what it got at the server is let go.

use std::sync::Arc;

use tenure_protocol::{self as wire, Reply, Request, reply, request};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::holds::{GuardSeed, Renewal};
use super::sessions::{SessionEntry, SessionKey, session_over};
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::standing::HoldCell;
use crate::types::{Mode, Refusal, RefusalReason, WaitProgress};

/// Somebody's wish for one or several locks.
pub(crate) struct Attempt {
    /// What is asked for.
    pub(crate) items: Vec<AttemptItem>,
    pub(crate) aim: Aim,
    pub(crate) done: oneshot::Sender<Result<Vec<GuardSeed>>>,
    /// Where progress of the wait goes. When it is full, progress is left out: the next one says more.
    pub(crate) progress: Option<mpsc::Sender<WaitProgress>>,
}

#[derive(Debug, Clone)]
pub(crate) struct AttemptItem {
    pub(crate) path: Arc<str>,
    pub(crate) mode: Mode,
}

/// What a grant is to become.
pub(crate) enum Aim {
    /// Guards, one for each path.
    Guards(Renewal),
    /// Another mode of the hold that this guard has.
    Conversion(Arc<HoldCell>),
}

impl Attempt {
    /// Nobody waits for it any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.done.is_closed()
    }

    pub(crate) fn fail(self, error: Error) {
        // Whoever asked may have gone, and then needs no answer.
        let _ = self.done.send(Err(error));
    }

    /// Its wait is over without a grant.
    pub(crate) fn end(self, why: wire::WaitEnd) {
        let error = wait_ended(self.first_path(), why);
        self.fail(error);
    }

    fn tell(&self, progress: WaitProgress) {
        if let Some(sender) = &self.progress {
            let _ = sender.try_send(progress);
        }
    }

    fn first_path(&self) -> &str {
        self.items.first().map_or("", |item| &item.path)
    }
}

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

/// How asking went, whichever way it was asked.
enum Outcome {
    Granted(Vec<wire::Grant>),
    Queued { wait: u64, place: u32 },
    Refused(Error),
}

impl Ledger {
    /// Sends what asks for the locks of the attempt. The request is made with the session's number.
    pub(crate) fn ask<'a>(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        attempt: Attempt,
        request: impl FnOnce(u64) -> Request<'a>,
    ) -> Result<()> {
        let entry = self.ready(session)?;
        if let Aim::Conversion(cell) = &attempt.aim
            && entry.slot(&cell.path).hold_of(cell).is_none()
        {
            let path = Arc::clone(&cell.path);
            let loss = cell.loss();
            entry.tidy(&path);
            return Err(Error::not_held(loss));
        }
        let request = request(entry.number);
        request.check().map_err(|fault| convert::fault(&fault))?;
        for item in &attempt.items {
            entry.slot(&item.path).asking += 1;
        }
        let then = Then::Ask(session, attempt);
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    /// The answer to [`ask`](Self::ask).
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        sent: Instant,
        session: SessionKey,
        attempt: Attempt,
        reply: Result<Reply<'_>>,
    ) {
        self.no_longer_asking(session, &attempt);
        if !self.sessions.contains_key(&session) {
            attempt.fail(session_over());
            return;
        }
        let outcome = match reply {
            Ok(reply) => outcome(&attempt, &reply),
            Err(error) => Outcome::Refused(error),
        };
        match outcome {
            Outcome::Granted(grants) => {
                for (item, grant) in attempt.items.iter().zip(&grants) {
                    self.note_grant(now, sent, session, &item.path, grant);
                }
                self.deliver(now, session, attempt);
            }
            Outcome::Queued { wait, place } => self.queued(session, attempt, wait, place),
            Outcome::Refused(error) => {
                if error.kind() == ErrorKind::NotHeld
                    && let Aim::Conversion(cell) = &attempt.aim
                {
                    self.lost_by_answer(session, cell, &error);
                }
                self.settle_paths(session, &attempt);
                attempt.fail(error);
            }
        }
    }

    fn queued(&mut self, session: SessionKey, attempt: Attempt, wait: u64, place: u32) {
        attempt.tell(WaitProgress::Place(place));
        self.errands.push_back(Errand::SettleWait(session, wait));
        // Guards that were dropped while this was unanswered may leave a hold that nobody wants.
        self.settle_paths(session, &attempt);
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.waits.entry(wait).or_default().attempts.push(attempt);
        }
    }

    /// The server holds this for the session. It is counted from `sent`.
    pub(crate) fn note_grant(
        &mut self,
        now: Instant,
        sent: Instant,
        session: SessionKey,
        path: &Arc<str>,
        grant: &wire::Grant,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.slot(path).granted(path, grant, sent, now);
        let renew_at = now + convert::span(grant.ttl_ms) / super::renewal::RENEWALS_PER_TTL;
        entry.renew_at = entry.renew_at.min(renew_at);
        let deadline = sent + convert::span(grant.remaining_ms);
        self.wake_by(renew_at.min(deadline));
    }

    /// Hands the guards of what is held to whoever asked, or lets it go when nobody is there to take them.
    pub(crate) fn deliver(&mut self, now: Instant, session: SessionKey, attempt: Attempt) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            attempt.fail(session_over());
            return;
        };
        let renewal = match &attempt.aim {
            Aim::Guards(renewal) => *renewal,
            Aim::Conversion(cell) => {
                let result = match cell.lease() {
                    Some(_) => Ok(Vec::new()),
                    None => Err(Error::not_held(cell.loss())),
                };
                // Whoever asked may have gone; the guard shows what it holds.
                let _ = attempt.done.send(result);
                return;
            }
        };
        let seed = |item: &AttemptItem| entry.slot(&item.path).guard(renewal, now);
        let seeds: Vec<_> = attempt.items.iter().filter_map(seed).collect();
        // Whoever asked may have gone, at this very moment too.
        if let Err(Ok(seeds)) = attempt.done.send(Ok(seeds)) {
            self.not_taken(session, &seeds);
        }
    }

    /// A wait has become a hold. It is renewed at once, and whoever waited gets it when that is answered: only then is
    /// there a sending to count from.
    pub(crate) fn wait_granted(&mut self, now: Instant, push: &wire::push::Granted<'_>) {
        let Some(&session) = self.numbers.get(&push.session) else {
            return;
        };
        let mut cells = Vec::with_capacity(push.holds.len());
        for held in &push.holds {
            let path: Arc<str> = held.path.into();
            self.note_grant(now, now, session, &path, &held.grant);
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

    /// Somebody who asked has gone: waits that nobody shares any more are cancelled.
    pub(crate) fn given_up(&mut self, session: SessionKey, items: &[AttemptItem]) {
        let attached = |entry: &&SessionEntry| entry.attached;
        let Some(entry) = self.sessions.get(&session).filter(attached) else {
            return;
        };
        for (number, wait) in &entry.waits {
            if items.iter().any(|item| wait.touches(&item.path)) {
                self.errands.push_back(Errand::SettleWait(session, *number));
            }
        }
    }

    /// Guards that were delivered and never taken.
    pub(crate) fn not_taken(&mut self, session: SessionKey, seeds: &[GuardSeed]) {
        for seed in seeds {
            self.drop_guard(session, &seed.cell, seed.activity.as_ref());
        }
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
                self.note_grant(now, sent, session, &path, &held.grant);
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

    pub(crate) fn no_longer_asking(&mut self, session: SessionKey, attempt: &Attempt) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            for item in &attempt.items {
                let slot = entry.slot(&item.path);
                slot.asking = slot.asking.saturating_sub(1);
            }
        }
    }

    pub(crate) fn settle_paths(&mut self, session: SessionKey, attempt: &Attempt) {
        for item in &attempt.items {
            self.settle_soon(session, &item.path);
        }
        // A wait on the path may have been given up while this was unanswered.
        if let Some(entry) = self.sessions.get(&session) {
            let given_up = entry.waits.iter().filter(|(_, wait)| wait.is_given_up());
            let errands = given_up.map(|(number, _)| Errand::SettleWait(session, *number));
            self.errands.extend(errands);
        }
    }
}

/// What the answer says, whichever way it was asked. An answer to something else is caught before.
fn outcome(attempt: &Attempt, reply: &Reply<'_>) -> Outcome {
    let path = attempt.first_path();
    if let Reply::LockAcquire(reply) = reply {
        return match reply {
            reply::Acquire::Granted { grant } => Outcome::Granted(vec![*grant]),
            reply::Acquire::Queued { wait, place } => Outcome::queued(*wait, *place),
            reply::Acquire::Refused { reason, truth } => {
                let refusal = convert::refusal(path, *reason, truth);
                Outcome::Refused(Error::refused(vec![refusal]))
            }
        };
    }
    if let Reply::LockConvert(reply) = reply {
        return match reply {
            reply::Convert::Granted { grant } => Outcome::Granted(vec![*grant]),
            reply::Convert::Queued { wait, place } => Outcome::queued(*wait, *place),
            reply::Convert::Refused { reason, truth } => {
                let refusal = convert::refusal(path, *reason, truth);
                Outcome::Refused(Error::refused(vec![refusal]))
            }
            reply::Convert::NotHeld { lost, .. } => {
                Outcome::Refused(convert::not_held(path, *lost))
            }
        };
    }
    if let Reply::LockAcquireAll(reply) = reply {
        return match reply {
            reply::AcquireAll::Granted { grants } if grants.len() == attempt.items.len() => {
                Outcome::Granted(grants.clone())
            }
            reply::AcquireAll::Granted { .. } => Outcome::Refused(mismatch()),
            reply::AcquireAll::Queued { wait, place } => Outcome::queued(*wait, *place),
            reply::AcquireAll::Refused { items } => {
                Outcome::Refused(Error::refused(refusals(attempt, items)))
            }
        };
    }
    Outcome::Refused(mismatch())
}

impl Outcome {
    const fn queued(wait: u64, place: u32) -> Self {
        Self::Queued { wait, place }
    }
}

fn refusals(attempt: &Attempt, items: &[wire::RefusedItem<'_>]) -> Vec<Refusal> {
    let refusal = |refused: &wire::RefusedItem<'_>| {
        let item = attempt.items.get(refused.item as usize)?;
        Some(convert::refusal(&item.path, refused.reason, &refused.truth))
    };
    items.iter().filter_map(refusal).collect()
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
