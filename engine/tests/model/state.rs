//! What the model remembers: sessions, holds, waits. Plain data, no rule.
//!
//! Times are milliseconds of log time. Nothing here is derived from anything else here.

use tenure_engine::{
    Millis, Missed, Mode, OnDisconnect, ResumeKey, Role, SessionEnd, SessionId, SessionRef, Who,
};

/// Names a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lock {
    pub(crate) org: String,
    pub(crate) path: String,
}

impl Lock {
    pub(crate) fn new(org: &str, path: &str) -> Self {
        Self {
            org: org.to_owned(),
            path: path.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) org: String,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) metadata: Vec<u8>,
    pub(super) role: Role,
    pub(super) key: ResumeKey,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) attach: u32,
    pub(super) attached: bool,
    /// When a detached session that releases is over.
    pub(super) grace_until: Option<u64>,
    /// Opened, or renewed as a whole.
    pub(super) renewed: u64,
    /// Opened, resumed or renewed, or had a hold or a wait end.
    pub(super) last_active: u64,
    /// Ended, and still to be swept.
    pub(super) ended: Option<SessionEnd>,
    /// Losses and ends of waits, with when they were told.
    pub(super) memory: Vec<(u64, Missed)>,
}

impl Session {
    pub(super) fn current(&self) -> SessionRef {
        SessionRef {
            session: self.id,
            attach: tenure_engine::Attach(self.attach),
        }
    }

    pub(super) fn who(&self) -> Who {
        Who {
            owner: self.owner.as_str().into(),
            name: self.name.as_str().into(),
        }
    }

    pub(super) fn grace(&self) -> Option<Millis> {
        match self.on_disconnect {
            OnDisconnect::Release { grace } => Some(grace),
            OnDisconnect::Keep => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hold {
    /// Older holds have lower ones.
    pub(super) age: u64,
    pub(super) lock: Lock,
    pub(super) owner: String,
    pub(super) mode: Mode,
    pub(super) limit: Option<u32>,
    pub(super) token: u64,
    pub(super) ttl: u64,
    pub(super) deadline: u64,
    pub(super) since: u64,
    pub(super) since_wall: u64,
    pub(super) metadata: Vec<u8>,
    /// Never empty; in the order of joining.
    pub(super) members: Vec<Member>,
}

/// A session in a hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) session: SessionId,
    /// The last wait by which it was granted the hold.
    pub(super) by_wait: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wait {
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) org: String,
    pub(super) owner: String,
    /// One, unless it is an `acquire_all`.
    pub(super) items: Vec<Wanted>,
    pub(super) all: bool,
    /// Of each item: kinds may differ.
    pub(super) ttls: Vec<u64>,
    pub(super) deadline: u64,
    pub(super) since: u64,
    pub(super) note: Option<Note>,
    pub(super) metadata: Vec<u8>,
}

impl Wait {
    pub(super) fn locks(&self) -> Vec<Lock> {
        self.items
            .iter()
            .map(|item| Lock::new(&self.org, &item.path))
            .collect()
    }

    pub(super) fn is_on(&self, lock: &Lock) -> bool {
        self.org == lock.org && self.items.iter().any(|item| item.path == lock.path)
    }

    /// Of a wait that stands in a queue: the mode it waits for.
    pub(super) fn mode(&self) -> Mode {
        self.items[0].mode
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) mode: Mode,
    pub(super) limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) declined: bool,
}
