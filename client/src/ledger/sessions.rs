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

use super::asking::Wait;
use super::calls::{Call, Then};
use super::errands::Errand;
use super::holds::{GuardSeed, Renewal, Slot};
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::events::SessionEvent;
use crate::session::SessionTicket;
use crate::standing::{SessionCell, SessionStanding};
use crate::types::{Loss, LossCause, OnDisconnect, Role, SessionEnd};

/// Names a session within this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey(pub(crate) u64);

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(crate) struct SessionTerms {
    pub(crate) org: String,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) role: Option<Role>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
    pub(crate) metadata: Vec<u8>,
}

impl SessionTerms {
    fn request(&self) -> Request<'_> {
        Request::SessionOpen(request::OpenSession {
            org: &self.org,
            owner: &self.owner,
            name: &self.name,
            role: self.role.map(convert::role_to_wire),
            on_disconnect: self.on_disconnect.map(convert::disconnect_to_wire),
            metadata: &self.metadata,
        })
    }
}

/// A session that somebody opens, or takes over.
pub(crate) struct Opening {
    terms: SessionTerms,
    /// What it is taken over with.
    ticket: Option<SessionTicket>,
    done: oneshot::Sender<Result<OpenedSession>>,
}

impl Opening {
    pub(crate) fn fail(self, error: Error) {
        // Whoever asked may have gone.
        let _ = self.done.send(Err(error));
    }
}

