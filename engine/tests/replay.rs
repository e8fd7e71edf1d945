//! A history replayed, whole or from a snapshot, gives the same state, answers and bytes; and bytes
//! that are no snapshot are refused.
//!
//! The histories are those of `reference.rs`; here the engine is held against itself alone.

mod history;
mod invariants;
mod model;

use history::world::{Op, World};
use history::{Step, random};
use invariants::replay_equal::{self, Lived, live, snapshot};
use model::Model;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use tenure_engine::{Discard, Engine, LogTime, Token};

const FIRST_TOKEN: Token = Token(1 << 40);

fn config() -> ProptestConfig {
    let seeds = FileFailurePersistence::Direct("tests/replay.seeds");
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if given {
            ProptestConfig::default().cases
        } else {
            100
        },
        failure_persistence: Some(Box::new(seeds)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_changed_is_all_that_has_to_be_kept(ops in prop_oneof![random::history(150), random::crowd(8)]) {
        let lived = lived(&ops);
        replay_equal::replaying_what_changed_gives_the_same(&lived, FIRST_TOKEN);
    }

    #[test]
    fn a_snapshot_stands_for_all_that_came_before(ops in prop_oneof![random::history(100), random::crowd(6)], at in any::<Index>()) {
        let lived = lived(&ops);
        let middle = at.index(lived.steps.len());
        replay_equal::a_snapshot_stands_for_all_before(&lived, FIRST_TOKEN, middle);
    }

    #[test]
    fn a_truncated_snapshot_is_refused(ops in random::history(80), at in any::<Index>()) {
        let bytes = snapshot(&lived(&ops).engine);
        let cut = at.index(bytes.len());
        prop_assert!(Engine::restore(&bytes[..cut]).is_err(), "{cut} of {} bytes", bytes.len());
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_sound(
        ops in prop_oneof![2 => random::history(80), 1 => random::crowd(3)],
        damage in proptest::collection::vec((any::<Index>(), 0..8_u32), 1..4),
        rest in random::history(20),
    ) {
        let lived = lived(&ops);
        let mut bytes = snapshot(&lived.engine);
        for (at, bit) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(mut engine) = Engine::restore(&bytes) {
            engine.check();
            lives_on(&mut engine, &rest);
        }
    }

    #[test]
    fn noise_is_no_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(engine) = Engine::restore(&bytes) {
            engine.check();
        }
    }
}

/// A caller that may have lost a part of history goes on above the tokens of that part.
#[test]
fn tokens_that_were_left_out_stay_left_out() {
    let mut engine = small_state();
    let next = engine.next_token();
    engine.raise_tokens(Token(next.0 - 1));
    assert_eq!(engine.next_token(), next, "tokens only rise");
    engine.raise_tokens(Token(next.0 + 100));
    let restored = Engine::restore(&snapshot(&engine)).expect("a snapshot");
    assert_eq!(restored.next_token(), Token(next.0 + 100));
    engine.check();
}

/// Every byte of a small state, cut and damaged in turn.
#[test]
fn every_byte_of_a_snapshot_may_be_missing_or_wrong() {
    let bytes = snapshot(&small_state());
    for cut in 0..bytes.len() {
        assert!(
            Engine::restore(&bytes[..cut]).is_err(),
            "{cut} of {} bytes",
            bytes.len()
        );
    }
    for at in 0..bytes.len() {
        for wrong in [bytes[at] ^ 1, bytes[at] ^ 0x80, 0, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] = wrong;
            if let Ok(engine) = Engine::restore(&damaged) {
                engine.check();
            }
        }
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(
        Engine::restore(&longer).is_err(),
        "a snapshot ends where it ends"
    );
}

/// Lives a history, resolved by the model: what is due when is the same in any engine.
fn lived(ops: &[Op]) -> Lived {
    live(FIRST_TOKEN, steps(ops))
}

fn steps(ops: &[Op]) -> Vec<Step> {
    let mut model = Model::new(FIRST_TOKEN);
    let mut world = World::default();
    let mut steps = Vec::new();
    for op in ops {
        let step = world.resolve(op, model.earliest_over());
        let answered = step.lend(|entry| model.apply(entry));
        world.learn(&step.command, &answered.reply, &answered.recorded());
        steps.push(step);
    }
    steps
}

/// A state that came from damaged bytes and was taken for sound has to be one.
fn lives_on(engine: &mut Engine, rest: &[Op]) {
    for mut step in steps(rest) {
        step.at = step.at.saturating_add(engine.now().0);
        step.lend(|entry| engine.apply(entry, &mut Discard));
        engine.check();
        engine.next_deadline();
        invariants::View::of(engine, LogTime(step.at));
    }
}

fn small_state() -> Engine {
    let ops = {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        random::history(60)
            .new_tree(&mut runner)
            .expect("a history")
            .current()
    };
    lived(&ops).engine
}
