//! What operators speak of: which holds, lists of them, what was ended and who did it, and the policy of an organisation.
//!
//! Owned, as everything in `types.rs`; `convert.rs` makes them from what comes over the wire.

use std::time::{Duration, SystemTime};

use crate::types::{Holder, Mode};

/// Which holds of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Those on one path.
    Path(String),
    /// Those on the paths that begin so.
    Prefix(String),
    /// Those of one owner.
    Owner(String),
    /// Those that one session is in, by its number.
    Session(u64),
    /// All.
    All,
}

impl Target {
    /// The holds on one path.
    pub fn path(path: impl Into<String>) -> Self {
        Self::Path(path.into())
    }

    /// The holds on the paths that begin so.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// The holds of one owner.
    pub fn owner(owner: impl Into<String>) -> Self {
        Self::Owner(owner.into())
    }
}

/// One hold in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedHold {
    /// The lock.
    pub path: String,
    /// How it is held.
    pub mode: Mode,
    /// Its fencing token.
    pub token: u64,
    /// By whom.
    pub holder: Holder,
    /// How many wait for the path.
    pub waiters: u32,
}

/// A hold that was ended by force, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedHold {
    /// The lock.
    pub path: String,
    /// Whose hold it was.
    pub owner: String,
    /// How people call them; may be empty.
    pub name: String,
    /// The fencing token it had.
    pub token: u64,
}

/// A privileged act, as the audit trail has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditedAct {
    /// Its number, above that of every act of the organisation before.
    pub number: u64,
    /// When, by the server's clock, for people to read.
    pub at: SystemTime,
    /// Who: the principal of the API key.
    pub principal: String,
    /// What was done.
    pub deed: Deed,
}

/// What was done by a privileged act.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deed {
    /// An operator has ended a hold.
    ForceRelease(AuditedLoss),
    /// A moderator has taken it.
    Seize(AuditedLoss),
    /// An admin has replaced a layer of policy.
    PolicySet {
        /// First segment of the paths that it is for; `None` is the organisation's own.
        kind: Option<String>,
        /// What it overrides from then on; an empty one has removed it.
        layer: PolicyLayer,
    },
}

/// A hold that was lost by a privileged act.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditedLoss {
    /// The lock.
    pub path: String,
    /// Whose hold it was.
    pub owner: String,
    /// The fencing token it had.
    pub token: u64,
    /// What was said.
    pub reason: String,
}

/// Whether a fencing token is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCheck {
    /// Whether the lock is held and the token is its.
    pub current: bool,
    /// The lock's token; `None` when it is free.
    pub token: Option<u64>,
}

/// One layer of policy: of an organisation, or of one kind of path within it. What is `None` leaves the layer below in
/// force. The layer of a kind may set `ttl_*` and `queue_max` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyLayer {
    /// TTL of a hold whose acquire names none.
    pub ttl_default: Option<Duration>,
    /// Shortest TTL; a shorter request gets this one.
    pub ttl_min: Option<Duration>,
    /// Longest TTL; a longer request gets this one.
    pub ttl_max: Option<Duration>,
    /// Waits on one path at most.
    pub queue_max: Option<u32>,
    /// Grace of a session that releases on disconnect and names none itself.
    pub grace: Option<Duration>,
    /// Whether a session that does not say releases (true) or keeps on disconnect.
    pub release_on_disconnect: Option<bool>,
    /// Sessions of one organisation at most.
    pub sessions_max: Option<u32>,
    /// Holds of one organisation at most.
    pub holds_max: Option<u32>,
    /// Holds of one session at most.
    pub session_holds_max: Option<u32>,
    /// Waits of one session at most.
    pub session_waits_max: Option<u32>,
}

/// A policy in force, all layers and defaults taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// TTL of a hold whose acquire names none.
    pub ttl_default: Duration,
    /// Shortest TTL.
    pub ttl_min: Duration,
    /// Longest TTL.
    pub ttl_max: Duration,
    /// Waits on one path at most.
    pub queue_max: u32,
    /// Grace of a session that releases on disconnect and names none itself.
    pub grace: Duration,
    /// Whether a session that does not say releases (true) or keeps on disconnect.
    pub release_on_disconnect: bool,
    /// Sessions of one organisation at most.
    pub sessions_max: u32,
    /// Holds of one organisation at most.
    pub holds_max: u32,
    /// Holds of one session at most.
    pub session_holds_max: u32,
    /// Waits of one session at most.
    pub session_waits_max: u32,
}

/// The policy that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyInForce {
    /// What is in force.
    pub policy: Policy,
    /// What the layer that was asked for overrides by itself.
    pub layer: PolicyLayer,
}
