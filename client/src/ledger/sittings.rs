//! Where the sessions are, and what they do there: entered, kept up to date, entered again after a reconnect, left.
//!
//! What the handles want and what the server was told are two things; an errand brings the second in line with the
//! first. Rule: a path that no handle is for any more is left, also when the answer to its enter never came; and nobody is
//! shown to type who has not typed lately.

use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{ErrorCode, Reply, Request, push, reply, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::calls::{Then, Written};
use super::errands::Errand;
use super::sessions::{SessionEntry, SessionKey};
use super::{Ledger, mismatch};
use crate::convert;
use crate::convert::streams;
use crate::error::{Error, Result};
use crate::standing::PresenceCell;
use crate::types::SessionEnd;
use crate::viewing::{Activity, Collision, PresenceEvent};

/// How often a session that goes on doing the same gives a sign of life at a path, at most.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// How long typing is shown, and how often it is said, until the server has said how it wants it.
const TYPING: Duration = Duration::from_secs(6);
const REFRESH: Duration = Duration::from_secs(3);

/// What a session does at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doing {
    pub(crate) activity: Activity,
    /// Whether its typing is for members and higher alone.
    pub(crate) internal: bool,
}

/// One session at one path.
pub(crate) struct Sitting {
    cell: Arc<PresenceCell>,
    /// Handles, and enters that somebody waits for.
    claims: usize,
    wanted: Doing,
    metadata: Vec<u8>,
    at_server: AtServer,
    /// What the server was told last, on this connection.
    told: Option<Doing>,
    told_at: Instant,
    typed_at: Instant,
    typing: Duration,
    refresh: Duration,
    /// Whether an errand for it is in line.
    in_line: bool,
    /// Whether the server has taken it away, and nothing was heard from its handles since.
    swept: bool,
}

/// Whether the server has the session at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtServer {
    No,
    /// It was asked, or had it before the connection ended.
    Perhaps,
    Yes,
}

/// What a presence handle is made of.
pub(crate) struct SittingSeed {
    pub(crate) cell: Arc<PresenceCell>,
    pub(crate) first: bool,
    pub(crate) total: u32,
}

/// Somebody who waits for an enter.
pub(crate) type Entering = oneshot::Sender<Result<SittingSeed>>;

impl Sitting {
    fn new(now: Instant, path: &Arc<str>, wanted: Doing) -> Self {
        Self {
            cell: PresenceCell::new(Arc::clone(path)),
            claims: 0,
            wanted,
            metadata: Vec::new(),
            at_server: AtServer::No,
            told: None,
            told_at: now,
            typed_at: now,
            typing: TYPING,
            refresh: REFRESH,
            in_line: false,
            swept: false,
        }
    }

    /// Somebody does something there.
    fn wants(&mut self, now: Instant, wanted: Doing) {
        self.wanted = wanted;
        self.swept = false;
        if wanted.activity == Activity::Typing {
            self.typed_at = now;
        }
    }

    /// Whether the server has to be told something.
    fn is_due(&self, now: Instant) -> bool {
        if self.claims == 0 {
            return self.at_server != AtServer::No;
        }
        let every = match self.wanted.activity {
            Activity::Typing => self.refresh,
            Activity::Viewing | Activity::Idle | Activity::Editing => SIGN_OF_LIFE,
        };
        !self.swept && (self.told != Some(self.wanted) || now >= self.told_at + every)
    }

    /// What it does by now: typing ends by itself.
    fn doing(&mut self, now: Instant) -> Doing {
        if self.wanted.activity == Activity::Typing && now >= self.typed_at + self.typing {
            self.wanted.activity = Activity::Viewing;
        }
        self.wanted
    }

    fn tell(&mut self, now: Instant, doing: Doing) {
        self.told = Some(doing);
        self.told_at = now;
    }

    /// The server is being told that it is there.
    fn entering(&mut self, now: Instant, doing: Doing) {
        self.tell(now, doing);
        if self.at_server == AtServer::No {
            self.at_server = AtServer::Perhaps;
        }
    }

    /// The server does not have it, or cannot be asked.
    fn gone(&mut self, at_server: AtServer) {
        self.at_server = at_server;
        self.told = None;
    }

