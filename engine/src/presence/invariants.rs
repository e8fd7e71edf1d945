//! What must hold after every step, whatever came before. Asserted in tests, simulation and fuzzing.
//! Decides nothing and repairs nothing.

use super::collisions::Holders;
use super::gathering::{Gathering, Tally};
use super::keys::{GatheringKey, SittingKey, ViewerKey};
use super::machine::{Due, Org, Presence};
use super::sight::Sight;
use super::viewer::{Sitting, Viewer};

/// A broken invariant, by name.
type Broken = &'static str;

macro_rules! hold_that {
    ($condition:expr, $what:literal) => {
        if !$condition {
            return Err($what);
        }
    };
}

impl Presence {
    /// Asserts every invariant of the state, the last change of every lock having been told. Costs time proportional to
    /// the state: for tests.
    ///
    /// # Panics
    ///
    /// When one is broken, which is a bug of the machine.
    pub fn check(&self, sight: &impl Sight) {
        assert_eq!(self.verify(sight), Ok(()), "presence is broken");
    }

    fn verify(&self, sight: &impl Sight) -> Result<(), Broken> {
        for (_, org) in &self.orgs {
            self.verify_org(org)?;
        }
        for (key, gathering) in &self.gatherings {
            self.verify_gathering(GatheringKey::at(key), gathering, sight)?;
        }
        for (key, viewer) in &self.viewers {
            self.verify_viewer(ViewerKey::at(key), viewer)?;
        }
        for (key, sitting) in &self.sittings {
            self.verify_sitting(SittingKey::at(key), sitting)?;
        }
        let sitters = self.sitters.values();
        hold_that!(
            sitters.clone().all(|sitter| !sitter.sittings.is_empty()),
            "a session that is nowhere is forgotten"
        );
        hold_that!(
            sitters
                .clone()
                .all(|sitter| sitter.sittings.len() <= self.bounds.paths),
            "a session is at so many paths at most"
        );
        let held: usize = sitters.map(|sitter| sitter.sittings.len()).sum();
        let left = self.sittings.iter();
        let left = left.filter(|(_, sitting)| sitting.leaves.is_some()).count();
        hold_that!(
            held + left == self.sittings.len(),
            "a session knows its sittings"
        );
        let unsaid = self.gatherings.iter();
        let unsaid = unsaid.filter(|(_, gathering)| gathering.unsaid.is_some());
        hold_that!(
            self.timers.len() == self.sittings.len() + unsaid.count(),
            "everything with a deadline has one timer"
        );
        hold_that!(
            self.org_names.len() == self.orgs.len(),
            "every org has one name"
        );
        Ok(())
    }

    fn verify_org(&self, org: &Org) -> Result<(), Broken> {
        hold_that!(!org.paths.is_empty(), "an org without a path is forgotten");
        let (mut counts, mut occupied, mut sittings) = (Tally::default(), 0, 0);
        for (path, key) in &org.paths {
            let gathering = self.gatherings.get(key.place());
            let gathering = gathering.ok_or("a path has a gathering")?;
            hold_that!(gathering.path == *path, "a gathering is found by its path");
            occupied += u32::from(gathering.total() > 0);
            for viewer in self.viewers_of(gathering) {
                counts.add(viewer.does);
                sittings += viewer.sittings.len();
            }
        }
        hold_that!(
            counts == org.counts && occupied == org.occupied && sittings == org.sittings as usize,
            "an org's viewers are counted"
        );
        Ok(())
    }

