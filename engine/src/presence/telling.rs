//! Telling what has changed at a path, all at once.
//! Must hold: a change names every owner that a list since the change before could have shown otherwise; observers hear of
//! nothing that is for insiders alone, not even that there was something.

use alloc::vec::Vec;

use super::command::Audience;
use super::effects::{Change, Observed, Shown};
use super::gathering::{Gathering, Unsaid};
use super::keys::{GatheringKey, ViewerKey};
use super::machine::{Due, Presence};
use super::step::Step;

impl<S> Step<'_, S> {
    /// Tells what has not been told of a gathering.
    pub(super) fn tell(&mut self, key: GatheringKey) {
        let gathering = &mut self.presence.gatherings[key.place()];
        let (number, org) = (gathering.number, gathering.org);
        let Some(unsaid) = gathering.unsaid.take() else {
            return;
        };
        let timer = (unsaid.due, Due::Telling(number, key));
        self.presence.timers.remove(&timer);
        self.org_mut(org).version += 1;
        self.effects.changed(&self.presence.change_of(key, &unsaid));
        self.drop_if_unused(key);
    }
}

impl Presence {
    fn change_of<'a>(&'a self, key: GatheringKey, unsaid: &'a Unsaid) -> Change<'a> {
        let gathering = self.gathering(key);
        let org = &self.orgs[gathering.org.place()];
        let (mut up, mut gone) = (Vec::new(), Vec::new());
        for (owner, audience) in &unsaid.owners {
            let viewer = gathering.viewer_of(owner);
            let listed =
                viewer.filter(|key| gathering.is_listed(self.viewers[key.place()].arrived));
            match listed {
                Some(viewer) => up.push((viewer, *audience)),
                None => gone.push(&**owner),
            }
        }
        Change {
            org: &org.name,
            version: org.version,
            path: &gathering.path,
            total: gathering.total(),
            gone,
            insiders: self.shown(gathering, &up, Audience::Insiders),
            observers: self.observed(gathering, &up, unsaid.audience),
        }
    }

    fn observed<'a>(
        &'a self,
        gathering: &Gathering,
        up: &[(ViewerKey, Audience)],
        audience: Audience,
    ) -> Observed<'a> {
        if audience == Audience::Insiders {
            return Observed::Nothing;
        }
        let is_alike = |(viewer, audience): &(ViewerKey, Audience)| {
            *audience == Audience::Everyone && !self.viewers[viewer.place()].does.is_internal()
        };
        let counts = &gathering.counts;
        if counts.by(Audience::Insiders) == counts.by(Audience::Everyone) && up.iter().all(is_alike)
        {
            return Observed::Same;
        }
        Observed::Other(self.shown(gathering, up, Audience::Everyone))
    }

    fn shown<'a>(
        &'a self,
        gathering: &Gathering,
        up: &[(ViewerKey, Audience)],
        to: Audience,
    ) -> Shown<'a> {
        let seen = up.iter().filter(|(_, audience)| *audience >= to);
        let viewed = seen.map(|(viewer, _)| {
            let viewer = &self.viewers[viewer.place()];
            viewer.viewed(&self.sittings, to)
        });
        Shown {
            counts: *gathering.counts.by(to),
            up: viewed.collect(),
        }
    }
}
