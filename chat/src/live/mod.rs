//! The feeds: what happens, as browsers hear it, from wherever they were.
//!
//! Owns one `Org` for each organisation that somebody listens in or looks at, which follows the lock server as long as it is
//! of use. Knows no route and no message: what is told was put there by the relay. Rule: truth is the state that can be read
//! plus what is told after it, and wherever that chain is broken a feed says `lost`.

mod feed;
mod follow;
mod mirror;
mod org;
mod queue;
mod ring;
mod telling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenure_client::Position;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::identity::Person;
use crate::locks::{Link, Present, ViewersView};
use crate::metrics::Metrics;
use crate::store::{ChatId, Store};
use org::Org;

pub(crate) use feed::FeedBody;
pub(crate) use mirror::ChatLock;

/// An organisation in which nobody listens any more is followed for so long.
const UNUSED_FOR: Duration = Duration::from_secs(600);

/// Whoever comes first waits so long for the lock server.
const PATIENCE: Duration = Duration::from_secs(3);

/// The state of a whole organisation may take a moment to be read; a list does without after this.
const MIRROR_PATIENCE: Duration = Duration::from_millis(500);

/// See the file's header.
pub(crate) struct Live {
    link: Link,
    store: Store,
    metrics: Arc<Metrics>,
    feeds_max: usize,
    shutdown: CancellationToken,
    orgs: Mutex<HashMap<String, Followed>>,
}

struct Followed {
    org: Arc<Org>,
    tasks: [AbortHandle; 2],
}

impl Drop for Followed {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Why there is no feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFeed {
    /// The lock server is away, and what happens is not known here.
    Away,
    /// As many as may be are open.
    Full,
}

impl Live {
    pub(crate) fn new(
        link: Link,
        store: Store,
        metrics: Arc<Metrics>,
        feeds_max: usize,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            link,
            store,
            metrics,
            feeds_max,
            shutdown,
            orgs: Mutex::default(),
        }
    }

    /// Opens a feed for a person, from a position on if there is one.
    pub(crate) async fn feed(
        &self,
        person: Person,
        since: Option<Position>,
        browser: Option<Present>,
    ) -> Result<FeedBody, NoFeed> {
        // Counted before anything is awaited: many that come at once are as many as that.
        let counted = feed::Counted::one_more(&self.metrics, self.feeds_max).ok_or(NoFeed::Full)?;
        let org = self.org(&person.org);
        if !org.is_up(PATIENCE, |up| up.stream).await {
            return Err(NoFeed::Away);
        }
        let (listening, begins) = org.listen(&person, since).ok_or(NoFeed::Full)?;
        let feed = feed::Feed {
            person,
            org,
            listening,
            browser,
            store: self.store.clone(),
            shutdown: self.shutdown.clone(),
            counted,
        };
        Ok(feed::start(feed, begins))
    }

    /// Who holds these chats, and who is in them; `None` while that is not known.
    pub(crate) async fn look_at(
        &self,
        org: &str,
        chats: &[ChatId],
    ) -> Option<Vec<(Option<ChatLock>, ViewersView)>> {
        if !self.link.is_up() {
            return None;
        }
        let org = self.org(org);
        org.touch();
        let is_whole = org.is_up(MIRROR_PATIENCE, |up| up.mirror).await;
        is_whole.then(|| org.look_at(chats))
    }

    /// Who may hear of a chat has changed: known here before it has gone round.
    pub(crate) fn audience_changed(&self, org: &str, chat: ChatId) {
        if let Some(followed) = self.orgs.lock().get(org) {
            followed.org.forget_audience(chat);
        }
    }

    /// Stops following where nobody has listened for long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut orgs = self.orgs.lock();
        orgs.retain(|_, followed| followed.org.unused_for(now) < UNUSED_FOR);
        let count = i64::try_from(orgs.len()).unwrap_or(i64::MAX);
        self.metrics.orgs_followed.set(count);
    }

    fn org(&self, name: &str) -> Arc<Org> {
        let mut orgs = self.orgs.lock();
        let followed = orgs.entry(name.to_owned()).or_insert_with(|| {
            let org = Org::new(name, self.store.clone());
            let stream = tokio::spawn(follow::follow_stream(Arc::clone(&org), self.link.clone()));
            let state = tokio::spawn(follow::follow_state(Arc::clone(&org), self.link.clone()));
            Followed {
                org,
                tasks: [stream.abort_handle(), state.abort_handle()],
            }
        });
        Arc::clone(&followed.org)
    }
}
