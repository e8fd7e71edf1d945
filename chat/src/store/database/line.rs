//! The connection of SQLite that writes, the line before it, and how acts that stand there share a commit.
//!
//! An act is a savepoint in a transaction that is begun by whoever finds none. Whoever is first done there goes back to the
//! end of the line, and commits for all when it gets to the head: alone it has waited for nobody, in a crowd one write to
//! the disk is for many. Rules: nobody is answered before that commit, nor who has changed nothing, since what they saw may
//! be undone with it; an act fails alone, a commit fails for all of its acts; no act is left half done, whoever goes away.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Error, Executor as _};
use tokio::runtime::Handle;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinError;
use tokio::time::timeout;

#[cfg(test)]
mod tests;

/// Acts of one commit at most; who comes later waits for the next.
const ACTS_MAX: usize = 256;

/// Undoes an act, and nothing else.
const UNDO: &str = "ROLLBACK TO act; RELEASE act";

/// See the file's header.
pub(super) struct Line {
    places: Places,
    patience: Duration,
}

/// Where one waits. Whoever stands in line has the end of it while waiting for the head, so who goes ahead has one before
/// them at most.
#[derive(Clone)]
struct Places {
    end: Arc<Mutex<()>>,
    head: Arc<Mutex<Writer>>,
}

/// How one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Like everybody.
    InLine,
    /// Ahead of the line, with a commit of its own: for the few that must not wait for as many as there are requests.
    Ahead,
}

/// Who is at the head of the line has this.
struct Writer {
    file: SqliteConnectOptions,
    /// None after it has failed: what was open is undone with it, and the next act opens another.
    connection: Option<SqliteConnection>,
    /// Whether a transaction is open.
    is_open: bool,
    /// Whether an act has begun and not ended.
    is_acting: bool,
    /// Whether the last act's savepoint is there still, to be kept.
    is_kept: bool,
    /// Acts that are done and wait for the commit.
    done: Vec<oneshot::Sender<Result<(), String>>>,
    is_closed: bool,
}

/// One act, from its beginning to [`keep`](Self::keep) or [`leave`](Self::leave). Dropping it undoes it.
pub(super) struct Act {
    /// Until it ends.
    writer: Option<OwnedMutexGuard<Writer>>,
    places: Places,
    turn: Turn,
}

/// How an act ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kept,
    Undone,
}

impl Places {
    /// The head of the line, when it is one's turn.
    async fn turn(&self, turn: Turn) -> OwnedMutexGuard<Writer> {
        let _end = match turn {
            Turn::InLine => Some(self.end.lock().await),
            Turn::Ahead => None,
        };
        Arc::clone(&self.head).lock_owned().await
    }
}

impl Line {
    /// A line before a connection of its own. Who waits for longer than `patience` is sent away.
    pub(super) fn new(file: SqliteConnectOptions, patience: Duration) -> Self {
        let writer = Writer {
            file,
            connection: None,
            is_open: false,
            is_acting: false,
            is_kept: false,
            done: Vec::new(),
            is_closed: false,
        };
        let places = Places {
            end: Arc::default(),
            head: Arc::new(Mutex::new(writer)),
        };
        Self { places, patience }
    }

    /// Waits in line, and begins.
    pub(super) async fn begin(&self, turn: Turn) -> sqlx::Result<Act> {
        let writer = timeout(self.patience, self.places.turn(turn)).await;
        let mut act = Act {
            writer: Some(writer.map_err(|_| Error::PoolTimedOut)?),
            places: self.places.clone(),
            turn,
        };
        // In a task, as whatever must not stop in the middle: whoever asks may go away at any moment.
        let begun = tokio::spawn(async move {
            if let Some(writer) = &mut act.writer {
                writer.begin().await?;
            }
            Ok(act)
        });
        begun.await.map_err(stopped)?
    }

    /// Ends what is open, and the connection.
    pub(super) async fn close(&self) {
        let mut writer = self.places.turn(Turn::InLine).await;
        if writer.is_acting {
            writer.fail("the database is being closed");
        }
        // Whoever waits for it is told by it.
        let _ = writer.commit().await;
        writer.is_closed = true;
        if let Some(connection) = writer.connection.take() {
            // Nothing is open, so nothing is lost.
            let _ = connection.close().await;
        }
    }
}

