//! One lock: its holds, its queue, and what may happen to it. Knows no session, no time but the one it is told, no effects.
//!
//! ```text
//!            grant exclusive             grant shared
//!      +-------------------- free --------------------+
//!      v                      ^ ^                     v
//!  exclusive -- last end -----+ +---- last end --- shared <-+ grant, while the limit leaves room
//!      |                                              | |  |
//!      |  <-------------- upgrade (sole holder) ------+ +--+
//!      +----------------- downgrade (keeps its token) ->
//! ```
//!
//! Must hold: exclusive means one hold; shared means at most `limit` holds; one hold per owner; the queue ascends by wait
//! number; mode, limit and token are those of the phase, and mean nothing while nobody holds.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Mode;
use crate::ids::{SessionId, Token, WaitId};
use crate::keys::{HoldId, OrgKey};
use crate::limits::SHARED_MAX;
use crate::time::{LogTime, Millis, WallTime};

/// A path that somebody holds or awaits.
#[derive(Debug, Clone)]
pub(crate) struct Lock {
    pub(crate) org: OrgKey,
    pub(crate) path: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) token: Token,
    /// Oldest first.
    pub(crate) holds: Vec<Hold>,
    /// By number; upgrades are looked for first, wherever they stand.
    pub(crate) queue: VecDeque<Wait>,
    /// The waits for several locks that this one is among, by number.
    pub(crate) groups: Vec<WaitId>,
}

/// A granted lock of one owner.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) id: HoldId,
    pub(crate) owner: Arc<str>,
    /// Longest in it first. Never empty.
    pub(crate) members: Vec<Member>,
    /// How many of them are attached.
    pub(crate) attached: u32,
    /// Not to be read alone: a renewal of a member's session moves it too. See `Engine::hold_deadline`.
    pub(crate) deadline: LogTime,
    pub(crate) ttl: Millis,
    pub(crate) since: LogTime,
    pub(crate) since_wall: WallTime,
    pub(crate) metadata: Option<Arc<[u8]>>,
    /// When its timer comes up.
    pub(crate) armed: LogTime,
}

/// A session in a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) session: SessionId,
    /// The wait that brought it in, for a cancel that comes too late.
    pub(crate) from: Option<WaitId>,
}

/// An acquire that was promised an answer later.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) id: WaitId,
    pub(crate) session: SessionId,
    pub(crate) owner: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Millis,
    pub(crate) since: LogTime,
    pub(crate) deadline: LogTime,
    pub(crate) note: Option<Note>,
    pub(crate) metadata: Option<Arc<[u8]>>,
    /// When its timer comes up.
    pub(crate) armed: LogTime,
}

/// "May I have it?"
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: Arc<str>,
    pub(crate) declined: bool,
}

/// What stands between an owner and a grant, the queue aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The owner's hold is as strong as asked, or stronger.
    Joins(usize),
    /// The owner's shared hold is the only one.
    Upgrades(usize),
    /// The owner holds it shared, beside others.
    UpgradeBlocked,
    /// Nobody is in the way.
    Free,
    /// Others hold it.
    Held,
    /// The shared phase has another limit.
    LimitDiffers,
}

impl Lock {
    pub(crate) fn new(org: OrgKey, path: Arc<str>) -> Self {
        Self {
            org,
            path,
            mode: Mode::Shared,
            limit: None,
            token: Token(0),
            holds: Vec::new(),
            queue: VecDeque::new(),
            groups: Vec::new(),
        }
    }

    /// Whether nothing is left that makes it worth keeping.
    pub(crate) fn is_unused(&self) -> bool {
        self.holds.is_empty() && self.queue.is_empty() && self.groups.is_empty()
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Where the owner's hold stands.
    pub(crate) fn hold_of(&self, owner: &str) -> Option<usize> {
        self.holds.iter().position(|hold| &*hold.owner == owner)
    }

    /// Rules 13, 14 and 15, the queue aside.
    pub(crate) fn room_for(&self, owner: &str, mode: Mode, limit: Option<u32>) -> Room {
        if !self.is_held() {
            return Room::Free;
        }
        if let Some(own) = self.hold_of(owner) {
            return if self.mode >= mode {
                Room::Joins(own)
            } else if self.holds.len() == 1 {
                Room::Upgrades(own)
            } else {
                Room::UpgradeBlocked
            };
        }
        match (self.mode, mode) {
            (Mode::Exclusive, _) | (_, Mode::Exclusive) => Room::Held,
            (Mode::Shared, Mode::Shared) if self.limit != limit => Room::LimitDiffers,
            (Mode::Shared, Mode::Shared) => {
                let most = limit.map_or(SHARED_MAX, |limit| SHARED_MAX.min(limit as usize));
                let full = self.holds.len() >= most;
                if full { Room::Held } else { Room::Free }
            }
        }
    }

    /// Where a wait stands in the queue.
    pub(crate) fn wait_index(&self, wait: WaitId) -> Option<usize> {
        self.queue
            .binary_search_by_key(&wait, |queued| queued.id)
            .ok()
    }

    /// Whether the wait is for more than its owner holds already.
    pub(crate) fn is_upgrade(&self, wait: &Wait) -> bool {
        wait.mode == Mode::Exclusive
            && self.is_held()
            && self.mode == Mode::Shared
            && self.hold_of(&wait.owner).is_some()
    }

    /// Places of the queue in the order in which they are served: upgrades first, then by number.
    pub(crate) fn serving_order(&self) -> impl Iterator<Item = usize> + '_ {
        let upgrades_possible = self.is_held() && self.mode == Mode::Shared;
        let upgrades = (0..if upgrades_possible {
            self.queue.len()
        } else {
            0
        })
            .filter(|&index| self.is_upgrade(&self.queue[index]));
        let others = (0..self.queue.len())
            .filter(move |&index| !upgrades_possible || !self.is_upgrade(&self.queue[index]));
        upgrades.chain(others)
    }
}

impl Hold {
    pub(crate) fn member(&self, session: SessionId) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.session == session)
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.attached == 0
    }
}
