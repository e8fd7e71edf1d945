//! Opening a session, or taking over one that was opened elsewhere.
//!
//! Rule: a session that was opened and that nobody took is closed again.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::Result;
use crate::guard::LockGuard;
use crate::ledger::{OpenedSession, SessionTerms};
use crate::session::Session;
use crate::shared::Shared;
use crate::ticket::SessionTicket;
use crate::types::{Loss, OnDisconnect, Role};

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
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

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
