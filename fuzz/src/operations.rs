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

/// The first pair of bytes also opens the sessions that are there from the beginning.
pub(crate) fn from_bytes(data: &[u8]) -> Vec<Op> {
    let one_operation = random::history(2);
    let mut operations = Vec::new();
    for seed in data.chunks_exact(2).take(OPERATIONS_MAX) {
        let mut drawn = draw(&one_operation, [seed[0], seed[1]]);
        if operations.is_empty() {
            operations = drawn;
        } else {
            operations.extend(drawn.pop());
        }
    }
    operations
}

fn draw(from: &impl Strategy<Value = Vec<Op>>, seed: [u8; 2]) -> Vec<Op> {
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
