//! An owner at a path, and its sittings there: one for each of its sessions that has entered.
//! Knows no other viewer. Must hold: a viewer has at least one sitting; a sitting that leaves is nothing to its session.

use alloc::sync::Arc;
use alloc::vec::Vec;

use slab::Slab;

use super::command::{Activity, Audience};
use super::keys::{GatheringKey, Number, SittingKey, ViewerKey};
use super::query::Viewer as Viewed;
use super::reply::Level;
use crate::ids::SessionId;
use crate::time::{LogTime, Millis, WallTime};

/// See the file's header.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    pub(super) gathering: GatheringKey,
    pub(super) owner: Arc<str>,
    pub(super) arrived: Number,
    pub(super) since: WallTime,
    /// Whoever entered last comes last.
    pub(super) sittings: Vec<SittingKey>,
    /// What it is shown doing.
    pub(super) does: Does,
}

/// One session at one path.
#[derive(Debug, Clone)]
pub(super) struct Sitting {
    pub(super) number: Number,
    pub(super) session: SessionId,
    pub(super) viewer: ViewerKey,
    /// How people call the owner, by this session.
    pub(super) name: Arc<str>,
    pub(super) metadata: Arc<[u8]>,
    pub(super) does: Does,
    /// The last sign of life.
    pub(super) seen: LogTime,
    /// When its typing ends, if it types.
    pub(super) typing_until: Option<LogTime>,
    /// Since when it is to be swept whatever it does.
    pub(super) leaves: Option<LogTime>,
    /// How near others come, as its session was told last.
    pub(super) told: Level,
    /// When its timer comes up.
    pub(super) armed: LogTime,
}

/// What a sitting or viewer does, to those who may see it and to those who may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Does {
    insiders: Activity,
    everyone: Activity,
}

/// All of a viewer that others see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Appearance {
    does: Does,
    name: Arc<str>,
    metadata: Arc<[u8]>,
    sittings: usize,
}

impl Does {
    pub(super) fn new(activity: Activity, typing_for: Audience) -> Self {
        let is_hidden = activity == Activity::Typing && typing_for == Audience::Insiders;
        Self {
            insiders: activity,
            everyone: if is_hidden {
                Activity::Viewing
            } else {
                activity
            },
        }
    }

    pub(super) const fn to(self, audience: Audience) -> Activity {
        match audience {
            Audience::Insiders => self.insiders,
            Audience::Everyone => self.everyone,
        }
    }

    /// Whether observers see it doing something else.
    pub(super) fn is_internal(self) -> bool {
        self.insiders != self.everyone
    }

    fn strongest(self, other: Self) -> Self {
        Self {
            insiders: self.insiders.max(other.insiders),
            everyone: self.everyone.max(other.everyone),
        }
    }
}

impl Sitting {
    /// When it is swept, or its typing ends.
    pub(super) fn due(&self, stale: Millis) -> LogTime {
        let swept = self.swept(stale);
        self.typing_until.map_or(swept, |typing| typing.min(swept))
    }

    pub(super) fn swept(&self, stale: Millis) -> LogTime {
        self.leaves.unwrap_or(self.seen + stale)
    }

    pub(super) fn types(&self) -> bool {
        self.typing_until.is_some()
    }
}

impl Viewer {
    /// The strongest that its sittings do.
    pub(super) fn strongest(&self, sittings: &Slab<Sitting>) -> Does {
        let does = self.sittings.iter().map(|key| sittings[key.place()].does);
        let least = Does::new(Activity::Idle, Audience::Everyone);
        does.fold(least, Does::strongest)
    }

    pub(super) fn appearance(&self, sittings: &Slab<Sitting>) -> Appearance {
        let last = self.last(sittings);
        Appearance {
            does: self.does,
            name: last.name.clone(),
            metadata: last.metadata.clone(),
            sittings: self.sittings.len(),
        }
    }

    pub(super) fn viewed<'a>(
        &'a self,
        sittings: &'a Slab<Sitting>,
        audience: Audience,
    ) -> Viewed<'a> {
        let last = self.last(sittings);
        Viewed {
            owner: &self.owner,
            name: &last.name,
            activity: self.does.to(audience),
            internal: audience == Audience::Insiders && self.does.is_internal(),
            since: self.since,
            sittings: self.sittings.len() as u32,
            metadata: &last.metadata,
        }
    }

    /// The sitting that entered last.
    pub(super) fn last<'a>(&self, sittings: &'a Slab<Sitting>) -> &'a Sitting {
        let last = self.sittings.last().expect("a viewer has a sitting");
        &sittings[last.place()]
    }
}

impl Appearance {
    /// Who sees that it differs from another.
    pub(super) fn differs_for(&self, other: &Self) -> Option<Audience> {
        if self == other {
            return None;
        }
        let is_hidden = *self
            == Self {
                does: self.does,
                ..other.clone()
            };
        if is_hidden {
            self.does.differs_for(other.does)
        } else {
            Some(Audience::Everyone)
        }
    }
}

impl Does {
    /// Who sees that it differs from another.
    pub(super) fn differs_for(self, other: Self) -> Option<Audience> {
        if self.everyone != other.everyone {
            Some(Audience::Everyone)
        } else {
            (self.insiders != other.insiders).then_some(Audience::Insiders)
        }
    }
}
