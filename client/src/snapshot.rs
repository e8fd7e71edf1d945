//! The state that goes with a subscription: read in pages, told ahead of what changes it, and read anew after a loss.
//!
//! Knows neither the wire nor the ledger: it asks as any caller would, and only when its reader wants more, while what
//! happens meanwhile waits in the feed. Rule: what is told after the pages is everything above the position of the first
//! of them, and all that applications have published, so that whoever takes it in, in order, comes to the truth.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tenure_protocol::{Filter, Scope};
use tokio::time::sleep;

use crate::admin::Pages;
use crate::client::Client;
use crate::convert;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::happened::{Event, Position, StateOf, StreamEvent};
use crate::policy::{ListedHold, Target};
use crate::viewers::ViewerPages;
use crate::viewing::PathViewers;

/// Pause before a page that could not be had is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which state.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) client: Client,
    pub(crate) org: Arc<str>,
    pub(crate) filters: Vec<String>,
    pub(crate) presence: bool,
}

/// The state of one subscription, as often as it has to be told.
pub(crate) struct Snapshots {
    wanted: Arc<Wanted>,
    /// What is to be read next.
    due: VecDeque<StateOf>,
    reading: Option<Reading>,
    /// Where the holds that were told are true.
    holds_at: Option<Position>,
    /// Which version of presence the viewers that were told are true at.
    viewers_at: Option<u64>,
    failed: bool,
}

/// One state that is being read, a page at a time.
struct Reading {
    of: StateOf,
    page: Pin<Box<dyn Future<Output = PageRead> + Send + Sync>>,
}

/// What is left to be read after a page, and the page; none when there was no more.
type PageRead = (Reader, Result<Option<Page>>);

/// What is left to be read.
struct Reader {
    wanted: Arc<Wanted>,
    of: StateOf,
    /// How many of the filters have been begun with.
    begun: usize,
    pages: Option<AnyPages>,
}

enum AnyPages {
    Holds(Pages),
    Viewers(ViewerPages),
}

enum Page {
    Holds(Option<Position>, Vec<ListedHold>),
    Viewers(u64, Vec<PathViewers>),
}

impl Snapshots {
    pub(crate) fn new(wanted: Wanted) -> Self {
        let viewers = wanted.presence.then_some(StateOf::Viewers);
        Self {
            wanted: Arc::new(wanted),
            due: [StateOf::Holds].into_iter().chain(viewers).collect(),
            reading: None,
            holds_at: None,
            viewers_at: None,
            failed: false,
        }
    }

    /// The next of the state, or of what has happened.
    pub(crate) fn poll(
        &mut self,
        feed: &Feed,
        context: &mut Context<'_>,
    ) -> Poll<Option<StreamEvent>> {
        loop {
            if self.failed {
                return Poll::Ready(None);
            }
            if let Some(reading) = &mut self.reading {
                let of = reading.of;
                let (reader, page) = ready!(reading.page.as_mut().poll(context));
                if let Some(event) = self.read(reader, of, page) {
                    return Poll::Ready(Some(event));
                }
            } else if let Some(of) = self.due.pop_front() {
                self.begin(of);
                return Poll::Ready(Some(StreamEvent::StateBegins(of)));
            } else {
                let event = ready!(feed.poll(context));
                if !event.as_ref().is_some_and(|event| self.is_told(event)) {
                    self.look(event.as_ref());
                    return Poll::Ready(event);
                }
            }
        }
    }

    fn begin(&mut self, of: StateOf) {
        match of {
            StateOf::Holds => self.holds_at = None,
            StateOf::Viewers => self.viewers_at = None,
        }
        let reader = Reader {
            wanted: Arc::clone(&self.wanted),
            of,
            begun: 0,
            pages: None,
        };
        self.reading = Some(reader.into_reading());
    }

