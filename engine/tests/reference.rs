//! Engine and reference model, held against each other over random histories, and the invariants
//! of the locks checked after every entry.
//!
//! `PROPTEST_CASES` says how many histories. A history that fails is shrunk and printed as a
//! script; its seed is kept in `reference.seeds` and tried first the next time.

mod history;
mod invariants;
mod model;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};

use history::random;
use history::world::Op;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use run::Run;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/reference.seeds"))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_the_rules_say(history in random::history(150).prop_map(History)) {
        let mut run = Run::new();
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
