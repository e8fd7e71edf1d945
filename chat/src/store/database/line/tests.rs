//! The line, with acts on a table of their own: who commits when, and who is told what.
//!
//! Knows no chat. What is committed is what another connection sees.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Executor as _, Row as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{ACTS_MAX, Act, Line, Turn};

/// Long enough for whatever does not wait.
const SOON: Duration = Duration::from_millis(300);

/// A line, and somebody who sees what is committed.
struct World {
    line: Line,
    reader: SqliteConnection,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteConnectOptions::new()
            .filename(folder.path().join("line.db"))
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut reader = file.connect().await.unwrap();
        // A number that refers to another is looked at when it is committed, and not before.
        let table = "CREATE TABLE numbers (number INTEGER PRIMARY KEY, \
                     other INTEGER REFERENCES numbers (number) DEFERRABLE INITIALLY DEFERRED)";
        reader.execute(table).await.unwrap();
        Self {
            line: Line::new(file, Duration::from_secs(5)),
            reader,
            _folder: folder,
        }
    }

    async fn act(&self) -> Act {
        self.line.begin(Turn::InLine).await.unwrap()
    }

    async fn committed(&mut self) -> Vec<i64> {
        let all = "SELECT number FROM numbers ORDER BY number";
        let rows = self.reader.fetch_all(all).await.unwrap();
        rows.iter().map(|row| row.get("number")).collect()
    }
}

impl Act {
    async fn add(&mut self, number: i64, other: Option<i64>) -> sqlx::Result<()> {
        let add = sqlx::query("INSERT INTO numbers VALUES ($1, $2)");
        let add = add.bind(number).bind(other);
        self.connection()?.execute(add).await.map(|_| ())
    }
}

fn ending(
    end: impl Future<Output = sqlx::Result<()>> + Send + 'static,
) -> JoinHandle<sqlx::Result<()>> {
    tokio::spawn(end)
}

#[tokio::test]
async fn whoever_is_done_hears_so_when_it_is_committed() {
    let mut world = World::new().await;
    let mut first = world.act().await;
    first.add(1, None).await.unwrap();
    let mut kept = ending(first.keep());
    let mut second = world.act().await;
    second.add(2, None).await.unwrap();
    assert!(timeout(SOON, &mut kept).await.is_err(), "before its commit");
    assert!(world.committed().await.is_empty());
    second.keep().await.unwrap();
    kept.await.unwrap().unwrap();
    assert_eq!(world.committed().await, [1, 2]);
}

#[tokio::test]
async fn whoever_leaves_hears_so_when_what_they_saw_is_committed() {
    let mut world = World::new().await;
    let mut first = world.act().await;
    first.add(1, None).await.unwrap();
    // They stand in line before the first comes back there to commit.
    let (line, mut second) = (&world.line, Box::pin(world.line.begin(Turn::InLine)));
    assert!(timeout(SOON, &mut second).await.is_err());
    let mut third = Box::pin(line.begin(Turn::InLine));
    assert!(timeout(SOON, &mut third).await.is_err());
    let kept = ending(first.keep());
    let mut second = second.await.unwrap();
    second.add(2, None).await.unwrap();
    let mut left = ending(second.leave());
    let third = third.await.unwrap();
    assert!(timeout(SOON, &mut left).await.is_err(), "it has seen 1");
    assert!(world.committed().await.is_empty());
    third.leave().await.unwrap();
    left.await.unwrap().unwrap();
    kept.await.unwrap().unwrap();
    assert_eq!(world.committed().await, [1], "what was left is undone");
}

#[tokio::test]
async fn an_act_fails_alone() {
    let mut world = World::new().await;
    let mut first = world.act().await;
    first.add(1, None).await.unwrap();
    let kept = ending(first.keep());
    let mut second = world.act().await;
    second.add(2, None).await.unwrap();
    second.add(1, None).await.unwrap_err();
    drop(second);
    let mut third = world.act().await;
    third.add(3, None).await.unwrap();
    third.keep().await.unwrap();
    kept.await.unwrap().unwrap();
    assert_eq!(world.committed().await, [1, 3]);
}

