//! Locks and viewers as JSON: who holds what, since when, for how long still, and who is where.
//!
//! Knows neither requests nor the lock server's client beyond its types. Rule: a time that something ends is given as what
//! remains; a wall time is for people to read.

use std::time::Duration;

use serde::Serialize;
use tenure_client::{
    Activity, Holder, ListedHold, Loss, Mode, PathStatus, PathViewers, Viewer, ViewerCounts, Who,
};
use utoipa::ToSchema;

use crate::store::{Role, UnixMs};

/// A lock at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LockView {
    /// What it is on.
    pub(crate) path: String,
    /// Whether anybody holds it.
    pub(crate) held: bool,
    /// `exclusive` or `shared`; null while it is free.
    pub(crate) mode: Option<String>,
    /// The fencing token; null while it is free.
    pub(crate) token: Option<u64>,
    /// Who holds it, longest first; at most the first of many.
    pub(crate) holders: Vec<HolderView>,
    /// How many hold it.
    pub(crate) holder_count: u32,
    /// How many wait for it.
    pub(crate) waiters: u32,
}

/// One who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HolderView {
    /// The person.
    pub(crate) person: String,
    /// How others see them.
    pub(crate) name: String,
    /// Since when.
    pub(crate) since: UnixMs,
    /// For how long still, unless it is kept.
    pub(crate) remaining_ms: u64,
    /// Whether none of their browsers is connected.
    pub(crate) orphaned: bool,
}

/// How a hold was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LossView {
    /// What it was on.
    pub(crate) path: String,
    /// The token that it had.
    pub(crate) token: u64,
    /// `expired`, `forced`, `seized`, `handed_over`, `released`, `session_lost` and others.
    pub(crate) cause: String,
    /// Who has ended it, or has it.
    pub(crate) by: Option<String>,
    /// How they are called.
    pub(crate) by_name: Option<String>,
    /// What they said.
    pub(crate) reason: Option<String>,
}

/// Who is at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ViewersView {
    /// How many.
    pub(crate) total: u32,
    /// Those who look.
    pub(crate) viewing: u32,
    /// Those who have it open and do nothing.
    pub(crate) idle: u32,
    /// Those who write something.
    pub(crate) typing: u32,
    /// Those who change it.
    pub(crate) editing: u32,
    /// The first hundred, by arrival.
    pub(crate) people: Vec<ViewerView>,
}

/// One who is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ViewerView {
    /// The person.
    pub(crate) person: String,
    /// How others see them.
    pub(crate) name: String,
    /// `viewing`, `idle`, `typing` or `editing`.
    pub(crate) activity: String,
    /// Whether they type for members and higher alone. To guests they are viewing.
    pub(crate) internal: bool,
    /// Since when.
    pub(crate) since: UnixMs,
}

impl LockView {
    /// Whether somebody else holds it in a way that leaves this person no room.
    #[must_use]
    pub(crate) fn keeps_out(&self, person: &str) -> bool {
        self.held && !self.holders.iter().any(|holder| holder.person == person)
    }

    /// For how long it is held at least, unless it is let go.
    #[must_use]
    pub(crate) fn remaining(&self) -> Duration {
        let longest = self.holders.iter().map(|holder| holder.remaining_ms).max();
        Duration::from_millis(longest.unwrap_or(0))
    }
}

impl From<&PathStatus> for LockView {
    fn from(status: &PathStatus) -> Self {
        Self {
            path: status.path.clone(),
            held: !status.is_free(),
            mode: status.mode.map(|mode| mode.to_string()),
            token: status.token,
            holders: status.holders.iter().map(HolderView::from).collect(),
            holder_count: status.holder_count,
            waiters: status.waiters,
        }
    }
}

impl From<&ListedHold> for LockView {
    fn from(hold: &ListedHold) -> Self {
        Self {
            path: hold.path.clone(),
            held: true,
            mode: Some(hold.mode.to_string()),
            token: Some(hold.token),
            holders: vec![HolderView::from(&hold.holder)],
            holder_count: 1,
            waiters: hold.waiters,
        }
    }
}

impl From<&Holder> for HolderView {
    fn from(holder: &Holder) -> Self {
        Self {
            person: holder.owner.clone(),
            name: holder.display_name().to_owned(),
            since: at(holder.since),
            remaining_ms: millis(holder.remaining),
            orphaned: holder.orphaned,
        }
    }
}

impl From<&Loss> for LossView {
    fn from(loss: &Loss) -> Self {
        let by = loss.by.as_ref();
        Self {
            path: loss.path.clone(),
            token: loss.token,
            cause: loss.cause.name().to_owned(),
            by: by.map(|who| who.owner.clone()),
            by_name: by.map(Who::to_string),
            reason: loss.reason.clone(),
        }
    }
}

impl From<&PathViewers> for ViewersView {
    fn from(viewers: &PathViewers) -> Self {
        Self::new(viewers.total, viewers.counts, &viewers.viewers)
    }
}

impl ViewersView {
    pub(crate) fn new(total: u32, counts: ViewerCounts, viewers: &[Viewer]) -> Self {
        Self {
            total,
            viewing: counts.viewing,
            idle: counts.idle,
            typing: counts.typing,
            editing: counts.editing,
            people: viewers.iter().map(ViewerView::from).collect(),
        }
    }
}

impl ViewersView {
    /// As somebody of this role may see it. Of more than a hundred only the listed are known to type openly: guests are
    /// told of no others.
    #[must_use]
    pub(crate) fn shown_to(mut self, role: Role) -> Self {
        if !role.is_guest() {
            return self;
        }
        for viewer in self.people.iter_mut().filter(|viewer| viewer.internal) {
            viewer.internal = false;
            Activity::Viewing.name().clone_into(&mut viewer.activity);
        }
        let openly = self.people.iter().filter(|viewer| viewer.types()).count();
        let openly = u32::try_from(openly).unwrap_or(u32::MAX);
        self.viewing = self
            .viewing
            .saturating_add(self.typing.saturating_sub(openly));
        self.typing = openly;
        self
    }
}

impl ViewerView {
    /// Whether they write something.
    pub(crate) fn types(&self) -> bool {
        self.activity == Activity::Typing.name()
    }
}

impl From<&Viewer> for ViewerView {
    fn from(viewer: &Viewer) -> Self {
        Self {
            person: viewer.owner.clone(),
            name: viewer.display_name().to_owned(),
            activity: viewer.activity.name().to_owned(),
            internal: viewer.internal,
            since: at(viewer.since),
        }
    }
}

/// The name of a mode, as it is read from requests.
pub(crate) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    }
}

pub(crate) fn at(time: std::time::SystemTime) -> UnixMs {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }))
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
