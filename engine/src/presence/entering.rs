//! Coming to a path, doing something there, and going.
//! Must hold: what is rejected changes nothing; whoever acts is told how near others come by the answer.

use alloc::sync::Arc;

use super::bounds::{RENEW_AFTER, TYPING};
use super::command::{Activity, Audience, Enter, Update};
use super::keys::{GatheringKey, SittingKey};
use super::reply::{Level, Rejection, Reply};
use super::sight::{Seen, Sight};
use super::sitters::Sitter;
use super::step::Step;
use super::viewer::{Does, Sitting};
use crate::ids::{SessionId, SessionRef};
use crate::time::LogTime;

impl<S: Sight> Step<'_, S> {
    pub(super) fn enter(&mut self, enter: &Enter<'_>) -> Reply {
        let seen = match self.sight.session(enter.by, self.now) {
            Ok(seen) => seen,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let session = enter.by.session;
        let (sitting, first, shows) = match self.sitting_at(session, enter.path) {
            Some(sitting) => (sitting, false, self.enter_again(sitting, &seen, enter)),
            None => match self.sit_down(&seen, enter) {
                Ok(sat_down) => sat_down,
                Err(rejection) => return Reply::Rejected(rejection),
            },
        };
        self.sign_of_life(enter.by, &seen);
        let gathering = self.presence.gathering_of(sitting);
        let total = self.presence.gathering(gathering).total();
        let level = self.answer(sitting, gathering, shows);
        Reply::Entered {
            first,
            total,
            level,
        }
    }

    /// A new sitting. Tells whether it is its owner's first there, and whether others see somebody do something else.
    fn sit_down(
        &mut self,
        seen: &Seen<'_>,
        enter: &Enter<'_>,
    ) -> Result<(SittingKey, bool, bool), Rejection> {
        self.has_room(seen, enter)?;
        let key = self.gathering_at(seen.org, enter.path);
        let known = self.presence.gathering(key).viewer_of(seen.who.owner);
        let (number, now) = (self.next_number(), self.now);
        let new = |viewer| Sitting {
            number,
            session: enter.by.session,
            viewer,
            name: Arc::from(seen.who.name),
            metadata: Arc::from(enter.metadata),
            does: Does::new(enter.activity, enter.typing_for),
            seen: now,
            typing_until: typing_until(now, enter.activity),
            leaves: None,
            told: Level::None,
            armed: LogTime::NEVER,
        };
        let (sitting, shows) = match known {
            Some(viewer) => {
                let sitting = SittingKey::at(self.presence.sittings.insert(new(viewer)));
                let shows = self.change(viewer, |viewer, _| viewer.sittings.push(sitting));
                (sitting, shows)
            }
            None => (self.join(key, seen.who.owner, new), true),
        };
        self.arm(sitting);
        let org = self.presence.gathering(key).org;
        self.org_mut(org).sittings += 1;
        let sitter = self.presence.sitters.entry(enter.by.session);
        let sitter = sitter.or_insert_with(|| Sitter::new(seen));
        sitter.sittings.insert(number, sitting);
        Ok((sitting, known.is_none(), shows))
    }

    fn has_room(&self, seen: &Seen<'_>, enter: &Enter<'_>) -> Result<(), Rejection> {
        let (presence, bounds) = (&*self.presence, self.presence.bounds);
        let sitter = presence.sitters.get(&enter.by.session);
        if sitter.is_some_and(|sitter| sitter.sittings.len() >= bounds.paths) {
            return Err(Rejection::TooManyPaths);
        }
        let Some(gathering) = presence.find(seen.org, enter.path) else {
            return Ok(());
        };
        let gathering = presence.gathering(gathering);
        match gathering.viewer_of(seen.who.owner) {
            Some(viewer) if presence.viewers[viewer.place()].sittings.len() >= bounds.sittings => {
                Err(Rejection::TooManySittings)
            }
            None if gathering.total() as usize >= bounds.viewers => Err(Rejection::TooManyViewers),
            Some(_) | None => Ok(()),
        }
    }

    /// Of the sittings of its owner's, this is the one that entered last.
    fn enter_again(&mut self, key: SittingKey, seen: &Seen<'_>, enter: &Enter<'_>) -> bool {
        let now = self.now;
        let viewer = self.presence.sitting(key).viewer;
        let shows = self.change(viewer, |viewer, sittings| {
            viewer.sittings.retain(|other| *other != key);
            viewer.sittings.push(key);
            let sitting = &mut sittings[key.place()];
            sitting.act(now, enter.activity, enter.typing_for);
            if *sitting.name != *seen.who.name {
                sitting.name = Arc::from(seen.who.name);
            }
            if *sitting.metadata != *enter.metadata {
                sitting.metadata = Arc::from(enter.metadata);
            }
        });
        self.arm(key);
        shows
    }

    pub(super) fn update(&mut self, update: &Update<'_>) -> Reply {
        let seen = match self.sight.session(update.by, self.now) {
            Ok(seen) => seen,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let Some(key) = self.sitting_at(update.by.session, update.path) else {
            return Reply::Rejected(Rejection::NotEntered);
        };
        let now = self.now;
        let viewer = self.presence.sitting(key).viewer;
        let shows = self.change(viewer, |_, sittings| {
            sittings[key.place()].act(now, update.activity, update.typing_for);
        });
        self.arm(key);
        self.sign_of_life(update.by, &seen);
        let gathering = self.presence.gathering_of(key);
        Reply::Updated {
            level: self.answer(key, gathering, shows),
        }
    }

    pub(super) fn leave(&mut self, by: SessionRef, path: &str) -> Reply {
        if let Err(rejection) = self.sight.session(by, self.now) {
            return Reply::Rejected(rejection);
        }
        let Some(key) = self.sitting_at(by.session, path) else {
            return Reply::Left { last: false };
        };
        Reply::Left { last: self.go(key) }
    }

    pub(super) fn end_typing_at(&mut self, session: SessionId, path: &str) -> Reply {
        if let Some(key) = self.sitting_at(session, path)
            && self.presence.sitting(key).types()
        {
            self.end_typing(key);
        }
        Reply::Done
    }

    /// Whoever typed is viewing again.
    pub(super) fn end_typing(&mut self, key: SittingKey) {
        let viewer = self.presence.sitting(key).viewer;
        let shows = self.change(viewer, |_, sittings| {
            let sitting = &mut sittings[key.place()];
            sitting.does = Does::new(Activity::Viewing, Audience::Everyone);
            sitting.typing_until = None;
        });
        self.arm(key);
        self.others_see(self.presence.gathering_of(key), shows);
    }

    /// Ends a sitting, and lets others know. Tells whether it was the last of its viewer's.
    pub(super) fn go(&mut self, key: SittingKey) -> bool {
        let gathering = self.presence.gathering_of(key);
        let counts = self.presence.gathering(gathering).counts;
        let is_last = self.stand_up(key);
        let shows = is_last || self.presence.gathering(gathering).counts != counts;
        self.others_see(gathering, shows);
        is_last
    }

    /// Lets the others know of a step at their path, if it shows.
    fn others_see(&mut self, gathering: GatheringKey, shows: bool) {
        if shows {
            self.tell_levels(gathering);
        }
        if self.has_much_to_tell(gathering) {
            self.tell(gathering);
        }
    }

    /// The same, and how near they come to whoever acts.
    fn answer(&mut self, sitting: SittingKey, gathering: GatheringKey, shows: bool) -> Level {
        let level = self.level_now(sitting);
        self.sitting_mut(sitting).told = level;
        self.others_see(gathering, shows);
        level
    }

    /// The engine does not see presence, and would end a session as idle that has nothing else.
    fn sign_of_life(&mut self, by: SessionRef, seen: &Seen<'_>) {
        if seen.idle >= RENEW_AFTER {
            self.effects.alive(by);
        }
    }

    fn sitting_at(&self, session: SessionId, path: &str) -> Option<SittingKey> {
        self.presence.sitting_at(session, path)
    }
}

impl Sitting {
    fn act(&mut self, now: LogTime, activity: Activity, typing_for: Audience) {
        self.does = Does::new(activity, typing_for);
        self.seen = now;
        self.typing_until = typing_until(now, activity);
    }
}

fn typing_until(now: LogTime, activity: Activity) -> Option<LogTime> {
    (activity == Activity::Typing).then(|| now + TYPING)
}