    fn end(&self, why: SessionEnd) {
        self.cell.tell(PresenceEvent::SessionEnded(why));
    }
}

impl SessionEntry {
    /// The connection is gone: the server may have it at its paths for the time being.
    pub(crate) fn detach_sittings(&mut self) {
        for sitting in self.sittings.values_mut() {
            sitting.in_line = false;
            if sitting.at_server == AtServer::Yes {
                sitting.gone(AtServer::Perhaps);
            }
        }
    }

    /// It is over, and nowhere any more.
    pub(crate) fn end_sittings(&mut self, why: SessionEnd) {
        for (_, sitting) in self.sittings.drain() {
            sitting.end(why);
        }
    }

    /// It is another session at the server, which is nowhere.
    pub(crate) fn forget_sittings(&mut self) {
        for sitting in self.sittings.values_mut() {
            sitting.gone(AtServer::No);
        }
    }
}

impl Ledger {
    /// Enters a path on behalf of a caller. A session that is there already goes on with what is said now.
    pub(crate) fn enter_path(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        (path, doing, metadata): (Arc<str>, Doing, Vec<u8>),
        done: Entering,
    ) -> Result<()> {
        let number = self.ready(session)?.number;
        let request = enter(number, &path, doing, &metadata);
        request.check().map_err(|fault| convert::fault(&fault))?;
        let then = Then::Enter(session, Arc::clone(&path), Some(done));
        self.calls.send(now, Some(permit), &request, then);
        if let Some(entry) = self.sessions.get_mut(&session) {
            let sitting = entry.sittings.entry(Arc::clone(&path));
            let sitting = sitting.or_insert_with(|| Sitting::new(now, &path, doing));
            sitting.claims += 1;
            sitting.metadata = metadata;
            sitting.wants(now, doing);
            sitting.entering(now, doing);
        }
        Ok(())
    }

    /// The answer to an enter.
    pub(crate) fn entered(
        &mut self,
        now: Instant,
        (session, path): (SessionKey, Arc<str>),
        done: Option<Entering>,
        reply: Result<Reply<'_>>,
    ) {
        let entered = match reply {
            Ok(Reply::PresenceEnter(entered)) => Ok(entered),
            Ok(_) => Err(mismatch()),
            Err(error) => Err(error),
        };
        match (entered, done) {
            (Ok(entered), done) => {
                let seed = self.is_at(session, &path, &entered);
                match (seed, done) {
                    (Some(seed), Some(done)) => {
                        if done.send(Ok(seed)).is_err() {
                            self.unclaim_path(session, &path);
                        }
                    }
                    (None, Some(done)) => drop(done.send(Err(super::sessions::session_over()))),
                    (_, None) => {}
                }
            }
            (Err(error), Some(done)) => {
                let gone = |sitting: &mut Sitting| sitting.gone(AtServer::No);
                self.sitting(session, &path, gone);
                self.unclaim_path(session, &path);
                // Whoever asked may have gone.
                let _ = done.send(Err(error));
            }
            (Err(error), None) => self.not_entered(now, session, &path, &error),
        }
        self.sit_soon(now, session, &path);
    }

    fn is_at(
        &mut self,
        session: SessionKey,
        path: &str,
        entered: &reply::Entered,
    ) -> Option<SittingSeed> {
        self.sitting(session, path, |sitting| {
            sitting.at_server = AtServer::Yes;
            sitting.typing = convert::span(entered.typing_ms);
            sitting.refresh = convert::span(entered.refresh_ms);
            sitting.cell.near(streams::level(entered.collision));
            SittingSeed {
                cell: Arc::clone(&sitting.cell),
                first: entered.first,
                total: entered.total,
            }
        })
    }

    /// What an errand has asked was refused. It is tried again later, or when somebody does something there.
    fn not_entered(&mut self, now: Instant, session: SessionKey, path: &Arc<str>, error: &Error) {
        tracing::debug!(%path, %error, "not entered");
        let is_retryable = error.is_retryable();
        self.sitting(session, path, |sitting| {
            sitting.gone(AtServer::No);
            sitting.swept = !is_retryable;
            sitting.in_line = is_retryable;
        });
        if is_retryable {
            self.later(now, Errand::Sit(session, Arc::clone(path)));
        }
    }

