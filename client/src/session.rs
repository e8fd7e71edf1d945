//! Sessions: opening one, asking for locks with it, and ending it.
//!
//! A session is a cheap handle; what is known of it is in the ledger. Rule: the last handle to go, guards included,
//! closes the session, unless it was told to leave it open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenure_protocol::{self as wire, Reply, Request, ResumeKey, reply, request};
use tokio::sync::oneshot;

use crate::acquire::{Acquire, AcquireAll, TryAcquire};
use crate::client::{Client, unexpected};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Events, SessionEvent};
use crate::guard::LockGuard;
use crate::ledger::{Effect, OpenedSession, SessionKey, SessionTerms};
use crate::shared::Shared;
use crate::standing::{SessionCell, SessionStanding};
use crate::types::{Loss, OnDisconnect, Released, Role, SessionEnd};

/// A session about to be opened. `.await` it.
#[must_use = "a session is opened when this is awaited"]
#[derive(Debug)]
pub struct OpenSession {
    client: Client,
    terms: SessionTerms,
}

impl OpenSession {
    pub(crate) fn new(client: Client, org: String, owner: String) -> Self {
        Self {
            client,
            terms: SessionTerms {
                org,
                owner,
                name: String::new(),
                role: None,
                on_disconnect: None,
                metadata: Vec::new(),
            },
        }
    }

    /// How people call the owner: shown to others with what the session holds.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.terms.name = name.into();
        self
    }

    /// How much the session may do; at most, and by default, as much as the client's principal.
    pub fn role(mut self, role: Role) -> Self {
        self.terms.role = Some(role);
        self
    }

    /// What the end of the connection does to it. By default what the policy says: release after 10 s.
    pub fn on_disconnect(mut self, on_disconnect: OnDisconnect) -> Self {
        self.terms.on_disconnect = Some(on_disconnect);
        self
    }

    /// Opaque to the server, shown to others with what the session holds. At most 4 KiB.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.terms.metadata = metadata.into();
        self
    }

    async fn open(self) -> Result<Session> {
        let (done, answer) = oneshot::channel();
        let shared = self.client.shared();
        let org: Arc<str> = self.terms.org.as_str().into();
        let terms = self.terms;
        let unclaimed = Unclaimed {
            shared: Arc::clone(shared),
            answer,
        };
        let opened = unclaimed
            .receive(
                shared.send(|ledger, now, permit| ledger.open_session(now, permit, &terms, done)),
            )
            .await?;
        Ok(Session::new(self.client.clone(), org, &opened))
    }
}

impl IntoFuture for OpenSession {
    type Output = Result<Session>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// The answer to an opening. If it comes and nobody takes it, the session is closed again.
struct Unclaimed {
    shared: Arc<Shared>,
    answer: oneshot::Receiver<Result<OpenedSession>>,
}

impl Unclaimed {
    async fn receive(mut self, send: impl Future<Output = Result<()>>) -> Result<OpenedSession> {
        let limit = self.shared.options.request_timeout;
        let answer = &mut self.answer;
        let exchange = async {
            send.await?;
            crate::shared::received(answer.await)
        };
        crate::shared::within(limit, exchange).await
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(opened)) = self.answer.try_recv() {
            self.shared
                .with(|ledger, _| ledger.abandon_session(opened.key));
        }
    }
}

/// One sitting of one owner: a browser tab, a device, a worker. It owns what it holds and awaits.
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
    fn new(client: Client, org: Arc<str>, opened: &OpenedSession) -> Self {
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

    /// Renews a path of the owner without a guard, and says how long the hold lives from now on.
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
        let path = path.to_owned();
        let read = move |reply: Reply<'_>| {
            let Reply::LockRenew(reply) = reply else {
                return Err(unexpected());
            };
            match reply {
                reply::Renew::Granted { grant } => Ok(convert::span(grant.remaining_ms)),
                reply::Renew::NotHeld { lost, .. } => Err(convert::not_held(&path, lost)),
            }
        };
        let remaining = self.shared().ask(request, Effect::Changes, read).await?;
        Ok(remaining.saturating_sub(sent.elapsed()))
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
            ledger.close_session(now, permit, key, Some(done))
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

/// A session that was taken over from another client.
#[derive(Debug)]
#[non_exhaustive]
pub struct TakenOver {
    /// The session.
    pub session: Session,
    /// What it holds. Drop what is not wanted, and it is released.
    pub guards: Vec<LockGuard>,
    /// What it has lost since it was attached last, as far as the server remembers.
    pub lost: Vec<Loss>,
}

pub(crate) async fn take_over(client: Client, ticket: SessionTicket) -> Result<TakenOver> {
    let (done, answer) = oneshot::channel();
    let shared = Arc::clone(client.shared());
    let org: Arc<str> = ticket.org().into();
    let unclaimed = Unclaimed {
        shared: Arc::clone(&shared),
        answer,
    };
    let mut opened = unclaimed
        .receive(
            shared.send(|ledger, now, permit| ledger.take_over_session(now, permit, ticket, done)),
        )
        .await?;
    let seeds = std::mem::take(&mut opened.guards);
    let lost = std::mem::take(&mut opened.lost);
    let session = Session::new(client, org, &opened);
    let guards = seeds
        .into_iter()
        .map(|seed| LockGuard::new(session.clone(), seed))
        .collect();
    Ok(TakenOver {
        session,
        guards,
        lost,
    })
}

/// What lets a session be taken over by another client: keep it where only its owner's services read.
///
/// It is written as text by [`encode`](Self::encode), and is not shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTicket {
    org: String,
    number: u64,
    key: ResumeKey,
}

impl SessionTicket {
    pub(crate) const fn new(org: String, number: u64, key: ResumeKey) -> Self {
        Self { org, number, key }
    }

    /// The session's organisation.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The session's number, as in the server's logs and in [`Target::Session`](crate::Target::Session).
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn key(&self) -> ResumeKey {
        self.key
    }

    /// As text of ASCII letters, digits and `.`, `_`, `-`, `:`. It holds the secret.
    #[must_use]
    pub fn encode(&self) -> String {
        use fmt::Write;
        let mut text = format!("{}:{}:", self.number, self.org);
        for byte in self.key.0 {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        text
    }

    /// From the text that [`encode`](Self::encode) gives.
    ///
    /// # Errors
    /// [`BadRequest`](crate::ErrorKind::BadRequest) when it is none.
    pub fn decode(text: &str) -> Result<Self> {
        let read = || {
            let (number, rest) = text.split_once(':')?;
            let (org, hex) = rest.split_once(':')?;
            let digits = hex.as_bytes();
            let mut key = [0; wire::limits::RESUME_KEY_BYTES];
            if digits.len() != 2 * key.len() || !hex.is_ascii() {
                return None;
            }
            for (byte, digits) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
                let digits = std::str::from_utf8(digits).ok()?;
                *byte = u8::from_str_radix(digits, 16).ok()?;
            }
            Some(Self::new(
                org.to_owned(),
                number.parse().ok()?,
                ResumeKey(key),
            ))
        };
        read().ok_or_else(|| {
            Error::new(
                ErrorKind::BadRequest,
                "expected the ticket of a session, found something else",
            )
        })
    }
}

impl fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTicket")
            .field("org", &self.org)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
