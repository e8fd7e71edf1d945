//! Looking at locks, and what operators do: status, lists, token checks, force releases, policies.
//!
//! Reads need no session. Rule: what comes in pages is asked for a page at a time, so that no list grows beyond what the
//! caller wants to keep.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use tenure_protocol::{Reply, Request, request};

use crate::client::{Client, unexpected};
use crate::convert;
use crate::error::Result;
use crate::happened::Position;
use crate::ledger::Effect;
use crate::policy::{EndedHold, ListedHold, PolicyInForce, PolicyLayer, Target, TokenCheck};
use crate::types::{Mode, PathStatus};

impl Client {
    /// Who holds a path, since when, for how long still, and how many wait. One round trip.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or no right to ask.
    pub async fn status(&self, org: &str, path: &str) -> Result<PathStatus> {
        let request = Request::LockStatus(request::Status { org, path });
        let path = path.to_owned();
        let read = move |reply: Reply<'_>| {
            let Reply::LockStatus(status) = reply else {
                return Err(unexpected());
            };
            Ok(convert::status(&path, &status.truth))
        };
        self.shared().ask(request, Effect::Reads, read).await
    }

    /// Whether a fencing token is the current one of a held lock: for resources that cannot compare tokens themselves.
    ///
    /// It narrows the window and does not close it: the token may become stale while the answer is on its way.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn check(&self, org: &str, path: &str, token: u64) -> Result<TokenCheck> {
        let request = Request::LockCheck(request::Check { org, path, token });
        let read = |reply: Reply<'_>| {
            let Reply::LockCheck(checked) = reply else {
                return Err(unexpected());
            };
            Ok(convert::checked(checked))
        };
        self.shared().ask(request, Effect::Reads, read).await
    }

    /// The holds of an organisation, by path: filter the builder, then read page after page.
    pub fn list(&self, org: impl Into<String>) -> List {
        List {
            client: self.clone(),
            org: org.into(),
            target: Target::All,
            mode: None,
            held_for_at_least: Duration::ZERO,
            page: 256,
        }
    }

    /// Ends holds of others, for this reason, which the losers are told and which is kept. Needs the role of an admin.
    ///
    /// Gives a builder; `.await` it for what was ended, or do it step by step.
    pub fn force_release(
        &self,
        org: impl Into<String>,
        target: Target,
        reason: impl Into<String>,
    ) -> ForceRelease {
        ForceRelease {
            client: self.clone(),
            org: org.into(),
            target,
            reason: reason.into(),
            dry_run: false,
        }
    }

    /// The policy in force for an organisation, or for one kind of path within it (the first segment).
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn policy(&self, org: &str, kind: Option<&str>) -> Result<PolicyInForce> {
        let request = Request::PolicyGet(request::GetPolicy { org, kind });
        let read = |reply: Reply<'_>| {
            let Reply::PolicyGet(policy) = reply else {
                return Err(unexpected());
            };
            Ok(convert::policy_in_force(policy))
        };
        self.shared().ask(request, Effect::Reads, read).await
    }

    /// Replaces one layer of policy: of an organisation, or of one kind of path within it. An empty layer removes it.
    /// Needs the role of an admin.
    ///
    /// # Errors
    /// [`UnknownOutcome`](crate::ErrorKind::UnknownOutcome) when the connection ended before the answer; it does no harm to
    /// set it again.
    pub async fn set_policy(
        &self,
        org: &str,
        kind: Option<&str>,
        layer: &PolicyLayer,
    ) -> Result<()> {
        let layer = convert::layer_to_wire(layer);
        let request = Request::PolicySet(request::SetPolicy { org, kind, layer });
        self.shared()
            .ask(request, Effect::Changes, |_| Ok(()))
            .await
    }
}

/// A list of holds about to be read.
#[derive(Debug, Clone)]
#[must_use = "nothing is read until a page is asked for"]
pub struct List {
    client: Client,
    org: String,
    target: Target,
    mode: Option<Mode>,
    held_for_at_least: Duration,
    page: u32,
}

impl List {
    /// Which holds; all by default.
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Only holds of this mode.
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Only holds that have been held for at least so long.
    pub const fn held_for_at_least(mut self, age: Duration) -> Self {
        self.held_for_at_least = age;
        self
    }

    /// How many holds a page has, about: 1 to 256, 256 by default.
    pub const fn page_size(mut self, holds: u32) -> Self {
        self.page = holds;
        self
    }

    /// The pages, one round trip each.
    pub fn pages(self) -> Pages {
        Pages {
            list: self,
            next: Next::First,
            page: VecDeque::new(),
        }
    }

    /// All of them, in as many round trips as there are pages. The list is not of one moment: each page is.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn all(self) -> Result<Vec<ListedHold>> {
        let mut pages = self.pages();
        let mut all = Vec::new();
        while let Some(page) = pages.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

/// Where the next step of something in steps begins.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    First,
    After(String),
    Done,
}

