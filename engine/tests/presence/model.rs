//! The reference model: the rules of `docs/presence.md`, read literally and written down a second time.
//!
//! It owns plain vectors, keeps no index, count or timer, and recomputes everything from scratch after each thing that
//! happens: what has changed is found by comparing all that was seen before with all that is seen after. It shares with
//! the machine nothing but the vocabulary.

use tenure_engine::presence::{
    Activity, Audience, Bounds, Command, Counts, Level, List, Rejection, Reply, Sight, Stats,
    Within,
};
use tenure_engine::{LogTime, Millis, Role, SessionId, SessionRef, WallTime};

use super::recorded::{Changed, Collided, Listed, Recorded, Row, Told};

const BOTH: [Audience; 2] = [Audience::Insiders, Audience::Everyone];

/// All that is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    bounds: Bounds,
    now: u64,
    wall: u64,
    /// Oldest first.
    sittings: Vec<Sitting>,
    /// By arrival.
    viewers: Vec<Viewer>,
    /// The paths where somebody is, or was and it has not been told; oldest first.
    places: Vec<Place>,
    versions: Vec<(String, u64)>,
    least_version: u64,
    entered: u64,
    told: Recorded,
}

#[derive(Debug, Clone)]
struct Sitting {
    session: SessionId,
    at: At,
    owner: String,
    name: String,
    metadata: Vec<u8>,
    activity: Activity,
    typing_for: Audience,
    seen: u64,
    typing_until: Option<u64>,
    leaves: Option<u64>,
    entered: u64,
    attached: bool,
    audience: Audience,
    level: Level,
}

#[derive(Debug, Clone)]
struct Viewer {
    at: At,
    owner: String,
    since: u64,
}

#[derive(Debug, Clone)]
struct Place {
    at: At,
    unsaid: Option<Unsaid>,
}

#[derive(Debug, Clone)]
struct Unsaid {
    due: u64,
    audience: Audience,
    owners: Vec<(String, Audience)>,
}

/// Org and path.
type At = (String, String);

/// What an audience sees at one path.
#[derive(Debug, Clone, PartialEq)]
struct View {
    total: u32,
    counts: Counts,
    listed: Vec<Row>,
}