#[tokio::test]
async fn a_commit_fails_for_all_and_the_next_goes_on() {
    let mut world = World::new().await;
    let mut first = world.act().await;
    first.add(1, None).await.unwrap();
    let kept = ending(first.keep());
    let mut second = world.act().await;
    second.add(2, Some(99)).await.unwrap();
    second.keep().await.unwrap_err();
    kept.await.unwrap().unwrap_err();
    assert!(world.committed().await.is_empty());
    let mut third = world.act().await;
    third.add(3, None).await.unwrap();
    third.keep().await.unwrap();
    assert_eq!(world.committed().await, [3]);
}

#[tokio::test]
async fn whoever_goes_away_is_undone_and_holds_up_nobody() {
    let mut world = World::new().await;
    for number in 0..50 {
        let line = &world.line;
        let goes_away = async {
            let mut act = line.begin(Turn::InLine).await.unwrap();
            act.add(number * 2, None).await.unwrap();
            act.keep().await.unwrap();
        };
        let stays = async {
            let mut act = line.begin(Turn::InLine).await.unwrap();
            act.add(number * 2 + 1, None).await.unwrap();
            act.keep().await.unwrap();
        };
        let patience = Duration::from_micros(fastrand::u64(0..1500));
        tokio::join!(async { drop(timeout(patience, goes_away).await) }, stays);
    }
    let committed = world.committed().await;
    let odd: Vec<i64> = (0..50).map(|number| number * 2 + 1).collect();
    let kept: Vec<i64> = committed.into_iter().filter(|n| n % 2 == 1).collect();
    assert_eq!(kept, odd);
    // Nothing is left open that another process would have to wait for.
    sleep(SOON).await;
    let exclusive = world.reader.execute("BEGIN EXCLUSIVE; ROLLBACK").await;
    exclusive.unwrap();
}

#[tokio::test]
async fn a_commit_has_a_bound() {
    let mut world = World::new().await;
    let mut ends = Vec::new();
    for number in 0..2 * ACTS_MAX as i64 {
        let mut act = world.line.begin(Turn::Ahead).await.unwrap();
        act.turn = Turn::InLine;
        act.add(number, None).await.unwrap();
        // Whoever comes to commit stands behind the next, who goes ahead.
        ends.push(ending(act.keep()));
    }
    for end in ends {
        end.await.unwrap().unwrap();
    }
    assert_eq!(world.committed().await.len(), 2 * ACTS_MAX);
}

#[tokio::test]
async fn whoever_goes_ahead_waits_for_one_at_most() {
    let world = World::new().await;
    let first = world.act().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut act = Box::pin(world.act());
        assert!(timeout(SOON / 10, &mut act).await.is_err());
        waiting.push(act);
    }
    let mut ahead = Box::pin(world.line.begin(Turn::Ahead));
    assert!(timeout(SOON / 10, &mut ahead).await.is_err());
    first.leave().await.unwrap();
    let second = waiting.remove(0).await;
    second.leave().await.unwrap();
    let mut ahead = timeout(SOON, ahead).await.unwrap().unwrap();
    ahead.add(1, None).await.unwrap();
    ahead.keep().await.unwrap();
}

#[tokio::test]
async fn after_the_end_there_is_none() {
    let mut world = World::new().await;
    let mut first = world.act().await;
    first.add(1, None).await.unwrap();
    let kept = ending(first.keep());
    world.line.close().await;
    kept.await.unwrap().unwrap();
    assert!(world.line.begin(Turn::InLine).await.is_err());
    assert_eq!(world.committed().await, [1]);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let mut world = World::new().await;
    world.line.patience = SOON;
    let _first = world.act().await;
    let late = world.line.begin(Turn::InLine).await;
    assert!(matches!(late, Err(sqlx::Error::PoolTimedOut)));
}
