//! Sessions as this side knows them: opening, closing, and what becomes of one that is over.
//!
//! A session has a key of this client's own, which stays when the server's number changes because it had to be opened
//! again. Rule: a session that is over is out of the table, and all that it had has been told so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{self as wire, Reply, Request, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Ledger;
use super::calls::{Call, Then};
use super::errands::Errand;
use super::holds::Slot;
use super::openings::SessionTerms;
use super::sittings::Sitting;
use super::waits::Wait;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{EndedSession, SessionEvent};
use crate::standing::{SessionCell, SessionStanding};
use crate::ticket::SessionTicket;
use crate::types::{Loss, LossCause, SessionEnd};

/// Names a session within this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey(pub(crate) u64);

/// A session of this client.
pub(crate) struct SessionEntry {
    pub(crate) number: u64,
    pub(crate) resume_key: wire::ResumeKey,
    pub(crate) terms: SessionTerms,
    /// How long it may be resumed; nothing when it keeps its holds.
    pub(crate) grace: Option<Duration>,
    pub(crate) cell: Arc<SessionCell>,
    /// Whether it is attached to the connection that is up.
    pub(crate) attached: bool,
    /// Whether its last handle is gone, and it is to be closed.
    pub(crate) abandoned: bool,
    pub(crate) slots: HashMap<Arc<str>, Slot>,
    pub(crate) waits: HashMap<u64, Wait>,
    /// Where it is.
    pub(crate) sittings: HashMap<Arc<str>, Sitting>,
    /// What was written and not answered when the connection ended.
    pub(crate) unsettled: Vec<Call>,
    /// When it is to be renewed next.
    pub(crate) renew_at: Instant,
}

impl SessionEntry {
    pub(crate) fn slot(&mut self, path: &Arc<str>) -> &mut Slot {
        if !self.slots.contains_key(path) {
            self.slots.insert(Arc::clone(path), Slot::default());
        }
        self.slots
            .get_mut(path)
            .expect("the slot is there or has just been made")
    }

    /// Drops the slot of a path of which nothing has to be remembered.
    pub(crate) fn tidy(&mut self, path: &str) {
        if self.slots.get(path).is_some_and(Slot::is_empty) {
            self.slots.remove(path);
        }
    }

    /// Whether it has anything that would be lost with it.
    pub(crate) fn has_something(&self) -> bool {
        let holds = self.slots.values().filter_map(|slot| slot.hold.as_ref());
        holds
            .into_iter()
            .any(|hold| hold.matters() || hold.claims > 0)
            || !self.waits.is_empty()
            || !self.unsettled.is_empty()
    }

    pub(crate) fn ticket(&self) -> SessionTicket {
        SessionTicket::new(self.terms.org.clone(), self.number, self.resume_key)
    }
}

impl Ledger {
    /// The session, if requests can be sent for it.
    pub(crate) fn ready(&mut self, session: SessionKey) -> Result<&mut SessionEntry> {
        self.link.check()?;
        let entry = self.sessions.get_mut(&session).ok_or_else(session_over)?;
        if entry.abandoned {
            return Err(session_over());
        }
        if !entry.attached {
            return Err(Error::new(
                ErrorKind::Disconnected,
                "the session is being resumed",
            ));
        }
        Ok(entry)
    }

    pub(crate) fn ticket(&self, session: SessionKey) -> Option<SessionTicket> {
        self.sessions.get(&session).map(SessionEntry::ticket)
    }

    /// Closes a session on behalf of its handle.
    pub(crate) fn close_for(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        done: oneshot::Sender<Result<()>>,
    ) -> Result<()> {
        self.ready(session)?;
        self.close_session(now, permit, session, Some(done));
        Ok(())
    }

    pub(crate) fn close_session(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        done: Option<oneshot::Sender<Result<()>>>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.abandoned = true;
        let request = Request::SessionClose(request::CloseSession {
            session: entry.number,
        });
        let then = Then::Close(session, done);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// The answer to a close. A session that is unknown is as closed as can be.
    pub(crate) fn closed(
        &mut self,
        now: Instant,
        session: SessionKey,
        done: Option<oneshot::Sender<Result<()>>>,
        reply: Result<Reply<'_>>,
    ) {
        let result = match reply {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::SessionEnded => Ok(()),
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) => self.end_session(session, SessionEnd::Closed),
            // It is still there and is renewed, since nothing else ends it: try again.
            Err(error) if error.is_retryable() => self.later(now, Errand::Close(session, None)),
            Err(_) => self.forget_session(session),
        }
        if let Some(done) = done {
            // Whoever closed it may have gone.
            let _ = done.send(result);
        }
    }

    /// The last handle is gone: the session is closed as soon as possible.
    pub(crate) fn abandon_session(&mut self, session: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(&session)
            && !entry.abandoned
        {
            entry.abandoned = true;
            if !entry.attached {
                // It is closed when it has been resumed.
                return;
            }
            self.errands.push_back(Errand::Close(session, None));
        }
    }

    /// The session lives on at the server, without this client.
    pub(crate) fn forget_session(&mut self, session: SessionKey) {
        if let Some(entry) = self.sessions.remove(&session) {
            self.forget_number(entry.number, session);
            end_entry(entry, SessionEnd::Closed);
        }
    }

    /// The number is not this session's any more. It may be another's: a server that has lost its memory begins anew.
    pub(crate) fn forget_number(&mut self, number: u64, session: SessionKey) {
        if self.numbers.get(&number) == Some(&session) {
            self.numbers.remove(&number);
        }
    }

    /// The session is over: all that it had is lost.
    pub(crate) fn end_session(&mut self, session: SessionKey, why: SessionEnd) {
        let Some(entry) = self.sessions.remove(&session) else {
            return;
        };
        self.forget_number(entry.number, session);
        tracing::debug!(session = entry.number, ?why, "session is over");
        let ended = EndedSession {
            org: entry.terms.org.clone(),
            owner: entry.terms.owner.clone(),
            why,
        };
        let lost = end_entry(entry, why);
        if let Some(resuming) = &mut self.resuming {
            resuming.report.ended.push(ended);
            resuming.report.lost.extend(lost);
        }
    }
}

fn end_entry(mut entry: SessionEntry, why: SessionEnd) -> Vec<Loss> {
    let cause = match why {
        SessionEnd::Closed | SessionEnd::ClientClosed => LossCause::SessionClosed,
        SessionEnd::Moved => LossCause::SessionMoved,
        SessionEnd::GraceOver
        | SessionEnd::LastHoldOver
        | SessionEnd::Idle
        | SessionEnd::Unknown => LossCause::SessionLost,
    };
    let lost = entry
        .slots
        .values_mut()
        .filter_map(|slot| slot.lose(cause))
        .collect();
    for (_, wait) in entry.waits.drain() {
        wait.fail(&session_over());
    }
    for call in entry.unsettled.drain(..) {
        super::disconnect::settle_over(call);
    }
    entry.end_sittings(why);
    entry.cell.set(SessionStanding::Over(why));
    entry.cell.tell(SessionEvent::Ended(why));
    lost
}

pub(crate) fn session_over() -> Error {
    Error::new(ErrorKind::SessionEnded, "")
}
