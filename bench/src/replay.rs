//! Replays who edited what and when, as a [`Trace`] tells it: real contention instead of random keys.
//!
//! ```text
//!  trace --> schedule (when each edit begins, how long it works) --> run (acquire, work, release) --> dialect --> server
//! ```
//!
//! What a trace does not say is a model, and stands in [`Schedule`]. Rule: time is the trace's own everywhere but in
//! `run`, which divides it by the speed.

mod git;
mod link;
mod run;
mod schedule;
mod trace;

pub use self::run::{Measured, Replay};
pub use self::schedule::{Model, Schedule};
pub use self::trace::{Edit, Trace};
