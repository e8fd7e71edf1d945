//! The vocabulary of reading. A query changes nothing and is never part of history.
//!
//! Whoever wants the exact truth of a path at this instant proposes `Command::Settle` first; a list leaves out what is
//! overdue.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Mode, Target};
use crate::ids::{SessionRef, Token, WaitId};
use crate::policy::{Policy, PolicyLayer};
use crate::reply::{Holder, Truth};
use crate::time::Millis;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query<'a> {
    /// The truth of one path. Answered with [`Answer::Status`].
    Status {
        /// The tenant.
        org: &'a str,
        /// The lock.
        path: &'a str,
    },
    /// Whether a token is the current one of a held lock. Answered with [`Answer::Checked`].
    Check {
        /// The tenant.
        org: &'a str,
        /// The lock.
        path: &'a str,
        /// The token.
        token: Token,
    },
    /// The holds of an org, by path. Answered with [`Answer::Page`].
    List(List<'a>),
    /// Where the waits of attached sessions stand on a path. Answered with [`Answer::Places`].
    Places {
        /// The tenant.
        org: &'a str,
        /// The lock.
        path: &'a str,
    },
    /// The policy in force. Answered with [`Answer::Policy`].
    Policy {
        /// The tenant.
        org: &'a str,
        /// First segment of the paths; `None` is the org's own.
        kind: Option<&'a str>,
    },
    /// How much there is of everything. Answered with [`Answer::Counts`].
    Counts,
}

/// Which holds of an org, from where, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    /// The tenant.
    pub org: &'a str,
    /// Which holds. (A dry run of a bulk release asks with the same target.)
    pub target: Target<'a>,
    /// Only holds of this mode.
    pub mode: Option<Mode>,
    /// Only holds that have been held at least so long.
    pub held_min: Millis,
    /// Goes on after this path: the cursor of the page before.
    pub after: Option<&'a str>,
    /// About so many holds; [`PAGE_MAX`](crate::limits::PAGE_MAX) bounds it. A lock with many holders is never cut in
    /// two, so a page may go beyond by its last lock's; of a lock with more than `PAGE_MAX`, the longest are listed.
    pub page: u32,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Truth),
    /// To [`Query::Check`].
    Checked {
        /// Whether the lock is held and the token is its.
        current: bool,
        /// The lock's token, if it is held.
        token: Option<Token>,
    },
    /// To [`Query::List`].
    Page {
        /// The holds, in path order.
        holds: Vec<ListedHold>,
        /// Where the next page begins; `None` when this is the last. A page may be empty and not the last.
        next: Option<Arc<str>>,
    },
    /// To [`Query::Places`], in order.
    Places(Vec<Place>),
    /// To [`Query::Policy`].
    Policy {
        /// What is in force.
        policy: Policy,
        /// What this scope itself overrides.
        layer: PolicyLayer,
    },
    /// To [`Query::Counts`].
    Counts(Counts),
}

/// One hold in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedHold {
    /// The lock.
    pub path: Arc<str>,
    /// How it is held.
    pub mode: Mode,
    /// Its token.
    pub token: Token,
    /// By whom.
    pub holder: Holder,
    /// Waits on the path.
    pub waiters: u32,
}

/// Where one wait stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose wait, through which attachment.
    pub to: SessionRef,
    /// Which wait.
    pub wait: WaitId,
    /// From 1.
    pub place: u32,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Orgs with a session, a hold or a policy.
    pub orgs: u64,
    /// Sessions, detached ones included.
    pub sessions: u64,
    /// Of them detached.
    pub sessions_detached: u64,
    /// Locks held or awaited.
    pub locks: u64,
    /// Holds.
    pub holds: u64,
    /// Of them without an attached session.
    pub holds_orphaned: u64,
    /// Waits.
    pub waits: u64,
}
