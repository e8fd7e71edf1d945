//! The sessions after a reconnect: each is resumed, and callers are let in when all have been settled.
//!
//! Knows not how one is settled; that is in `settling.rs`. Rule: a session that cannot be resumed at the moment keeps
//! nobody else waiting.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{self as wire, Reply, Request, request};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::sessions::SessionKey;
use super::{Ledger, Link};
use crate::error::Result;
use crate::events::{ConnectionEvent, Resumption};
use crate::types::SessionEnd;

/// Sessions that are being settled after a reconnect.
pub(crate) struct Resuming {
    /// Those that are not settled yet.
    left: HashSet<SessionKey>,
    pub(crate) report: Resumption,
}

impl Ledger {
    /// There is a connection: every session is resumed, then callers are let in.
    pub(crate) fn connected(&mut self, now: Instant, hello: &Hello) {
        self.calls.connected(hello.in_flight);
        self.frame_bytes = hello.frame_bytes;
        // A number and its prefix take at most nine bytes; what is around them, less than 64.
        let fitting = hello.frame_bytes.saturating_sub(64) / 9;
        self.renewal_batch = fitting.clamp(1, wire::limits::SESSIONS.max);
        self.tell(ConnectionEvent::Connected {
            server: hello.server.clone(),
            connection: hello.connection,
        });
        let mut sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        self.link = Link::Resuming;
        self.resuming = Some(Resuming {
            left: sessions.iter().copied().collect(),
            report: Resumption::default(),
        });
        let resumes = sessions.into_iter().map(Errand::Resume);
        let subscriptions = self.listening.keys().map(Errand::Resubscribe);
        self.errands = resumes.chain(subscriptions).collect();
        self.look_whether_all_are_settled(now);
    }

    /// How many sessions are still being settled; nothing when callers have been let in.
    pub(crate) fn sessions_left(&self) -> Option<usize> {
        Some(self.resuming.as_ref()?.left.len())
    }

    pub(crate) fn settled(&mut self, now: Instant, session: SessionKey) {
        if let Some(resuming) = &mut self.resuming {
            resuming.left.remove(&session);
            self.look_whether_all_are_settled(now);
        }
    }

    fn look_whether_all_are_settled(&mut self, now: Instant) {
        let done = |resuming: &mut Resuming| resuming.left.is_empty();
        if let Some(resuming) = self.resuming.take_if(done) {
            self.link = Link::Up;
            self.wake_by(now);
            let report = resuming.report;
            tracing::info!(
                sessions = report.sessions,
                ended = report.ended.len(),
                kept = report.kept,
                lost = report.lost.len(),
                "connected"
            );
            self.tell(ConnectionEvent::Resumed(Arc::new(report)));
        }
    }

    pub(crate) fn resume(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
    ) {
        let Some(entry) = self.sessions.get(&session) else {
            self.settled(now, session);
            return;
        };
        let request = Request::SessionResume(request::ResumeSession {
            org: &entry.terms.org,
            session: entry.number,
            resume_key: entry.resume_key,
        });
        let then = Then::Resume(session);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// The answer to a resume.
    pub(crate) fn resumed(
        &mut self,
        now: Instant,
        sent: Instant,
        session: SessionKey,
        reply: Result<Reply<'_>>,
    ) {
        match reply {
            Ok(Reply::SessionResume(resumed)) => {
                self.settle_session(now, sent, session, &resumed);
                self.settled(now, session);
            }
            // The others are not kept waiting for it.
            Err(error) if error.is_retryable() => {
                self.later(now, Errand::Resume(session));
                self.settled(now, session);
            }
            Ok(_) | Err(_) => self.session_gone(now, session),
        }
    }

    /// The server does not know the session any more. One that had nothing is opened again.
    fn session_gone(&mut self, now: Instant, session: SessionKey) {
        let entry = self.sessions.get(&session);
        let reopens = entry.is_some_and(|entry| {
            !entry.abandoned && !entry.has_something() && !entry.terms.owner.is_empty()
        });
        if reopens {
            self.errands.push_back(Errand::Reopen(session));
        } else {
            self.end_session(session, SessionEnd::Unknown);
            self.settled(now, session);
        }
    }
}

/// What the server has said in its hello.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) server: String,
    pub(crate) connection: u64,
    pub(crate) in_flight: u32,
    pub(crate) frame_bytes: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: Duration,
}
