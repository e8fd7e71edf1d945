//! The client: one connection that many sessions share.
//!
//! A handle and nothing else; the connection's task is in `reconnect.rs`, what is known in `ledger.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::{Request, request};
use tokio::time::Instant;

use crate::connection;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{ConnectionEvent, Events};
use crate::ledger::Effect;
use crate::opening::{OpenSession, TakenOver};
use crate::options::Options;
use crate::reconnect;
use crate::shared::{Lifeline, Shared};
use crate::ticket::SessionTicket;

/// A client of a Tenure server: one connection, shared by all its clones and all their sessions.
///
/// It reconnects by itself, and resumes its sessions when it does. While there is no connection, requests fail at once
/// with [`Disconnected`](crate::ErrorKind::Disconnected): nothing is queued behind the caller's back. Many requests may be
/// under way at once; beyond what the server takes, callers wait for their turn.
///
/// The connection ends when the last clone, session and guard is gone, or with [`close`](Self::close). It lives on a task
/// of the tokio runtime that it was made in.
#[derive(Clone)]
pub struct Client {
    lifeline: Arc<Lifeline>,
}

impl Client {
    /// Connects to `host:port` with default [`Options`].
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub async fn connect(address: impl Into<String>) -> Result<Self> {
        Self::builder(address).connect().await
    }

    /// How to connect to `host:port`.
    pub fn builder(address: impl Into<String>) -> Options {
        Options::new(address.into())
    }

    /// Opens a session of an owner in an organisation: one sitting of one person, tab, device or worker.
    ///
    /// Gives a builder; `.await` it. Costs one round trip.
    pub fn session(&self, org: impl Into<String>, owner: impl Into<String>) -> OpenSession {
        OpenSession::new(self.clone(), org.into(), owner.into())
    }

    /// Takes over a session that was opened elsewhere, with what it holds: so that a deploy loses no lock.
    ///
    /// Whoever had it is told that it has [moved](crate::SessionEnd::Moved). Waits of the session are cancelled, since
    /// nobody here waits for them. A session that was taken over is not opened again by itself, should it be gone after a
    /// reconnect. Costs one round trip.
    ///
    /// # Errors
    /// [`SessionEnded`](crate::ErrorKind::SessionEnded) when there is no such session any more;
    /// [`BadRequest`](crate::ErrorKind::BadRequest) when it is one of this very client.
    pub async fn take_over(&self, ticket: SessionTicket) -> Result<TakenOver> {
        crate::opening::take_over(self.clone(), ticket).await
    }

    /// Measures one round trip to the server.
    ///
    /// # Errors
    /// When there is no connection, or no answer in time.
    pub async fn ping(&self) -> Result<Duration> {
        let sent = Instant::now();
        let request = Request::Ping(request::Ping {});
        self.shared()
            .ask(request, Effect::Reads, |_| Ok(()))
            .await?;
        Ok(sent.elapsed())
    }

    /// Whether there is a connection, and requests are taken.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared().look(|ledger| ledger.is_up())
    }

    /// What happens to the connection from here on.
    #[must_use]
    pub fn events(&self) -> Events<ConnectionEvent> {
        Events::of_connection(self.shared().look(|ledger| ledger.listen()))
    }

    /// Ends the connection, after what is on its way has gone out, for a second at most.
    ///
    /// Sessions that were not closed are left to their grace, with what they hold; here, guards and sessions are over.
    /// Later calls fail with [`Closed`](crate::ErrorKind::Closed).
    pub async fn close(&self) {
        self.shared().shutdown.cancel();
        self.shared().ended.cancelled().await;
    }

    pub(crate) async fn connect_with(options: Options) -> Result<Self> {
        let connection = connection::open(&options).await.map_err(|ended| {
            if ended.why.kind() == ErrorKind::Disconnected {
                ended.why.of_kind(ErrorKind::Connect)
            } else {
                ended.why
            }
        })?;
        let shared = Arc::new(Shared::new(options));
        shared.with(|ledger, now| ledger.connected(now, &connection.hello));
        tokio::spawn(reconnect::run(Arc::clone(&shared), Some(connection)));
        Ok(Self::of(shared))
    }

    pub(crate) fn connect_lazily(options: Options) -> Self {
        let shared = Arc::new(Shared::new(options));
        tokio::spawn(reconnect::run(Arc::clone(&shared), None));
        Self::of(shared)
    }

    fn of(shared: Arc<Shared>) -> Self {
        Self {
            lifeline: Arc::new(Lifeline { shared }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.lifeline.shared
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.shared().options.address)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// What a reply of another kind is, which the ledger has looked at already.
pub(crate) fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "expected another answer")
}
