//! Asking for locks: acquires, acquires of several and conversions, from the request to the guards.
//!
//! An attempt is unanswered, then perhaps a wait, then perhaps a grant that is being confirmed. Rule: whatever becomes of
//! it, either somebody gets guards, or what it got at the server is let go.

use std::sync::Arc;

use tenure_protocol::{self as wire, Reply, Request, reply};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::holds::{GuardSeed, Renewal};
use super::sessions::{SessionEntry, SessionKey, session_over};
use super::settling::not_done;
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::standing::HoldCell;
use crate::types::{Mode, Refusal, WaitProgress};

/// Somebody's wish for one or several locks.
pub(crate) struct Attempt {
    /// What is asked for.
    pub(crate) items: Vec<AttemptItem>,
    pub(crate) aim: Aim,
    pub(crate) done: oneshot::Sender<Result<Vec<GuardSeed>>>,
    /// Where progress of the wait goes. When it is full, progress is left out: the next one says more.
    pub(crate) progress: Option<mpsc::Sender<WaitProgress>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

    pub(crate) fn tell(&self, progress: WaitProgress) {
        if let Some(sender) = &self.progress {
            let _ = sender.try_send(progress);
        }
    }

    pub(crate) fn first_path(&self) -> &str {
        self.items.first().map_or("", |item| &item.path)
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
                    self.note_grant(now, Some(sent), session, &item.path, grant);
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

    /// The server holds this for the session. It is counted from `sent`, unless it was pushed.
    pub(crate) fn note_grant(
        &mut self,
        now: Instant,
        sent: Option<Instant>,
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
        let deadline = sent.map(|sent| sent + convert::span(grant.remaining_ms));
        self.wake_by(deadline.map_or(renew_at, |deadline| deadline.min(renew_at)));
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
                    Some(lease) if attempt.items.iter().all(|item| item.mode == lease.mode) => {
                        Ok(Vec::new())
                    }
                    Some(_) => Err(not_done()),
                    None => Err(Error::not_held(cell.loss())),
                };
                // Whoever asked may have gone; the guard shows what it holds.
                let _ = attempt.done.send(result);
                return;
            }
        };
        let weaker = |item: &AttemptItem| {
            let hold = entry
                .slots
                .get(&item.path)
                .and_then(|slot| slot.hold.as_ref());
            let lease = hold.and_then(|hold| hold.cell.lease());
            lease.is_none_or(|lease| lease.mode < item.mode)
        };
        // After a reconnect it may have taken up a wait that was for less.
        if attempt.items.iter().any(weaker) {
            self.settle_paths(session, &attempt);
            attempt.fail(not_done());
            return;
        }
        let seed = |item: &AttemptItem| entry.slot(&item.path).guard(renewal, now);
        let seeds: Vec<_> = attempt.items.iter().filter_map(seed).collect();
        // Whoever asked may have gone, at this very moment too.
        if let Err(Ok(seeds)) = attempt.done.send(Ok(seeds)) {
            self.not_taken(session, &seeds);
        }
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
