//! Bounds of the machine itself. What an operator may change is in `policy.rs`; what is here is part of the behaviour,
//! so changing a number changes what a replay gives.

use crate::time::Millis;

/// Which histories replay alike. It rises whenever an entry comes to lead to another state or another number than before,
/// so that nobody replays a history under other rules than those it was lived by.
///
/// A debug build serves fewer at once, so what it lives no other replays, nor the other way.
pub const BEHAVIOUR: u32 = if cfg!(debug_assertions) { 1_000_002 } else { 2 };

/// Holds and waits that one entry ends at most when it sweeps; what is left counts as over and goes with the next entries.
pub const SWEEP_MAX: usize = 64;

/// Waits in queues whose turn one entry takes at most. Whoever is left has its turn with the next entries, first of all
/// with ticks, which are wanted at once. Not fewer than [`PAGE_MAX`]: so that a bulk release hands on each lock that it
/// frees. Tiny in debug builds, so that every small history of the tests meets it.
pub const SERVE_MAX: usize = if cfg!(debug_assertions) { 2 } else { 256 };

/// Locks that one page of a list, or one step of a bulk release, looks at.
pub const SCAN_MAX: usize = 4096;

/// Holds in one page of a list, or ended by one step of a bulk release.
pub const PAGE_MAX: usize = 256;

/// Paths in one `AcquireAll`.
pub const ACQUIRE_ALL_MAX: usize = 16;

/// Owners that share a lock at most, whatever its limit: what is told of one lock has to fit into one answer.
pub const SHARED_MAX: usize = 4096;

/// Holders that a truth names; the rest is counted.
pub const TRUTH_HOLDERS_MAX: usize = 16;

/// Losses that an attached session remembers. A detached one forgets none: it can lose no more than it had.
pub const LOSSES_MAX: usize = 1024;

/// How long an attached session remembers a loss.
pub const LOSS_KEPT: Millis = Millis::from_secs(15 * 60);

/// A session without hold or wait is ended after this long, unless it is renewed.
pub const IDLE_MAX: Millis = Millis::from_secs(60 * 60);

/// Least grace of the sessions that a restart has detached.
pub const RESTART_GRACE_MIN: Millis = Millis::from_secs(60);
