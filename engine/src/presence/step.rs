//! One step of the machine: the state, what is seen of the locks, and where consequences go. What the rooms of presence share.
//!
//! Must hold: whatever others see of a viewer changes in here and nowhere else, so that counts follow and the change is
//! told; so does every timer.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::bounds::{CHANGE_OWNERS_MAX, GATHERED};
use super::command::Audience;
use super::effects::Effects;
use super::gathering::{Gathering, Unsaid};
use super::keys::{GatheringKey, Number, OrgKey, SittingKey, ViewerKey};
use super::machine::{Due, Org, Presence};
use super::viewer::{Sitting, Viewer};
use crate::time::{LogTime, WallTime};

/// See the file's header.
pub(super) struct Step<'a, S> {
    pub(super) presence: &'a mut Presence,
    pub(super) sight: &'a S,
    pub(super) effects: &'a mut dyn Effects,
    pub(super) now: LogTime,
    wall: WallTime,
}

impl<'a, S> Step<'a, S> {
    pub(super) fn new(
        presence: &'a mut Presence,
        sight: &'a S,
        effects: &'a mut dyn Effects,
        wall: WallTime,
    ) -> Self {
        let now = presence.now;
        Self {
            presence,
            sight,
            effects,
            now,
            wall,
        }
    }

    pub(super) fn sitting_mut(&mut self, key: SittingKey) -> &mut Sitting {
        &mut self.presence.sittings[key.place()]
    }

    pub(super) fn next_number(&mut self) -> Number {
        let number = self.presence.next;
        self.presence.next = Number(number.0 + 1);
        number
    }

    // Coming.

    /// The gathering at a path, begun if nobody is there.
    pub(super) fn gathering_at(&mut self, org: &str, path: &str) -> GatheringKey {
        if let Some(gathering) = self.presence.find(org, path) {
            return gathering;
        }
        let org = self.org_at(org);
        let path: Arc<str> = Arc::from(path);
        let gathering = Gathering::new(self.next_number(), org, path.clone());
        let key = GatheringKey::at(self.presence.gatherings.insert(gathering));
        self.org_mut(org).paths.insert(path, key);
        key
    }

    fn org_at(&mut self, name: &str) -> OrgKey {
        if let Some(&org) = self.presence.org_names.get(name) {
            return org;
        }
        let name: Arc<str> = Arc::from(name);
        let org = Org::new(name.clone(), self.presence.version);
        let key = OrgKey::at(self.presence.orgs.insert(org));
        self.presence.org_names.insert(name, key);
        key
    }

    pub(super) fn org_mut(&mut self, key: OrgKey) -> &mut Org {
        &mut self.presence.orgs[key.place()]
    }

    /// A viewer where its owner had none, with one sitting, which is made for it.
    pub(super) fn join(
        &mut self,
        key: GatheringKey,
        owner: &str,
        sitting: impl FnOnce(ViewerKey) -> Sitting,
    ) -> SittingKey {
        let (arrived, since) = (self.next_number(), self.wall);
        let owner: Arc<str> = Arc::from(owner);
        let listed = self.presence.bounds.listed;
        let Presence {
            viewers,
            sittings,
            gatherings,
            ..
        } = &mut *self.presence;
        let vacant = viewers.vacant_entry();
        let viewer = ViewerKey::at(vacant.key());
        let sitting = sitting(viewer);
        let does = sitting.does;
        let sitting = SittingKey::at(sittings.insert(sitting));
        vacant.insert(Viewer {
            gathering: key,
            owner: owner.clone(),
            arrived,
            since,
            sittings: Vec::from([sitting]),
            does,
        });
        let gathering = &mut gatherings[key.place()];
        gathering.join(owner.clone(), arrived, viewer, listed);
        gathering.counts.add(does);
        let (org, total) = (gathering.org, gathering.total());
        let is_listed = gathering.is_listed(arrived);
        let org = self.org_mut(org);
        org.counts.add(does);
        org.occupied += u32::from(total == 1);
        self.mark(key, Audience::Everyone, is_listed.then_some(owner));
        sitting
    }

    // Changing.

    /// Does something to the sittings of a viewer, of which one remains. Tells whether others see it doing something else.
    pub(super) fn change(
        &mut self,
        key: ViewerKey,
        something: impl FnOnce(&mut Viewer, &mut slab::Slab<Sitting>),
    ) -> bool {
        let Presence {
            viewers,
            sittings,
            gatherings,
            orgs,
            ..
        } = &mut *self.presence;
        let viewer = &mut viewers[key.place()];
        let (before, did) = (viewer.appearance(sittings), viewer.does);
        something(viewer, sittings);
        viewer.does = viewer.strongest(sittings);
        let does = viewer.does;
        let gathering = &mut gatherings[viewer.gathering.place()];
        for counts in [
            &mut gathering.counts,
            &mut orgs[gathering.org.place()].counts,
        ] {
            counts.remove(did);
            counts.add(does);
        }
        let is_listed = gathering.is_listed(viewer.arrived);
        let seen = if is_listed {
            viewer.appearance(sittings).differs_for(&before)
        } else {
            does.differs_for(did)
        };
        let (gathering, owner) = (viewer.gathering, is_listed.then(|| viewer.owner.clone()));
        if let Some(audience) = seen {
            self.mark(gathering, audience, owner);
        }
        does != did
    }

