//! What was acknowledged stays: a history replayed gives the same state, answers and bytes.
//!
//! Only the entries that changed something are kept; a snapshot stands for all before it.

use tenure_engine::{Discard, Engine, Token};

use crate::history::{Recorded, Step};
use tenure_engine::Outcome;

/// A history as it was lived.
pub(crate) struct Lived {
    pub(crate) engine: Engine,
    pub(crate) steps: Vec<Step>,
    pub(crate) answers: Vec<(Outcome, Recorded)>,
}

pub(crate) fn live(first_token: Token, steps: Vec<Step>) -> Lived {
    let mut engine = Engine::new(first_token);
    let answers = steps.iter().map(|step| step.apply(&mut engine)).collect();
    Lived {
        engine,
        steps,
        answers,
    }
}

pub(crate) fn snapshot(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}

pub(crate) fn same_state(one: &Engine, other: &Engine) {
    assert_eq!(one.now(), other.now());
    assert_eq!(one.digest(), other.digest());
    assert_eq!(snapshot(one), snapshot(other));
}

/// Replays what was kept: the entries that changed something.
pub(crate) fn replaying_what_changed_gives_the_same(lived: &Lived, first_token: Token) {
    let mut replayed = Engine::new(first_token);
    for (step, (lived, _)) in lived.steps.iter().zip(&lived.answers) {
        if lived.changed {
            let outcome = step.lend(|entry| replayed.apply(entry, &mut Discard));
            assert_eq!(outcome, *lived, "{step:?}");
        }
    }
    replayed.check();
    same_state(&lived.engine, &replayed);
}

/// Restores from a snapshot in the middle and lives the rest.
pub(crate) fn a_snapshot_stands_for_all_before(lived: &Lived, first_token: Token, middle: usize) {
    let mut engine = Engine::new(first_token);
    for step in &lived.steps[..middle] {
        step.apply(&mut engine);
    }
    let bytes = snapshot(&engine);
    let mut restored = Engine::restore(&bytes).expect("what was written can be read");
    restored.check();
    same_state(&engine, &restored);
    for (step, lived) in lived.steps.iter().zip(&lived.answers).skip(middle) {
        assert_eq!(step.apply(&mut restored), *lived, "{step:?}");
        restored.check();
    }
    same_state(&lived.engine, &restored);
}
