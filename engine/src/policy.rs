//! What is allowed, per server, org and kind of path: layers of overrides over built-in defaults.
//!
//! Policies enter through history (`Command::Configure`), never from a configuration file that a replay would not see.

use crate::time::Millis;

/// What happens to a session's holds when its connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnDisconnect {
    /// The session ends, and its holds with it, unless it is resumed within the grace.
    Release {
        /// How long it may be resumed.
        grace: Millis,
    },
    /// The holds live by their TTL alone; the session ends with the last of them.
    Keep,
}

/// One layer of overrides; `None` leaves the layer below in force.
///
/// The layer of a kind decides `ttl_*` and `queue_max` alone; the rest belongs to an org or the server, because a session
/// spans kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PolicyLayer {
    /// TTL of a hold whose acquire names none.
    pub ttl_default: Option<Millis>,
    /// Shortest TTL; a shorter request gets this one.
    pub ttl_min: Option<Millis>,
    /// Longest TTL; a longer request gets this one.
    pub ttl_max: Option<Millis>,
    /// Waits on one path at most.
    pub queue_max: Option<u32>,
    /// Grace of a session that releases on disconnect and names none itself.
    pub grace: Option<Millis>,
    /// Whether a session that does not say releases (`true`) or keeps on disconnect.
    pub release_on_disconnect: Option<bool>,
    /// Sessions of one org at most.
    pub sessions_max: Option<u32>,
    /// Holds of one org at most.
    pub holds_max: Option<u32>,
    /// Holds of one session at most.
    pub session_holds_max: Option<u32>,
    /// Waits of one session at most.
    pub session_waits_max: Option<u32>,
}

impl PolicyLayer {
    /// Whether it may be put in place: no hold is over when it begins, as one would be with a shortest TTL of 0.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.ttl_min != Some(Millis::ZERO)
    }

    /// Whether the layer overrides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A policy in force: the built-in defaults under all the layers that apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// See [`PolicyLayer::ttl_default`].
    pub ttl_default: Millis,
    /// See [`PolicyLayer::ttl_min`].
    pub ttl_min: Millis,
    /// See [`PolicyLayer::ttl_max`].
    pub ttl_max: Millis,
    /// See [`PolicyLayer::queue_max`].
    pub queue_max: u32,
    /// See [`PolicyLayer::grace`].
    pub grace: Millis,
    /// See [`PolicyLayer::release_on_disconnect`].
    pub release_on_disconnect: bool,
    /// See [`PolicyLayer::sessions_max`].
    pub sessions_max: u32,
    /// See [`PolicyLayer::holds_max`].
    pub holds_max: u32,
    /// See [`PolicyLayer::session_holds_max`].
    pub session_holds_max: u32,
    /// See [`PolicyLayer::session_waits_max`].
    pub session_waits_max: u32,
}

impl Policy {
    /// What holds where nobody has said otherwise.
    pub const BUILT_IN: Self = Self {
        ttl_default: Millis::from_secs(5 * 60),
        ttl_min: Millis::from_secs(1),
        ttl_max: Millis::from_secs(24 * 60 * 60),
        queue_max: 10_000,
        grace: Millis::from_secs(10),
        release_on_disconnect: true,
        sessions_max: 1_000_000,
        holds_max: 10_000_000,
        session_holds_max: 10_000,
        session_waits_max: 1_000,
    };

    /// This policy under `layer`.
    #[must_use]
    pub fn under(self, layer: &PolicyLayer) -> Self {
        Self {
            grace: layer.grace.unwrap_or(self.grace),
            release_on_disconnect: layer
                .release_on_disconnect
                .unwrap_or(self.release_on_disconnect),
            sessions_max: layer.sessions_max.unwrap_or(self.sessions_max),
            holds_max: layer.holds_max.unwrap_or(self.holds_max),
            session_holds_max: layer.session_holds_max.unwrap_or(self.session_holds_max),
            session_waits_max: layer.session_waits_max.unwrap_or(self.session_waits_max),
            ..self.under_kind(layer)
        }
    }

    /// This policy under the layer of a kind, which decides about locks alone.
    #[must_use]
    pub fn under_kind(self, layer: &PolicyLayer) -> Self {
        Self {
            ttl_default: layer.ttl_default.unwrap_or(self.ttl_default),
            ttl_min: layer.ttl_min.unwrap_or(self.ttl_min),
            ttl_max: layer.ttl_max.unwrap_or(self.ttl_max),
            queue_max: layer.queue_max.unwrap_or(self.queue_max),
            ..self
        }
    }

    /// The TTL that a request gets: its own, else the default, brought within the bounds (the lower one wins).
    #[must_use]
    pub fn ttl(&self, requested: Option<Millis>) -> Millis {
        requested
            .unwrap_or(self.ttl_default)
            .min(self.ttl_max)
            .max(self.ttl_min)
    }
}