    /// Takes in a page, and goes on with the next.
    fn read(
        &mut self,
        reader: Reader,
        of: StateOf,
        page: Result<Option<Page>>,
    ) -> Option<StreamEvent> {
        self.reading = None;
        match page {
            Ok(None) => Some(StreamEvent::StateWhole(of)),
            Ok(Some(Page::Holds(position, holds))) => {
                self.holds_at = self.holds_at.or(position);
                self.reading = Some(reader.into_reading());
                (!holds.is_empty()).then_some(StreamEvent::Holds(holds))
            }
            Ok(Some(Page::Viewers(version, viewers))) => {
                self.viewers_at = self.viewers_at.or(Some(version));
                self.reading = Some(reader.into_reading());
                (!viewers.is_empty()).then_some(StreamEvent::Viewers(viewers))
            }
            Err(why) => {
                self.failed = true;
                Some(StreamEvent::Ended { why })
            }
        }
    }

    /// Whether it is in the state already. What applications publish is in none.
    fn is_told(&self, event: &StreamEvent) -> bool {
        match event {
            StreamEvent::Happened(happened) => {
                let is_in_holds = |at: Position| {
                    at.epoch == happened.position.epoch && happened.position.offset <= at.offset
                };
                let is_published = matches!(happened.event, Event::Published { .. });
                !is_published && self.holds_at.is_some_and(is_in_holds)
            }
            StreamEvent::ViewersChanged(change) => {
                self.viewers_at.is_some_and(|at| change.version <= at)
            }
            StreamEvent::Recovered { .. }
            | StreamEvent::Lost { .. }
            | StreamEvent::ViewersLost
            | StreamEvent::StateBegins(_)
            | StreamEvent::Holds(_)
            | StreamEvent::Viewers(_)
            | StreamEvent::StateWhole(_)
            | StreamEvent::Ended { .. } => false,
        }
    }

    /// What was lost is read anew.
    fn look(&mut self, event: Option<&StreamEvent>) {
        match event {
            Some(StreamEvent::Lost { .. }) => self.due.push_back(StateOf::Holds),
            Some(StreamEvent::ViewersLost) => self.due.push_back(StateOf::Viewers),
            Some(_) | None => {}
        }
    }
}

impl Reader {
    fn into_reading(mut self) -> Reading {
        let of = self.of;
        let page = async move {
            let page = self.next().await;
            (self, page)
        };
        Reading {
            of,
            page: Box::pin(page),
        }
    }

    /// The next page, however long the connection is gone meanwhile.
    async fn next(&mut self) -> Result<Option<Page>> {
        loop {
            match self.try_next().await {
                Err(error) if error.is_retryable() => sleep(RETRY_AFTER).await,
                page => return page,
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Page>> {
        loop {
            let page = match &mut self.pages {
                Some(AnyPages::Holds(pages)) => {
                    let page = pages.next_at().await?;
                    page.map(|(position, holds)| Page::Holds(position, holds))
                }
                Some(AnyPages::Viewers(pages)) => {
                    let page = pages.next_at().await?;
                    page.map(|(version, viewers)| Page::Viewers(version, viewers))
                }
                None => None,
            };
            if page.is_some() {
                return Ok(page);
            }
            let Some(filter) = self.wanted.filters.get(self.begun) else {
                return Ok(None);
            };
            self.pages = Some(self.pages_of(filter)?);
            self.begun += 1;
        }
    }

    fn pages_of(&self, filter: &str) -> Result<AnyPages, Error> {
        let Wanted { client, org, .. } = &*self.wanted;
        Ok(match self.of {
            StateOf::Holds => {
                let filter = Filter::parse(filter).map_err(|fault| convert::fault(&fault))?;
                let target = match filter.scope() {
                    Scope::Path(path) => Target::path(path),
                    Scope::Below(path) => Target::prefix(format!("{path}/")),
                    Scope::All => Target::All,
                };
                AnyPages::Holds(client.list(&**org).target(target).pages())
            }
            StateOf::Viewers => AnyPages::Viewers(client.viewers(Arc::clone(org), filter).pages()),
        })
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
