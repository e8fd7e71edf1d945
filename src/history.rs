//! How history goes on when the server starts, from nothing or from a data directory, and how it ends when it stops.
//!
//! Knows the journal as a whole and the shards as a whole, and neither's insides. Must hold: no shard lives before all that
//! was kept has been replayed, and nothing is kept any more when the journal is closed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tenure_engine::{Command, LogTime, Scope, Token, WallTime};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::Readiness;
use crate::clock::{Clock, unix_micros};
use crate::config::{Config, Durability};
use crate::error::ServerError;
use crate::gate::Gate;
use crate::journal::{
    self, Directory, Hooks, Journal, JournalError, Options, Progress, Recovered, SECTOR,
    end_process,
};
use crate::shards::{Beginning, Shards};

/// How often a recovery that takes long says how far it is.
const TOLD_EVERY_MS: u64 = 2_000;

/// A server that has been killed has its directory until the system has put away all that it had in memory. Whoever starts
/// at once waits for that so often, for so long each time.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Tokens begin at the Unix time in microseconds up to here, which leaves as many again.
const FIRST_TOKEN_MAX: u64 = Token::MAX.0 / 2;

/// All that is decided, and where it is kept.
pub(crate) struct History {
    pub(crate) shards: Arc<Shards>,
    journal: Option<Journal>,
}

/// Takes the data directory, if there is to be one. Waits for one before it that is about to end; a second server is told
/// then that it comes too late.
pub(crate) async fn open(config: &Config) -> Result<Option<Directory>, JournalError> {
    if config.durability == Durability::Memory {
        return Ok(None);
    }
    let shards = u32::try_from(config.shards).unwrap_or(u32::MAX);
    let mut tries = 0;
    let directory = loop {
        tries += 1;
        match Directory::open(&config.data, shards) {
            Err(error @ JournalError::InUse { .. }) if tries < TRIES => {
                if tries == 1 {
                    let seconds = (PAUSE * TRIES).as_secs();
                    info!(%error, "waiting {seconds} s at most for it to end");
                }
                tokio::time::sleep(PAUSE).await;
            }
            opened => break opened?,
        }
    };
    if directory.shards() != shards {
        info!(
            shards = directory.shards(),
            configured = shards,
            "the data directory keeps its number of shards"
        );
    }
    Ok(Some(directory))
}

