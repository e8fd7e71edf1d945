//! The audit trail of an organisation: what privileged principals did, to whom, and why. For admins.
//!
//! Reads need no session. Rule: it is asked for a page at a time, and goes on after the last act that has been read.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use tenure_protocol::{Reply, Request, request};

use crate::client::{Client, unexpected};
use crate::convert;
use crate::error::Result;
use crate::ledger::Effect;
use crate::policy::AuditedAct;

impl Client {
    /// The privileged acts in an organisation, oldest first: filter the builder, then read page after page. Needs the role of
    /// an admin. The server keeps the last 10,000 acts of each organisation, over restarts too.
    pub fn audit(&self, org: impl Into<String>) -> Audit {
        Audit {
            client: self.clone(),
            org: org.into(),
            since_ms: 0,
            after: 0,
            page: 256,
        }
    }
}

/// An audit trail about to be read.
#[derive(Debug, Clone)]
#[must_use = "nothing is read until a page is asked for"]
pub struct Audit {
    client: Client,
    org: String,
    since_ms: u64,
    after: u64,
    page: u32,
}

impl Audit {
    /// Only what was done since then, by the server's clock.
    pub fn since(mut self, since: SystemTime) -> Self {
        self.since_ms = since.duration_since(UNIX_EPOCH).map_or(0, convert::millis);
        self
    }

    /// Only what came after the act with this number: the last one that was read before, to hear what is new.
    pub const fn after(mut self, number: u64) -> Self {
        self.after = number;
        self
    }

    /// How many acts a page has at most: 1 to 256, 256 by default.
    pub const fn page_size(mut self, acts: u32) -> Self {
        self.page = acts;
        self
    }

    /// The pages, one round trip each.
    pub const fn pages(self) -> AuditPages {
        AuditPages {
            audit: self,
            is_done: false,
            page: VecDeque::new(),
        }
    }

    /// All of them, in as many round trips as there are pages.
    ///
    /// # Errors
    /// As [`AuditPages::next`].
    pub async fn all(self) -> Result<Vec<AuditedAct>> {
        let mut pages = self.pages();
        let mut all = Vec::new();
        while let Some(page) = pages.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

/// An audit trail that is being read.
#[derive(Debug)]
pub struct AuditPages {
    audit: Audit,
    is_done: bool,
    page: VecDeque<AuditedAct>,
}

impl AuditPages {
    /// The next act, or `None` after the last. A round trip for each page. Cancel-safe.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or no right to ask. It may be called again.
    pub async fn next(&mut self) -> Result<Option<AuditedAct>> {
        while self.page.is_empty() {
            match self.next_page().await? {
                Some(page) => self.page.extend(page),
                None => return Ok(None),
            }
        }
        Ok(self.page.pop_front())
    }

    /// The next page, or `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_page(&mut self) -> Result<Option<Vec<AuditedAct>>> {
        if !self.page.is_empty() {
            return Ok(Some(self.page.drain(..).collect()));
        }
        if self.is_done {
            return Ok(None);
        }
        let audit = &self.audit;
        let request = Request::AuditList(request::ListAudit {
            org: &audit.org,
            since_ms: audit.since_ms,
            cursor: audit.after,
            page: audit.page,
        });
        let read = |reply: Reply<'_>| {
            let Reply::AuditList(page) = reply else {
                return Err(unexpected());
            };
            let acts: Result<Vec<_>> = page.acts.iter().map(convert::audited_act).collect();
            Ok((acts?, page.next))
        };
        let shared = audit.client.shared();
        let (acts, next) = shared.ask(request, Effect::Reads, read).await?;
        match next {
            Some(next) => self.audit.after = next,
            None => self.is_done = true,
        }
        Ok(Some(acts))
    }
}
