//! The machine as its callers see it, and the table of contents of what it can do: one match, no rule.
//! Owns the state and the way in; what a command does is in the room of its noun.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;

use super::bounds::Bounds;
use super::command::Command;
use super::effects::Effects;
use super::gathering::{Gathering, Tally};
use super::keys::{GatheringKey, Number, OrgKey, SittingKey};
use super::query::Stats;
use super::reply::Reply;
use super::sight::Sight;
use super::sitters::Sitter;
use super::step::Step;
use super::viewer::{Sitting, Viewer};
use crate::ids::SessionId;
use crate::time::{LogTime, WallTime};

/// Room for so many sittings is kept when none is left.
const KEPT_SITTINGS: usize = 4 * 1024;

/// The machine. See the front page of [`presence`](super) for what it promises.
///
/// What is asked of a caller: call `apply` with times that do not fall; propose `Tick` when `next_deadline` is due; tell
/// it of whatever becomes of sessions and holders, after the engine has applied it and not before.
#[derive(Debug, Clone)]
pub struct Presence {
    pub(super) bounds: Bounds,
    pub(super) now: LogTime,
    /// The number of whoever comes next.
    pub(super) next: Number,
    pub(super) orgs: Slab<Org>,
    pub(super) org_names: HashMap<Arc<str>, OrgKey>,
    /// No org that is not in here has had a higher version.
    pub(super) version: u64,
    pub(super) gatherings: Slab<Gathering>,
    pub(super) viewers: Slab<Viewer>,
    pub(super) sittings: Slab<Sitting>,
    pub(super) sitters: HashMap<SessionId, Sitter>,
    pub(super) timers: BTreeSet<(LogTime, Due)>,
}

/// A tenant: the unit of isolation, and of versions.
#[derive(Debug, Clone)]
pub(super) struct Org {
    pub(super) name: Arc<str>,
    pub(super) version: u64,
    pub(super) paths: BTreeMap<Arc<str>, GatheringKey>,
    /// Paths with viewers, and the viewers' sittings.
    pub(super) occupied: u32,
    pub(super) sittings: u32,
    pub(super) counts: Tally,
}

/// What can be due. The order of the variants is the order of a sweep where deadlines are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A sitting: its end, or that of its typing.
    Sitting(Number, SittingKey),
    /// What has not been told of a gathering.
    Telling(Number, GatheringKey),
}

impl Presence {
    /// Nobody anywhere.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: LogTime::ZERO,
            next: Number(1),
            orgs: Slab::new(),
            org_names: HashMap::new(),
            version: 0,
            gatherings: Slab::new(),
            viewers: Slab::new(),
            sittings: Slab::new(),
            sitters: HashMap::new(),
            timers: BTreeSet::new(),
        }
    }

    /// Takes one step: answers, and lets `effects` know of every consequence in order.
    ///
    /// Costs a few look-ups, whatever the number of viewers; and, where collisions are told, a look at each of them if what
    /// others see has changed. What becomes of a session costs as much for each path that it is at.
    pub fn apply(
        &mut self,
        at: LogTime,
        wall: WallTime,
        command: &Command<'_>,
        sight: &impl Sight,
        effects: &mut impl Effects,
    ) -> Reply {
        self.now = self.now.max(at);
        let mut step = Step::new(self, sight, effects, wall);
        match command {
            Command::Tick => step.tick(),
            Command::Enter(enter) => step.enter(enter),
            Command::Update(update) => step.update(update),
            Command::Leave { by, path } => step.leave(*by, path),
            Command::EndTyping { session, path } => step.end_typing_at(*session, path),
            Command::LockChanged { org, path } => step.lock_changed(org, path),
            Command::SessionResumed(by) => step.session_resumed(*by),
            Command::SessionDetached { session, keeps } => step.session_detached(*session, *keeps),
            Command::SessionEnded(session) => step.session_ended(*session),
        }
    }

    /// When a `Tick` is wanted; `None` when nothing is due ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<LogTime> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The version of an org: changes to come have higher ones.
    #[must_use]
    pub fn version(&self, org: &str) -> u64 {
        self.org_named(org).map_or(self.version, |org| org.version)
    }

    /// Whether a session is anywhere. If not, the machine need not hear of what becomes of it. Costs one look-up.
    #[must_use]
    pub fn is_anywhere(&self, session: SessionId) -> bool {
        self.sitters.contains_key(&session)
    }

    /// Whether anybody is at a path, or was just then. If not, the machine need not hear of its lock. Costs nothing if nobody
    /// is anywhere, one look-up if nobody is in the org, and two else.
    #[must_use]
    #[inline]
    pub fn is_anybody_at(&self, org: &str, path: &str) -> bool {
        !self.gatherings.is_empty() && self.find(org, path).is_some()
    }

    /// How much there is in all, save what the viewers do. Paths are counted until it has been told that nobody is there.
    #[must_use]
    pub fn totals(&self) -> Stats {
        Stats {
            paths: self.gatherings.len() as u32,
            viewers: self.viewers.len() as u32,
            sittings: self.sittings.len() as u32,
            ..Stats::default()
        }
    }

    pub(super) fn org_named(&self, name: &str) -> Option<&Org> {
        let org = self.org_names.get(name)?;
        Some(&self.orgs[org.place()])
    }

    pub(super) fn find(&self, org: &str, path: &str) -> Option<GatheringKey> {
        self.org_named(org)?.paths.get(path).copied()
    }

    pub(super) fn gathering(&self, key: GatheringKey) -> &Gathering {
        &self.gatherings[key.place()]
    }

    pub(super) fn sitting(&self, key: SittingKey) -> &Sitting {
        &self.sittings[key.place()]
    }

    /// Gives back what many sittings have taken, of which none is left.
    pub(super) fn give_back(&mut self) {
        if self.sittings.capacity() > KEPT_SITTINGS {
            self.sittings.shrink_to_fit();
            self.viewers.shrink_to_fit();
            self.sitters.shrink_to_fit();
        }
    }
}

impl Org {
    pub(super) fn new(name: Arc<str>, version: u64) -> Self {
        Self {
            name,
            version,
            paths: BTreeMap::new(),
            occupied: 0,
            sittings: 0,
            counts: Tally::default(),
        }
    }
}
