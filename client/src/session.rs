//! Sessions: asking for locks with one, watching it, and ending it.
//!
//! A session is a cheap handle; what is known of it is in the ledger. Rule: the last handle to go, guards included,
//! closes the session, unless it was told to leave it open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenure_protocol::{self as wire, Reply, Request, reply, request};
use tokio::sync::oneshot;

use crate::acquire::{Acquire, AcquireAll, TryAcquire};
use crate::client::{Client, unexpected};
use crate::convert;
use crate::error::{ErrorKind, Result};
use crate::events::{Events, SessionEvent};
use crate::ledger::{Effect, OpenedSession, SessionKey};
use crate::shared::Shared;
use crate::standing::{SessionCell, SessionStanding};
use crate::ticket::SessionTicket;
use crate::types::{Released, SessionEnd};

/// One sitting of one owner: a browser tab, a device, a worker. It owns what it holds and awaits, and is where it has
/// [entered](Self::enter).
///
/// Cheap to clone. Sessions of the same owner share their holds, so two tabs of one person do not lock each other out;
/// within one session, so do all guards of a path.
///
/// When the connection ends, the session goes on at the server within its grace, and is resumed by the client. When it
/// is over for good, calls fail with [`SessionEnded`](crate::ErrorKind::SessionEnded), its guards are lost, and
/// [`ended`](Self::ended) says why: open another. Only a session that had neither hold nor wait is opened again by itself.
#[derive(Clone)]
pub struct Session {
    handle: Arc<SessionHandle>,
}

pub(crate) struct SessionHandle {
    pub(crate) client: Client,
    pub(crate) key: SessionKey,
    cell: Arc<SessionCell>,
    pub(crate) org: Arc<str>,
    owner: String,
    leave_open: AtomicBool,
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        let leave_open = *self.leave_open.get_mut();
        self.client.shared().with(|ledger, _| {
            if leave_open {
                ledger.forget_session(self.key);
            } else {
                ledger.abandon_session(self.key);
            }
        });
    }
}

impl Session {
    pub(crate) fn new(client: Client, org: Arc<str>, opened: &OpenedSession) -> Self {
        Self {
            handle: Arc::new(SessionHandle {
                client,
                key: opened.key,
                cell: Arc::clone(&opened.cell),
                org,
                owner: opened.owner.clone(),
                leave_open: AtomicBool::new(false),
            }),
        }
    }

