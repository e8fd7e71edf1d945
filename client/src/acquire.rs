//! Asking for locks: the builders, each a thing to set and then `.await`.
//!
//! Knows no waiting; that is in `attempt.rs`. Rule: what is set here is checked against the protocol's bounds before it
//! is sent, and nowhere else.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{Item, Request, request};

use crate::attempt::{Progress, Wish, attempt};
use crate::convert;
use crate::error::{ErrorKind, Result};
use crate::guard::LockGuard;
use crate::ledger::{Aim, AttemptItem, Renewal};
use crate::session::Session;
use crate::types::{Mode, Refusal, WaitProgress};

/// How long an acquire waits that does not say.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// What an acquire of one path is made of.
struct Terms {
    session: Session,
    path: Arc<str>,
    mode: Mode,
    limit: Option<u32>,
    ttl: Option<Duration>,
    wait: Duration,
    note: Option<String>,
    seize: Option<String>,
    metadata: Vec<u8>,
    renewal: Renewal,
    on_progress: Option<Progress>,
}

impl Terms {
    fn new(session: Session, path: Arc<str>, wait: Duration) -> Self {
        Self {
            session,
            path,
            mode: Mode::Exclusive,
            limit: None,
            ttl: None,
            wait,
            note: None,
            seize: None,
            metadata: Vec::new(),
            renewal: Renewal::Always,
            on_progress: None,
        }
    }

    async fn obtain(self) -> Result<LockGuard> {
        let wish = Wish {
            items: vec![AttemptItem {
                path: Arc::clone(&self.path),
                mode: self.mode,
            }],
            aim: Aim::Guards(self.renewal),
            wait: self.wait,
            on_progress: self.on_progress,
        };
        let request = |session| {
            Request::LockAcquire(request::Acquire {
                session,
                path: &self.path,
                mode: convert::mode_to_wire(self.mode),
                wait_ms: convert::millis(self.wait),
                ttl_ms: self.ttl.map(convert::millis),
                limit: self.limit,
                note: self.note.as_deref(),
                seize: self.seize.as_deref(),
                metadata: &self.metadata,
            })
        };
        let guards = attempt(&self.session, wish, request).await?;
        guards
            .into_iter()
            .next()
            .ok_or_else(crate::client::unexpected)
    }
}

/// What both builders of one path offer.
macro_rules! terms_of_one_path {
    () => {
        /// Beside other shared holders: as many owners as come, or up to a limit, which the first holder fixes. Exclusive
        /// is the default.
        pub fn shared(mut self, limit: impl Into<Option<u32>>) -> Self {
            self.terms.mode = Mode::Shared;
            self.terms.limit = limit.into();
            self
        }

        /// How long the hold lives without renewal, from 1 s to 24 h, within the policy's bounds. By default what the
        /// policy says: 5 min.
        ///
        /// The guard renews it three times in that span, so this is how long the lock outlives a client that is cut off,
        /// if its session [keeps](crate::OnDisconnect::Keep) its holds or its grace is longer.
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.terms.ttl = Some(ttl);
            self
        }

        /// Opaque to the server, shown to others with the hold. At most 4 KiB.
        pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
            self.terms.metadata = metadata.into();
            self
        }

        /// When the hold is renewed: always by default.
        pub fn renewal(mut self, renewal: Renewal) -> Self {
            self.terms.renewal = renewal;
            self
        }

        /// Takes the lock from whoever holds it, for this reason, which they are told and which is kept. Needs at least
        /// the role of a moderator, and that of every holder. It never waits.
        pub fn seize(mut self, reason: impl Into<String>) -> Self {
            self.terms.seize = Some(reason.into());
            self.terms.wait = Duration::ZERO;
            self
        }
    };
}

/// An acquire of one path that waits. `.await` it for the [`LockGuard`].
///
/// Cancel-safe: dropping it ends the wait at the server, and lets go of the lock if the grant came first.
///
/// # Errors
/// [`Refused`](crate::ErrorKind::Refused) when it was not granted in time, with who holds it;
/// [`Disconnected`](crate::ErrorKind::Disconnected) at once when there is no connection. A wait that is under way when the
/// connection ends goes on, and keeps its place, if the session can be resumed.
/// [`NotHeld`](crate::ErrorKind::NotHeld), rarely, when the lock was granted after a wait and lost again before this side
/// had renewed it.
#[must_use = "nothing is asked for until this is awaited"]
pub struct Acquire {
    terms: Terms,
}

impl Acquire {
    pub(crate) fn new(session: Session, path: Arc<str>) -> Self {
        Self {
            terms: Terms::new(session, path, DEFAULT_WAIT),
        }
    }

    terms_of_one_path!();

