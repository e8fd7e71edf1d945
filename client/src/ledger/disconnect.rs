//! The end of a connection: what becomes of sessions, and of requests whose answer will never come.
//!
//! Rule: a request that was not written has had no effect; one that was, and that leaves a trace in its session, is kept
//! until the session is resumed or over.

use tokio::time::Instant;

use super::calls::{Call, Effect, Then, Written};
use super::sessions::{SessionEntry, session_over};
use super::{Ledger, Link};
use crate::error::{Error, ErrorKind};
use crate::events::{ConnectionEvent, SessionEvent};
use crate::standing::SessionStanding;
use crate::types::Released;

impl Ledger {
    /// The connection is gone. `heard` is when the server was last heard of.
    pub(crate) fn disconnected(&mut self, heard: Instant, why: &Error) {
        self.link = Link::Down(why.of_kind(ErrorKind::Disconnected));
        self.drop_errands(why);
        self.resuming = None;
        for entry in self.sessions.values_mut() {
            entry.detach(heard);
        }
        self.listening.disconnected();
        for (call, written) in self.calls.disconnected() {
            self.unanswered(call, written, why);
        }
        let why = why.clone();
        self.tell(ConnectionEvent::Disconnected { why });
        // A doubt may end holds earlier than they would run out.
        if self.lose_in_doubt {
            self.wake_by(heard);
        }
    }

    /// What becomes of a request whose answer will never come.
    fn unanswered(&mut self, call: Call, written: Written, why: &Error) {
        let failure = |effect| written.failure(effect, why);
        match call.then {
            Then::Answer(answer, effect) => answer(Err(failure(effect))),
            Then::Open(opening) => opening.fail(failure(Effect::Changes)),
            Then::Enter(session, path, done) => {
                let error = failure(Effect::Reads);
                self.enter_unanswered((session, &path), done, written, error);
            }
            // It is left after the reconnect.
            Then::Leave(_, _, Some(done)) => {
                let _ = done.send(Err(failure(Effect::Changes)));
            }
            // It has ended with the connection, if it ever was.
            Then::Subscribe(subscribing) => subscribing.fail(failure(Effect::Reads)),
            Then::Ask(session, attempt) if written == Written::No => {
                self.no_longer_asking(session, &attempt);
                attempt.fail(failure(Effect::Changes));
            }
            Then::HandOver(_, _, done) if written == Written::No => {
                let _ = done.send(Err(failure(Effect::Changes)));
            }
            Then::ReleasePath(_, _, done) if written == Written::No => {
                let _ = done.send(Err(failure(Effect::Changes)));
            }
            Then::Ask(session, _)
            | Then::HandOver(session, ..)
            | Then::Release(session, ..)
            | Then::ReleasePath(session, ..)
            | Then::Close(session, _) => match self.sessions.get_mut(&session) {
                Some(entry) => entry.unsettled.push(call),
                None => settle_over(call),
            },
            // The resume says what there is to renew, to confirm, to cancel, and to open again.
            Then::Forget
            | Then::Reopen(_)
            | Then::Resume(_)
            | Then::RenewSessions(_)
            | Then::RenewHold(..)
            | Then::Cancel(_)
            | Then::Update(..)
            | Then::Leave(_, _, None)
            | Then::Resubscribe(_) => {}
        }
    }
}

impl SessionEntry {
    fn detach(&mut self, heard: Instant) {
        if !std::mem::take(&mut self.attached) {
            return;
        }
        let doubt = self.grace.map(|grace| heard + grace);
        for slot in self.slots.values_mut() {
            slot.in_line = false;
            if let Some(hold) = &slot.hold {
                hold.cell.update(|lease| lease.doubt = doubt);
            }
        }
        self.detach_sittings();
        self.cell.set(SessionStanding::Detached);
        self.cell.tell(SessionEvent::Detached);
    }
}

/// A request of a session that is over.
pub(crate) fn settle_over(call: Call) {
    match call.then {
        Then::Ask(_, attempt) => attempt.fail(session_over()),
        Then::Release(_, _, _, Some(done)) | Then::ReleasePath(_, _, done) => {
            let _ = done.send(Ok(Released::Ended));
        }
        Then::HandOver(_, _, done) => {
            let _ = done.send(Err(session_over()));
        }
        Then::Close(_, Some(done)) => {
            let _ = done.send(Ok(()));
        }
        Then::Release(_, _, _, None)
        | Then::Close(_, None)
        | Then::Forget
        | Then::Answer(..)
        | Then::Open(_)
        | Then::Reopen(_)
        | Then::Resume(_)
        | Then::RenewSessions(_)
        | Then::RenewHold(..)
        | Then::Cancel(_)
        | Then::Enter(..)
        | Then::Update(..)
        | Then::Leave(..)
        | Then::Subscribe(_)
        | Then::Resubscribe(_) => {}
    }
}
