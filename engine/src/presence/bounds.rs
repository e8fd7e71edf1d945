//! How long, how often and how many. What a caller may choose is in [`Bounds`], the rest is constant.
//! Must hold: whatever may grow has a bound in here, and whoever comes to it an answer.

use crate::limits::IDLE_MAX;
use crate::time::Millis;

/// How long typing is shown without another word of it.
pub const TYPING: Millis = Millis::from_secs(6);

/// How often a client says that typing goes on; no oftener.
pub const TYPING_REFRESH: Millis = Millis::from_secs(3);

/// Changes at one path are gathered for so long, and told as one.
pub const GATHERED: Millis = Millis(100);

/// Owners that a change names at most, about: when so many have come, changed or gone, it is told at once.
pub const CHANGE_OWNERS_MAX: usize = 100;

/// Others that a collision names at most.
pub const COLLISION_BY_MAX: usize = 16;

/// A session without hold or wait is renewed for the sake of its presence when it has been idle for so long.
pub const RENEW_AFTER: Millis = Millis(IDLE_MAX.0 / 4);

/// The longest that [`Bounds::stale`] may be: a session is renewed before the engine ends it as idle, or was swept before.
pub const STALE_MAX: Millis = Millis(IDLE_MAX.0 - RENEW_AFTER.0);

/// What the caller may choose. The defaults are what a server has; tests have smaller ones, where they are met sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// A sitting without a sign of life for so long is swept. At most [`STALE_MAX`], which is not looked at here.
    pub stale: Millis,
    /// Viewers of a path that are listed, by arrival; of those beyond, the number alone is told.
    pub listed: usize,
    /// Collisions are told at a path of at most so many viewers. What a change there costs grows with this.
    pub colliding: usize,
    /// Viewers of one path.
    pub viewers: usize,
    /// Sittings of one viewer.
    pub sittings: usize,
    /// Paths of one session.
    pub paths: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            stale: Millis::from_secs(30 * 60),
            listed: 100,
            colliding: 100,
            viewers: 10_000,
            sittings: 64,
            paths: 1000,
        }
    }
}
