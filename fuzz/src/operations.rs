//! Bytes to the operations of a history: each pair of bytes is the seed of one, which is drawn as the engine's own tests
//! draw theirs. So a fuzzer puts together what `engine/tests/history/random.rs` says can happen, and nothing is said twice.
//!
//! Whatever changes there changes what the bytes mean: a history worth keeping is kept as a script in
//! `engine/tests/scenarios/`, not as a file of a corpus.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::history::random;
use crate::history::world::Op;

/// Longer histories are not more surprising, only slower.
const OPERATIONS_MAX: usize = 150;

/// A history of the engine.
pub(crate) fn from_bytes(data: &[u8]) -> Vec<Op> {
    drawn_by(data, &random::history(2))
}

/// The first pair of bytes also opens the sessions that are there from the beginning; each other gives the last operation of
/// what it draws.
pub(crate) fn drawn_by<T>(data: &[u8], from: &impl Strategy<Value = Vec<T>>) -> Vec<T> {
    let mut operations = Vec::new();
    for seed in data.chunks_exact(2).take(OPERATIONS_MAX) {
        let mut drawn = draw(from, [seed[0], seed[1]]);
        if operations.is_empty() {
            operations = drawn;
        } else {
            operations.extend(drawn.pop());
        }
    }
    operations
}

fn draw<T>(from: &impl Strategy<Value = Vec<T>>, seed: [u8; 2]) -> Vec<T> {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&seed);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(
        Config {
            failure_persistence: None,
            ..Config::default()
        },
        rng,
    );
    from.new_tree(&mut runner)
        .expect("every operation can be drawn")
        .current()
}
