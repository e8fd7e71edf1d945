//! The reference model: the rules of `docs/locks.md`, read literally and written down a second time.
//!
//! It owns vectors and loops, recomputes everything at every step, and keeps no index, timer or
//! cache. It shares with the engine nothing but the vocabulary. It does not know how fast it is,
//! and must stay so simple that it can be compared with the rules line by line.
#![allow(dead_code, reason = "every test binary uses another part of the model")]

mod locks;
mod over;
mod queries;
mod sessions;
mod settle;
mod state;
mod telling;

use tenure_engine::limits::SERVE_MAX;
use tenure_engine::{
    Command, Entry, Event, LogTime, Millis, Notice, Policy, PolicyLayer, Rejection, Reply,
    SessionRef, Token,
};

use crate::history::{Effect, Recorded};
pub(crate) use state::Lock;
use state::{Hold, Session, Wait};

/// What one entry led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    pub(crate) changed: bool,
    /// In the order of telling. The rules fix it for each session, not between sessions.
    pub(crate) notices: Vec<(SessionRef, Notice)>,
    /// In the order of happening. The rules do not fix it.
    pub(crate) events: Vec<Event>,
}

impl Answered {
    /// As an engine's effects are recorded; notices and events in no order between them.
    pub(crate) fn recorded(&self) -> Recorded {
        let notices = self.notices.iter();
        let notices = notices.map(|(to, notice)| Effect::Notice(*to, notice.clone()));
        let events = self.events.iter().map(|event| Effect::Event(event.clone()));
        Recorded(events.chain(notices).collect())
    }
}

/// All that is remembered of a history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    now: u64,
    wall: u64,
    sessions: Vec<Session>,
    holds: Vec<Hold>,
    waits: Vec<Wait>,
    /// Locks whose queues are to be served further, in this order.
    unserved: Vec<Lock>,
    /// How many waits in queues may still have their turn in this step.
    turns_left: usize,
    layers: Vec<(Layered, PolicyLayer)>,
    next_session: u64,
    next_wait: u64,
    next_age: u64,
    next_token: u64,
    told: Vec<(SessionRef, Notice)>,
    happened: Vec<Event>,
}

/// Whose layer of policy.
#[derive(Debug, Clone, PartialEq)]
enum Layered {
    Server,
    Org(String),
    Kind(String, String),
}

impl Model {
    pub(crate) fn new(first_token: Token) -> Self {
        Self {
            now: 0,
            wall: 0,
            sessions: Vec::new(),
            holds: Vec::new(),
            waits: Vec::new(),
            unserved: Vec::new(),
            turns_left: SERVE_MAX,
            layers: Vec::new(),
            next_session: 1,
            next_wait: 1,
            next_age: 1,
            next_token: first_token.0,
            told: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// Takes one step. Rule 37: whatever leaves the state as it was leaves the time as it was.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>) -> Answered {
        let before = self.clone();
        self.now = self.now.max(entry.at.0);
        self.wall = entry.wall.0;
        let reply = self.step(entry);
        self.forget_swept();
        self.turns_left = SERVE_MAX;
        let notices = std::mem::take(&mut self.told);
        let events = std::mem::take(&mut self.happened);
        let changed = Self {
            now: before.now,
            wall: before.wall,
            ..self.clone()
        } != before;
        if !changed {
            *self = before;
        }
        Answered {
            reply,
            changed,
            notices,
            events,
        }
    }

    /// Log time of the last entry that changed something.
    pub(crate) fn now(&self) -> LogTime {
        LogTime(self.now)
    }

    /// Whether a queue is to be served further.
    pub(crate) fn is_behind(&self) -> bool {
        !self.unserved.is_empty()
    }

    fn step(&mut self, entry: &Entry<'_>) -> Reply {
        match *entry.command {
            Command::Started => self.started(),
            Command::Tick => self.tick(),
            Command::Configure { scope, layer, .. } => self.configure(scope, layer),
            Command::Settle { org, path } => {
                self.settle(&Lock::new(org, path));
                Reply::Done
            }
            Command::OpenSession(open) => self.open(&open),
            Command::ResumeSession(resume) => self.resume(&resume),
            Command::DetachSession(by) => self.detach(by),
            Command::RenewSession(by) => self.renew_session(by),
            Command::CloseSession(by) => self.close(by),
            Command::Acquire(acquire) => self.acquire(&acquire),
            Command::AcquireAll(acquire) => self.acquire_all(&acquire),
            Command::Renew(renew) => self.renew(&renew),
            Command::Release(release) => self.release(&release),
            Command::Cancel { by, wait } => self.cancel(by, wait),
            Command::Convert(convert) => self.convert(&convert),
            Command::HandOver { by, path, to } => self.hand_over(by, path, to),
            Command::Decline { by, path, to } => self.decline(by, path, to),
            Command::ForceRelease(force) => self.force_release(&force),
        }
    }

    fn configure(&mut self, scope: tenure_engine::Scope<'_>, layer: PolicyLayer) -> Reply {
        if layer.ttl_min == Some(Millis::ZERO) {
            return Reply::Rejected(Rejection::BadPolicy);
        }
        let scope = match scope {
            tenure_engine::Scope::Server => Layered::Server,
            tenure_engine::Scope::Org(org) => Layered::Org(org.to_owned()),
            tenure_engine::Scope::Kind { org, kind } => {
                Layered::Kind(org.to_owned(), kind.to_owned())
            }
        };
        if let Some(at) = self.layers.iter().position(|(of, _)| *of == scope) {
            if layer.is_empty() {
                self.layers.remove(at);
            } else {
                self.layers[at].1 = layer;
            }
        } else if !layer.is_empty() {
            self.layers.push((scope, layer));
        }
        Reply::Done
    }

    fn layer(&self, scope: &Layered) -> PolicyLayer {
        let layer = self.layers.iter().find(|(of, _)| of == scope);
        layer.map(|(_, layer)| *layer).unwrap_or_default()
    }

    /// What holds for the sessions and the number of holds of an org.
    fn org_policy(&self, org: &str) -> Policy {
        Policy::BUILT_IN
            .under(&self.layer(&Layered::Server))
            .under(&self.layer(&Layered::Org(org.to_owned())))
    }

    /// What holds for one kind of paths.
    fn kind_policy(&self, org: &str, kind: &str) -> Policy {
        let layer = self.layer(&Layered::Kind(org.to_owned(), kind.to_owned()));
        self.org_policy(org).under_kind(&layer)
    }

    /// What holds for one lock: its kind is the first segment of its path.
    fn lock_policy(&self, lock: &Lock) -> Policy {
        let kind = lock.path.split('/').next().unwrap_or_default();
        self.kind_policy(&lock.org, kind)
    }
}
