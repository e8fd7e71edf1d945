//! Presence held against a naive model that shares no code with it, over random histories, with the invariants checked
//! after every step; and what the rules of `docs/presence.md` say, one scenario a rule.
//!
//! `PROPTEST_CASES` says how many histories.

mod beside_the_engine;
mod model;
mod random;
mod reader;
mod recorded;
mod run;
mod scenarios;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use run::{Run, SMALL};
use tenure_engine::presence::{Level, Rejection, Reply};

fn config() -> ProptestConfig {
    let seeds = FileFailurePersistence::Direct("tests/presence.seeds");
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if given {
            ProptestConfig::default().cases
        } else {
            100
        },
        failure_persistence: Some(Box::new(seeds)),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn presence_does_what_the_rules_say(
        history in prop_oneof![3 => random::history(80), 1 => random::history(300)],
    ) {
        Run::new(SMALL).live(&history);
    }

    /// The hash maps of two machines stand in different orders; nothing of that shows.
    #[test]
    fn equal_histories_are_told_alike(history in random::history(150)) {
        let (mut one, mut other) = (Run::new(SMALL), Run::new(SMALL));
        one.live(&history);
        other.live(&history);
        prop_assert_eq!(one.lived, other.lived);
    }
}

/// A random test is worth what it meets: every answer, level and ending.
#[test]
fn random_histories_meet_everything() {
    let mut runner = TestRunner::deterministic();
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let history = random::history(150).new_tree(&mut runner);
        let mut run = Run::new(SMALL);
        run.live(&history.expect("a history").current());
        for (reply, told) in &run.lived {
            met.insert(format!("{reply:?}"));
            met.extend(
                told.collisions
                    .iter()
                    .map(|told| format!("{:?}", told.level)),
            );
            met.extend(told.ended.iter().map(|_| "ended".to_owned()));
            met.extend(told.alive.iter().map(|_| "alive".to_owned()));
            met.extend(told.changes.iter().map(|change| {
                let observers = match &change.observers {
                    None => "nothing",
                    Some(told) if *told == change.insiders => "the same",
                    Some(_) => "other",
                };
                format!("observers: {observers}")
            }));
        }
    }
    let rejections = [
        Rejection::UnknownSession,
        Rejection::NotAttached,
        Rejection::NotEntered,
        Rejection::TooManyPaths,
        Rejection::TooManySittings,
        Rejection::TooManyViewers,
    ];
    let levels = [Level::None, Level::Viewing, Level::Typing, Level::Editing];
    let mut expected: Vec<String> = rejections
        .iter()
        .map(|rejection| format!("{:?}", Reply::Rejected(*rejection)))
        .collect();
    for level in levels {
        expected.push(format!("{level:?}"));
        expected.push(format!("{:?}", Reply::Updated { level }));
    }
    expected.push(format!("{:?}", Reply::Left { last: true }));
    expected.push(format!("{:?}", Reply::Left { last: false }));
    let words = [
        "ended",
        "alive",
        "observers: nothing",
        "observers: the same",
        "observers: other",
    ];
    expected.extend(words.map(str::to_owned));
    expected.retain(|wanted| !met.contains(wanted));
    assert_eq!(expected, [""; 0], "never met");
}
