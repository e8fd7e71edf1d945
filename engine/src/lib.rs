//! The lock engine of Tenure: who may hold what, for how long, and who is next. Beside it, in [`presence`], who is where.
//!
//! It is a pure machine. [`Engine::apply`] takes one [`Entry`] of history and answers; consequences go to [`Effects`].
//! It knows no clock, socket, disk, runtime, shard or wire: time, randomness and limits come in with the entries, so that
//! equal histories give equal states, equal answers and equal bytes. The rules it implements are those of `docs/locks.md`.
//!
//! What a caller may rely on:
//!
//! - **Total.** `apply` returns an answer, never an error, and does not panic on any input.
//! - **Changed or not.** [`Outcome::changed`] says whether the entry has to be kept. An entry that changed nothing left
//!   state, counters and time as they were.
//! - **Bounded.** A step ends a bounded number of holds; [`Engine::next_deadline`] says when more is to be swept, and
//!   [`Engine::prepare`] looks through what may be over, a bounded part at a time.
//! - **Ordered.** A loser's notice is emitted before the winner's grant.
//!
//! What is asked of a caller: apply the entries in one order; when `next_deadline` is due, `prepare` until it says that all
//! is ready, and propose `Tick`; propose `Settle` before a `Status` query that must be exact.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acquire;
mod acquire_all;
mod ahead;
mod arming;
mod begun;
mod command;
mod configuring;
mod crowd;
mod deadlines;
mod engine;
mod event;
mod held_locks;
mod holding;
mod ids;
mod invariants;
mod keys;
pub mod limits;
mod lock;
mod locks;
mod losses;
mod narrow;
mod nursery;
mod org;
mod path_order;
mod path_table;
mod policy;
pub mod presence;
mod query;
mod reading;
mod reply;
mod session;
mod sessions;
mod snapshot;
mod step;
mod sweep;
mod takeover;
mod time;
mod unserved;
mod wait_queue;

pub use command::*;
pub use engine::{Engine, Outcome};
pub use event::*;
pub use ids::*;
pub use policy::*;
pub use query::*;
pub use reply::*;
pub use snapshot::SnapshotError;
pub use time::*;
