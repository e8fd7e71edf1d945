//! Messages of the server: which part of the ledger each is for.
//!
//! A table of contents without decisions. Rule: a message that makes no sense ends the connection, since what this side
//! knows can then be wrong; the resume that follows sets it right.

use tenure_protocol::{DecodeError, ErrorCode, FromServer, Push, Reply, reply};
use tokio::time::Instant;

use super::calls::{Call, Then};
use super::{Ledger, mismatch};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::standing::Asked;
use crate::types::{SessionEnd, WaitProgress};

/// Why a connection is over.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) why: Error,
    /// Whether another connection may fare better.
    pub(crate) again: bool,
}

impl Ended {
    pub(crate) const fn retry(why: Error) -> Self {
        Self { why, again: true }
    }
}

impl Ledger {
    /// Takes in the payload of one frame.
    pub(crate) fn receive(&mut self, now: Instant, payload: &[u8]) -> Result<(), Ended> {
        match FromServer::decode(payload) {
            Ok(FromServer::Reply { id, reply }) => match self.calls.answered(id) {
                Some(call) => self.answer(now, call, Ok(reply)),
                None => Ok(()),
            },
            Ok(FromServer::Error { id: 0, error }) => Err(refused(&error)),
            Ok(FromServer::Error { id, error }) => match self.calls.answered(id) {
                Some(call) => {
                    let error = convert::error(error.code, error.message, error.field);
                    self.answer(now, call, Err(error))
                }
                None => Ok(()),
            },
            Ok(FromServer::Push(push)) => self.push(now, &push),
            Ok(FromServer::UnknownPush { op }) => {
                tracing::trace!(op, "push of a later version");
                Ok(())
            }
            Err(error) => self.undecodable(now, &error),
        }
    }

    /// Only who asked is concerned when the answer was for them alone.
    fn undecodable(&mut self, now: Instant, error: &DecodeError) -> Result<(), Ended> {
        let why = Error::new(ErrorKind::Protocol, error.to_string());
        let call = error.id.and_then(|id| self.calls.answered(id));
        match call {
            Some(call) if matches!(call.then, Then::Answer(..)) => self.answer(now, call, Err(why)),
            Some(call) => {
                self.answer(now, call, Err(why.clone()))?;
                Err(Ended::retry(why))
            }
            None => Err(Ended::retry(why)),
        }
    }

    fn answer(&mut self, now: Instant, call: Call, reply: Result<Reply<'_>>) -> Result<(), Ended> {
        let Call {
            kind, sent, then, ..
        } = call;
        let (reply, fits) = match reply {
            Ok(reply) if reply.kind() != kind => (Err(mismatch()), Err(Ended::retry(mismatch()))),
            reply => (reply, Ok(())),
        };
        match then {
            Then::Forget => {}
            Then::Answer(answer, _) => answer(reply),
            Then::Open(opening) => self.opened(now, sent, *opening, reply),
            Then::Reopen(session) => {
                self.reopened(now, session, &reply);
                self.settled(now, session);
            }
            Then::Resume(session) => self.resumed(now, sent, session, reply),
            Then::RenewSessions(sessions) => self.sessions_renewed(now, sent, &sessions, reply),
            Then::Close(session, done) => self.closed(now, session, done, reply),
            Then::Ask(session, attempt) => self.asked(now, sent, session, attempt, reply),
            Then::RenewHold(session, cell, token, wait) => {
                self.hold_renewed(now, sent, (session, cell, token, wait), reply);
            }
            Then::Release(session, path, lease, done) => {
                self.released(now, session, &path, lease, done, reply);
            }
            Then::ReleasePath(session, path, done) => {
                self.path_released(session, &path, done, reply);
            }
            Then::Cancel(session) => self.cancelled(now, sent, session, reply),
            Then::HandOver(session, cell, done) => self.handed_over(session, &cell, done, reply),
            Then::Enter(session, path, done) => self.entered(now, (session, path), done, reply),
            Then::Update(session, path) => self.updated(now, session, &path, reply),
            Then::Leave(session, path, done) => self.left(now, (session, path), done, reply),
            Then::Subscribe(subscribing) => self.subscribed(*subscribing, reply),
            Then::Resubscribe(key) => self.resubscribed(now, key, reply),
        }
        fits
    }