    /// The organisation.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.handle.org
    }

    /// On whose behalf it acts.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.handle.owner
    }

    /// The client that it was opened with.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.handle.client
    }

    /// Asks for a lock, and waits for it if somebody else holds it: 30 s, unless [`wait`](Acquire::wait) says otherwise.
    ///
    /// Gives a builder; `.await` it. Costs one round trip, and one more if it had to wait.
    pub fn acquire(&self, path: impl Into<Arc<str>>) -> Acquire {
        Acquire::new(self.clone(), path.into())
    }

    /// Asks for a lock, and gives the answer at once: the lock, or who holds it. Costs one round trip.
    pub fn try_acquire(&self, path: impl Into<Arc<str>>) -> TryAcquire {
        TryAcquire::new(self.clone(), path.into())
    }

    /// Asks for up to 16 locks, all or nothing. Add the paths to the builder, then `.await` it.
    ///
    /// It reserves nothing while it waits, so no deadlock is possible; but it stands in no queue, and may be passed over.
    pub fn acquire_all(&self) -> AcquireAll {
        AcquireAll::new(self.clone())
    }

    /// Lets go of a path without a guard: for callers that keep none, such as an HTTP service between two requests.
    ///
    /// If a token is given, only the hold that has it is ended. Guards of this session on the path have lost it
    /// afterwards.
    ///
    /// # Errors
    /// [`NotHeld`](crate::ErrorKind::NotHeld) when the owner does not hold the path, with how it was lost, if that is
    /// known.
    pub async fn release(
        &self,
        path: &str,
        scope: ReleaseScope,
        token: Option<u64>,
    ) -> Result<Released> {
        let (done, answer) = oneshot::channel();
        let release = request::Release {
            session: 0,
            path,
            scope: match scope {
                ReleaseScope::Session => wire::ReleaseScope::Session,
                ReleaseScope::Owner => wire::ReleaseScope::Owner,
            },
            token,
        };
        let key = self.handle.key;
        let send = |ledger: &mut crate::ledger::Ledger, now, permit| {
            ledger.release_path(now, permit, key, release, done)
        };
        self.shared().request(send, answer).await
    }

    /// Renews a path of the owner without a guard, and says how long the hold lives from now on. Guards of this session on
    /// the path know it too.
    ///
    /// # Errors
    /// [`NotHeld`](crate::ErrorKind::NotHeld) when the owner does not hold the path, or not under this token.
    pub async fn renew(
        &self,
        path: &str,
        ttl: Option<Duration>,
        token: Option<u64>,
    ) -> Result<Duration> {
        let number = self
            .shared()
            .with(|ledger, _| ledger.number(self.handle.key))?;
        let request = Request::LockRenew(request::Renew {
            session: number,
            path,
            ttl_ms: ttl.map(convert::millis),
            token,
        });
        let sent = tokio::time::Instant::now();
        let held = path.to_owned();
        let read = move |reply: Reply<'_>| {
            let Reply::LockRenew(reply) = reply else {
                return Err(unexpected());
            };
            match reply {
                reply::Renew::Granted { grant } => Ok(grant),
                reply::Renew::NotHeld { lost, .. } => Err(convert::not_held(&held, lost)),
            }
        };
        let grant = self.shared().ask(request, Effect::Changes, read).await?;
        let key = self.handle.key;
        self.shared()
            .with(|ledger, _| ledger.renewed_by_hand(key, path, sent, &grant));
        Ok(convert::span(grant.remaining_ms).saturating_sub(sent.elapsed()))
    }

    /// What lets another client take the session over, with all that it holds. It is a secret.
    ///
    /// `None` when the session is over. Get it anew after a [`Reopened`](SessionEvent::Reopened).
    #[must_use]
    pub fn ticket(&self) -> Option<SessionTicket> {
        self.shared().look(|ledger| ledger.ticket(self.handle.key))
    }

    /// Whether it is attached: the connection is there, and the session is not over.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.handle.cell.standing() == SessionStanding::Attached
    }

    /// Waits until the session is over, and says why. Cancel-safe.
    pub async fn ended(&self) -> SessionEnd {
        self.handle.cell.ended().await
    }

    /// What happens to the session from here on.
    #[must_use]
    pub fn events(&self) -> Events<SessionEvent> {
        Events::of_session(self.handle.cell.listen())
    }

    /// Ends the session: what it holds is released, what it awaits is cancelled, and its guards are lost.
    ///
    /// Dropping the last handle does the same, without saying how it went. One that is over already is closed.
    ///
    /// # Errors
    /// When there is no connection, or no answer in time. The session is closed after the reconnect then.
    pub async fn close(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let key = self.handle.key;
        let send = |ledger: &mut crate::ledger::Ledger, now, permit| {
            ledger.close_for(now, permit, key, done)
        };
        match self.shared().request(send, answer).await {
            Err(error) if error.kind() == ErrorKind::SessionEnded => Ok(()),
            Err(error) => {
                self.shared().with(|ledger, _| ledger.abandon_session(key));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Leaves the session open when the last handle is gone: what it holds then lives by its TTL, or by its grace once
    /// the connection ends, and another client may take it over by its [ticket](Self::ticket). It is not renewed any more.
    pub fn leave_open(&self) {
        self.handle.leave_open.store(true, Ordering::Relaxed);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.handle.client.shared()
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.handle.key
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("org", &self.handle.org)
            .field("owner", &self.handle.owner)
            .field("standing", &self.handle.cell.standing())
            .finish_non_exhaustive()
    }
}

/// Who lets go of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReleaseScope {
    /// This session; the hold ends with its last one.
    Session,
    /// The owner: the hold ends for all the sessions in it.
    Owner,
}
