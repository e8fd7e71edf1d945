//! How near others come: the level of each session at a path, told when it changes.
//! Must hold: where collisions are told, every attached session there has been told its level.

use alloc::vec::Vec;

use super::bounds::COLLISION_BY_MAX;
use super::command::{Activity, Audience};
use super::effects::Collision;
use super::gathering::Gathering;
use super::keys::{GatheringKey, SittingKey};
use super::machine::Presence;
use super::reply::{Level, Reply};
use super::sight::Sight;
use super::step::Step;
use super::viewer::Viewer;
use crate::event::Who;

/// Whether owners hold the lock at a path: one, and another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holders<'s> {
    one: Option<&'s str>,
    has_another: bool,
}

impl Holders<'_> {
    fn beside(&self, owner: &str) -> bool {
        self.has_another || self.one.is_some_and(|one| one != owner)
    }
}

impl<S: Sight> Step<'_, S> {
    pub(super) fn lock_changed(&mut self, org: &str, path: &str) -> Reply {
        if let Some(gathering) = self.presence.find(org, path) {
            self.tell_levels(gathering);
        }
        Reply::Done
    }

    /// Tells every attached session at a path its level, if that is another than it was told last.
    pub(super) fn tell_levels(&mut self, key: GatheringKey) {
        let (presence, gathering) = (&*self.presence, self.presence.gathering(key));
        if !presence.tells_collisions(gathering) {
            return;
        }
        let holders = presence.holders(gathering, self.sight);
        let mut changed = Vec::new();
        for viewer in gathering.by_arrival.values() {
            let viewer = &presence.viewers[viewer.place()];
            let levels = [Audience::Insiders, Audience::Everyone]
                .map(|audience| gathering.level_of(viewer, audience, holders));
            for &sitting in &viewer.sittings {
                if levels != [presence.sitting(sitting).told; 2] {
                    changed.push(sitting);
                }
            }
        }
        for sitting in changed {
            let told = self.presence.sitting(sitting).told;
            let level = self.presence.level(sitting, holders);
            if let Some(level) = level.filter(|level| *level != told) {
                self.tell_level(sitting, level);
            }
        }
    }

    /// Tells a session its level, whatever it was told before.
    pub(super) fn tell_level(&mut self, key: SittingKey, level: Level) {
        self.sitting_mut(key).told = level;
        let presence = &*self.presence;
        let sitting = presence.sitting(key);
        let viewer = &presence.viewers[sitting.viewer.place()];
        let gathering = presence.gathering(viewer.gathering);
        let audience = presence.audience_of(key).unwrap_or(Audience::Everyone);
        self.effects.collision(&Collision {
            session: sitting.session,
            path: &gathering.path,
            level,
            by: presence.those_who_come(gathering, viewer, level, audience, self.sight),
        });
    }

    /// The level of a session that acts, as of this instant.
    pub(super) fn level_now(&self, sitting: SittingKey) -> Level {
        let gathering = self.presence.gathering(self.presence.gathering_of(sitting));
        if !self.presence.tells_collisions(gathering) {
            return Level::None;
        }
        let holders = self.presence.holders(gathering, self.sight);
        let level = self.presence.level(sitting, holders);
        level.unwrap_or(Level::None)
    }
}

impl Presence {
    /// Whether the viewers are so few that collisions are told.
    pub(super) fn tells_collisions(&self, gathering: &Gathering) -> bool {
        gathering.total() as usize <= self.bounds.colliding
    }

    /// Who holds the lock there, as far as it matters.
    pub(super) fn holders<'s>(&self, gathering: &Gathering, sight: &'s impl Sight) -> Holders<'s> {
        let org = &self.orgs[gathering.org.place()].name;
        let mut owners = sight
            .holders(org, &gathering.path, self.now)
            .map(|who| who.owner);
        let one = owners.next();
        Holders {
            one,
            has_another: owners.any(|other| Some(other) != one),
        }
    }

    /// The level of a sitting whose session is there to hear of it.
    pub(super) fn level(&self, key: SittingKey, holders: Holders<'_>) -> Option<Level> {
        let viewer = &self.viewers[self.sitting(key).viewer.place()];
        let audience = self.audience_of(key)?;
        let gathering = self.gathering(viewer.gathering);
        Some(gathering.level_of(viewer, audience, holders))
    }

    /// The first of those who come so near to a viewer.
    fn those_who_come<'a>(
        &'a self,
        gathering: &'a Gathering,
        to: &Viewer,
        level: Level,
        audience: Audience,
        sight: &'a impl Sight,
    ) -> Vec<Who<&'a str>> {
        let nearest = match level {
            Level::None => return Vec::new(),
            Level::Viewing => None,
            Level::Typing => Some(Activity::Typing),
            Level::Editing => Some(Activity::Editing),
        };
        let viewers = gathering.by_arrival.values();
        let viewers = viewers.map(|viewer| &self.viewers[viewer.place()]);
        let others = viewers.filter(|viewer| {
            viewer.owner != to.owner
                && nearest.is_none_or(|nearest| viewer.does.to(audience) == nearest)
        });
        let others = others.map(|viewer| Who {
            owner: &*viewer.owner,
            name: &*viewer.last(&self.sittings).name,
        });
        let mut by: Vec<_> = others.take(COLLISION_BY_MAX).collect();
        if level == Level::Editing {
            let org = &self.orgs[gathering.org.place()].name;
            for holder in sight.holders(org, &gathering.path, self.now) {
                if by.len() >= COLLISION_BY_MAX {
                    break;
                }
                let is_known = by.iter().any(|other| other.owner == holder.owner);
                if *holder.owner != *to.owner && !is_known {
                    by.push(holder);
                }
            }
        }
        by
    }
}

impl Gathering {
    /// How near others come to one of the viewers, as an audience sees them.
    fn level_of(&self, viewer: &Viewer, audience: Audience, holders: Holders<'_>) -> Level {
        let counts = self.counts.by(audience);
        let own = viewer.does.to(audience);
        let others = |activity| counts.of(activity) > u32::from(own == activity);
        if others(Activity::Editing) || holders.beside(&viewer.owner) {
            Level::Editing
        } else if others(Activity::Typing) {
            Level::Typing
        } else if self.total() > 1 {
            Level::Viewing
        } else {
            Level::None
        }
    }
}