    /// Notes what is to be told of a gathering, and to whom.
    fn mark(&mut self, key: GatheringKey, audience: Audience, owner: Option<Arc<str>>) {
        let due = self.now + GATHERED;
        let gathering = &mut self.presence.gatherings[key.place()];
        let timer = (due, Due::Telling(gathering.number, key));
        let unsaid = gathering.unsaid.get_or_insert_with(|| {
            self.presence.timers.insert(timer);
            Unsaid {
                due,
                audience,
                owners: alloc::collections::BTreeMap::new(),
            }
        });
        unsaid.audience = unsaid.audience.max(audience);
        if let Some(owner) = owner {
            let seen_by = unsaid.owners.entry(owner).or_insert(audience);
            *seen_by = audience.max(*seen_by);
        }
    }

    /// Arms the timer of a sitting anew.
    pub(super) fn arm(&mut self, key: SittingKey) {
        let stale = self.presence.bounds.stale;
        let sitting = self.sitting_mut(key);
        let (due, what) = (sitting.due(stale), Due::Sitting(sitting.number, key));
        let armed = core::mem::replace(&mut sitting.armed, due);
        if armed != due {
            self.presence.timers.remove(&(armed, what));
            self.presence.timers.insert((due, what));
        }
    }

    // Going.

    /// Ends a sitting. Tells whether it was the last of its viewer's.
    pub(super) fn stand_up(&mut self, key: SittingKey) -> bool {
        let sitting = self.presence.sitting(key);
        let (viewer, armed) = (sitting.viewer, sitting.armed);
        let what = Due::Sitting(sitting.number, key);
        self.presence.timers.remove(&(armed, what));
        self.leave_session(key);
        let found = &self.presence.viewers[viewer.place()];
        let gathering = found.gathering;
        let org = self.presence.gathering(gathering).org;
        self.org_mut(org).sittings -= 1;
        let is_last = self.presence.viewers[viewer.place()].sittings.len() == 1;
        if is_last {
            self.part(viewer);
        } else {
            self.change(viewer, |viewer, _| {
                viewer.sittings.retain(|other| *other != key);
            });
        }
        self.presence.sittings.remove(key.place());
        if self.presence.sittings.is_empty() {
            self.presence.give_back();
        }
        is_last
    }

    /// Takes a viewer out that has one sitting left.
    fn part(&mut self, key: ViewerKey) {
        let viewer = self.presence.viewers.remove(key.place());
        let gathering = &mut self.presence.gatherings[viewer.gathering.place()];
        let was_listed = gathering.is_listed(viewer.arrived);
        let listed = gathering.part(&viewer.owner, viewer.arrived);
        gathering.counts.remove(viewer.does);
        let (org, total) = (gathering.org, gathering.total());
        let org = self.org_mut(org);
        org.counts.remove(viewer.does);
        org.occupied -= u32::from(total == 0);
        let listed = listed.map(|listed| self.presence.viewers[listed.place()].owner.clone());
        let gone = was_listed.then_some(viewer.owner);
        self.mark(viewer.gathering, Audience::Everyone, gone);
        if listed.is_some() {
            self.mark(viewer.gathering, Audience::Everyone, listed);
        }
    }

    /// Forgets a gathering that has no viewer and of which all has been told.
    pub(super) fn drop_if_unused(&mut self, key: GatheringKey) {
        let gathering = self.presence.gathering(key);
        if gathering.total() > 0 || gathering.unsaid.is_some() {
            return;
        }
        let gone = self.presence.gatherings.remove(key.place());
        let org = self.org_mut(gone.org);
        org.paths.remove(&gone.path);
        if org.paths.is_empty() {
            let org = self.presence.orgs.remove(gone.org.place());
            self.presence.org_names.remove(&org.name);
            self.presence.version = self.presence.version.max(org.version);
        }
    }

    /// Whether so much is to be told of a gathering that it cannot wait.
    pub(super) fn has_much_to_tell(&self, key: GatheringKey) -> bool {
        let unsaid = self.presence.gathering(key).unsaid.as_ref();
        unsaid.is_some_and(|unsaid| unsaid.owners.len() >= CHANGE_OWNERS_MAX)
    }
}