impl History {
    /// Goes on from what the directory holds, or begins where there is none; `None` if `shutdown` was cancelled while it was
    /// read, by when nothing has been changed.
    pub(crate) async fn begin(
        directory: Option<Directory>,
        config: &Config,
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, ServerError> {
        let gate = Arc::new(Gate::new());
        let bounds = (config.keeping(), config.presence());
        let (beginning, clock, journal) = match directory {
            None => {
                let first = Token(unix_micros().min(Token::MAX.0));
                let beginning = Beginning::in_memory(config.shards, first);
                (beginning, Clock::from(LogTime::ZERO), None)
            }
            Some(directory) => {
                let (shutdown, gate) = (shutdown.clone(), Arc::clone(&gate));
                let told = (readiness.clone(), shutdown);
                let options = options(config);
                let recovering = spawn_blocking(move || recover(directory, options, &told, &gate));
                match recovering.await.expect("a recovery does not panic") {
                    Err(JournalError::Stopped) => {
                        info!("stopped while history was read");
                        return Ok(None);
                    }
                    recovered => recovered?,
                }
            }
        };
        let shards = Arc::new(Shards::new(beginning, clock, gate, bounds));
        let history = Self { shards, journal };
        history.configure(config)?;
        Ok(Some(history))
    }

    /// The first entries of every shard's run: what the operator has configured, and that a server leads. From here on
    /// the grace counts of sessions that the server before has had.
    fn configure(&self, config: &Config) -> Result<(), ServerError> {
        let configure = Command::Configure {
            scope: Scope::Server,
            layer: config.policy,
            principal: "configuration",
        };
        for home in self.shards.homes.all() {
            self.shards
                .propose(home.index, &[configure, Command::Started])?;
        }
        Ok(())
    }

    /// Ends it, when nobody asks for anything any more. The next start then has nothing to replay.
    pub(crate) async fn end(self) {
        let Some(journal) = self.journal else {
            return;
        };
        let engines = self.shards.close();
        let now = self.shards.clock.now();
        let closed = spawn_blocking(move || journal.close(Some((engines, now)))).await;
        match closed.expect("closing does not panic") {
            Ok(()) => info!("the journal is closed"),
            Err(error) => {
                warn!(%error, "no snapshots at the end; the next start replays the journal");
            }
        }
    }
}

fn options(config: &Config) -> Options {
    let durability = match config.durability {
        Durability::Interval => journal::Durability::Interval(journal::INTERVAL),
        Durability::Always | Durability::Memory => journal::Durability::Always,
    };
    let sector = SECTOR as u64;
    Options {
        durability,
        segment_bytes: config.segment_bytes.next_multiple_of(sector),
    }
}

/// Replays what was kept, and starts the journal.
fn recover(
    directory: Directory,
    options: Options,
    (readiness, shutdown): &(Readiness, CancellationToken),
    gate: &Arc<Gate>,
) -> Result<(Beginning, Clock, Option<Journal>), JournalError> {
    let mut telling = Telling::new(readiness);
    let mut recovered = journal::recover(&directory, |progress| {
        telling.tell(progress);
        if shutdown.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    telling.tell_end(&recovered);
    let clock = Clock::from(recovered.log_time);
    let first = unix_micros();
    // A directory that is lost, or an old one that is restored, must not lead to tokens that were given out before. Of a clock
    // that is far ahead nothing is believed: what is kept rises by itself.
    let first = if first < FIRST_TOKEN_MAX { first } else { 0 };
    let through = Arc::clone(gate);
    let hooks = Hooks {
        on_durable: Box::new(move |mark| through.reached(mark)),
        on_failure: Box::new(end_process),
    };
    let first: (Token, WallTime) = (Token(first), clock.stamp().wall);
    let (journal, appenders) = Journal::start(directory, &mut recovered, first, options, hooks)?;
    gate.reached(journal.intake().durable());
    let shards = recovered.shards.into_iter().zip(appenders);
    let beginning = Beginning::Kept {
        shards: shards
            .map(|(shard, appender)| shard.lives_on(appender))
            .collect(),
        holds_back: options.durability == journal::Durability::Always,
    };
    Ok((beginning, clock, Some(journal)))
}

/// Says how far a recovery is: to whoever asks whether the server is ready, and now and then in the log.
struct Telling<'r> {
    readiness: &'r Readiness,
    /// Begins with the recovery.
    clock: Clock,
    told_ms: u64,
}

impl<'r> Telling<'r> {
    fn new(readiness: &'r Readiness) -> Self {
        readiness.starting("reading the data directory");
        Self {
            readiness,
            clock: Clock::from(LogTime::ZERO),
            told_ms: 0,
        }
    }

    fn tell(&mut self, progress: Progress) {
        let Progress {
            records,
            bytes,
            segments,
            segments_left,
        } = progress;
        let elapsed_ms = self.clock.now().0;
        // What is under way counts as done by half.
        let (done, left) = (2 * segments as u64 + 1, 2 * segments_left as u64);
        let left_s = elapsed_ms * left / done / 1_000;
        self.readiness.starting(format!(
            "replaying the journal: {records} records, {bytes} bytes, about {left_s} s left"
        ));
        if elapsed_ms >= self.told_ms + TOLD_EVERY_MS {
            self.told_ms = elapsed_ms;
            info!(
                records,
                bytes, segments_left, left_s, "replaying the journal"
            );
        }
    }

    fn tell_end(&self, recovered: &Recovered) {
        let Progress { records, bytes, .. } = recovered.progress;
        let elapsed_ms = self.clock.now().0;
        if let Some(torn) = &recovered.torn {
            warn!(
                file = torn.file,
                offset = torn.offset,
                bytes = torn.bytes,
                "the last write before the server ended was not complete, and is cut; nothing that was acknowledged was in it"
            );
        }
        info!(records, bytes, elapsed_ms, "history goes on");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;
    use crate::admin::Phase;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_long_recovery_tells_now_and_then_how_far_it_is() {
        let (log, readiness) = (Log::default(), Readiness::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let lines = || {
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            log.lines().map(String::from).collect::<Vec<_>>()
        };
        let mut telling = Telling::new(&readiness);
        let mut progress = Progress {
            records: 1000,
            bytes: 64_000,
            segments: 1,
            segments_left: 3,
        };
        tracing::subscriber::with_default(subscriber, || {
            telling.tell(progress);
            assert_eq!(lines(), [""; 0], "a short one tells nothing");
            // One and a half of four and a half segments have taken ten seconds.
            telling.clock = Clock::from(LogTime(10_000));
            telling.tell(progress);
            progress.records = 1001;
            telling.tell(progress);
        });
        let [line] = &lines()[..] else {
            panic!("one line in two seconds: {:?}", lines());
        };
        for part in [
            "records=1000",
            "bytes=64000",
            "segments_left=3",
            "left_s=20",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let Phase::Starting(busy_with) = readiness.phase() else {
            panic!("expected to be starting, found {:?}", readiness.phase());
        };
        assert_eq!(
            busy_with,
            "replaying the journal: 1001 records, 64000 bytes, about 20 s left"
        );
    }
}
