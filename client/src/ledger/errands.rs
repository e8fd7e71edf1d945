//! Errands: what the ledger itself has to ask of the server, when a request may be sent for it.
//!
//! An errand is looked at again when its turn comes, and is dropped if it has become needless. Rule: errands are bounded
//! by what there is: one for a path, a wait, a session, a batch of renewals or a subscription.

use std::sync::Arc;

use tenure_protocol::{Request, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::calls::{Lane, Then};
use super::listening::SubscriptionKey;
use super::sessions::{SessionEntry, SessionKey, session_over};
use super::{Ledger, Link};
use crate::error::{Error, ErrorKind, Result};
use crate::standing::HoldCell;

pub(crate) enum Errand {
    /// Let the hold go if nobody wants it.
    Settle(SessionKey, Arc<str>),
    /// Cancel the wait if nobody shares it.
    SettleWait(SessionKey, u64),
    /// Renew all holds of these sessions.
    RenewSessions(Vec<SessionKey>),
    /// Renew one hold, and confirm the wait with it.
    RenewHold(SessionKey, Arc<HoldCell>, Option<u64>),
    /// Close the session.
    Close(SessionKey, Option<oneshot::Sender<Result<()>>>),
    /// Attach the session to this connection.
    Resume(SessionKey),
    /// Open the session anew.
    Reopen(SessionKey),
    /// Tell the server what the session does at the path, if that has changed.
    Sit(SessionKey, Arc<str>),
    /// Listen again.
    Resubscribe(SubscriptionKey),
    /// Listen no more, by the server's number.
    Unsubscribe(u64),
}

impl Ledger {
    /// Looks at the path when a request may be sent.
    pub(crate) fn settle_soon(&mut self, session: SessionKey, path: &str) {
        let entry = self.sessions.get_mut(&session);
        let Some(entry) = entry else {
            return;
        };
        let Some((path, slot)) = entry.slots.get_key_value(path) else {
            return;
        };
        // What is not attached is settled when it is resumed.
        if slot.in_line || !entry.attached {
            return;
        }
        let path = Arc::clone(path);
        entry.slot(&path).in_line = true;
        self.errands.push_back(Errand::Settle(session, path));
    }

    /// Sends what errands want, as far as requests may be sent for them.
    pub(crate) fn run_errands(&mut self, now: Instant) {
        while !self.errands.is_empty() {
            // While sessions are being resumed no caller sends anything.
            let lane = match self.link {
                Link::Up => Lane::Errands,
                Link::Resuming => Lane::Callers,
                Link::Down(_) | Link::Closed(_) => return,
            };
            let Some(Ok(permit)) = self.calls.permit(lane) else {
                return;
            };
            let Some(errand) = self.errands.pop_front() else {
                return;
            };
            match errand {
                Errand::Settle(session, path) => self.settle(now, permit, session, &path),
                Errand::SettleWait(session, wait) => self.settle_wait(now, permit, session, wait),
                Errand::RenewSessions(sessions) => self.renew_sessions(now, permit, sessions),
                Errand::RenewHold(session, cell, wait) => {
                    self.renew_hold(now, permit, session, &cell, wait);
                }
                Errand::Close(session, done) => self.close_soon(now, permit, session, done),
                Errand::Resume(session) => self.resume(now, permit, session),
                Errand::Reopen(session) => self.reopen(now, permit, session),
                Errand::Sit(session, path) => self.sit(now, permit, session, &path),
                Errand::Resubscribe(key) => self.resubscribe(now, permit, key),
                Errand::Unsubscribe(subscription) => {
                    let request = request::Unsubscribe { subscription };
                    let request = Request::StreamUnsubscribe(request);
                    self.calls.send(now, Some(permit), &request, Then::Forget);
                }
            }
        }
    }

    fn close_soon(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        done: Option<oneshot::Sender<Result<()>>>,
    ) {
        let attached = |entry: &SessionEntry| entry.attached;
        if self.sessions.get(&session).is_some_and(attached) {
            self.close_session(now, permit, session, done);
        } else if let Some(done) = done {
            // It is over, or is resumed first and closed then. Whoever closed it may have gone.
            let _ = done.send(Err(session_over()));
        }
    }

    /// The connection is gone, and errands with it: what they are for shows again when the sessions are resumed.
    pub(crate) fn drop_errands(&mut self, why: &Error) {
        let later = self.later.drain(..).map(|(_, errand)| errand);
        for errand in self.errands.drain(..).chain(later) {
            if let Errand::Close(_, Some(done)) = errand {
                let _ = done.send(Err(why.of_kind(ErrorKind::Disconnected)));
            }
        }
    }

    /// Shows the server that this side is alive. It takes no leave: what keeps the connection must not wait.
    pub(crate) fn ping(&mut self, now: Instant) {
        let request = Request::Ping(request::Ping {});
        self.calls.send(now, None, &request, Then::Forget);
    }
}
