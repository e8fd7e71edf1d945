//! Who hears of what a shard decides: sessions where they are attached, listeners by their streams, waiters of their places,
//! presence, and the counters.
//!
//! Must hold: a session that has ended or is detached is reached nowhere.

use std::mem;
use std::sync::Arc;

use hashbrown::HashMap;
use tenure_engine::{Attach, SessionId, SessionRef, WaitId};
use tenure_protocol::Push;

use super::notes::Notes;
use super::presence::Aftermath;
use crate::homes::Home;
use crate::metrics::ShardCounters;
use crate::outbox::{Attachment, Outbox};
use crate::streams::Streams;

/// Paths whose waiters are told their places in one second, per shard.
const MOVED_MAX: usize = 1024;

/// See the file's header.
#[derive(Debug)]
pub(super) struct Hearers {
    pub(super) home: Home,
    /// Where the attached sessions are to be reached.
    pub(super) routes: HashMap<SessionId, Route>,
    pub(super) streams: Streams,
    pub(super) notes: Notes,
    pub(super) counters: ShardCounters,
    /// What presence has still to hear of; nothing between two steps.
    pub(super) aftermath: Vec<Aftermath>,
    /// The sessions that are reached nowhere from this step on; none between two steps.
    pub(super) gone: Vec<SessionId>,
    /// Queues in which somebody has moved up since their waiters were told.
    moved: HashMap<(Arc<str>, Arc<str>), ()>,
    /// The place that each waiter was told last.
    pub(super) places: HashMap<WaitId, u32>,
}

/// Where a session is reached.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) attach: Attach,
    pub(super) outbox: Arc<Outbox>,
}

impl Hearers {
    pub(super) fn new(home: Home, streams: Streams) -> Self {
        Self {
            home,
            routes: HashMap::new(),
            streams,
            notes: Notes::default(),
            counters: ShardCounters::default(),
            aftermath: Vec::new(),
            gone: Vec::new(),
            moved: HashMap::new(),
            places: HashMap::new(),
        }
    }

    // Sessions.

    /// A session has been attached to a connection: from here on it is reached there.
    pub(super) fn attach(&mut self, by: SessionRef, outbox: &Arc<Outbox>) {
        let SessionRef { session, attach } = by;
        outbox.note(Attachment::Made(self.home.to_wire(session.0), attach));
        let outbox = Arc::clone(outbox);
        self.routes.insert(session, Route { attach, outbox });
    }

    /// Tells a session, if it is still attached as it was.
    pub(super) fn tell(&mut self, to: SessionRef, push: &Push<'_>) {
        let route = self.routes.get(&to.session);
        if let Some(route) = route.filter(|route| route.attach == to.attach) {
            self.notes.push(&route.outbox, push);
        }
    }

    /// A step is over: finds out where those are reached for whom it has left something, and lets go of those who are
    /// reached nowhere any more.
    pub(super) fn end_step(&mut self) {
        if self.notes.has_unaddressed() {
            self.notes.address(&self.routes);
        }
        for session in self.gone.drain(..) {
            if let Some(route) = self.routes.remove(&session) {
                let gone = Attachment::Gone(self.home.to_wire(session.0));
                route.outbox.note(gone);
            }
        }
    }

    // Places.

    /// Somebody has moved up in a queue, or everybody.
    pub(super) fn queue_moved(&mut self, org: &str, path: &str) {
        if self.moved.len() < MOVED_MAX {
            self.moved.insert((Arc::from(org), Arc::from(path)), ());
        }
    }

    /// The queues that have moved since this was asked last.
    pub(super) fn moved(&mut self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> + use<> {
        mem::take(&mut self.moved).into_keys()
    }
}
