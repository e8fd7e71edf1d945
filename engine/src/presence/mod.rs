//! Presence: who is at which path, and what they do there. The second machine, beside the lock engine and of its manners.
//!
//! [`Presence::apply`] takes one [`Command`] and answers; consequences go to [`Effects`]. It knows no clock, socket, disk,
//! runtime, shard or wire. It sees the lock engine through [`Sight`] alone, and the engine does not see it. The rules it
//! implements are those of `docs/presence.md`.
//!
//! It is never in history: nothing of it is kept, and whoever is somewhere says so again after a restart. Total, bounded,
//! deterministic: equal commands with equal sights give equal answers, and no order of a hash map shows.

mod bounds;
mod collisions;
mod command;
mod effects;
mod entering;
mod gathering;
mod invariants;
mod keys;
mod machine;
mod query;
mod reading;
mod reply;
mod sight;
mod sitters;
mod step;
mod sweep;
mod telling;
mod viewer;

pub use bounds::*;
pub use command::*;
pub use effects::*;
pub use machine::Presence;
pub use query::*;
pub use reply::*;
pub use sight::*;