impl Next {
    pub(crate) fn cursor(&self) -> Option<&str> {
        match self {
            Self::After(cursor) => Some(cursor),
            Self::First | Self::Done => None,
        }
    }

    pub(crate) fn of(cursor: Option<String>) -> Self {
        cursor.map_or(Self::Done, Self::After)
    }
}

/// A list of holds that is being read.
#[derive(Debug)]
pub struct Pages {
    list: List,
    next: Next,
    page: VecDeque<ListedHold>,
}

impl Pages {
    /// The next hold, or `None` after the last. A round trip for each page. Cancel-safe.
    ///
    /// # Errors
    /// As [`Client::status`]. It may be called again.
    pub async fn next(&mut self) -> Result<Option<ListedHold>> {
        while self.page.is_empty() {
            match self.next_page().await? {
                Some(page) => self.page.extend(page),
                None => return Ok(None),
            }
        }
        Ok(self.page.pop_front())
    }

    /// The next page, or `None` after the last. A page may be empty and not the last. Cancel-safe.
    ///
    /// # Errors
    /// As [`Client::status`]. It may be called again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ListedHold>>> {
        if !self.page.is_empty() {
            return Ok(Some(self.page.drain(..).collect()));
        }
        Ok(self.next_at().await?.map(|(_, page)| page))
    }

    /// The page after those that were asked for, and where the stream stood when it was true.
    pub(crate) async fn next_at(&mut self) -> Result<Option<(Option<Position>, Vec<ListedHold>)>> {
        if matches!(self.next, Next::Done) {
            return Ok(None);
        }
        let list = &self.list;
        let request = Request::LockList(request::List {
            org: &list.org,
            target: convert::target_to_wire(&list.target),
            mode: list.mode.map(convert::mode_to_wire),
            held_min_ms: convert::millis(list.held_for_at_least),
            cursor: self.next.cursor(),
            page: list.page,
        });
        let read = |reply: Reply<'_>| {
            let Reply::LockList(page) = reply else {
                return Err(unexpected());
            };
            let holds: Vec<_> = page.holds.iter().map(convert::listed_hold).collect();
            let position = page.position.map(convert::streams::position);
            Ok((position, holds, page.next.map(str::to_owned)))
        };
        let shared = self.list.client.shared();
        let (position, holds, next) = shared.ask(request, Effect::Reads, read).await?;
        self.next = Next::of(next);
        Ok(Some((position, holds)))
    }
}

/// A force release about to be done. `.await` it for all that was ended, or take it [step by step](Self::steps).
#[derive(Debug, Clone)]
#[must_use = "nothing is ended until this is awaited"]
pub struct ForceRelease {
    client: Client,
    org: String,
    target: Target,
    reason: String,
    dry_run: bool,
}

impl ForceRelease {
    /// Only says what would be ended.
    pub const fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The steps, one round trip each: each ends a bounded number of holds.
    pub const fn steps(self) -> ForceSteps {
        ForceSteps {
            force: self,
            next: Next::First,
        }
    }

    async fn run(self) -> Result<Vec<EndedHold>> {
        let mut steps = self.steps();
        let mut ended = Vec::new();
        while let Some(step) = steps.next().await? {
            ended.extend(step);
        }
        Ok(ended)
    }
}

impl IntoFuture for ForceRelease {
    type Output = Result<Vec<EndedHold>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A force release that is being done.
#[derive(Debug)]
pub struct ForceSteps {
    force: ForceRelease,
    next: Next,
}

impl ForceSteps {
    /// Does the next step and gives what it ended, or `None` after the last.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or no right to it. It may be called again, and goes on with the
    /// step that failed: what that had ended is not told twice.
    pub async fn next(&mut self) -> Result<Option<Vec<EndedHold>>> {
        if matches!(self.next, Next::Done) {
            return Ok(None);
        }
        let force = &self.force;
        let request = Request::LockForceRelease(request::ForceRelease {
            org: &force.org,
            target: convert::target_to_wire(&force.target),
            reason: &force.reason,
            dry_run: force.dry_run,
            cursor: self.next.cursor(),
        });
        let read = |reply: Reply<'_>| {
            let Reply::LockForceRelease(forced) = reply else {
                return Err(unexpected());
            };
            let ended: Vec<_> = forced.ended.iter().map(convert::ended_hold).collect();
            Ok((ended, forced.next.map(str::to_owned)))
        };
        let effect = if force.dry_run {
            Effect::Reads
        } else {
            Effect::Changes
        };
        let (ended, next) = force.client.shared().ask(request, effect, read).await?;
        self.next = Next::of(next);
        Ok(Some(ended))
    }
}
