//! Crashes at every point, over a disk at its worst: nothing that was on disk is missing, the state is exactly what it
//! was, tokens rise. A seed that fails is named; `JOURNAL_SEED` lives it alone, `JOURNAL_SEEDS` says how many there are.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tenure::journal::{
    Directory, Durability, Full, JournalError, Options, Parts, compact, go_on, no_rest, recover,
};
use tenure_engine::{LogTime, Token, WallTime};

use crate::chance::Chance;
use crate::faulty::Faulty;
use crate::life::{Life, Met, SHARDS};

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match (number("JOURNAL_SEED"), number("JOURNAL_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(usual),
    }
}

fn each_seed(usual: u64, live: impl Fn(&mut Chance) -> Met) -> Met {
    let mut met = Met::default();
    for seed in seeds(usual) {
        // Shown when the test fails: the last one is the one.
        println!("JOURNAL_SEED={seed}");
        met += live(&mut Chance::of(seed));
    }
    println!("{met:?}");
    met
}

fn durability(chance: &mut Chance) -> Durability {
    match chance.below(2) {
        0 => Durability::Always,
        _ => Durability::Interval(Duration::from_secs(1)),
    }
}

/// Lives until the disk fails or there have been enough steps.
fn live(life: &mut Life, steps: u64, chance: &mut Chance) {
    for _ in 0..steps {
        if life.step(chance).is_err() || life.disk.has_failed() {
            return;
        }
    }
}

#[test]
fn what_was_on_disk_survives_every_crash() {
    let met = each_seed(16, |chance| {
        let mut life = Life::begin(Faulty::default(), durability(chance));
        for _ in 0..5 {
            life.disk.fail_after(20 + chance.below(400));
            live(&mut life, 200, chance);
            let disk = match chance.below(4) {
                0 => life.disk.after_a_kill(),
                _ => life.disk.after_a_crash(chance),
            };
            life = life.end().must_go_on(disk);
        }
        life.end().met
    });
    let alone = std::env::var_os("JOURNAL_SEED").is_some();
    let each = [met.torn, met.lost, met.segments, met.snapshots];
    assert!(alone || each.iter().all(|met| *met > 3), "{met:?}");
}

#[test]
fn a_crash_while_recovering_is_a_crash_like_any_other() {
    each_seed(16, |chance| {
        let mut life = Life::begin(Faulty::default(), durability(chance));
        live(&mut life, 150, chance);
        let mut disk = life.disk.after_a_crash(chance);
        let mut ended = life.end();
        for _ in 0..4 {
            let worse = disk.after_a_kill();
            worse.fail_after(1 + chance.below(60));
            ended = match ended.go_on(worse.clone()).map_err(|ended| *ended) {
                Ok(life) => life.end(),
                Err((again, JournalError::Io { .. })) => again,
                Err((_, error)) => panic!("a crash is no damage: {error}"),
            };
            disk = worse.after_a_crash(chance);
        }
        ended.must_go_on(disk).end().met
    });
}

#[test]
fn a_full_disk_is_refused_and_loses_nothing() {
    each_seed(16, |chance| {
        let mut life = Life::begin(Faulty::default(), durability(chance));
        live(&mut life, 50, chance);
        life.disk.has_room(Some(0));
        let before = life.refused;
        live(&mut life, 400, chance);
        assert!(life.refused > before, "what needs disk is refused");
        if chance.below(2) == 0 {
            let disk = life.disk.after_a_crash(chance);
            life = life.end().must_go_on(disk);
        }
        life.disk.has_room(None);
        live(&mut life, 50, chance);
        life.settle();
        let refused = life.refused;
        live(&mut life, 10, chance);
        assert_eq!(life.refused, refused, "there is room again");
        let disk = life.disk.after_a_crash(chance);
        life.end().must_go_on(disk).end().met
    });
}

/// Tokens are given out only below what is kept ahead on disk, so that what a crash loses cannot have had higher ones.
#[test]
fn tokens_beyond_what_is_kept_ahead_wait_for_the_disk() {
    const AHEAD: u64 = 1 << 22;
    let disk = Faulty::default();
    let directory = Directory::on(Arc::new(disk), 1).unwrap();
    let mut recovered = recover(&directory, go_on).unwrap();
    let options = Options {
        segment_bytes: 64 * 1024,
        ..Options::default()
    };
    let first = (Token(1000), WallTime(0));
    let mut parts = Parts::assemble(&directory, &mut recovered, first, options).unwrap();
    let appender = &mut parts.appenders[0];
    let half = Token(1000 + AHEAD / 2 + 1);
    appender.begin(0, half).unwrap();
    appender.finish(LogTime(0), WallTime(0), half);
    let end = Token(1000 + AHEAD);
    assert_eq!(
        appender.begin(0, end),
        Err(Full::Tokens),
        "more are not on disk yet"
    );
    parts.writer.write().unwrap();
    assert_eq!(
        appender.begin(0, end),
        Err(Full::Tokens),
        "written is not on disk"
    );
    parts.writer.sync().unwrap();
    assert_eq!(appender.begin(0, end), Ok(()));
    let kept = recover(&directory, go_on).unwrap().shards.remove(0);
    assert_eq!(kept.tokens_below, half.0 + AHEAD);
}