impl Act {
    /// Where its statements go.
    pub(super) fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let writer = self.writer.as_mut();
        let connection = writer.and_then(|writer| writer.connection.as_mut());
        connection.ok_or(Error::PoolClosed)
    }

    /// Ends it: what it did is on the disk when this returns.
    pub(super) async fn keep(self) -> sqlx::Result<()> {
        self.end(End::Kept).await
    }

    /// Ends it without a trace: what it saw is on the disk when this returns.
    pub(super) async fn leave(self) -> sqlx::Result<()> {
        self.end(End::Undone).await
    }

    async fn end(mut self, how: End) -> sqlx::Result<()> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let ended = tokio::spawn(end(writer, self.places.clone(), self.turn, how));
        ended.await.map_err(stopped)?
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        // Where no runtime is left the process ends, and so does the transaction.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(end(writer, self.places.clone(), self.turn, End::Undone));
        }
    }
}

async fn end(
    mut writer: OwnedMutexGuard<Writer>,
    places: Places,
    turn: Turn,
    how: End,
) -> sqlx::Result<()> {
    match how {
        // The next act, or the commit, does what has to be done.
        End::Kept => writer.is_kept = true,
        End::Undone => writer.run(UNDO).await?,
    }
    writer.is_acting = false;
    // Alone, what was undone has seen nothing but what was committed.
    let is_nothing = how == End::Undone && writer.done.is_empty();
    if is_nothing || turn == Turn::Ahead || writer.done.len() + 1 >= ACTS_MAX {
        return writer.commit().await;
    }
    let (told, mut outcome) = oneshot::channel();
    let is_first = writer.done.is_empty();
    writer.done.push(told);
    drop(writer);
    if is_first {
        let mut writer = places.turn(Turn::InLine).await;
        return match outcome.try_recv() {
            Ok(outcome) => as_told(outcome),
            Err(TryRecvError::Empty) => writer.commit().await,
            Err(TryRecvError::Closed) => Err(Error::PoolClosed),
        };
    }
    outcome.await.map_or(Err(Error::PoolClosed), as_told)
}

fn as_told(outcome: Result<(), String>) -> sqlx::Result<()> {
    outcome.map_err(Error::Protocol)
}

fn stopped(_: JoinError) -> Error {
    Error::WorkerCrashed
}

impl Writer {
    async fn begin(&mut self) -> sqlx::Result<()> {
        if self.is_closed {
            return Err(Error::PoolClosed);
        }
        if self.is_acting {
            // Its end was never seen: nobody knows what is open.
            self.fail("an act has stopped in the middle");
        }
        if self.connection.is_none() {
            self.connection = Some(self.file.connect().await?);
        }
        let begin = match (self.is_open, self.is_kept) {
            // Writing from the first moment on: what begins to read, and then writes, fails at once beside another process.
            (false, _) => "BEGIN IMMEDIATE; SAVEPOINT act",
            (true, false) => "SAVEPOINT act",
            (true, true) => "RELEASE act; SAVEPOINT act",
        };
        (self.is_open, self.is_kept, self.is_acting) = (true, false, true);
        self.run(begin).await
    }

    /// Commits what is open, and tells whoever waits for it.
    async fn commit(&mut self) -> sqlx::Result<()> {
        if self.is_open {
            self.run("COMMIT").await?;
            (self.is_open, self.is_kept) = (false, false);
        }
        for told in self.done.drain(..) {
            // Who has gone away need not hear it.
            let _ = told.send(Ok(()));
        }
        Ok(())
    }

    /// Does one of the statements around acts. If it fails, so does everything that is open.
    async fn run(&mut self, statement: &'static str) -> sqlx::Result<()> {
        let Some(connection) = &mut self.connection else {
            return Err(Error::PoolClosed);
        };
        let done = connection.execute(sqlx::query(statement)).await;
        if let Err(error) = &done {
            self.fail(&error.to_string());
        }
        done.map(|_| ())
    }

    /// Gives up the connection, and with it what is open.
    fn fail(&mut self, why: &str) {
        tracing::warn!(why, acts = self.done.len(), "a commit has failed");
        self.connection = None;
        (self.is_open, self.is_kept, self.is_acting) = (false, false, false);
        for told in self.done.drain(..) {
            let _ = told.send(Err(why.to_owned()));
        }
    }
}
