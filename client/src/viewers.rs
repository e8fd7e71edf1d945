//! Looking at who is where: pages of viewers, and figures.
//!
//! Reads need no session. Rule: what comes in pages is asked for a page at a time, so that no list grows beyond what the
//! caller wants to keep.

use std::sync::Arc;

use tenure_protocol::{Filter, Reply, Request, request};

use crate::admin::Next;
use crate::client::{Client, unexpected};
use crate::convert;
use crate::convert::streams;
use crate::error::Result;
use crate::ledger::Effect;
use crate::viewing::{PathViewers, PresenceStats};

impl Client {
    /// Who is at some paths of an organisation, by path: read page after page. A filter is a path, all below one
    /// (`ticket/**`), or everything (`**`).
    pub fn viewers(&self, org: impl Into<Arc<str>>, filter: impl Into<String>) -> ListViewers {
        ListViewers {
            client: self.clone(),
            org: org.into(),
            filter: filter.into(),
            page: 256,
        }
    }

    /// How many are where in an organisation. One round trip.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn presence_stats(&self, org: &str) -> Result<PresenceStats> {
        let request = Request::PresenceStats(request::PresenceStats { org });
        let read = |reply: Reply<'_>| {
            let Reply::PresenceStats(stats) = reply else {
                return Err(unexpected());
            };
            Ok(streams::presence_stats(stats))
        };
        self.shared().ask(request, Effect::Reads, read).await
    }
}

/// A list of viewers about to be read.
#[derive(Debug, Clone)]
#[must_use = "nothing is read until a page is asked for"]
pub struct ListViewers {
    client: Client,
    org: Arc<str>,
    filter: String,
    page: u32,
}

impl ListViewers {
    /// How many viewers a page has, about: 1 to 256, 256 by default. Those of one path are not cut in two.
    pub const fn page_size(mut self, viewers: u32) -> Self {
        self.page = viewers;
        self
    }

    /// The pages, one round trip each.
    pub const fn pages(self) -> ViewerPages {
        ViewerPages {
            list: self,
            next: Next::First,
        }
    }

    /// All of them, in as many round trips as there are pages. The list is not of one moment: each page is.
    ///
    /// # Errors
    /// As [`Client::status`]; [`BadRequest`](crate::ErrorKind::BadRequest) for what is no filter.
    pub async fn all(self) -> Result<Vec<PathViewers>> {
        let mut pages = self.pages();
        let mut all = Vec::new();
        while let Some(page) = pages.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

/// A list of viewers that is being read.
#[derive(Debug)]
pub struct ViewerPages {
    list: ListViewers,
    next: Next,
}

impl ViewerPages {
    /// The next page, or `None` after the last. A page may be empty and not the last. Cancel-safe.
    ///
    /// # Errors
    /// As [`ListViewers::all`]. It may be called again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<PathViewers>>> {
        Ok(self.next_at().await?.map(|(_, page)| page))
    }

    /// The next page, and the version of presence at which it is true.
    pub(crate) async fn next_at(&mut self) -> Result<Option<(u64, Vec<PathViewers>)>> {
        if matches!(self.next, Next::Done) {
            return Ok(None);
        }
        let list = &self.list;
        let request = Request::PresenceList(request::ListViewers {
            org: &list.org,
            filter: Filter::parse(&list.filter).map_err(|fault| convert::fault(&fault))?,
            cursor: self.next.cursor(),
            page: list.page,
        });
        let read = |reply: Reply<'_>| {
            let Reply::PresenceList(page) = reply else {
                return Err(unexpected());
            };
            let paths: Vec<_> = page.paths.iter().map(streams::path_viewers).collect();
            Ok((page.version, paths, page.next.map(str::to_owned)))
        };
        let shared = list.client.shared();
        let (version, paths, next) = shared.ask(request, Effect::Reads, read).await?;
        self.next = Next::of(next);
        Ok(Some((version, paths)))
    }
}
