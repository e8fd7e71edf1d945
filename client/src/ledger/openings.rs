//! Sessions that are opened, taken over from elsewhere, or opened again.
//!
//! Rule: a session that was opened and that nobody took is closed again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{self as wire, Reply, Request, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::calls::Then;
use super::holds::{GuardSeed, Renewal};
use super::sessions::{SessionEntry, SessionKey, session_over};
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::events::SessionEvent;
use crate::standing::{SessionCell, SessionStanding};
use crate::ticket::SessionTicket;
use crate::types::{Loss, OnDisconnect, Role, SessionEnd};

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

impl Ledger {
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
            sittings: HashMap::new(),
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
            self.note_grant(now, Some(sent), key, &path, &held.grant);
            if let Some(entry) = self.sessions.get_mut(&key) {
                guards.extend(entry.slot(&path).guard(Renewal::Always, now));
            }
        }
        self.adopt_waits(key, &resumed.waits, Vec::new());
        // What is held is worth renewing at once: nobody knows when that was done last.
        self.renew_soon(now, key);
        (guards, super::settling::losses(&resumed.missed))
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
        let Some(former) = self.sessions.get(&session).map(|entry| entry.number) else {
            return;
        };
        self.forget_number(former, session);
        self.numbers.insert(opened.session, session);
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.number = opened.session;
        entry.resume_key = opened.resume_key;
        entry.grace = convert::grace(opened.on_disconnect);
        entry.attached = true;
        entry.renew_at = now + super::renewal::IDLE_RENEWAL;
        entry.cell.set(SessionStanding::Attached);
        entry.cell.tell(SessionEvent::Reopened);
        entry.forget_sittings();
        let renew_at = entry.renew_at;
        self.wake_by(renew_at);
        self.sit_again(now, session);
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
}