    fn push(&mut self, now: Instant, push: &Push<'_>) -> Result<(), Ended> {
        match push {
            Push::ServerPing(_) => self.ping(now),
            Push::ServerGoodbye(goodbye) => {
                return Err(Ended {
                    why: convert::error(goodbye.code, goodbye.message, None),
                    again: goodbye.code.class().reconnects(),
                });
            }
            Push::SessionMoved(moved) => self.session_over(moved.session, SessionEnd::Moved),
            Push::SessionClosed(closed) => {
                self.session_over(closed.session, convert::session_end(closed.why));
            }
            Push::LockGranted(granted) => self.wait_granted(now, granted),
            Push::LockLost(lost) => self.told_lost(lost),
            Push::LockChanged(changed) => self.told_changed(now, changed),
            Push::LockAsked(asked) => self.told_asked(asked),
            Push::LockDeclined(declined) => {
                let progress = WaitProgress::Declined(convert::who(declined.who));
                self.wait_progress(declined.session, declined.wait, &progress);
            }
            Push::LockWaitEnded(ended) => self.wait_ended(*ended),
            Push::LockPlace(place) => {
                let progress = WaitProgress::Place(place.place);
                self.wait_progress(place.session, place.wait, &progress);
            }
            Push::StreamEvent(happened) => self.listening.told_happened(happened),
            Push::StreamPosition(reached) => self.listening.told_position(reached),
            Push::StreamGap(gap) => self.listening.told_gap(gap),
            Push::PresenceChanged(changed) => self.listening.told_viewers(changed),
            Push::PresenceGap(gap) => self.listening.told_viewers_left_out(gap),
            Push::PresenceCollision(collision) => self.told_collision(collision),
            Push::PresenceEnded(ended) => self.told_swept(ended),
        }
        Ok(())
    }

    fn session_over(&mut self, number: u64, why: SessionEnd) {
        if let Some(session) = self.numbers.get(&number).copied() {
            self.end_session(session, why);
        }
    }

    /// A hold goes on with another mode or token. What remains of it is counted from before the connection last
    /// proved to be alive, so its deadline is left as it is.
    fn told_changed(&mut self, now: Instant, push: &tenure_protocol::push::Changed<'_>) {
        let Some(session) = self.numbers.get(&push.session).copied() else {
            return;
        };
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let hold = entry
            .slots
            .get_mut(push.path)
            .and_then(|slot| slot.hold.as_mut());
        if let Some(hold) = hold {
            hold.cell.update(|lease| {
                lease.token = push.grant.token;
                lease.mode = convert::mode(push.grant.mode);
                lease.ttl = convert::span(push.grant.ttl_ms);
            });
            self.renew_soon(now, session);
        }
    }

    fn told_asked(&mut self, push: &tenure_protocol::push::Asked<'_>) {
        let entry = self
            .numbers
            .get(&push.session)
            .and_then(|session| self.sessions.get(session));
        let slot = entry.and_then(|entry| entry.slots.get(push.path));
        if let Some(hold) = slot.and_then(|slot| slot.hold.as_ref()) {
            hold.cell.ask(Asked {
                wait: push.wait,
                who: convert::who(push.who),
                note: push.note.to_owned(),
            });
        }
    }
}

/// An error that is about the connection.
pub(crate) fn refused(error: &reply::Error<'_>) -> Ended {
    Ended {
        why: convert::error(error.code, error.message, error.field),
        again: error.code.class().reconnects() && error.code != ErrorCode::BadFrame,
    }
}
