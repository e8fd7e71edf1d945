//! Those who are at one path: who came when, who is listed, how many do what, and what of it has not been told yet.
//! Knows no session, no time but the one it is told, no effects.
//!
//! Must hold: the listed are the first by arrival; a gathering without viewers stays until that has been told.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use hashbrown::HashMap;

use super::command::Audience;
use super::keys::{Number, OrgKey, ViewerKey};
use super::query::Counts;
use super::viewer::Does;
use crate::time::LogTime;

/// See the file's header.
#[derive(Debug, Clone)]
pub(super) struct Gathering {
    pub(super) number: Number,
    pub(super) org: OrgKey,
    pub(super) path: Arc<str>,
    pub(super) by_arrival: BTreeMap<Number, ViewerKey>,
    by_owner: HashMap<Arc<str>, ViewerKey>,
    pub(super) counts: Tally,
    /// The first by arrival that is not listed.
    pub(super) unlisted_from: Option<Number>,
    pub(super) unsaid: Option<Unsaid>,
}

/// What has changed since the last that was told.
#[derive(Debug, Clone)]
pub(super) struct Unsaid {
    /// When it is to be told.
    pub(super) due: LogTime,
    /// Who sees a change at all.
    pub(super) audience: Audience,
    /// Owners that were or are listed and have come, changed or gone, each with those who see it.
    pub(super) owners: BTreeMap<Arc<str>, Audience>,
}

/// Viewers by what they are seen doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    insiders: Counts,
    everyone: Counts,
}

impl Tally {
    pub(super) const fn by(&self, audience: Audience) -> &Counts {
        match audience {
            Audience::Insiders => &self.insiders,
            Audience::Everyone => &self.everyone,
        }
    }

    pub(super) fn add(&mut self, does: Does) {
        *self.insiders.of_mut(does.to(Audience::Insiders)) += 1;
        *self.everyone.of_mut(does.to(Audience::Everyone)) += 1;
    }

    pub(super) fn remove(&mut self, does: Does) {
        *self.insiders.of_mut(does.to(Audience::Insiders)) -= 1;
        *self.everyone.of_mut(does.to(Audience::Everyone)) -= 1;
    }
}

impl Gathering {
    pub(super) fn new(number: Number, org: OrgKey, path: Arc<str>) -> Self {
        Self {
            number,
            org,
            path,
            by_arrival: BTreeMap::new(),
            by_owner: HashMap::new(),
            counts: Tally::default(),
            unlisted_from: None,
            unsaid: None,
        }
    }

    pub(super) fn total(&self) -> u32 {
        self.by_arrival.len() as u32
    }

    pub(super) fn viewer_of(&self, owner: &str) -> Option<ViewerKey> {
        self.by_owner.get(owner).copied()
    }

    pub(super) fn is_listed(&self, arrived: Number) -> bool {
        self.unlisted_from.is_none_or(|first| arrived < first)
    }

    /// The listed viewers, by arrival.
    pub(super) fn listed(&self) -> impl Iterator<Item = ViewerKey> + '_ {
        let end = self.unlisted_from.unwrap_or(Number(u64::MAX));
        self.by_arrival.range(..end).map(|(_, viewer)| *viewer)
    }

    /// Takes in a viewer that arrived after all others.
    pub(super) fn join(
        &mut self,
        owner: Arc<str>,
        arrived: Number,
        viewer: ViewerKey,
        listed: usize,
    ) {
        if self.by_arrival.len() >= listed && self.unlisted_from.is_none() {
            self.unlisted_from = Some(arrived);
        }
        self.by_arrival.insert(arrived, viewer);
        self.by_owner.insert(owner, viewer);
    }

    /// Takes a viewer out. Gives the one that is listed in its stead, if one is.
    pub(super) fn part(&mut self, owner: &str, arrived: Number) -> Option<ViewerKey> {
        self.by_arrival.remove(&arrived);
        self.by_owner.remove(owner);
        let first_unlisted = self.unlisted_from?;
        if arrived > first_unlisted {
            return None;
        }
        let mut rest = self.by_arrival.range(first_unlisted..);
        if arrived == first_unlisted {
            self.unlisted_from = rest.next().map(|(arrived, _)| *arrived);
            return None;
        }
        let next = rest.next().map(|(_, viewer)| *viewer);
        self.unlisted_from = rest.next().map(|(arrived, _)| *arrived);
        next
    }
}
