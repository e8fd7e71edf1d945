//! Machine and model living one history side by side, with the invariants checked after every step.
//! The first difference ends it.

use tenure_engine::presence::{Audience, Bounds, List, Presence, Reply, Within};
use tenure_engine::{LogTime, Millis, SessionRef, WallTime};

use super::model::Model;
use super::reader::Reader;
use super::recorded::{Listed, Recorded};
use super::world::{ORGS, Op, Owned, PATHS, World};

const AUDIENCES: [Audience; 2] = [Audience::Insiders, Audience::Everyone];
const WITHIN: [Within<'static>; 4] = [
    Within::All,
    Within::Below("a"),
    Within::Path("a"),
    Within::Path("nowhere"),
];

/// When the next thing happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// So much later.
    Plus(u64),
    /// When the next thing is due, or as much before it.
    Due(u64),
}

/// One thing that happens, or a reader that begins or reads on.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Do(When, Op),
    Listen {
        org: u8,
        within: u8,
        audience: Audience,
        page: u32,
    },
    Read(u8),
}

/// Machine and model, living the same history.
pub(crate) struct Run {
    pub(crate) presence: Presence,
    pub(crate) model: Model,
    pub(crate) world: World,
    pub(crate) at: u64,
    readers: Vec<Reader>,
    /// All that was told.
    pub(crate) lived: Vec<(Reply, Recorded)>,
}

impl Run {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            presence: Presence::new(bounds),
            model: Model::new(bounds),
            world: World::default(),
            at: 0,
            readers: Vec::new(),
            lived: Vec::new(),
        }
    }

    pub(crate) fn live(&mut self, history: &[Act]) {
        for act in history {
            match act {
                Act::Do(when, op) => {
                    self.at = match when {
                        When::Plus(span) => self.at + span,
                        When::Due(before) => {
                            let due = self.model.next_deadline();
                            due.map_or(self.at, |due| self.at.max(due.0.saturating_sub(*before)))
                        }
                    };
                    if let Some(command) = self.world.resolve(*op) {
                        self.step(&command);
                    }
                }
                Act::Listen {
                    org,
                    within,
                    audience,
                    page,
                } => {
                    let org = ORGS[*org as usize % ORGS.len()];
                    let within = WITHIN[*within as usize % WITHIN.len()];
                    self.readers
                        .push(Reader::new(org, within, *audience, *page));
                }
                Act::Read(reader) => {
                    let count = self.readers.len().max(1);
                    if let Some(reader) = self.readers.get_mut(*reader as usize % count) {
                        reader.read(&self.presence);
                    }
                }
            }
        }
        self.run_out();
    }

    /// Time passes until all has been told; then every reader has to know it.
    pub(crate) fn run_out(&mut self) {
        while !self.model.is_quiet() {
            self.at += 100;
            self.step(&Owned::Tick);
        }
        for reader in &mut self.readers {
            reader.knows_all(&self.presence);
        }
    }

    pub(crate) fn listen(&mut self, reader: Reader) {
        self.readers.push(reader);
    }

    pub(crate) fn read_all(&mut self) {
        for reader in &mut self.readers {
            while reader.read(&self.presence) {}
        }
    }

    /// Does something, so much later.
    pub(crate) fn after(&mut self, span: u64, command: &Owned) -> (Reply, Recorded) {
        self.at += span;
        self.step(command)
    }

    /// One step of both, and everything that has to hold after it.
    pub(crate) fn step(&mut self, command: &Owned) -> (Reply, Recorded) {
        let answered = self.step_of_machine(command);
        self.presence.check(&self.world);
        self.answers_as_the_model();
        answered
    }

    /// The same without a look at everything, which takes its time where many are.
    pub(crate) fn step_of_machine(&mut self, command: &Owned) -> (Reply, Recorded) {
        let (at, wall) = (LogTime(self.at), WallTime(1_000_000 + self.at));
        let mut told = Recorded::default();
        let reply = self
            .presence
            .apply(at, wall, &command.lend(), &self.world, &mut told);
        let expected = self.model.apply(at, wall, &command.lend(), &self.world);
        assert_eq!((&reply, &told), (&expected.0, &expected.1), "{command:?}");
        for changed in &told.changes {
            self.readers
                .iter_mut()
                .for_each(|reader| reader.hear(changed));
        }
        self.lived.push((reply, told.clone()));
        (reply, told)
    }

    fn answers_as_the_model(&self) {
        let (presence, model) = (&self.presence, &self.model);
        assert_eq!(presence.next_deadline(), model.next_deadline());
        let pages = [(None, 256), (None, 1), (Some("a/b"), 2), (Some("0"), 3)];
        let (after, page) = pages[self.lived.len() % pages.len()];
        for org in ORGS {
            assert_eq!(presence.version(org), model.version(org));
            for audience in AUDIENCES {
                assert_eq!(presence.stats(org, audience), model.stats(org, audience));
                for within in WITHIN {
                    let list = List {
                        org,
                        within,
                        audience,
                        after,
                        page,
                    };
                    let found = presence.list(&list);
                    let paths: Vec<Listed> = found.paths.iter().map(Listed::from).collect();
                    let next = found.next.map(str::to_owned);
                    assert_eq!((paths, next), model.list(&list), "{list:?}");
                }
            }
            for path in PATHS {
                let list = List {
                    org,
                    within: Within::Path(path),
                    audience: Audience::Everyone,
                    after: None,
                    page: 1,
                };
                let is_occupied = !model.list(&list).0.is_empty();
                assert!(!is_occupied || presence.is_anybody_at(org, path));
            }
        }
    }
}

/// All that a list has to tell.
pub(crate) fn whole_list(
    presence: &Presence,
    org: &str,
    within: Within<'_>,
    audience: Audience,
) -> Vec<Listed> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = presence.list(&List {
            org,
            within,
            audience,
            after: after.as_deref(),
            page: 256,
        });
        all.extend(page.paths.iter().map(Listed::from));
        match page.next {
            Some(next) => after = Some(next.to_owned()),
            None => return all,
        }
    }
}

/// The bounds of random histories: small enough to be met.
pub(crate) const SMALL: Bounds = Bounds {
    stale: Millis(20_000),
    listed: 2,
    colliding: 3,
    viewers: 4,
    sittings: 2,
    paths: 3,
};

/// Enters as a viewer who looks, and says nothing of itself.
pub(crate) fn enter(by: SessionRef, path: &str) -> Owned {
    use tenure_engine::presence::Activity;
    Owned::Enter(
        by,
        path.to_owned(),
        Activity::Viewing,
        Audience::Everyone,
        Vec::new(),
    )
}
