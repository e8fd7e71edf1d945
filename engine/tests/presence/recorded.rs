//! What the machine has told, with texts of its own, so that it can be kept and compared.
//! Rule: nothing is left out. What observers are told is written out here, also where it is what insiders are told.

use tenure_engine::presence::{
    Change, Collision, Counts, Effects, Level, Observed, PathViewers, Shown, Viewer,
};
use tenure_engine::{SessionId, SessionRef};

use tenure_engine::presence::Activity;

/// Everything of a step, by sort, each in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recorded {
    pub(crate) changes: Vec<Changed>,
    pub(crate) collisions: Vec<Collided>,
    pub(crate) ended: Vec<(SessionId, String)>,
    pub(crate) alive: Vec<SessionRef>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) org: String,
    pub(crate) version: u64,
    pub(crate) path: String,
    pub(crate) total: u32,
    pub(crate) gone: Vec<String>,
    pub(crate) insiders: Told,
    pub(crate) observers: Option<Told>,
}

/// Counts, and who has come or changed.
pub(crate) type Told = (Counts, Vec<Row>);

/// A viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) activity: Activity,
    pub(crate) internal: bool,
    pub(crate) since: u64,
    pub(crate) sittings: u32,
    pub(crate) metadata: Vec<u8>,
}

/// A collision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collided {
    pub(crate) session: SessionId,
    pub(crate) path: String,
    pub(crate) level: Level,
    pub(crate) by: Vec<(String, String)>,
}

/// Those who are at a path, in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) total: u32,
    pub(crate) counts: Counts,
    pub(crate) viewers: Vec<Row>,
}

impl From<&Viewer<'_>> for Row {
    fn from(viewer: &Viewer<'_>) -> Self {
        Self {
            owner: viewer.owner.to_owned(),
            name: viewer.name.to_owned(),
            activity: viewer.activity,
            internal: viewer.internal,
            since: viewer.since.0,
            sittings: viewer.sittings,
            metadata: viewer.metadata.to_vec(),
        }
    }
}

impl From<&PathViewers<'_>> for Listed {
    fn from(listed: &PathViewers<'_>) -> Self {
        Self {
            path: listed.path.to_owned(),
            total: listed.total,
            counts: listed.counts,
            viewers: listed.viewers.iter().map(Row::from).collect(),
        }
    }
}

fn told(shown: &Shown<'_>) -> Told {
    (shown.counts, shown.up.iter().map(Row::from).collect())
}

impl Effects for Recorded {
    fn changed(&mut self, change: &Change<'_>) {
        let insiders = told(&change.insiders);
        let observers = match &change.observers {
            Observed::Same => Some(insiders.clone()),
            Observed::Other(shown) => {
                let observers = told(shown);
                assert_ne!(insiders, observers, "what is the same is told once");
                Some(observers)
            }
            Observed::Nothing => None,
        };
        self.changes.push(Changed {
            org: change.org.to_owned(),
            version: change.version,
            path: change.path.to_owned(),
            total: change.total,
            gone: change.gone.iter().map(ToString::to_string).collect(),
            insiders,
            observers,
        });
    }

    fn collision(&mut self, collision: &Collision<'_>) {
        let by = collision.by.iter();
        self.collisions.push(Collided {
            session: collision.session,
            path: collision.path.to_owned(),
            level: collision.level,
            by: by
                .map(|who| (who.owner.to_owned(), who.name.to_owned()))
                .collect(),
        });
    }

    fn ended(&mut self, session: SessionId, path: &str) {
        self.ended.push((session, path.to_owned()));
    }

    fn alive(&mut self, by: SessionRef) {
        self.alive.push(by);
    }
}