    /// A handle says what is done at the path.
    pub(crate) fn act(&mut self, now: Instant, session: SessionKey, path: &Arc<str>, doing: Doing) {
        self.sitting(session, path, |sitting| sitting.wants(now, doing));
        self.sit_soon(now, session, path);
    }

    /// The server has been told of something that ends the typing there.
    pub(crate) fn typing_over(&mut self, session: SessionKey, path: &str) {
        self.sitting(session, path, |sitting| {
            if sitting.wanted.activity == Activity::Typing {
                sitting.wanted.activity = Activity::Viewing;
                sitting.told = sitting.told.map(|_| sitting.wanted);
            }
        });
    }

    /// A handle is gone. With the last, the path is left.
    pub(crate) fn leave_path(&mut self, now: Instant, session: SessionKey, path: &Arc<str>) {
        self.unclaim_path(session, path);
        self.sit_soon(now, session, path);
    }

    /// Leaves on behalf of a caller, whose handle is used up. True if the server has to be asked.
    pub(crate) fn leave_for(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        (session, path): (SessionKey, Arc<str>),
        done: oneshot::Sender<Result<bool>>,
    ) -> Result<()> {
        let number = self.ready(session)?.number;
        self.unclaim_path(session, &path);
        let entry = self.sessions.get(&session);
        let sitting = entry.and_then(|entry| entry.sittings.get(&path));
        if sitting.is_some_and(|sitting| sitting.claims > 0) {
            // Whoever leaves may have gone.
            let _ = done.send(Ok(false));
            return Ok(());
        }
        let then = Then::Leave(session, Arc::clone(&path), Some(done));
        self.calls
            .send(now, Some(permit), &leave(number, &path), then);
        Ok(())
    }

    /// The answer to a leave.
    pub(crate) fn left(
        &mut self,
        now: Instant,
        (session, path): (SessionKey, Arc<str>),
        done: Option<oneshot::Sender<Result<bool>>>,
        reply: Result<Reply<'_>>,
    ) {
        let left = match reply {
            Ok(Reply::PresenceLeave(left)) => Ok(left.last),
            Ok(_) => Err(mismatch()),
            Err(error) => Err(error),
        };
        let later = matches!(&left, Err(error) if error.is_retryable());
        self.sitting(session, &path, |sitting| {
            if !later && sitting.claims == 0 {
                sitting.gone(AtServer::No);
            }
            sitting.in_line = later;
        });
        if later {
            self.later(now, Errand::Sit(session, Arc::clone(&path)));
        }
        self.tidy_sitting(session, &path);
        if let Some(done) = done {
            // Whoever leaves may have gone.
            let _ = done.send(left);
        }
    }

    /// The answer to an update.
    pub(crate) fn updated(
        &mut self,
        now: Instant,
        session: SessionKey,
        path: &Arc<str>,
        reply: Result<Reply<'_>>,
    ) {
        match reply {
            Ok(Reply::PresenceUpdate(updated)) => {
                let level = streams::level(updated.collision);
                self.sitting(session, path, |sitting| sitting.cell.near(level));
            }
            // It was swept, and somebody has done something there since: it enters again.
            Err(error) if error.code() == Some(ErrorCode::NotEntered.number()) => {
                let gone = |sitting: &mut Sitting| sitting.gone(AtServer::No);
                self.sitting(session, path, gone);
                self.sit_soon(now, session, path);
            }
            // What is said next says more.
            Ok(_) | Err(_) => {
                self.sitting(session, path, |sitting| sitting.told = None);
            }
        }
    }

    /// The session is attached again: it enters where it was, and leaves where nobody is any more.
    pub(crate) fn sit_again(&mut self, now: Instant, session: SessionKey) {
        let entry = self.sessions.get(&session);
        let paths: Vec<_> = entry
            .into_iter()
            .flat_map(|entry| entry.sittings.keys().cloned())
            .collect();
        for path in paths {
            self.sit_soon(now, session, &path);
        }
    }

