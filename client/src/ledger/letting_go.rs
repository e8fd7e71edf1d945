//! Letting go of holds: dropped guards, releases, hand-overs.
//!
//! Knows not who asks. Rule: a release names the token, so that it never ends a hold that came after.

use std::sync::Arc;

use tenure_protocol::{self as wire, Reply, Request, reply, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::holds::Hold;
use super::sessions::SessionKey;
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::HandedOver;
use crate::standing::{Activity, HoldCell, Lease};
use crate::types::{Loss, LossCause, Released, Who};

impl Ledger {
    /// A guard is gone.
    pub(crate) fn drop_guard(
        &mut self,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        activity: Option<&Arc<Activity>>,
    ) {
        let entry = self.sessions.get_mut(&session);
        if let Some(slot) = entry.and_then(|entry| entry.slots.get_mut(&cell.path)) {
            slot.unguard(cell, activity);
            self.settle_soon(session, &cell.path);
        }
    }

    /// A guard is gone, and the hold lives on.
    pub(crate) fn keep_hold(
        &mut self,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        activity: Option<&Arc<Activity>>,
    ) {
        let entry = self.sessions.get_mut(&session);
        if let Some(slot) = entry.and_then(|entry| entry.slots.get_mut(&cell.path)) {
            if let Some(hold) = slot.hold_of(cell) {
                hold.kept = true;
            }
            slot.unguard(cell, activity);
        }
    }

    /// Lets the hold of the path go, if nobody wants it.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        path: &Arc<str>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(slot) = entry.slots.get_mut(path) else {
            return;
        };
        slot.in_line = false;
        // A session that is about to be closed needs no release.
        if slot.is_unwanted() && entry.attached && !entry.abandoned {
            self.send_release(now, permit, session, path, None);
        } else {
            entry.tidy(path);
        }
    }

    /// Releases the hold of this guard, if it is the last that wants it. An answer is there at once, or comes to `done`.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        activity: Option<&Arc<Activity>>,
        done: oneshot::Sender<Result<Released>>,
    ) -> Result<Option<Released>> {
        let entry = self.ready(session)?;
        let slot = entry.slot(&cell.path);
        if slot.hold_of(cell).is_none() {
            let path = Arc::clone(&cell.path);
            entry.tidy(&path);
            return match cell.loss() {
                Some(loss) if matches!(loss.cause, LossCause::Expired | LossCause::ExpiredHere) => {
                    Ok(Some(Released::AlreadyExpired))
                }
                loss => Err(Error::not_held(loss)),
            };
        }
        slot.unguard(cell, activity);
        if slot.is_unwanted() {
            self.send_release(now, permit, session, &cell.path, Some(done));
            return Ok(None);
        }
        self.settle_soon(session, &cell.path);
        Ok(Some(Released::SessionHolds))
    }

    /// Takes the hold of the path out of the ledger and releases it.
    fn send_release(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        path: &Arc<str>,
        done: Option<oneshot::Sender<Result<Released>>>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let slot = entry.slot(path);
        let Some(mut hold) = slot.hold.take() else {
            return;
        };
        let done = done.or_else(|| hold.on_release.take());
        let Some(lease) = hold.cell.lease() else {
            return;
        };
        slot.letting_go += 1;
        hold.cell.let_go();
        let request = Request::LockRelease(request::Release {
            session: entry.number,
            path,
            scope: wire::ReleaseScope::Session,
            token: Some(lease.token),
        });
        let then = Then::Release(session, Arc::clone(path), lease, done);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// The answer to a release.
    pub(crate) fn released(
        &mut self,
        now: Instant,
        session: SessionKey,
        path: &Arc<str>,
        lease: Lease,
        done: Option<oneshot::Sender<Result<Released>>>,
        reply: Result<Reply<'_>>,
    ) {
        let result = release_result(path, reply);
        if let Some(entry) = self.sessions.get_mut(&session) {
            let slot = entry.slot(path);
            slot.letting_go = slot.letting_go.saturating_sub(1);
            match &result {
                // The server still has it: it is let go again later, unless somebody comes to want it.
                Err(error) if error.is_retryable() && slot.hold.is_none() => {
                    slot.hold = Some(Hold::unwanted(path, lease, now));
                    let errand = Errand::Settle(session, Arc::clone(path));
                    self.later(now, errand);
                }
                Ok(_) | Err(_) => entry.tidy(path),
            }
        }
        if let Some(done) = done {
            // Whoever released it may have gone.
            let _ = done.send(result);
        }
    }

    /// Releases a path without a guard: the session's part, or the owner's.
    pub(crate) fn release_path(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        release: request::Release<'_>,
        done: oneshot::Sender<Result<Released>>,
    ) -> Result<()> {
        let entry = self.ready(session)?;
        let path: Arc<str> = release.path.into();
        let request = Request::LockRelease(request::Release {
            session: entry.number,
            ..release
        });
        request.check().map_err(|fault| convert::fault(&fault))?;
        let then = Then::ReleasePath(session, path, done);
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    /// The answer to a release without a guard. Guards of the path have lost their hold.
    pub(crate) fn path_released(
        &mut self,
        session: SessionKey,
        path: &Arc<str>,
        done: oneshot::Sender<Result<Released>>,
        reply: Result<Reply<'_>>,
    ) {
        let result = release_result(path, reply);
        if result.is_ok()
            && let Some(entry) = self.sessions.get_mut(&session)
            && let Some(slot) = entry.slots.get_mut(path)
        {
            slot.lose(LossCause::Released);
            entry.tidy(path);
        }
        let _ = done.send(result);
    }

    /// Gives the guard's hold to a waiter.
    pub(crate) fn hand_over(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        to: Option<u64>,
        done: oneshot::Sender<Result<HandedOver>>,
    ) -> Result<()> {
        let entry = self.ready(session)?;
        if cell.lease().is_none() {
            return Err(Error::not_held(cell.loss()));
        }
        let request = Request::LockHandOver(request::HandOver {
            session: entry.number,
            path: &cell.path,
            to,
        });
        let then = Then::HandOver(session, Arc::clone(cell), done);
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    /// The answer to a hand-over.
    pub(crate) fn handed_over(
        &mut self,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        done: oneshot::Sender<Result<HandedOver>>,
        reply: Result<Reply<'_>>,
    ) {
        let result = hand_over_result(&cell.path, reply);
        match &result {
            Ok(handed) => {
                let to = |owner| Who {
                    owner,
                    name: String::new(),
                };
                let mut loss = unknown(cell);
                loss.cause = LossCause::HandedOver;
                loss.by = handed.owner.clone().map(to);
                self.lose_hold(session, cell, loss);
            }
            Err(error) if error.kind() == ErrorKind::NotHeld => {
                self.lost_by_answer(session, cell, error);
            }
            Err(_) => {}
        }
        let _ = done.send(result);
    }

    /// The server has answered that the hold is over.
    pub(crate) fn lost_by_answer(
        &mut self,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        error: &Error,
    ) {
        let loss = error.loss().cloned().unwrap_or_else(|| unknown(cell));
        self.lose_hold(session, cell, loss);
    }

    /// The hold is over, if it is still the one that the session has.
    pub(crate) fn lose_hold(&mut self, session: SessionKey, cell: &Arc<HoldCell>, loss: Loss) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Some(slot) = entry.slots.get_mut(&cell.path)
            && slot.hold_of(cell).is_some()
        {
            slot.end(loss);
            entry.tidy(&cell.path);
        }
    }

    /// The server says that a hold is over.
    pub(crate) fn told_lost(&mut self, push: &wire::push::Lost<'_>) {
        let Some(session) = self.numbers.get(&push.session) else {
            return;
        };
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        let Some(slot) = entry.slots.get_mut(push.path) else {
            return;
        };
        // A hold with a later token came after the one that was lost.
        if slot
            .hold
            .as_ref()
            .is_some_and(|hold| hold.token() <= push.token)
        {
            slot.end(convert::loss(push.path, push.token, push.cause));
            entry.tidy(push.path);
        }
    }
}

fn release_result(path: &str, reply: Result<Reply<'_>>) -> Result<Released> {
    let Reply::LockRelease(reply) = reply? else {
        return Err(mismatch());
    };
    convert::released(path, &reply)
}

fn hand_over_result(path: &str, reply: Result<Reply<'_>>) -> Result<HandedOver> {
    let Reply::LockHandOver(reply) = reply? else {
        return Err(mismatch());
    };
    match reply {
        reply::HandOver::HandedOver { token, owner } => Ok(HandedOver {
            token: Some(token),
            owner: Some(owner.to_owned()),
        }),
        reply::HandOver::NotHeld { lost, .. } => Err(convert::not_held(path, lost)),
    }
}

fn unknown(cell: &HoldCell) -> Loss {
    let token = cell.lease().map_or(0, |lease| lease.token);
    convert::bare_loss(&cell.path, token, LossCause::Unknown)
}
