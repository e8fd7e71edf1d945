//! A lock that is held for as long as this process runs: taken, renewed and let go by `tenure-client`.
//!
//! What `run` and `hold` have in common. Rule: whichever way it ends, an interrupt included, nothing stays behind at the
//! server, unless it cannot be reached.

use std::time::Duration;

use tenure_client::WaitProgress;
use tenure_client::{
    Client, Error, ErrorKind, LockGuard, OnDisconnect, Refusal, Released, Session,
};

use super::asking::{Asking, Place};
use super::endpoint::Endpoint;
use super::output::Meanwhile;
use super::signals::Signals;
use super::{Shared, trouble, words};

/// A session that can hold locks, and the connection below it.
pub(super) struct Keeper {
    endpoint: Endpoint,
    pub(super) client: Client,
    session: Session,
}

/// How it went to ask for a lock.
pub(super) enum Asked {
    Granted(LockGuard),
    Refused(Box<Refusal>),
}

impl Keeper {
    /// Connects, and opens a session.
    pub(super) async fn connect(
        shared: &Shared,
        place: &Place,
        owner: &str,
        name: &str,
        grace: Grace,
    ) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(shared)?;
        let told = |error: Error| trouble::of_client(&endpoint, &error);
        let client = endpoint.options()?.connect().await.map_err(told)?;
        let grace = grace.of(&client, place).await.map_err(told)?;
        let session = client
            .session(&place.org, owner)
            .name(name)
            .on_disconnect(OnDisconnect::Release { grace })
            .await
            .map_err(told)?;
        Ok(Self {
            endpoint,
            client,
            session,
        })
    }

    /// Asks for the lock; how the wait for it goes on is told `on_progress`. Fails when it is interrupted meanwhile, and
    /// has withdrawn then.
    pub(super) async fn acquire(
        &self,
        place: &Place,
        asking: &Asking,
        signals: &mut Signals,
        on_progress: impl FnMut(WaitProgress) + Send + 'static,
    ) -> anyhow::Result<Asked> {
        let acquire = asking
            .acquire(&self.session, &place.path)
            .on_progress(on_progress);
        let outcome = tokio::select! {
            outcome = acquire.into_future() => outcome,
            _ = signals.next() => {
                self.close().await;
                anyhow::bail!("interrupted, and no longer waiting");
            }
        };
        match outcome {
            Ok(guard) => Ok(Asked::Granted(guard)),
            Err(error) => match error
                .refusal()
                .filter(|_| error.kind() == ErrorKind::Refused)
            {
                Some(refusal) => Ok(Asked::Refused(Box::new(refusal.clone()))),
                None => Err(trouble::of_client(&self.endpoint, &error)),
            },
        }
    }

    /// Lets go, and ends the session and the connection.
    pub(super) async fn let_go(self, guard: LockGuard) -> Result<Released, Error> {
        let released = guard.release().await;
        self.close().await;
        released
    }

    /// Ends the session and the connection.
    pub(super) async fn close(&self) {
        // The session ends by itself if the server cannot be reached.
        let _ = self.session.close().await;
        self.client.close().await;
    }
}

/// How long the lock outlives a connection that is gone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grace {
    /// As the policy says, or as was asked for.
    Session(Option<Duration>),
    /// For as long as it lives without renewal: by the TTL that was asked for, or by the policy's.
    Ttl(Option<Duration>),
}

impl Grace {
    async fn of(self, client: &Client, place: &Place) -> Result<Option<Duration>, Error> {
        let ttl = match self {
            Self::Session(grace) => return Ok(grace),
            Self::Ttl(Some(ttl)) => ttl,
            Self::Ttl(None) => {
                let kind = place.path.split('/').next();
                client.policy(&place.org, kind).await?.policy.ttl_default
            }
        };
        let most = Duration::from_millis(tenure_protocol::limits::GRACE_MS.max);
        Ok(Some(ttl.min(most)))
    }
}

/// Tells a person at a terminal how a wait goes on.
pub(super) fn shown(
    mut meanwhile: Meanwhile,
    path: &str,
) -> impl FnMut(WaitProgress) + Send + 'static {
    let path = path.to_owned();
    move |progress| match progress {
        WaitProgress::Place(place) => {
            meanwhile.show(&format!("waiting for {path}, place {place}"));
        }
        WaitProgress::Declined(who) => {
            let who = words::person(&who.owner, &who.name);
            meanwhile.say(&format!("{who} says no; waiting on, Ctrl-C to give up"));
        }
        _ => {}
    }
}
