//! Bytes to a history of presence, lived by the machine and by its model: both must say the same, at every step.
//!
//! Histories, runs and the model are those of the engine's own tests, compiled in by their paths.

#[path = "../../engine/tests/presence/model.rs"]
mod model;
#[path = "../../engine/tests/presence/random.rs"]
mod random;
#[path = "../../engine/tests/presence/reader.rs"]
mod reader;
#[path = "../../engine/tests/presence/recorded.rs"]
mod recorded;
#[path = "../../engine/tests/presence/run.rs"]
#[expect(dead_code, reason = "the scenarios use more of it")]
mod run;
#[path = "../../engine/tests/presence/world.rs"]
mod world;

use crate::operations;

/// The bytes are what happens.
///
/// # Panics
/// When machine and model differ.
pub fn run(data: &[u8]) {
    let history = operations::drawn_by(data, &random::history(2));
    run::Run::new(run::SMALL).live(&history);
}
