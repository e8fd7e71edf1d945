//! Engine and reference model, held against each other over random histories, and the invariants
//! of the locks checked after every entry.
//!
//! `PROPTEST_CASES` says how many histories. A history that fails is shrunk and printed as a
//! script; its seed is kept in `reference.seeds` and tried first the next time.

mod history;
mod invariants;
mod model;
mod run;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use history::random;
use history::world::{Op, World};
use model::Model;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use run::Run;
use tenure_engine::Token;

fn config() -> ProptestConfig {
    let seeds = FileFailurePersistence::Direct("tests/reference.seeds");
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if given {
            ProptestConfig::default().cases
        } else {
            150
        },
        failure_persistence: Some(Box::new(seeds)),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_does_what_the_rules_say(
        history in prop_oneof![
            3 => random::history(80),
            1 => random::history(400),
            2 => random::crowd(8),
        ]
        .prop_map(History),
        first_token in prop_oneof![9 => Just(Token(1)), 1 => Just(Token(Token::MAX.0 - 9))],
    ) {
        let mut run = Run::beginning_at(first_token);
        let lived = catch_unwind(AssertUnwindSafe(|| run.live(&history.0)));
        let why = lived.map_err(|panic| run::message(&*panic)).and_then(|lived| lived);
        prop_assert!(why.is_ok(), "{}\n{}", run.script.join("\n"), why.unwrap_err());
    }
}

/// A random history, shown as short as it can be: the script is told with the failure.
struct History(Vec<Op>);

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} operations, see the script above", self.0.len())
    }
}

/// A random test is worth what it meets: every sort of answer, notice, event and ending.
#[test]
fn random_histories_meet_everything() {
    let mut met: BTreeSet<String> = BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..300 {
        let (mut model, mut world) = (Model::new(Token(1)), World::default());
        let history = random::history(150).new_tree(&mut runner);
        for op in &history.expect("a history").current() {
            let step = world.resolve(op, model.earliest_over());
            let answered = step.lend(|entry| model.apply(entry));
            world.learn(&step.command, &answered.reply, &answered.recorded());
            met.extend(words(&format!("{:?}", answered.reply)));
            met.extend(
                answered
                    .notices
                    .iter()
                    .flat_map(|told| words(&format!("!{:?}", told.1))),
            );
            met.extend(
                answered
                    .events
                    .iter()
                    .flat_map(|event| words(&format!("*{:?}", event.what))),
            );
        }
    }
    let missing: Vec<&str> = TO_BE_MET
        .split_whitespace()
        .filter(|w| !met.contains(*w))
        .collect();
    assert_eq!(missing, [""; 0], "never met");
}

/// A crowd is worth what it waits for: that one step does not serve all of it. (In a release build one step does.)
#[test]
#[cfg_attr(
    not(debug_assertions),
    ignore = "one step serves many more than there are"
)]
fn random_crowds_are_more_than_one_step_serves() {
    let mut runner = TestRunner::deterministic();
    let mut behind = 0;
    for _ in 0..50 {
        let history = random::crowd(8).new_tree(&mut runner);
        let (mut model, mut world) = (Model::new(Token(1)), World::default());
        for op in &history.expect("a history").current() {
            let step = world.resolve(op, model.earliest_over());
            let answered = step.lend(|entry| model.apply(entry));
            world.learn(&step.command, &answered.reply, &answered.recorded());
            behind += usize::from(model.is_behind());
        }
    }
    assert!(behind >= 50, "{behind} steps in 50 histories");
}

/// Replies, reasons and causes; `!` a notice, `*` an event. Only the end of all tokens is left to
/// `scenarios/fencing.txt`.
const TO_BE_MET: &str = "
    Done Opened Resumed SessionRenewed Granted GrantedAll Queued Refused RefusedAll Released NotHeld
    Cancelled GrantedBefore HandedOver Forced Rejected
    Fresh Joined Converted Ended Left AlreadyExpired Waiting
    Held QueuedAhead LimitDiffers UpgradePending QueueFull RoleTooLow
    UnknownSession NotAttached UnknownWait NotGrantable BadItems TooManySessions TooManyHolds
    TooManySessionHolds TooManySessionWaits BadSeize BadLimit BadPolicy
    !Granted !Lost !Changed !Asked !Declined !WaitEnded !Moved !Closed
    *Granted *Converted *Ended *Orphaned *Adopted *Queued *WaitEnded
    *SessionOpened *SessionDetached *SessionResumed *SessionEnded
    Expired SessionClosed SessionLost Seized HandedTo
    TimedOut SessionEnded Detached Closed GraceOver LastHoldOver Idle";

/// The names of variants in what `Debug` writes.
fn words(debug: &str) -> Vec<String> {
    let words = debug.split(|c: char| !(c.is_ascii_alphanumeric() || c == '!' || c == '*'));
    let names = words.filter(|word| !word.is_empty());
    names.map(str::to_owned).collect()
}
