//! Bytes to a history, lived by the engine and by the reference model: both must say the same, at every step.
//!
//! As `engine/tests/reference.rs` does with random histories; libFuzzer looks for those that reach code no other has.
//! A panic inside a step ends a fuzzer at once; `tests/corpus.rs` then tells the script that led there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tenure_engine::{Engine, Token};

use crate::history::world::World;
use crate::operations;
use crate::run::{self, Run};

/// The bytes are the operations of a history.
///
/// # Panics
/// When engine and model differ, or an invariant is broken.
pub fn run(data: &[u8]) {
    let history = operations::from_bytes(data);
    let mut run = Run::new();
    let lived = catch_unwind(AssertUnwindSafe(|| run.live(&history)));
    let why = lived.unwrap_or_else(|panic| Err(run::message(&*panic)));
    assert!(
        why.is_ok(),
        "{}\n{}",
        run.script.join("\n"),
        why.unwrap_err()
    );
}

/// The state that a history leads to: the seeds of the target `snapshot`.
#[must_use]
pub fn snapshot_after(data: &[u8]) -> Vec<u8> {
    let (mut engine, mut world) = (Engine::new(Token(1)), World::default());
    for operation in operations::from_bytes(data) {
        let due = engine.next_deadline().map(|due| due.0);
        let step = world.resolve(&operation, due);
        let (outcome, recorded) = step.apply(&mut engine);
        world.learn(&step.command, &outcome.reply, &recorded);
    }
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}
