//! Subscriptions: hearing what happens in an organisation, over reconnects, without a hole that is not told.
//!
//! A handle and nothing else: what is for it is decided in `ledger/listening.rs`, what waits for its reader is in
//! `feed.rs`, and the state that goes with it is read by `snapshot.rs`. Rule: the connection never waits for a reader.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::Result;
use crate::feed::Feed;
use crate::filters::Filters;
use crate::happened::{Position, StreamEvent};
use crate::ledger::{Ledger, SubscriptionKey, SubscriptionSeed, SubscriptionTerms};
use crate::shared::Shared;
use crate::snapshot::{Snapshots, Wanted};

/// Events that wait for their reader, unless the builder says otherwise.
const BUFFER: usize = 1024;

impl Client {
    /// Listens to what happens at some paths of an organisation: to its locks, and to what applications
    /// [publish](Self::publish).
    ///
    /// A filter is a path (`doc/quote-123`), all below one (`ticket/**`), or everything (`**`). Gives a builder; `.await`
    /// it. Costs one round trip.
    ///
    /// ```no_run
    /// # async fn run(client: tenure_client::Client) -> Result<(), tenure_client::Error> {
    /// use tenure_client::StreamEvent;
    ///
    /// let mut events = client.subscribe("acme", ["doc/**"]).await?;
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         StreamEvent::Happened(happened) => println!("{:?}", happened.event),
    ///         StreamEvent::Lost { why, .. } => println!("read everything anew: {why}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn subscribe<F: Into<String>>(
        &self,
        org: impl Into<Arc<str>>,
        filters: impl IntoIterator<Item = F>,
    ) -> Subscribe {
        Subscribe {
            client: self.clone(),
            org: org.into(),
            filters: filters.into_iter().map(Into::into).collect(),
            since: None,
            presence: false,
            state: false,
            buffer: BUFFER,
        }
    }
}

/// A subscription about to be made. `.await` it.
///
/// # Errors
/// When there is no connection, no answer in time, or no right to it; [`BadRequest`](crate::ErrorKind::BadRequest) for what
/// is no filter.
#[derive(Debug, Clone)]
#[must_use = "nothing is heard until this is awaited"]
pub struct Subscribe {
    client: Client,
    org: Arc<str>,
    filters: Vec<String>,
    since: Option<Position>,
    presence: bool,
    state: bool,
    buffer: usize,
}

impl Subscribe {
    /// Goes on after a position that was stored earlier. The first event says whether that was possible:
    /// [`Recovered`](StreamEvent::Recovered), or [`Lost`](StreamEvent::Lost).
    pub const fn since(mut self, position: Position) -> Self {
        self.since = Some(position);
        self
    }

    /// Hears of who is where as well: [`ViewersChanged`](StreamEvent::ViewersChanged).
    pub const fn with_presence(mut self) -> Self {
        self.presence = true;
        self
    }

    /// Tells the state as well: who holds what at these paths and, with presence, who is there. First of all, and anew
    /// after whatever was lost; so whoever keeps up with what this tells knows the truth.
    ///
    /// The state comes in pages between [`StateBegins`](StreamEvent::StateBegins) and
    /// [`StateWhole`](StreamEvent::StateWhole), and what has happened since follows. A long list may have changed while it
    /// was read: then something that is in it already is told once more, in order, so that it comes to the same. What
    /// applications publish is in no state, and told as ever: once, behind the pages if it came while they were read.
    pub const fn with_state(mut self) -> Self {
        self.state = true;
        self
    }

    /// How many events may wait for their reader; 1,024 by default, and 16 MiB in any case. When there is no more room,
    /// events are left out and told as [`Lost`](StreamEvent::Lost).
    pub const fn buffer(mut self, events: usize) -> Self {
        self.buffer = events;
        self
    }

    async fn run(self) -> Result<Subscription> {
        let wanted = self.state.then(|| Wanted {
            client: self.client.clone(),
            org: Arc::clone(&self.org),
            filters: self.filters.clone(),
            presence: self.presence,
        });
        let terms = SubscriptionTerms {
            org: Arc::clone(&self.org),
            filters: Filters::parse(self.filters)?,
            since: self.since,
            presence: self.presence,
            room: self.buffer,
        };
        let (done, answer) = oneshot::channel();
        let mut unclaimed = Unclaimed {
            shared: Arc::clone(self.client.shared()),
            answer,
        };
        let seed = unclaimed.receive(terms, done).await?;
        Ok(Subscription {
            org: self.org,
            key: seed.key,
            feed: seed.feed,
            snapshots: wanted.map(Snapshots::new),
            client: self.client,
        })
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// The answer to a subscribe. If it comes and nobody takes it, the subscription ends again.
struct Unclaimed {
    shared: Arc<Shared>,
    answer: oneshot::Receiver<Result<SubscriptionSeed>>,
}

impl Unclaimed {
    async fn receive(
        &mut self,
        terms: SubscriptionTerms,
        done: oneshot::Sender<Result<SubscriptionSeed>>,
    ) -> Result<SubscriptionSeed> {
        let send = |ledger: &mut Ledger, now, permit| ledger.subscribe(now, permit, terms, done);
        let exchange = async {
            self.shared.send(send).await?;
            crate::shared::received((&mut self.answer).await)
        };
        crate::shared::within(self.shared.options.request_timeout, exchange).await
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(seed)) = self.answer.try_recv() {
            self.shared.with(|ledger, _| ledger.unsubscribe(seed.key));
        }
    }
}

/// What happens at some paths of an organisation, in order: a [`Stream`] of [`StreamEvent`]s.
///
/// It goes on over reconnects, from where it was: each event is given once, and whatever could not be recovered is told as
/// [`Lost`](StreamEvent::Lost). A reader that is too slow for the [buffer](Subscribe::buffer) loses events in the same way,
/// and slows nobody else. Dropping it ends it.
pub struct Subscription {
    org: Arc<str>,
    key: SubscriptionKey,
    feed: Arc<Feed>,
    snapshots: Option<Snapshots>,
    client: Client,
}

impl Subscription {
    /// The next event; `None` when none can follow, after an [`Ended`](StreamEvent::Ended). Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// The organisation.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// Up to where everything has been given to the reader. It also rises when nothing happens that the subscription is
    /// for. Store it to [go on from there](Subscribe::since) another time.
    #[must_use]
    pub fn position(&self) -> Position {
        self.feed.position()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        match &mut self.snapshots {
            Some(snapshots) => snapshots.poll(&self.feed, context),
            None => self.feed.poll(context),
        }
    }
}

impl Stream for Subscription {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        self.poll_event(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.client
            .shared()
            .with(|ledger, _| ledger.unsubscribe(self.key));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("org", &self.org)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