/// A snapshot may have its name in the cache alone when a process is killed. What it stands for may go only when that name
/// is on disk, at whichever point of a compaction the one process is killed, and at whichever of its recovery the next one
/// loses its power.
#[test]
fn what_replaces_a_file_is_on_disk_before_the_file_goes() {
    let mut chance = Chance::of(7);
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    while !has_snapshots_and_complete_segments(&life) {
        live(&mut life, 10, &mut chance);
        life.settle();
    }
    let (kept, end) = (life.disk.after_a_kill(), life.segment());
    let digests = digests(&kept).expect("what is on disk is sound");
    let mut crashes = 0;
    for operations in 1.. {
        let compacting = kept.after_a_kill();
        compacting.fail_after(operations);
        let is_compacted = compact(&compacting, SHARDS, end, &mut no_rest).is_ok();
        for left in 1.. {
            let mending = compacting.after_a_kill();
            mending.fail_after(left);
            let is_mended = mend(&mending).is_ok();
            for _ in 0..2 {
                crashes += 1;
                let found = self::digests(&mending.after_a_crash(&mut chance));
                let found = found.unwrap_or_else(|error| {
                    panic!("killed after {operations} operations, power lost after {left}: {error}")
                });
                assert_eq!(found, digests);
            }
            if is_mended {
                break;
            }
        }
        if is_compacted {
            break;
        }
    }
    assert!(crashes > 200, "{crashes} crashes");
}

fn has_snapshots_and_complete_segments(life: &Life) -> bool {
    let directory = Directory::on(Arc::new(life.disk.clone()), SHARDS).unwrap();
    let contents = directory.contents().unwrap();
    let complete = contents.segments.range(..life.segment()).count();
    complete >= 1 && contents.snapshots.len() == SHARDS as usize
}

fn mend(disk: &Faulty) -> Result<(), JournalError> {
    let directory = Directory::on(Arc::new(disk.clone()), SHARDS)?;
    recover(&directory, go_on)?.mend(&directory)
}

fn digests(disk: &Faulty) -> Result<Vec<u64>, JournalError> {
    let directory = Directory::on(Arc::new(disk.clone()), SHARDS)?;
    let recovered = recover(&directory, go_on)?;
    Ok(recovered
        .shards
        .iter()
        .map(|shard| shard.engine.digest())
        .collect())
}

/// Whoever does not want it any more gets it to stop at every point at which it can be, and finds everything as it was.
#[test]
fn a_recovery_is_stopped_where_it_is_told_how_far_it_is() {
    let mut chance = Chance::of(3);
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    live(&mut life, 200, &mut chance);
    life.settle();
    life.compact().expect("the disk works");
    live(&mut life, 200, &mut chance);
    life.settle();
    let disk = life.disk.after_a_kill();
    let expected = digests(&disk).expect("what is on disk is sound");
    let directory = Directory::on(Arc::new(disk.clone()), SHARDS).unwrap();
    let mut points = 0;
    loop {
        let mut left = points;
        let recovered = recover(&directory, |_| {
            left -= 1;
            if left < 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match recovered {
            Err(JournalError::Stopped) => points += 1,
            recovered => {
                recovered.unwrap();
                break;
            }
        }
    }
    assert!(points > i64::from(SHARDS) + 1, "{points} points");
    assert_eq!(digests(&disk).unwrap(), expected);
}

/// The disk's size follows what is held, not what was done.
#[test]
fn the_disk_stays_bounded() {
    let mut chance = Chance::of(1);
    let mut life = Life::begin(Faulty::default(), Durability::Always);
    for round in 0..40 {
        live(&mut life, 100, &mut chance);
        life.settle();
        life.compact().expect("the disk works");
        let bytes = life.disk.bytes();
        assert!(bytes < 256 * 1024, "{bytes} bytes after {round} rounds");
    }
}
