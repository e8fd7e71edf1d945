//! One feed: what a person may hear, from where they were, until the token ends or the browser goes.
//!
//! Knows no route. Rules: what is written waits for the browser here and nowhere else, so a slow one costs a bounded queue
//! and nobody's time; the end of the feed is told, but for a connection that is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde_json::json;
use tenure_client::Position;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::org::{Begins, Listening, Org};
use super::queue::Next;
use super::ring::Entry;
use super::telling::{For, Telling, frame, still_here, to_browser};
use crate::identity::Person;
use crate::locks::{Present, Told};
use crate::metrics::Metrics;
use crate::store::{ChatId, Store};

/// Frames on their way to the socket.
const WRITING_MAX: usize = 16;

/// A quiet feed shows a sign of life this often: proxies close what is silent for longer.
const STILL_HERE_EVERY: Duration = Duration::from_secs(10);

/// Chats that the store is asked about at once.
const MAY_SEE_MAX: usize = 500;

/// What a feed is made of.
pub(super) struct Feed {
    pub(super) person: Person,
    pub(super) org: Arc<Org>,
    pub(super) listening: Listening,
    pub(super) browser: Option<Present>,
    pub(super) store: Store,
    pub(super) shutdown: CancellationToken,
    pub(super) counted: Counted,
}

/// A feed in the figures, until this is dropped.
pub(super) struct Counted(Arc<Metrics>);

impl Counted {
    /// `None` when there are as many as may be.
    pub(super) fn one_more(metrics: &Arc<Metrics>, feeds_max: usize) -> Option<Self> {
        let before = metrics.feeds.inc();
        let counted = Self(Arc::clone(metrics));
        usize::try_from(before)
            .is_ok_and(|before| before < feeds_max)
            .then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.feeds.dec();
    }
}

/// What the socket is given. Dropping it ends the feed.
pub(crate) struct FeedBody(mpsc::Receiver<Bytes>);

impl Stream for FeedBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// The browser is gone, or the feed is over.
struct Over;

/// Begins to write.
pub(super) fn start(feed: Feed, begins: Begins) -> FeedBody {
    let (writer, body) = mpsc::channel(WRITING_MAX);
    tokio::spawn(async move {
        // However it ended, it has ended.
        let _ = feed.run(begins, &writer).await;
    });
    FeedBody(body)
}

impl Feed {
    async fn run(self, begins: Begins, to: &mpsc::Sender<Bytes>) -> Result<(), Over> {
        let mut told = self
            .browser
            .as_ref()
            .map(|present| present.browser.listen());
        let _attended = self
            .browser
            .as_ref()
            .map(|present| present.browser.attend_feed());
        self.begin(begins, to).await?;
        if let Some(present) = &self.browser {
            for loss in &present.lost {
                write(to, to_browser(&Told::LockLost(loss.clone()))).await?;
            }
        }
        let expiry = sleep(self.person.remaining());
        tokio::pin!(expiry);
        let first = tokio::time::Instant::now() + STILL_HERE_EVERY;
        let mut still = interval_at(first, STILL_HERE_EVERY);
        still.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listener = Arc::clone(&self.listening.listener);
        loop {
            let next = tokio::select! {
                () = to.closed() => return Err(Over),
                () = self.shutdown.cancelled() => return goodbye(to, "shutting_down").await,
                () = &mut expiry => return goodbye(to, "token_expired").await,
                next = listener.queue.next() => self.frame_of(next),
                next = heard(&mut told) => match next {
                    Some(told) => told,
                    None => return goodbye(to, "session_over").await,
                },
                _ = still.tick() => still_here(self.org.position_for(&listener)),
            };
            write(to, next).await?;
        }
    }

    /// Says where the feed begins, and what was missed.
    async fn begin(&self, begins: Begins, to: &mpsc::Sender<Bytes>) -> Result<(), Over> {
        let session = self.browser.as_ref().map(|present| present.ticket.as_str());
        let ready = |recovery: &str, id| {
            let data = json!({
                "recovery": recovery,
                "org": self.person.org,
                "person": self.person.id,
                "session": session,
            });
            frame(id, "ready", &data.to_string())
        };
        match begins {
            Begins::Fresh(at) => write(to, ready("fresh", Some(at))).await,
            Begins::Lost(at) => write(to, ready("lost", Some(at))).await,
            // Without an id: whoever is cut off here comes back to where they were.
            Begins::Exact(entries) => {
                write(to, ready("exact", None)).await?;
                self.replay(&entries, to).await
            }
        }
    }

    async fn replay(
        &self,
        entries: &[Arc<Entry<Telling>>],
        to: &mpsc::Sender<Bytes>,
    ) -> Result<(), Over> {
        let Ok(visible) = self.visible(entries).await else {
            return write(to, lost("store_away", None)).await;
        };
        for entry in entries {
            let telling = &entry.what;
            let is_theirs = match &telling.to {
                For::Chat(chat) => visible.contains(chat) || telling.also.contains(&self.person.id),
                For::Person(person) => *person == self.person.id,
            };
            if is_theirs {
                write(to, telling.frame.clone()).await?;
            }
        }
        Ok(())
    }

    /// The chats of these that the person may see now, whoever they were for then.
    async fn visible(
        &self,
        entries: &[Arc<Entry<Telling>>],
    ) -> Result<Vec<ChatId>, crate::store::Error> {
        let chat = |entry: &Arc<Entry<Telling>>| match entry.what.to {
            For::Chat(chat) => Some(chat),
            For::Person(_) => None,
        };
        let mut chats: Vec<ChatId> = entries.iter().filter_map(chat).collect();
        chats.sort_unstable();
        chats.dedup();
        let actor = self.person.actor();
        let mut visible = Vec::new();
        for some in chats.chunks(MAY_SEE_MAX) {
            visible.extend(self.store.may_see(&actor, some).await?);
        }
        Ok(visible)
    }

    fn frame_of(&self, next: Next) -> Bytes {
        match next {
            Next::Frame(frame) => frame,
            Next::Lost(why) => {
                self.counted.0.feed_losses.inc();
                lost(why, self.org.position_for(&self.listening.listener))
            }
        }
    }
}

/// The next that the browser alone is told; never, if the feed has none. `None` when its session is over.
async fn heard(told: &mut Option<broadcast::Receiver<Told>>) -> Option<Bytes> {
    let Some(receiver) = told else {
        return std::future::pending().await;
    };
    match receiver.recv().await {
        Ok(next) => {
            if matches!(next, Told::Over { .. }) {
                // What has happened in chats is heard all the same.
                *told = None;
            }
            Some(to_browser(&next))
        }
        Err(broadcast::error::RecvError::Lagged(_)) => Some(lost("slow_reader", None)),
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

fn lost(why: &str, position: Option<Position>) -> Bytes {
    frame(position, "lost", &json!({"why": why}).to_string())
}

async fn write(to: &mpsc::Sender<Bytes>, frame: Bytes) -> Result<(), Over> {
    to.send(frame).await.map_err(|_| Over)
}

async fn goodbye(to: &mpsc::Sender<Bytes>, why: &str) -> Result<(), Over> {
    write(to, frame(None, "goodbye", &json!({"why": why}).to_string())).await?;
    Err(Over)
}
