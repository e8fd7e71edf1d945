//! Requests that are not answered yet: their numbers, what is to be done with the answer, and their bytes until the
//! writer takes them.
//!
//! Knows no session. Rule: a request that the writer has taken may have reached the server; one that it has not, has not.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::{Reply, Request, RequestKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::asking::Attempt;
use super::listening::{Subscribing, SubscriptionKey};
use super::openings::Opening;
use super::sessions::SessionKey;
use super::sittings::Entering;
use crate::error::{Error, Result};
use crate::guard::HandedOver;
use crate::standing::{HoldCell, Lease};
use crate::types::Released;

/// Capacity of the buffer of requests beyond which it is given back after a write.
const BUFFER_KEPT: usize = 256 * 1024;

/// What is to be done with the answer to a request that has no effect on the ledger.
pub(crate) type Answer = Box<dyn FnOnce(Result<Reply<'_>>) + Send>;

/// What an unanswered request may have done, should the connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it reads.
    Reads,
    /// What it asked.
    Changes,
}

/// What the answer to a request is for.
pub(crate) enum Then {
    /// Nothing depends on it.
    Forget,
    /// Somebody waits for it, and the ledger does not care.
    Answer(Answer, Effect),
    /// A session that somebody opens, or takes over from elsewhere.
    Open(Box<Opening>),
    /// A session that was gone and had nothing.
    Reopen(SessionKey),
    /// A session after a reconnect.
    Resume(SessionKey),
    /// Renewal of all holds of some sessions.
    RenewSessions(Vec<SessionKey>),
    /// The end of a session.
    Close(SessionKey, Option<oneshot::Sender<Result<()>>>),
    /// An acquire, an acquire of several, or a conversion.
    Ask(SessionKey, Attempt),
    /// Renewal of one hold under this token; it confirms the wait, if one is named.
    RenewHold(SessionKey, Arc<HoldCell>, u64, Option<u64>),
    /// The hold is out of the ledger already.
    Release(
        SessionKey,
        Arc<str>,
        Lease,
        Option<oneshot::Sender<Result<Released>>>,
    ),
    /// A release without a guard.
    ReleasePath(SessionKey, Arc<str>, oneshot::Sender<Result<Released>>),
    /// The wait is out of the ledger already.
    Cancel(SessionKey),
    /// The hold goes to a waiter.
    HandOver(
        SessionKey,
        Arc<HoldCell>,
        oneshot::Sender<Result<HandedOver>>,
    ),
    /// A session at a path, and who waits for it.
    Enter(SessionKey, Arc<str>, Option<Entering>),
    /// What a session does at a path.
    Update(SessionKey, Arc<str>),
    /// A session that is no longer at a path.
    Leave(SessionKey, Arc<str>, Option<oneshot::Sender<Result<bool>>>),
    /// A subscription that somebody makes.
    Subscribe(Box<Subscribing>),
    /// A subscription after a reconnect.
    Resubscribe(SubscriptionKey),
}

/// A request that is not answered yet.
pub(crate) struct Call {
    pub(crate) kind: RequestKind,
    /// When it was put in line to be written: not later than its sending, so that what counts from here errs on the
    /// safe side.
    pub(crate) sent: Instant,
    pub(crate) then: Then,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Which share of the requests in flight a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What callers ask.
    Callers,
    /// Renewals, releases of dropped guards and the like: they get through however busy callers are.
    Errands,
}

/// The requests of one connection after another.
pub(crate) struct Calls {
    next_id: u64,
    open: HashMap<u64, Call>,
    out: BytesMut,
    /// The highest id that the writer has taken.
    taken_through: u64,
    lanes: Option<Lanes>,
}

struct Lanes {
    callers: Arc<Semaphore>,
    errands: Arc<Semaphore>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            next_id: 1,
            open: HashMap::new(),
            out: BytesMut::new(),
            taken_through: 0,
            lanes: None,
        }
    }

    /// A new connection, which takes so many requests at once. A quarter, but not more than 64, is kept for errands.
    pub(crate) fn connected(&mut self, in_flight: u32) {
        let in_flight = (in_flight.max(1) as usize).min(Semaphore::MAX_PERMITS);
        let errands = (in_flight / 4).min(64);
        let callers = Arc::new(Semaphore::new(in_flight - errands));
        self.lanes = Some(Lanes {
            errands: match errands {
                0 => Arc::clone(&callers),
                errands => Arc::new(Semaphore::new(errands)),
            },
            callers,
        });
    }

    /// Leave to send one request, or where to wait for it. Nothing when there is no connection.
    pub(crate) fn permit(
        &self,
        lane: Lane,
    ) -> Option<Result<OwnedSemaphorePermit, Arc<Semaphore>>> {
        let lanes = self.lanes.as_ref()?;
        let lane = match lane {
            Lane::Callers => &lanes.callers,
            Lane::Errands => &lanes.errands,
        };
        Some(
            Arc::clone(lane)
                .try_acquire_owned()
                .map_err(|_| Arc::clone(lane)),
        )
    }

    /// Puts the request in line to be written.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        permit: Option<OwnedSemaphorePermit>,
        request: &Request<'_>,
        then: Then,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        request.encode(id, &mut self.out);
        let call = Call {
            kind: request.kind(),
            sent: now,
            then,
            _permit: permit,
        };
        self.open.insert(id, call);
    }

    pub(crate) fn answered(&mut self, id: u64) -> Option<Call> {
        self.open.remove(&id)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// How many requests are unanswered.
    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is left to be written or answered.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.out.is_empty()
    }

    /// Gives the writer what is to be written, in exchange for a buffer that is used up.
    pub(crate) fn take_output(&mut self, used: &mut BytesMut) {
        if used.capacity() > BUFFER_KEPT {
            *used = BytesMut::new();
        }
        used.clear();
        mem::swap(&mut self.out, used);
        self.taken_through = self.next_id - 1;
    }

    /// The connection is gone: every unanswered request, in the order of sending, and whether it may have arrived.
    pub(crate) fn disconnected(&mut self) -> Vec<(Call, Written)> {
        if let Some(lanes) = self.lanes.take() {
            lanes.callers.close();
            lanes.errands.close();
        }
        self.out.clear();
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        let written = |id| {
            if id <= self.taken_through {
                Written::Perhaps
            } else {
                Written::No
            }
        };
        open.into_iter()
            .map(|(id, call)| (call, written(id)))
            .collect()
    }
}

/// Whether a request has reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Perhaps,
    No,
}

impl Written {
    /// What a caller is told whose request this is all that is known about.
    pub(crate) fn failure(self, effect: Effect, why: &Error) -> Error {
        use crate::error::ErrorKind;
        match (self, effect) {
            (Self::Perhaps, Effect::Changes) => why.of_kind(ErrorKind::UnknownOutcome),
            (Self::Perhaps, Effect::Reads) | (Self::No, _) => why.of_kind(ErrorKind::Disconnected),
        }
    }
}