/// What a session handle is made of.
pub(crate) struct OpenedSession {
    pub(crate) key: SessionKey,
    pub(crate) cell: Arc<SessionCell>,
    pub(crate) owner: String,
    /// Of a session that was taken over: what it holds.
    pub(crate) guards: Vec<GuardSeed>,
    /// And what it has lost meanwhile.
    pub(crate) lost: Vec<Loss>,
}

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

    pub(crate) fn open_session(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        terms: &SessionTerms,
        done: oneshot::Sender<Result<OpenedSession>>,
    ) -> Result<()> {
        let request = terms.request();
        request.check().map_err(|fault| convert::fault(&fault))?;
        let opening = Opening {
            terms: terms.clone(),
            ticket: None,
            done,
        };
        let then = Then::Open(Box::new(opening));
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    pub(crate) fn take_over_session(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        ticket: SessionTicket,
        done: oneshot::Sender<Result<OpenedSession>>,
    ) -> Result<()> {
        if self.numbers.contains_key(&ticket.number()) {
            return Err(Error::new(
                ErrorKind::BadRequest,
                "expected a session of another client, found one of this",
            ));
        }
        let org = ticket.org().to_owned();
        let request = Request::SessionResume(request::ResumeSession {
            org: &org,
            session: ticket.number(),
            resume_key: ticket.key(),
        });
        request.check().map_err(|fault| convert::fault(&fault))?;
        let opening = Opening {
            terms: SessionTerms {
                org: org.clone(),
                owner: String::new(),
                name: String::new(),
                role: None,
                on_disconnect: None,
                metadata: Vec::new(),
            },
            ticket: Some(ticket),
            done,
        };
        let then = Then::Open(Box::new(opening));
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    pub(crate) fn opened(
        &mut self,
        now: Instant,
        sent: Instant,
        opening: Opening,
        reply: Result<Reply<'_>>,
    ) {
        let Opening {
            mut terms,
            ticket,
            done,
        } = opening;
        let opened = match (reply, ticket) {
            (Ok(Reply::SessionOpen(opened)), None) => {
                let grace = convert::grace(opened.on_disconnect);
                let key = self.enter(now, opened.session, opened.resume_key, terms, grace);
                self.handle_parts(key, Vec::new(), Vec::new())
            }
            (Ok(Reply::SessionResume(resumed)), Some(ticket)) => {
                resumed.owner.clone_into(&mut terms.owner);
                let grace = convert::grace(resumed.on_disconnect);
                let key = self.enter(now, ticket.number(), ticket.key(), terms, grace);
                let (guards, lost) = self.taken_over(now, sent, key, &resumed);
                self.handle_parts(key, guards, lost)
            }
            (Ok(_), _) => Err(mismatch()),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone: then nobody will ever close it.
        if let Err(Ok(opened)) = done.send(opened) {
            self.abandon_session(opened.key);
        }
    }

    fn handle_parts(
        &self,
        key: SessionKey,
        guards: Vec<GuardSeed>,
        lost: Vec<Loss>,
    ) -> Result<OpenedSession> {
        let entry = self.sessions.get(&key).ok_or_else(session_over)?;
        Ok(OpenedSession {
            key,
            cell: Arc::clone(&entry.cell),
            owner: entry.terms.owner.clone(),
            guards,
            lost,
        })
    }

    fn enter(
        &mut self,
        now: Instant,
        number: u64,
        resume_key: wire::ResumeKey,
        terms: SessionTerms,
        grace: Option<Duration>,
    ) -> SessionKey {
        let key = SessionKey(self.next_session);
        self.next_session += 1;
        let renew_at = now + super::renewal::IDLE_RENEWAL;
        let entry = SessionEntry {
            number,
            resume_key,
            terms,
            grace,
            cell: SessionCell::new(),
            attached: true,
            abandoned: false,
            slots: HashMap::new(),
            waits: HashMap::new(),
            unsettled: Vec::new(),
            renew_at,
        };
        self.sessions.insert(key, entry);
        self.numbers.insert(number, key);
        self.wake_by(renew_at);
        key
    }

    /// What the session that was taken over holds becomes guards; what it awaits is cancelled, since nobody here waits.
    fn taken_over(
        &mut self,
        now: Instant,
        sent: Instant,
        key: SessionKey,
        resumed: &wire::reply::Resumed<'_>,
    ) -> (Vec<GuardSeed>, Vec<Loss>) {
        let mut guards = Vec::new();
        for held in &resumed.holds {
            let path: Arc<str> = held.path.into();
            self.note_grant(now, sent, key, &path, &held.grant);
            if let Some(entry) = self.sessions.get_mut(&key) {
                guards.extend(entry.slot(&path).guard(Renewal::Always, now));
            }
        }
        self.adopt_waits(key, &resumed.waits, Vec::new());
        // What is held is worth renewing at once: nobody knows when that was done last.
        self.renew_soon(now, key);
        (guards, super::resume::losses(&resumed.missed))
    }

    /// A session that was gone and had nothing is opened again, or is over for good.
    pub(crate) fn reopened(
        &mut self,
        now: Instant,
        session: SessionKey,
        reply: &Result<Reply<'_>>,
    ) {
        let Ok(Reply::SessionOpen(opened)) = reply else {
            self.end_session(session, SessionEnd::Unknown);
            return;
        };
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        self.numbers.remove(&entry.number);
        self.numbers.insert(opened.session, session);
        entry.number = opened.session;
        entry.resume_key = opened.resume_key;
        entry.grace = convert::grace(opened.on_disconnect);
        entry.attached = true;
        entry.renew_at = now + super::renewal::IDLE_RENEWAL;
        entry.cell.set(SessionStanding::Attached);
        entry.cell.tell(SessionEvent::Reopened);
        let renew_at = entry.renew_at;
        self.wake_by(renew_at);
        if let Some(resuming) = &mut self.resuming {
            resuming.report.reopened += 1;
        }
    }

    pub(crate) fn reopen(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
    ) {
        let Some(entry) = self.sessions.get(&session) else {
            self.settled(now, session);
            return;
        };
        let terms = entry.terms.clone();
        let then = Then::Reopen(session);
        self.calls.send(now, Some(permit), &terms.request(), then);
    }

    pub(crate) fn close_session(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        done: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<()> {
        self.link.check()?;
        let entry = self.sessions.get_mut(&session).ok_or_else(session_over)?;
        if !entry.attached {
            return Err(Error::new(
                ErrorKind::Disconnected,
                "the session is being resumed",
            ));
        }
        entry.abandoned = true;
        let request = Request::SessionClose(request::CloseSession {
            session: entry.number,
        });
        let then = Then::Close(session, done);
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
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
            self.numbers.remove(&entry.number);
            end_entry(entry, SessionEnd::Closed);
        }
    }

    /// The session is over: all that it had is lost.
    pub(crate) fn end_session(&mut self, session: SessionKey, why: SessionEnd) {
        let Some(entry) = self.sessions.remove(&session) else {
            return;
        };
        self.numbers.remove(&entry.number);
        tracing::debug!(session = entry.number, ?why, "session is over");
        let ended = crate::events::EndedSession {
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
        super::resume::settle_over(call);
    }
    entry.cell.set(SessionStanding::Over(why));
    entry.cell.tell(SessionEvent::Ended(why));
    lost
}

pub(crate) fn session_over() -> Error {
    Error::new(ErrorKind::SessionEnded, "")
}
