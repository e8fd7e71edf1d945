//! Histories as large as those that servers live: tens of thousands of locks, sessions with thousands of holds, queues of
//! hundreds, all of which go at once. Many bounds of the engine are small where mistakes are looked for, so that small
//! histories meet them; here those that ship are met, and the small ones a hundred times over.
//!
//! No model can follow that far. Each step is taken by two engines, one of which was restored from a snapshot not long
//! ago, so that nothing in it lies as in the other; a ledger follows what is told, and `Engine::check` looks at the state.
//!
//! A seed that fails is named; `SCALE_SEED` lives it alone, `SCALE_SEEDS` says how many there are.

#[path = "../history/mod.rs"]
mod history;

mod acts;
mod chance;
mod ledger;
mod life;

use chance::Chance;
use life::Life;

/// By name, as the engine lists them.
pub(crate) const ORGS: [&str; 2] = ["acme", "beta"];

/// So many of the same happen at most. In a release build more locks than the largest bound in there, which is 64 K.
pub(crate) const MUCH: usize = if cfg!(debug_assertions) {
    1_500
} else {
    20_000
};
const VERY_MUCH: usize = if cfg!(debug_assertions) {
    4_000
} else {
    80_000
};

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match (number("SCALE_SEED"), number("SCALE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(usual),
    }
}

/// Whatever comes, much of it.
fn live(life: &mut Life) {
    let much = life.chance.size(MUCH);
    let sessions = life.sessions.len();
    match life.chance.below(20) {
        0..4 => life.fill(much),
        4..6 => life.let_go(much),
        6 => life.come_and_go(much),
        7 => life.queue(much.min(2_000)),
        8 => life.ask_for_all(much / 16 + 1),
        9 => life.renew(sessions),
        10 => life.close(much.min(sessions / 4)),
        11 => life.detach(much.min(sessions / 2)),
        12..14 => life.resume(sessions),
        14 => life.force(),
        15 if life.chance.once_in(3) => life.empty(),
        16 if life.chance.once_in(3) => life.start(),
        15..17 => life.open(much.min(200)),
        _ => {}
    }
    match life.chance.below(8) {
        0 => life.pass(5_000),
        1 => life.pass(10 * much as u64),
        2 => life.at += 6_000,
        3 => life.restore(),
        4 => life.agree(),
        _ => {}
    }
}

#[test]
fn whatever_happens_at_scale_is_what_was_told() {
    for seed in seeds(3) {
        // Shown when the test fails: the last one is the one.
        println!("SCALE_SEED={seed}");
        let mut life = Life::new(Chance::of(seed));
        life.allow_much();
        life.open(40);
        for _ in 0..60 {
            live(&mut life);
        }
        life.agree();
        life.replay();
        life.pass(48 * 3_600_000);
        life.agree();
        println!("{} locks at most", life.most);
    }
}

/// All that a sweep looks at together, and what is given back after it.
#[test]
fn very_many_are_over_at_once() {
    for seed in seeds(1) {
        println!("SCALE_SEED={seed}");
        let mut life = Life::new(Chance::of(seed));
        life.allow_much();
        life.open(300);
        for _ in 0..2 {
            while life.ledger.holds.len() < VERY_MUCH {
                life.fill(MUCH);
                life.let_go(MUCH / 16);
            }
            life.restore();
            life.renew(100);
            for _ in 0..6 {
                life.pass(1_000);
                life.come_and_go(100);
                live(&mut life);
            }
            life.agree();
        }
        life.pass(48 * 3_600_000);
        life.agree();
        assert!(life.ledger.holds.is_empty() && life.ledger.sessions.is_empty());
        life.open(20);
        life.fill(MUCH);
        life.agree();
        life.replay();
    }
}
