//! What this side knows: sessions, holds, waits, unanswered requests; and what follows from each message and moment.
//!
//! Synchronous and without sockets: callers and the connection put in requests, messages and the time, and take out
//! bytes to write; answers go to whoever waits. It lives behind one mutex that is never held across an await. Rule:
//! messages are taken in the order in which the server sent them, so that a push never overtakes the reply it follows.

mod asking;
mod calls;
mod disconnect;
mod errands;
mod holds;
mod letting_go;
mod listening;
mod openings;
mod receive;
mod renewal;
mod resume;
mod sessions;
mod settling;
mod sittings;
mod waits;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tenure_protocol::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::Instant;

pub(crate) use asking::{Aim, Attempt, AttemptItem};
pub(crate) use calls::{Answer, Effect};
pub(crate) use holds::GuardSeed;
pub use holds::Renewal;
pub(crate) use listening::{SubscriptionKey, SubscriptionSeed, SubscriptionTerms};
pub(crate) use openings::{OpenedSession, SessionTerms};
pub(crate) use receive::{Ended, refused};
pub(crate) use resume::Hello;
pub(crate) use sessions::SessionKey;
pub(crate) use sittings::{Doing, SittingSeed};

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::events::ConnectionEvent;
use crate::types::SessionEnd;
use calls::{Calls, Lane, Then};
use errands::Errand;
use listening::Listening;
use resume::Resuming;
use sessions::SessionEntry;

/// Pause before what the server could not do at the moment is asked of it again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Events of the connection that a reader may be behind.
const EVENTS_MAX: usize = 64;

/// See the header of this file.
pub(crate) struct Ledger {
    link: Link,
    calls: Calls,
    sessions: HashMap<SessionKey, SessionEntry>,
    /// Which session the server means by a number.
    numbers: HashMap<u64, SessionKey>,
    next_session: u64,
    errands: VecDeque<Errand>,
    /// Errands that have failed, and when they are done again.
    later: Vec<(Instant, Errand)>,
    resuming: Option<Resuming>,
    listening: Listening,
    /// When the next tick is wanted.
    wake_at: Option<Instant>,
    /// Whether that has come nearer since the clock was set.
    woken: bool,
    /// Bytes of a frame that the server takes.
    frame_bytes: usize,
    /// Sessions in one renewal, as many as a frame takes.
    renewal_batch: usize,
    lose_in_doubt: bool,
    events: broadcast::Sender<ConnectionEvent>,
}

/// How the connection stands.
enum Link {
    /// There is none, for this reason; one is being made.
    Down(Error),
    /// There is one, and sessions are being resumed over it.
    Resuming,
    /// Requests are taken.
    Up,
    /// There is none, and none is being made.
    Closed(Error),
}

impl Link {
    fn check(&self) -> Result<()> {
        match self {
            Self::Up => Ok(()),
            Self::Resuming => Err(Error::new(
                ErrorKind::Disconnected,
                "the sessions are being resumed",
            )),
            Self::Down(why) | Self::Closed(why) => Err(why.clone()),
        }
    }
}

impl Ledger {
    pub(crate) fn new(lose_in_doubt: bool) -> Self {
        Self {
            link: Link::Down(Error::new(ErrorKind::Disconnected, "not connected yet")),
            calls: Calls::new(),
            sessions: HashMap::new(),
            numbers: HashMap::new(),
            next_session: 1,
            errands: VecDeque::new(),
            later: Vec::new(),
            resuming: None,
            listening: Listening::default(),
            wake_at: None,
            woken: false,
            frame_bytes: tenure_protocol::limits::FRAME_FROM_CLIENT,
            renewal_batch: tenure_protocol::limits::SESSIONS.max,
            lose_in_doubt,
            events: broadcast::Sender::new(EVENTS_MAX),
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<ConnectionEvent> {
        self.events.subscribe()
    }

    fn tell(&self, event: ConnectionEvent) {
        // Without a listener there is nobody to tell.
        let _ = self.events.send(event);
    }

    /// Leave to send one request of a caller, or where to wait for it.
    pub(crate) fn permit(&self) -> Result<Result<OwnedSemaphorePermit, Arc<Semaphore>>> {
        self.link.check()?;
        self.calls
            .permit(Lane::Callers)
            .ok_or_else(|| Error::new(ErrorKind::Disconnected, ""))
    }

    /// Sends a request that has no effect on what is known here.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        request: &Request<'_>,
        answer: Answer,
        effect: Effect,
    ) -> Result<()> {
        self.link.check()?;
        request.check().map_err(|fault| convert::fault(&fault))?;
        let then = Then::Answer(answer, effect);
        self.calls.send(now, Some(permit), request, then);
        Ok(())
    }

    /// The number of a session that requests can be sent for.
    pub(crate) fn number(&mut self, session: SessionKey) -> Result<u64> {
        self.ready(session).map(|entry| entry.number)
    }

    /// Gives the writer what is to be written, in exchange for a buffer that is used up.
    pub(crate) fn take_output(&mut self, used: &mut BytesMut) {
        self.calls.take_output(used);
    }

    /// Whether several requests are under way.
    pub(crate) fn is_shared(&self) -> bool {
        self.calls.count() > 1
    }

    pub(crate) fn has_output(&self) -> bool {
        self.calls.has_output()
    }

    /// Whether nothing is left to be sent or answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.errands.is_empty()
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// The shortest time that a session may be resumed in.
    pub(crate) fn shortest_grace(&self) -> Option<Duration> {
        self.sessions.values().filter_map(|entry| entry.grace).min()
    }

    /// When the next tick is wanted.
    pub(crate) fn wake_at(&self) -> Instant {
        self.wake_at.unwrap_or_else(Instant::now)
    }

    /// Whether the clock has to be set anew. Asked once after each change.
    pub(crate) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    fn wake_by(&mut self, at: Instant) {
        if self.wake_at.is_none_or(|wake_at| at < wake_at) {
            self.wake_at = Some(at);
            self.woken = true;
        }
    }

    fn later(&mut self, now: Instant, errand: Errand) {
        let at = now + RETRY_AFTER;
        self.later.push((at, errand));
        self.wake_by(at);
    }

    /// There will be no connection any more: everything that was known is over.
    pub(crate) fn close(&mut self, why: &Error) {
        if matches!(self.link, Link::Closed(_)) {
            return;
        }
        self.link = Link::Closed(why.clone());
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.end_session(session, SessionEnd::ClientClosed);
        }
        self.listening.end(why);
        self.tell(ConnectionEvent::Closed { why: why.clone() });
    }
}

/// The server has answered something else than was asked.
fn mismatch() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "expected the answer to the request, found another",
    )
}
