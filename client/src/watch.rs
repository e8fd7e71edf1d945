//! A view of a hold: what it is held as, for how long at least, and when it is over.
//!
//! Reads the cell that the ledger writes. Rule: nothing here says that a lock is held for longer than the server has
//! promised, counted from the sending of what it answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::standing::{HoldCell, HoldState};
use crate::types::{Loss, Mode};

/// What a lock is held as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HeldAs {
    /// The fencing token.
    pub token: u64,
    /// The mode.
    pub mode: Mode,
}

/// A watch over a hold that does not keep it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HoldWatch {
    cell: Arc<HoldCell>,
}

impl HoldWatch {
    pub(crate) const fn new(cell: Arc<HoldCell>) -> Self {
        Self { cell }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.cell.path
    }

    /// Token and mode; `None` when the hold is over.
    #[must_use]
    pub fn held_as(&self) -> Option<HeldAs> {
        held_as(&self.cell)
    }

    /// As [`LockGuard::remaining`](crate::LockGuard::remaining).
    #[must_use]
    pub fn remaining(&self) -> Duration {
        remaining(&self.cell)
    }

    /// As [`LockGuard::ttl`](crate::LockGuard::ttl).
    #[must_use]
    pub fn ttl(&self) -> Duration {
        ttl(&self.cell)
    }

    /// As [`LockGuard::is_held`](crate::LockGuard::is_held).
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// Waits until the hold is over: how it was lost, or `None` when its guards let it go. Cancel-safe.
    pub async fn ended(&self) -> Option<Loss> {
        self.cell
            .until(|state| match state {
                HoldState::Held(_) => None,
                HoldState::Lost(loss) => Some(Some(loss.clone())),
                HoldState::Released => Some(None),
            })
            .await
    }
}

pub(crate) fn held_as(cell: &HoldCell) -> Option<HeldAs> {
    cell.lease().map(|lease| HeldAs {
        token: lease.token,
        mode: lease.mode,
    })
}

pub(crate) fn ttl(cell: &HoldCell) -> Duration {
    cell.lease().map_or(Duration::ZERO, |lease| lease.ttl)
}

pub(crate) fn remaining(cell: &HoldCell) -> Duration {
    cell.lease().map_or(Duration::ZERO, |lease| {
        lease
            .reliable_until()
            .saturating_duration_since(Instant::now())
    })
}
