//! Publishing into a stream, and how the stream of an organisation stands.
//!
//! Needs no session. Rule: what was published is in memory at the server; an id makes it safe to publish again.

use std::pin::Pin;

use tenure_protocol::{Reply, Request, request};

use crate::client::{Client, unexpected};
use crate::convert::streams as convert;
use crate::error::Result;
use crate::happened::Position;
use crate::ledger::Effect;
use crate::session::Session;

impl Client {
    /// Puts an event of the application's own into the stream of an organisation: a message, a change of a timeline, a
    /// hint to read something again. Whoever listens to the path hears of it, after everything that has happened before.
    ///
    /// Gives a builder; `.await` it. Costs one round trip. `event` is what the application calls it (at most 128 bytes of
    /// letters, digits, `.`, `_` and `-`), `payload` is opaque to the server (at most 64 KiB).
    ///
    /// ```no_run
    /// # async fn run(client: tenure_client::Client) -> Result<(), tenure_client::Error> {
    /// let published = client
    ///     .publish("acme", "chat/42", "message.new", r#"{"seq":12}"#)
    ///     .id("0192f0c1-7f2e")
    ///     .await?;
    /// println!("{} listen, at {}", published.listeners, published.position);
    /// # Ok(()) }
    /// ```
    pub fn publish(
        &self,
        org: impl Into<String>,
        path: impl Into<String>,
        event: impl Into<String>,
        payload: impl Into<Vec<u8>>,
    ) -> Publish {
        Publish {
            client: self.clone(),
            org: org.into(),
            path: path.into(),
            event: event.into(),
            payload: payload.into(),
            id: None,
            session: None,
        }
    }

    /// How the stream of an organisation stands, and how many connections listen: to this path, or to any. One round trip.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn stream_stats(&self, org: &str, path: Option<&str>) -> Result<StreamStats> {
        let request = Request::StreamStats(request::StreamStats { org, path });
        let read = |reply: Reply<'_>| {
            let Reply::StreamStats(stats) = reply else {
                return Err(unexpected());
            };
            Ok(convert::stream_stats(stats))
        };
        self.shared().ask(request, Effect::Reads, read).await
    }
}

/// An event about to be published. `.await` it.
///
/// # Errors
/// [`UnknownOutcome`](crate::ErrorKind::UnknownOutcome) when the connection ended before the answer: publish it again, with
/// the same [`id`](Self::id), and it is told once, as long as the server's memory goes back so far.
#[derive(Debug, Clone)]
#[must_use = "nothing is published until this is awaited"]
pub struct Publish {
    client: Client,
    org: String,
    path: String,
    event: String,
    payload: Vec<u8>,
    id: Option<String>,
    session: Option<Session>,
}

impl Publish {
    /// Names the event: another one of the organisation with the same id is not published while the stream keeps this.
    /// At most 64 bytes.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// On whose behalf: its typing at the path ends with this.
    pub fn session(mut self, session: &Session) -> Self {
        self.session = Some(session.clone());
        self
    }

    async fn run(self) -> Result<Published> {
        let shared = self.client.shared();
        let number = |session: &Session| shared.with(|ledger, _| ledger.number(session.key()));
        let request = Request::StreamPublish(request::Publish {
            org: &self.org,
            path: &self.path,
            event: &self.event,
            payload: &self.payload,
            event_id: self.id.as_deref(),
            session: self.session.as_ref().map(number).transpose()?,
        });
        let read = |reply: Reply<'_>| {
            let Reply::StreamPublish(published) = reply else {
                return Err(unexpected());
            };
            Ok(convert::published(published))
        };
        let published = shared.ask(request, Effect::Changes, read).await?;
        if let Some(session) = &self.session {
            shared.with(|ledger, _| ledger.typing_over(session.key(), &self.path));
        }
        Ok(published)
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// An event is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Where; of a repeated one, where it was put at first.
    pub position: Position,
    /// Whether an event with this id was there already. Then nothing was published.
    pub repeated: bool,
    /// How many connections listened to the path at that moment.
    pub listeners: u32,
}

/// How the stream of an organisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Connections that listen: to the path that was asked about, else to any.
    pub listeners: u32,
    /// Subscriptions of theirs, which may overlap.
    pub subscriptions: u32,
    /// The newest event; `None` when nobody has listened for a while.
    pub position: Option<Position>,
    /// Offset of the oldest event that can still be resumed from; `None` when none is kept.
    pub oldest: Option<u64>,
    /// Events that are kept.
    pub events: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Events that applications have published in this epoch.
    pub published: u64,
    /// Gaps that listeners were told of in this epoch.
    pub gaps: u64,
}