    /// How long to wait for it, to the millisecond, up to 24 h. [`DEFAULT_WAIT`] by default; zero wants an answer at once.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.terms.wait = wait;
        self
    }

    /// "May I have it?": told to the holders when the acquire has to wait. At most 1 KiB.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.terms.note = Some(note.into());
        self
    }

    /// Called with each change of the place in the queue, and when a holder declines the note.
    ///
    /// It runs as part of the future, between its awaits: keep it short.
    pub fn on_progress(mut self, told: impl FnMut(WaitProgress) + Send + 'static) -> Self {
        self.terms.on_progress = Some(Box::new(told));
        self
    }
}

impl IntoFuture for Acquire {
    type Output = Result<LockGuard>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.terms.obtain())
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("path", &self.terms.path)
            .field("mode", &self.terms.mode)
            .field("wait", &self.terms.wait)
            .finish_non_exhaustive()
    }
}

/// An acquire of one path that does not wait. `.await` it for an [`Attempted`].
///
/// Cancel-safe: dropping it lets go of the lock, if it was granted.
///
/// # Errors
/// [`Disconnected`](crate::ErrorKind::Disconnected) at once when there is no connection. That the lock is held is no
/// error here.
#[must_use = "nothing is asked for until this is awaited"]
pub struct TryAcquire {
    terms: Terms,
}

impl TryAcquire {
    pub(crate) fn new(session: Session, path: Arc<str>) -> Self {
        Self {
            terms: Terms::new(session, path, Duration::ZERO),
        }
    }

    terms_of_one_path!();

    async fn run(self) -> Result<Attempted> {
        match self.terms.obtain().await {
            Ok(guard) => Ok(Attempted::Granted(guard)),
            Err(error) => match (error.kind(), error.refusal()) {
                (ErrorKind::Refused, Some(refusal)) => Ok(Attempted::Held(refusal.clone())),
                _ => Err(error),
            },
        }
    }
}

impl IntoFuture for TryAcquire {
    type Output = Result<Attempted>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for TryAcquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryAcquire")
            .field("path", &self.terms.path)
            .field("mode", &self.terms.mode)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`TryAcquire`].
#[derive(Debug)]
pub enum Attempted {
    /// The lock is yours.
    Granted(LockGuard),
    /// It is not, and this is who has it.
    Held(Refusal),
}

impl Attempted {
    /// The guard, if it was granted.
    #[must_use]
    pub fn granted(self) -> Option<LockGuard> {
        match self {
            Self::Granted(guard) => Some(guard),
            Self::Held(_) => None,
        }
    }

    /// Who has it, if it was not granted.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Granted(_) => None,
            Self::Held(refusal) => Some(refusal),
        }
    }
}

/// An acquire of several paths, all or nothing. `.await` it for the guards, in the order in which the paths were added.
///
/// Each guard is a lock of its own afterwards. Cancel-safe, as [`Acquire`].
///
/// # Errors
/// As [`Acquire`]; [`refusals`](crate::Error::refusals) says which paths stood in the way.
#[must_use = "nothing is asked for until this is awaited"]
pub struct AcquireAll {
    session: Session,
    items: Vec<(AttemptItem, Option<u32>)>,
    ttl: Option<Duration>,
    wait: Duration,
    metadata: Vec<u8>,
    renewal: Renewal,
}

impl AcquireAll {
    pub(crate) const fn new(session: Session) -> Self {
        Self {
            session,
            items: Vec::new(),
            ttl: None,
            wait: DEFAULT_WAIT,
            metadata: Vec::new(),
            renewal: Renewal::Always,
        }
    }

    /// One more path, alone.
    pub fn exclusive(self, path: impl Into<Arc<str>>) -> Self {
        self.item(path.into(), Mode::Exclusive, None)
    }

    /// One more path, beside other shared holders.
    pub fn shared(self, path: impl Into<Arc<str>>, limit: impl Into<Option<u32>>) -> Self {
        self.item(path.into(), Mode::Shared, limit.into())
    }

    fn item(mut self, path: Arc<str>, mode: Mode, limit: Option<u32>) -> Self {
        self.items.push((AttemptItem { path, mode }, limit));
        self
    }

    /// As [`Acquire::ttl`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// As [`Acquire::wait`].
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// As [`Acquire::metadata`].
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// As [`Acquire::renewal`].
    pub const fn renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    async fn run(self) -> Result<Vec<LockGuard>> {
        let wish = Wish {
            items: self.items.iter().map(|(item, _)| item.clone()).collect(),
            aim: Aim::Guards(self.renewal),
            wait: self.wait,
            on_progress: None,
        };
        let request = |session| {
            let items = self.items.iter().map(|(item, limit)| Item {
                path: &item.path,
                mode: convert::mode_to_wire(item.mode),
                limit: *limit,
            });
            Request::LockAcquireAll(request::AcquireAll {
                session,
                items: items.collect(),
                wait_ms: convert::millis(self.wait),
                ttl_ms: self.ttl.map(convert::millis),
                metadata: &self.metadata,
            })
        };
        attempt(&self.session, wish, request).await
    }
}

impl IntoFuture for AcquireAll {
    type Output = Result<Vec<LockGuard>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for AcquireAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireAll")
            .field("items", &self.items)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