    fn verify_gathering(
        &self,
        key: GatheringKey,
        gathering: &Gathering,
        sight: &impl Sight,
    ) -> Result<(), Broken> {
        let org = self.orgs.get(gathering.org.place());
        let org = org.ok_or("a gathering belongs to an org")?;
        hold_that!(
            org.paths.get(&gathering.path) == Some(&key),
            "a gathering is found by its path"
        );
        hold_that!(
            gathering.total() > 0 || gathering.unsaid.is_some(),
            "where nobody is, nothing is kept that has been told"
        );
        hold_that!(
            gathering.total() as usize <= self.bounds.viewers,
            "a path has so many viewers at most"
        );
        let first_unlisted = gathering.by_arrival.keys().nth(self.bounds.listed);
        hold_that!(
            gathering.unlisted_from.as_ref() == first_unlisted,
            "the first by arrival are listed"
        );
        let mut counts = Tally::default();
        self.viewers_of(gathering)
            .for_each(|viewer| counts.add(viewer.does));
        hold_that!(counts == gathering.counts, "viewers are counted");
        for (arrived, viewer) in &gathering.by_arrival {
            let found = &self.viewers[viewer.place()];
            hold_that!(
                found.gathering == key && found.arrived == *arrived,
                "a viewer knows where it is"
            );
            hold_that!(
                gathering.viewer_of(&found.owner) == Some(*viewer),
                "a viewer is found by its owner"
            );
        }
        if let Some(unsaid) = &gathering.unsaid {
            hold_that!(
                self.timers
                    .contains(&(unsaid.due, Due::Telling(gathering.number, key))),
                "what is to be told has a timer"
            );
        }
        self.verify_told(gathering, self.holders(gathering, sight))
    }

    fn verify_told(&self, gathering: &Gathering, holders: Holders<'_>) -> Result<(), Broken> {
        if !self.tells_collisions(gathering) {
            return Ok(());
        }
        for &sitting in self
            .viewers_of(gathering)
            .flat_map(|viewer| &viewer.sittings)
        {
            let level = self.level(sitting, holders);
            hold_that!(
                level.is_none_or(|level| level == self.sitting(sitting).told),
                "whoever is there knows how near others come"
            );
        }
        Ok(())
    }

    fn verify_viewer(&self, key: ViewerKey, viewer: &Viewer) -> Result<(), Broken> {
        hold_that!(!viewer.sittings.is_empty(), "a viewer has a sitting");
        hold_that!(
            viewer.sittings.len() <= self.bounds.sittings,
            "a viewer has so many sittings at most"
        );
        hold_that!(
            viewer.does == viewer.strongest(&self.sittings),
            "a viewer is shown with the strongest that its sittings do"
        );
        for sitting in &viewer.sittings {
            let found = self.sittings.get(sitting.place());
            hold_that!(
                found.is_some_and(|sitting| sitting.viewer == key),
                "a sitting knows its viewer"
            );
        }
        let gathering = self.gatherings.get(viewer.gathering.place());
        hold_that!(
            gathering.and_then(|gathering| gathering.viewer_of(&viewer.owner)) == Some(key),
            "a viewer is at a path"
        );
        Ok(())
    }

    fn verify_sitting(&self, key: SittingKey, sitting: &Sitting) -> Result<(), Broken> {
        let viewer = &self.viewers[sitting.viewer.place()];
        hold_that!(
            viewer.sittings.contains(&key),
            "a viewer knows its sittings"
        );
        hold_that!(
            sitting.armed == sitting.due(self.bounds.stale)
                && self
                    .timers
                    .contains(&(sitting.armed, Due::Sitting(sitting.number, key))),
            "a sitting has a timer"
        );
        hold_that!(
            sitting.number < self.next,
            "a number has come from the counter"
        );
        if sitting.leaves.is_none() {
            let sitter = self.sitters.get(&sitting.session);
            let known = sitter.and_then(|sitter| sitter.sittings.get(&sitting.number));
            hold_that!(known == Some(&key), "a session knows its sittings");
            let path = &self.gathering(viewer.gathering).path;
            hold_that!(
                self.sitting_at(sitting.session, path) == Some(key),
                "a session is at a path once"
            );
        }
        Ok(())
    }

    fn viewers_of<'a>(&'a self, gathering: &'a Gathering) -> impl Iterator<Item = &'a Viewer> {
        let viewers = gathering.by_arrival.values();
        viewers.map(|viewer| &self.viewers[viewer.place()])
    }
}
