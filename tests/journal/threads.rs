//! The journal with its threads, over a real folder: group commit under many appenders, what survives a close, and what
//! the first failure does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tempfile::TempDir;
use tenure::audit::Trail;
use tenure::journal::{
    Appender, Directory, Durability, Hooks, Inspected, Journal, Lived, Mark, Options, bytes_max,
    go_on, inspect, recover, verify,
};
use tenure_engine::{Command, Discard, Engine, Entry, LogTime, Token, WallTime};

use crate::faulty::Faulty;
use crate::history::Owned;
use crate::life::open;

pub(crate) const SHARDS: u32 = 4;

type Shards = Vec<(Engine, Appender)>;

fn quiet() -> Hooks {
    Hooks {
        on_durable: Box::new(|_| {}),
        on_failure: Box::new(|error| panic!("the disk works: {error}")),
    }
}

fn start(directory: Directory, durability: Durability, hooks: Hooks) -> (Journal, Shards) {
    let mut recovered = recover(&directory, go_on).unwrap();
    let options = Options {
        durability,
        segment_bytes: 256 * 1024,
    };
    let first = (Token(1), WallTime(0));
    let (journal, appenders) =
        Journal::start(directory, &mut recovered, first, options, hooks).unwrap();
    let engines = recovered.shards.into_iter().map(|shard| shard.engine);
    (journal, engines.zip(appenders).collect())
}

fn live(engine: &mut Engine, appender: &mut Appender, command: &Owned) -> Option<Mark> {
    command.lend(|command: Command<'_>| {
        appender
            .begin(bytes_max(&command), engine.next_token())
            .ok()?;
        let (at, wall) = (LogTime(1), WallTime(1));
        if engine
            .apply(
                &Entry {
                    at,
                    wall,
                    command: &command,
                },
                &mut Discard,
            )
            .changed
        {
            appender.keep(&command);
        }
        Some(appender.finish(engine.now(), wall, engine.next_token()))
    })
}

/// Leaves a directory with a few records in two blocks or more, as a kill would.
pub(crate) fn keep_a_few(folder: &std::path::Path) {
    let directory = Directory::open(folder, SHARDS).unwrap();
    let (journal, mut shards) = start(directory, Durability::Always, quiet());
    for owner in ["ann", "bob", "cleo"] {
        let (engine, appender) = &mut shards[2];
        let mark = live(engine, appender, &open(owner)).unwrap();
        journal.intake().wait_for(mark);
    }
    journal.close(None).unwrap();
}

fn digests(shards: &Shards) -> Vec<u64> {
    shards.iter().map(|(engine, _)| engine.digest()).collect()
}

/// Each shard on a thread of its own, until each has lived so many commands.
fn live_together(journal: &Journal, shards: Shards, commands: u64) -> Shards {
    std::thread::scope(|scope| {
        let threads: Vec<_> = shards
            .into_iter()
            .map(|(mut engine, mut appender)| {
                scope.spawn(move || {
                    for number in 0..commands {
                        let command = open(&format!("owner-{number}"));
                        while live(&mut engine, &mut appender, &command).is_none() {
                            std::thread::yield_now();
                        }
                        if number % 16 == 0 {
                            journal.intake().wait_for(appender.last());
                        }
                    }
                    (engine, appender)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn what_many_appended_comes_back_after_a_kill_and_after_a_close() {
    for durability in [
        Durability::Always,
        Durability::Interval(Duration::from_millis(50)),
    ] {
        let folder = TempDir::new().unwrap();
        let directory = Directory::open(folder.path(), SHARDS).unwrap();
        let (journal, shards) = start(directory, durability, quiet());
        let shards = live_together(&journal, shards, 2000);
        let last = shards
            .iter()
            .map(|(_, appender)| appender.last())
            .max()
            .unwrap();
        journal.intake().wait_for(last);
        let lived = digests(&shards);

        let report = verify(folder.path(), |_| {}).unwrap();
        let found: Vec<_> = report.shards.iter().map(|shard| shard.digest).collect();
        assert_eq!(
            (found, report.torn),
            (lived.clone(), None),
            "as a kill would leave it"
        );

        let ended = shards.into_iter().map(|(engine, appender)| Lived {
            engine,
            trail: Trail::default(),
            appender,
        });
        journal.close(Some((ended.collect(), LogTime(77)))).unwrap();
        let report = verify(folder.path(), |_| {}).unwrap();
        let found: Vec<_> = report.shards.iter().map(|shard| shard.digest).collect();
        assert_eq!(
            (found, report.progress.records, report.log_time),
            (lived.clone(), 0, 77)
        );

        let directory = Directory::open(folder.path(), SHARDS).unwrap();
        let (journal, shards) = start(directory, durability, quiet());
        let shards = live_together(&journal, shards, 10);
        assert_ne!(digests(&shards), lived);
        journal.close(None).unwrap();
        let report = verify(folder.path(), |_| {}).unwrap();
        let found: Vec<_> = report.shards.iter().map(|shard| shard.digest).collect();
        assert_eq!(found, digests(&shards));
    }
}

#[test]
fn segments_are_dropped_while_the_journal_is_written() {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path(), SHARDS).unwrap();
    let (journal, mut shards) = start(directory, Durability::Always, quiet());
    let began = Instant::now();
    let (engine, appender) = &mut shards[0];
    live(engine, appender, &open("ann")).unwrap();
    let is_compacted = || {
        fs_names(&folder)
            .iter()
            .any(|name| name.starts_with("snapshot-00000"))
    };
    while !is_compacted() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            fs_names(&folder)
        );
        if let Ok(mark) = appender.mark_time(LogTime(2), WallTime(2)) {
            journal.intake().wait_for(mark);
        }
    }
    let before = digests(&shards);
    journal.close(None).unwrap();
    let report = verify(folder.path(), |_| {}).unwrap();
    assert_eq!(
        report
            .shards
            .iter()
            .map(|shard| shard.digest)
            .collect::<Vec<_>>(),
        before
    );
    assert_eq!(report.log_time, 2);
    assert!(!fs_names(&folder).contains(&tenure::journal::segment_name(1)));
}

fn fs_names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A mark that has been reached is told once, and every waiter finds it reached.
#[test]
fn whoever_waits_is_told() {
    let told = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&told);
    let hooks = Hooks {
        on_durable: Box::new(move |mark| {
            let before = seen.swap(mark.0, Ordering::SeqCst);
            assert!(before < mark.0, "marks rise");
        }),
        ..quiet()
    };
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path(), SHARDS).unwrap();
    let (journal, mut shards) = start(directory, Durability::Always, hooks);
    let (engine, appender) = &mut shards[0];
    let mark = live(engine, appender, &open("ann")).unwrap();
    journal.intake().wait_for(mark);
    assert!(journal.intake().is_safe(mark));
    assert_eq!(
        live(engine, appender, &Owned::Tick),
        Some(mark),
        "what changes nothing has nothing to wait for"
    );
    journal.close(None).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), mark.0);
}