impl Model {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: 0,
            wall: 0,
            sittings: Vec::new(),
            viewers: Vec::new(),
            places: Vec::new(),
            versions: Vec::new(),
            least_version: 0,
            entered: 0,
            told: Recorded::default(),
        }
    }

    pub(crate) fn apply(
        &mut self,
        at: LogTime,
        wall: WallTime,
        command: &Command<'_>,
        sight: &impl Sight,
    ) -> (Reply, Recorded) {
        self.now = self.now.max(at.0);
        self.wall = wall.0;
        let reply = match command {
            Command::Tick => self.tick(sight),
            Command::Enter(enter) => self
                .enter(
                    (enter.by, enter.path),
                    (enter.activity, enter.typing_for),
                    enter.metadata,
                    sight,
                )
                .unwrap_or_else(Reply::Rejected),
            Command::Update(update) => self
                .update(
                    (update.by, update.path),
                    (update.activity, update.typing_for),
                    sight,
                )
                .unwrap_or_else(Reply::Rejected),
            Command::Leave { by, path } => {
                self.leave(*by, path, sight).unwrap_or_else(Reply::Rejected)
            }
            Command::EndTyping { session, path } => {
                if let Some(index) = self.sitting_of(*session, path)
                    && self.sittings[index].typing_until.is_some()
                {
                    self.happens(sight, None, |model| model.end_typing(index));
                }
                Reply::Done
            }
            Command::LockChanged { .. } => {
                self.happens(sight, None, |_| ());
                Reply::Done
            }
            Command::SessionResumed(by) => self.resumed(*by, sight),
            Command::SessionDetached { session, keeps } => {
                let now = self.now;
                let mut found = false;
                for sitting in self.live(*session) {
                    found = true;
                    if *keeps {
                        sitting.leaves = Some(now);
                    } else {
                        sitting.attached = false;
                        sitting.typing_until = sitting.typing_until.map(|_| now);
                    }
                }
                if found { self.tick(sight) } else { Reply::Done }
            }
            Command::SessionEnded(session) => {
                let now = self.now;
                let mut found = false;
                for sitting in self.live(*session) {
                    sitting.leaves = Some(now);
                    found = true;
                }
                if found { self.tick(sight) } else { Reply::Done }
            }
        };
        (reply, std::mem::take(&mut self.told))
    }

    fn live(&mut self, session: SessionId) -> impl Iterator<Item = &mut Sitting> {
        let sittings = self.sittings.iter_mut();
        sittings.filter(move |sitting| sitting.session == session && sitting.leaves.is_none())
    }

    fn sitting_of(&self, session: SessionId, path: &str) -> Option<usize> {
        self.sittings.iter().position(|sitting| {
            sitting.session == session && sitting.at.1 == path && sitting.leaves.is_none()
        })
    }

    // What sessions do.

    fn enter(
        &mut self,
        (by, path): (SessionRef, &str),
        (activity, typing_for): (Activity, Audience),
        metadata: &[u8],
        sight: &impl Sight,
    ) -> Result<Reply, Rejection> {
        let seen = sight.session(by, LogTime(self.now))?;
        let at = (seen.org.to_owned(), path.to_owned());
        let owner = seen.who.owner.to_owned();
        let is_known = self.viewers_at(&at).contains(&owner);
        let index = match self.sitting_of(by.session, path) {
            Some(index) => index,
            None => {
                let of_session = self.live(by.session).count();
                if of_session >= self.bounds.paths {
                    return Err(Rejection::TooManyPaths);
                }
                let mut of_viewer = self.sittings.iter();
                let of_viewer = of_viewer
                    .by_ref()
                    .filter(|other| other.at == at && other.owner == owner);
                if of_viewer.count() >= self.bounds.sittings {
                    return Err(Rejection::TooManySittings);
                }
                if !is_known && self.viewers_at(&at).len() >= self.bounds.viewers {
                    return Err(Rejection::TooManyViewers);
                }
                self.sittings.len()
            }
        };
        let sitting = Sitting {
            session: by.session,
            at: at.clone(),
            owner,
            name: seen.who.name.to_owned(),
            metadata: metadata.to_vec(),
            activity,
            typing_for,
            seen: self.now,
            typing_until: (activity == Activity::Typing).then_some(self.now + 6000),
            leaves: None,
            entered: self.entered,
            attached: true,
            audience: if seen.role >= Role::Member {
                Audience::Insiders
            } else {
                Audience::Everyone
            },
            level: self
                .sittings
                .get(index)
                .map_or(Level::None, |sitting| sitting.level),
        };
        self.entered += 1;
        self.happens(sight, Some(index), |model| {
            if index < model.sittings.len() {
                model.sittings[index] = sitting;
            } else {
                model.sittings.push(sitting);
            }
        });
        if seen.idle >= Millis(15 * 60 * 1000) {
            self.told.alive.push(by);
        }
        Ok(Reply::Entered {
            first: !is_known,
            total: self.viewers_at(&at).len() as u32,
            level: self.sittings[index].level,
        })
    }

    fn update(
        &mut self,
        (by, path): (SessionRef, &str),
        (activity, typing_for): (Activity, Audience),
        sight: &impl Sight,
    ) -> Result<Reply, Rejection> {
        let seen = sight.session(by, LogTime(self.now))?;
        let index = self
            .sitting_of(by.session, path)
            .ok_or(Rejection::NotEntered)?;
        self.happens(sight, Some(index), |model| {
            let now = model.now;
            let sitting = &mut model.sittings[index];
            sitting.activity = activity;
            sitting.typing_for = typing_for;
            sitting.seen = now;
            sitting.typing_until = (activity == Activity::Typing).then_some(now + 6000);
        });
        if seen.idle >= Millis(15 * 60 * 1000) {
            self.told.alive.push(by);
        }
        Ok(Reply::Updated {
            level: self.sittings[index].level,
        })
    }

    fn leave(
        &mut self,
        by: SessionRef,
        path: &str,
        sight: &impl Sight,
    ) -> Result<Reply, Rejection> {
        sight.session(by, LogTime(self.now))?;
        let Some(index) = self.sitting_of(by.session, path) else {
            return Ok(Reply::Left { last: false });
        };
        let Sitting { at, owner, .. } = self.sittings[index].clone();
        self.happens(sight, None, |model| {
            model.sittings.remove(index);
        });
        Ok(Reply::Left {
            last: !self.viewers_at(&at).contains(&owner),
        })
    }

    fn end_typing(&mut self, index: usize) {
        let sitting = &mut self.sittings[index];
        sitting.activity = Activity::Viewing;
        sitting.typing_until = None;
    }

    fn resumed(&mut self, by: SessionRef, sight: &impl Sight) -> Reply {
        let Ok(seen) = sight.session(by, LogTime(self.now)) else {
            return Reply::Done;
        };
        let is_insider = seen.role >= Role::Member;
        let of_session: Vec<usize> = (0..self.sittings.len())
            .filter(|index| {
                let sitting = &self.sittings[*index];
                sitting.session == by.session && sitting.leaves.is_none()
            })
            .collect();
        for &index in &of_session {
            let sitting = &mut self.sittings[index];
            sitting.attached = true;
            sitting.audience = if is_insider {
                Audience::Insiders
            } else {
                Audience::Everyone
            };
        }
        for index in of_session {
            if self.is_crowded(&self.sittings[index].at) {
                continue;
            }
            let level = self.level(&self.sittings[index], sight);
            if level != Level::None || self.sittings[index].level != Level::None {
                self.tell_level(index, level, sight);
            }
        }
        Reply::Done
    }

    // As time passes.

    fn tick(&mut self, sight: &impl Sight) -> Reply {
        for _ in 0..64 {
            match self.earliest() {
                Some((due, 0, index)) if due <= self.now => self.sweep(index, sight),
                Some((due, _, index)) if due <= self.now => self.tell(index),
                _ => break,
            }
        }
        Reply::Done
    }

    /// When, what sort, which.
    fn earliest(&self) -> Option<(u64, u8, usize)> {
        let sittings = self.sittings.iter().enumerate();
        let sittings = sittings.map(|(index, sitting)| {
            let swept = self.swept(sitting);
            let due = sitting.typing_until.map_or(swept, |until| until.min(swept));
            (due, 0, index)
        });
        let places = self.places.iter().enumerate();
        let places = places.filter_map(|(index, place)| {
            place.unsaid.as_ref().map(|unsaid| (unsaid.due, 1, index))
        });
        sittings.chain(places).min()
    }

    fn swept(&self, sitting: &Sitting) -> u64 {
        let stale = sitting.seen + self.bounds.stale.0;
        sitting.leaves.unwrap_or(stale)
    }

    fn sweep(&mut self, index: usize, sight: &impl Sight) {
        let sitting = self.sittings[index].clone();
        if self.swept(&sitting) > self.now {
            self.happens(sight, None, |model| model.end_typing(index));
            return;
        }
        if sitting.attached && sitting.leaves.is_none() {
            self.told.ended.push((sitting.session, sitting.at.1));
        }
        self.happens(sight, None, |model| {
            model.sittings.remove(index);
        });
    }

    // Everything anew.

    /// Something happens, to one of them perhaps who will be answered: then all that it leads to.
    fn happens(
        &mut self,
        sight: &impl Sight,
        actor: Option<usize>,
        something: impl FnOnce(&mut Self),
    ) {
        let before = self.places.clone();
        let seen_before: Vec<[View; 2]> =
            before.iter().map(|place| self.views(&place.at)).collect();
        something(self);
        self.come_and_go();
        for index in 0..self.places.len() {
            let at = self.places[index].at.clone();
            let known = before.iter().position(|place| place.at == at);
            let nothing = || {
                let view = View {
                    total: 0,
                    counts: Counts::default(),
                    listed: Vec::new(),
                };
                [view.clone(), view]
            };
            let before = known.map_or_else(nothing, |known| seen_before[known].clone());
            self.mark(index, &before);
        }
        if let Some(actor) = actor {
            let is_crowded = self.is_crowded(&self.sittings[actor].at);
            self.sittings[actor].level = if is_crowded {
                Level::None
            } else {
                self.level(&self.sittings[actor], sight)
            };
        }
        self.tell_levels(sight);
        while let Some(full) = self.places.iter().position(|place| {
            let unsaid = place.unsaid.as_ref();
            unsaid.is_some_and(|unsaid| unsaid.owners.len() >= 100)
        }) {
            self.tell(full);
        }
    }

    /// Viewers are those who have sittings.
    fn come_and_go(&mut self) {
        let sittings = self.sittings.clone();
        self.viewers.retain(|viewer| {
            let mut sittings = sittings.iter();
            sittings.any(|sitting| sitting.at == viewer.at && sitting.owner == viewer.owner)
        });
        for sitting in sittings {
            let mut known = self.viewers.iter();
            if !known.any(|viewer| viewer.at == sitting.at && viewer.owner == sitting.owner) {
                if !self.places.iter().any(|place| place.at == sitting.at) {
                    self.places.push(Place {
                        at: sitting.at.clone(),
                        unsaid: None,
                    });
                    if !self.versions.iter().any(|(org, _)| *org == sitting.at.0) {
                        self.versions
                            .push((sitting.at.0.clone(), self.least_version));
                    }
                }
                self.viewers.push(Viewer {
                    at: sitting.at,
                    owner: sitting.owner,
                    since: self.wall,
                });
            }
        }
    }

    fn viewers_at(&self, at: &At) -> Vec<String> {
        let viewers = self.viewers.iter().filter(|viewer| viewer.at == *at);
        viewers.map(|viewer| viewer.owner.clone()).collect()
    }

    fn is_crowded(&self, at: &At) -> bool {
        self.viewers_at(at).len() > self.bounds.colliding
    }

    /// The sittings of a viewer; whoever entered last comes last.
    fn sittings_at(&self, at: &At, owner: &str) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.sittings.len())
            .filter(|index| self.sittings[*index].at == *at && self.sittings[*index].owner == owner)
            .collect();
        found.sort_by_key(|index| self.sittings[*index].entered);
        found
    }

    fn does(&self, at: &At, owner: &str, audience: Audience) -> Activity {
        let sittings = self.sittings_at(at, owner).into_iter();
        let does = sittings.map(|index| {
            let sitting = &self.sittings[index];
            let is_hidden = sitting.activity == Activity::Typing
                && sitting.typing_for == Audience::Insiders
                && audience == Audience::Everyone;
            if is_hidden {
                Activity::Viewing
            } else {
                sitting.activity
            }
        });
        does.max().expect("a viewer has a sitting")
    }

    fn row(&self, viewer: &Viewer, audience: Audience) -> Row {
        let sittings = self.sittings_at(&viewer.at, &viewer.owner);
        let last = &self.sittings[*sittings.last().expect("a viewer has a sitting")];
        let does = self.does(&viewer.at, &viewer.owner, audience);
        let public = self.does(&viewer.at, &viewer.owner, Audience::Everyone);
        Row {
            owner: viewer.owner.clone(),
            name: last.name.clone(),
            activity: does,
            internal: does != public,
            since: viewer.since,
            sittings: sittings.len() as u32,
            metadata: last.metadata.clone(),
        }
    }

    fn views(&self, at: &At) -> [View; 2] {
        BOTH.map(|audience| {
            let viewers = self.viewers.iter().filter(|viewer| viewer.at == *at);
            let rows: Vec<Row> = viewers.map(|viewer| self.row(viewer, audience)).collect();
            let mut counts = Counts::default();
            for row in &rows {
                match row.activity {
                    Activity::Idle => counts.idle += 1,
                    Activity::Viewing => counts.viewing += 1,
                    Activity::Typing => counts.typing += 1,
                    Activity::Editing => counts.editing += 1,
                }
            }
            View {
                total: rows.len() as u32,
                counts,
                listed: rows.into_iter().take(self.bounds.listed).collect(),
            }
        })
    }

    /// Compares what was seen at a path with what is seen.
    fn mark(&mut self, index: usize, before: &[View; 2]) {
        let after = self.views(&self.places[index].at);
        if *before == after {
            return;
        }
        let due = self.now + 100;
        let unsaid = self.places[index].unsaid.get_or_insert(Unsaid {
            due,
            audience: Audience::Insiders,
            owners: Vec::new(),
        });
        for (audience, (before, after)) in BOTH.into_iter().zip(before.iter().zip(&after)) {
            if before != after {
                unsaid.audience = unsaid.audience.max(audience);
            }
            for row in before.listed.iter().chain(&after.listed) {
                if before.listed.contains(row) && after.listed.contains(row) {
                    continue;
                }
                match unsaid
                    .owners
                    .iter_mut()
                    .find(|(owner, _)| *owner == row.owner)
                {
                    Some((_, seen_by)) => *seen_by = audience.max(*seen_by),
                    None => unsaid.owners.push((row.owner.clone(), audience)),
                }
            }
        }
    }

    fn tell(&mut self, index: usize) {
        let at = self.places[index].at.clone();
        let mut unsaid = self.places[index].unsaid.take().expect("it is due");
        unsaid.owners.sort();
        let of_org = self.versions.iter_mut().find(|(org, _)| *org == at.0);
        let (_, version) = of_org.expect("it was given one");
        *version += 1;
        let version = *version;
        let views = self.views(&at);
        let up = |view: &View, to: Audience| -> Told {
            let seen = unsaid.owners.iter().filter(|(_, audience)| *audience >= to);
            let rows =
                seen.filter_map(|(owner, _)| view.listed.iter().find(|row| row.owner == *owner));
            (view.counts, rows.cloned().collect())
        };
        let gone = unsaid.owners.iter().map(|(owner, _)| owner.clone());
        let is_listed = |owner: &String| views[0].listed.iter().any(|row| row.owner == *owner);
        self.told.changes.push(Changed {
            org: at.0.clone(),
            version,
            path: at.1.clone(),
            total: views[0].total,
            gone: gone.filter(|owner| !is_listed(owner)).collect(),
            insiders: up(&views[0], Audience::Insiders),
            observers: (unsaid.audience == Audience::Everyone)
                .then(|| up(&views[1], Audience::Everyone)),
        });
        self.forget(index);
    }

    /// Forgets what nobody is at.
    fn forget(&mut self, index: usize) {
        if !self.viewers_at(&self.places[index].at).is_empty() {
            return;
        }
        let (org, _) = self.places.remove(index).at;
        if !self.places.iter().any(|place| place.at.0 == org)
            && let Some(known) = self.versions.iter().position(|(known, _)| *known == org)
        {
            let (_, version) = self.versions.remove(known);
            self.least_version = self.least_version.max(version);
        }
    }

    // Collisions.

    fn tell_levels(&mut self, sight: &impl Sight) {
        for place in self.places.clone() {
            if self.is_crowded(&place.at) {
                continue;
            }
            for owner in self.viewers_at(&place.at) {
                for index in self.sittings_at(&place.at, &owner) {
                    let sitting = &self.sittings[index];
                    let level = self.level(sitting, sight);
                    if sitting.attached && sitting.leaves.is_none() && level != sitting.level {
                        self.tell_level(index, level, sight);
                    }
                }
            }
        }
    }

    fn tell_level(&mut self, index: usize, level: Level, sight: &impl Sight) {
        self.sittings[index].level = level;
        let sitting = &self.sittings[index];
        self.told.collisions.push(Collided {
            session: sitting.session,
            path: sitting.at.1.clone(),
            level,
            by: self.those_who_come(sitting, level, sight),
        });
    }

    fn level(&self, sitting: &Sitting, sight: &impl Sight) -> Level {
        let levels = [Level::Editing, Level::Typing, Level::Viewing];
        let mut levels = levels.into_iter();
        levels
            .find(|level| !self.those_who_come(sitting, *level, sight).is_empty())
            .unwrap_or(Level::None)
    }

    /// Others who do what makes a level, at most 16.
    fn those_who_come(
        &self,
        to: &Sitting,
        level: Level,
        sight: &impl Sight,
    ) -> Vec<(String, String)> {
        let does = |activity: Activity| match level {
            Level::None => false,
            Level::Viewing => true,
            Level::Typing => activity == Activity::Typing,
            Level::Editing => activity == Activity::Editing,
        };
        let others = self.viewers.iter();
        let others = others.filter(|viewer| viewer.at == to.at && viewer.owner != to.owner);
        let others = others.filter(|viewer| does(self.does(&to.at, &viewer.owner, to.audience)));
        let mut by: Vec<(String, String)> = others
            .map(|viewer| {
                let row = self.row(viewer, to.audience);
                (row.owner, row.name)
            })
            .take(16)
            .collect();
        if level == Level::Editing {
            for holder in sight.holders(&to.at.0, &to.at.1, LogTime(self.now)) {
                let is_known = by.iter().any(|(owner, _)| *owner == holder.owner);
                if holder.owner != to.owner && !is_known && by.len() < 16 {
                    by.push((holder.owner.to_owned(), holder.name.to_owned()));
                }
            }
        }
        by
    }

    // Reading.

    pub(crate) fn next_deadline(&self) -> Option<LogTime> {
        self.earliest().map(|(due, _, _)| LogTime(due))
    }

    /// Whether all has been told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.places.iter().all(|place| place.unsaid.is_none())
    }

    pub(crate) fn version(&self, org: &str) -> u64 {
        let known = self.versions.iter().find(|(known, _)| known == org);
        known.map_or(self.least_version, |(_, version)| *version)
    }

    pub(crate) fn list(&self, list: &List<'_>) -> (Vec<Listed>, Option<String>) {
        let wanted = |path: &str| match list.within {
            Within::Path(wanted) => path == wanted,
            Within::Below(above) => path.starts_with(&format!("{above}/")),
            Within::All => true,
        };
        let mut paths: Vec<&str> = self
            .places
            .iter()
            .filter(|place| place.at.0 == list.org)
            .map(|place| place.at.1.as_str())
            .filter(|path| wanted(path) && list.after.is_none_or(|after| *path > after))
            .collect();
        paths.sort_unstable();
        let (mut page, mut count, mut last) = (Vec::new(), 0, None);
        for path in paths {
            if count >= (list.page as usize).clamp(1, 256) {
                return (page, last);
            }
            let [insiders, everyone] = self.views(&(list.org.to_owned(), path.to_owned()));
            let view = match list.audience {
                Audience::Insiders => insiders,
                Audience::Everyone => everyone,
            };
            last = Some(path.to_owned());
            if view.total > 0 {
                count += view.listed.len().max(1);
                page.push(Listed {
                    path: path.to_owned(),
                    total: view.total,
                    counts: view.counts,
                    viewers: view.listed,
                });
            }
        }
        (page, None)
    }

    pub(crate) fn stats(&self, org: &str, audience: Audience) -> Stats {
        let mut stats = Stats::default();
        for place in self.places.iter().filter(|place| place.at.0 == org) {
            let [insiders, everyone] = self.views(&place.at);
            let view = match audience {
                Audience::Insiders => insiders,
                Audience::Everyone => everyone,
            };
            stats.paths += u32::from(view.total > 0);
            stats.viewers += view.total;
            stats.counts.idle += view.counts.idle;
            stats.counts.viewing += view.counts.viewing;
            stats.counts.typing += view.counts.typing;
            stats.counts.editing += view.counts.editing;
            let here = self
                .sittings
                .iter()
                .filter(|sitting| sitting.at == place.at);
            stats.sittings += here.count() as u32;
        }
        stats
    }
}