    /// Sees to the path when a request may be sent, if the server has to be told something.
    fn sit_soon(&mut self, now: Instant, session: SessionKey, path: &Arc<str>) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(sitting) = entry.sittings.get_mut(path) else {
            return;
        };
        // What is not attached is seen to when it is resumed.
        if entry.attached && !sitting.in_line && sitting.is_due(now) {
            sitting.in_line = true;
            let errand = Errand::Sit(session, Arc::clone(path));
            self.errands.push_back(errand);
        }
        self.tidy_sitting(session, path);
    }

    /// Tells the server what has become different.
    pub(crate) fn sit(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        path: &Arc<str>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(sitting) = entry.sittings.get_mut(path) else {
            return;
        };
        sitting.in_line = false;
        if !entry.attached || !sitting.is_due(now) {
            return;
        }
        let (number, doing) = (entry.number, sitting.doing(now));
        if sitting.claims == 0 {
            let then = Then::Leave(session, Arc::clone(path), None);
            self.calls
                .send(now, Some(permit), &leave(number, path), then);
        } else if sitting.told.is_some() {
            // The enter may be unanswered still: the server does one after the other.
            sitting.tell(now, doing);
            let request = update(number, path, doing);
            let then = Then::Update(session, Arc::clone(path));
            self.calls.send(now, Some(permit), &request, then);
        } else {
            sitting.entering(now, doing);
            let request = enter(number, path, doing, &sitting.metadata);
            let then = Then::Enter(session, Arc::clone(path), None);
            self.calls.send(now, Some(permit), &request, then);
        }
    }

    /// An enter whose answer will never come.
    pub(crate) fn enter_unanswered(
        &mut self,
        (session, path): (SessionKey, &Arc<str>),
        done: Option<Entering>,
        written: Written,
        error: Error,
    ) {
        let never = written == Written::No;
        self.sitting(session, path, |sitting| {
            if never && sitting.told.is_some() {
                sitting.gone(AtServer::No);
            }
        });
        if let Some(done) = done {
            self.unclaim_path(session, path);
            self.tidy_sitting(session, path);
            // Whoever asked may have gone.
            let _ = done.send(Err(error));
        }
    }

    pub(crate) fn told_collision(&mut self, push: &push::Collision<'_>) {
        let Some(session) = self.numbers.get(&push.session).copied() else {
            return;
        };
        let collision = Collision {
            level: streams::level(push.level),
            by: push.by.iter().copied().map(convert::who).collect(),
        };
        self.sitting(session, push.path, |sitting| {
            sitting.cell.collide(collision)
        });
    }

    pub(crate) fn told_swept(&mut self, push: &push::PresenceEnded<'_>) {
        let Some(session) = self.numbers.get(&push.session).copied() else {
            return;
        };
        self.sitting(session, push.path, |sitting| {
            sitting.gone(AtServer::No);
            sitting.swept = true;
            sitting.cell.tell(PresenceEvent::Swept);
        });
        self.tidy_sitting(session, push.path);
    }

    fn unclaim_path(&mut self, session: SessionKey, path: &str) {
        self.sitting(session, path, |sitting| {
            sitting.claims = sitting.claims.saturating_sub(1);
        });
    }

    fn sitting<T>(
        &mut self,
        session: SessionKey,
        path: &str,
        change: impl FnOnce(&mut Sitting) -> T,
    ) -> Option<T> {
        let entry = self.sessions.get_mut(&session)?;
        entry.sittings.get_mut(path).map(change)
    }

    /// Drops a sitting of which nothing has to be remembered.
    fn tidy_sitting(&mut self, session: SessionKey, path: &str) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            let over = |sitting: &Sitting| {
                sitting.claims == 0 && sitting.at_server == AtServer::No && !sitting.in_line
            };
            if entry.sittings.get(path).is_some_and(over) {
                entry.sittings.remove(path);
            }
        }
    }
}

fn enter<'a>(session: u64, path: &'a str, doing: Doing, metadata: &'a [u8]) -> Request<'a> {
    Request::PresenceEnter(request::Enter {
        session,
        path,
        activity: streams::activity_to_wire(doing.activity),
        internal: doing.internal,
        metadata,
    })
}

fn update(session: u64, path: &str, doing: Doing) -> Request<'_> {
    Request::PresenceUpdate(request::Update {
        session,
        path,
        activity: streams::activity_to_wire(doing.activity),
        internal: doing.internal,
    })
}

const fn leave(session: u64, path: &str) -> Request<'_> {
    Request::PresenceLeave(request::Leave { session, path })
}