/// The first failed sync is the last thing that the journal does, and nothing is said to be on disk because of it.
#[test]
fn a_failed_sync_ends_it() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&failures);
    let hooks = Hooks {
        on_failure: Box::new(move |error| seen.lock().push(error.to_string())),
        ..quiet()
    };
    let disk = Faulty::default();
    let directory = Directory::on(Arc::new(disk.clone()), SHARDS).unwrap();
    let (journal, mut shards) = start(directory, Durability::Always, hooks);
    let (engine, appender) = &mut shards[0];
    let before = journal.intake().durable();
    disk.fail_after(2);
    let mark = live(engine, appender, &open("ann")).unwrap();
    let began = Instant::now();
    while failures.lock().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(journal.intake().durable(), before);
    assert!(!journal.intake().is_safe(mark));
    journal.close(Some((Vec::new(), LogTime(0)))).unwrap();
    assert_eq!(failures.lock().len(), 1, "it is said once");
}

#[test]
fn a_file_tells_what_is_in_it() {
    let folder = TempDir::new().unwrap();
    let directory = Directory::open(folder.path(), SHARDS).unwrap();
    let (journal, mut shards) = start(directory, Durability::Always, quiet());
    let (engine, appender) = &mut shards[2];
    live(engine, appender, &open("ann")).unwrap();
    journal.close(None).unwrap();
    let file = folder.path().join(tenure::journal::segment_name(1));
    let Inspected::Segment { records, .. } = inspect(&file).unwrap() else {
        panic!("a segment");
    };
    let last = records.last().unwrap();
    assert_eq!((last.shard, last.number, last.sequence), (2, 1, 4));
    assert!(
        last.commands[0].contains("ann") && last.commands[0].contains("ResumeKey(..)"),
        "{last:?}"
    );
}

/// Figures, by hand: `cargo test --release --test journal -- --ignored --nocapture figures`.
#[test]
#[ignore = "measures, and decides nothing"]
fn figures() {
    for (threads, every) in [(1, 1), (4, 1), (50, 1), (50, 16)] {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let directory = Directory::open(folder.path(), threads).unwrap();
        let mut recovered = recover(&directory, go_on).unwrap();
        let first = (Token(1), WallTime(0));
        let (journal, appenders) = Journal::start(
            directory,
            &mut recovered,
            first,
            Options::default(),
            quiet(),
        )
        .unwrap();
        let (count, syncs, began) = (
            20_000 / u64::from(threads),
            AtomicU64::new(0),
            Instant::now(),
        );
        std::thread::scope(|scope| {
            for mut appender in appenders {
                let (journal, syncs) = (&journal, &syncs);
                scope.spawn(move || {
                    for number in 0..count {
                        let command = open("somebody");
                        command.lend(|command| {
                            while appender.begin(bytes_max(&command), Token(1)).is_err() {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                            appender.keep(&command);
                        });
                        let mark = appender.finish(LogTime(1), WallTime(1), Token(1));
                        if number % every == 0 {
                            journal.intake().wait_for(mark);
                            syncs.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let rate = (count * u64::from(threads)) as f64 / began.elapsed().as_secs_f64();
        println!("{threads} appenders that wait for every {every}th record: {rate:.0} records/s");
        journal.close(None).unwrap();
    }
}
