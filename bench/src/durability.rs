//! What it costs to keep what is acknowledged: Tenure in each mode of durability, and Redis with a log that is synced as often,
//! on the same disk, under the same loads in turn.
//!
//! ```text
//!  round 1: load 1: tenure memory, interval, always, redis memory, everysec, always   load 2: ...   round 2: ...
//! ```
//!
//! Rule: who is compared keeps as much, and is measured in the same minute.

use std::fmt;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tempfile::TempDir;

use crate::columns::Columns;
use crate::compare::Terms;
use crate::load::{self, AWAKE, Course, Load, Progress};
use crate::peers::{Peer, Spread, redis_keeping};
use crate::report::{Figures, grouped, ratio};
use crate::server_process::ServerProcess;

/// Syncs by which a disk is told.
const SYNCS: usize = 300;

/// What a server of one load writes at once, about.
const SYNCED_BYTES: usize = 4096;

/// What is on disk when an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing ever is.
    Memory,
    /// What is older than a second.
    Interval,
    /// Everything that was answered.
    Always,
}

/// Who keeps it, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Keeper {
    /// Tenure or Redis.
    pub system: Peer,
    /// How.
    pub mode: Mode,
}

/// A keeper that runs.
#[derive(Debug)]
pub struct Running {
    keeper: Keeper,
    process: ServerProcess,
}

/// One load, and what has come of it.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// How many connections.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// The keepers, in the order in which they took their turns.
    pub keepers: Vec<Entry>,
}

/// What has come of one keeper under one load.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Who.
    #[serde(flatten)]
    pub keeper: Keeper,
    /// Of each figure by itself, over the rounds.
    pub median: Figures,
    /// In the order in which they were run.
    pub rounds: Vec<Figures>,
    /// Its rate as a multiple of that of Redis which keeps as much.
    pub to_redis: Option<f64>,
    /// Its rate as a multiple of its own where nothing is kept.
    pub to_memory: Option<f64>,
}

impl Mode {
    /// All of them, from the least that is kept.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Interval, Self::Always];

    /// As Tenure calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Interval => "interval",
            Self::Always => "always",
        }
    }

    /// How often Redis is told to sync its log, if it has one.
    const fn of_redis(self) -> Option<&'static str> {
        match self {
            Self::Memory => None,
            Self::Interval => Some("everysec"),
            Self::Always => Some("always"),
        }
    }
}

impl Keeper {
    /// Starts it, with what it keeps in a new folder below `folder`. `tenure` is the binary of this project's server.
    ///
    /// # Errors
    /// It is not here, does not start, or does not answer.
    pub fn start(self, tenure: &Path, folder: &Path) -> Result<Running> {
        let own = TempDir::new_in(folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let process = if self.system == Peer::Tenure {
            ServerProcess::start_keeping(tenure, self.mode.name(), own)
        } else {
            let command = |port, folder: &Path| {
                let mut command = Command::new("redis-server");
                redis_keeping(&mut command, port, folder, self.mode.of_redis());
                Ok(command)
            };
            ServerProcess::start_in(own, command, &*self.system.system(Spread::default()))
        };
        let process = process.with_context(|| format!("cannot start {self}"))?;
        Ok(Running {
            keeper: self,
            process,
        })
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.system, self.mode.name())
    }
}

/// Puts all keepers under all loads, so many connections with so many requests in flight, and tells `watch` now and then how
/// far it is.
///
/// # Errors
/// One of them fails.
pub fn run(
    keepers: &[Running],
    loads: &[(u32, u32)],
    (paths, terms): (u32, &Terms),
    watch: &mut dyn FnMut(&str, Progress),
) -> Result<Vec<Standing>> {
    let mut figures = vec![vec![Vec::new(); keepers.len()]; loads.len()];
    for round in 1..=terms.rounds {
        for ((connections, depth), figures) in loads.iter().zip(&mut figures) {
            for (running, figures) in keepers.iter().zip(figures) {
                let title = format!(
                    "round {round} of {}, {connections} connections, depth {depth}: {}",
                    terms.rounds, running.keeper
                );
                let load = Load {
                    address: running.process.address(),
                    server_pid: Some(running.process.pid()),
                    course: Course::Pairs,
                    rate: None,
                    connections: *connections,
                    depth: *depth,
                    paths,
                    threads: terms.threads,
                    awake: AWAKE,
                    warm_up: terms.warm_up,
                    duration: terms.duration,
                };
                let system = running.keeper.system.system(Spread {
                    orgs: terms.orgs,
                    sessions: 1,
                });
                let measured = load::run(&load, &*system, &mut |progress| watch(&title, progress));
                figures.push(Figures::of(&measured.with_context(|| title.clone())?));
            }
        }
    }
    let standings = loads.iter().zip(figures).map(|(load, figures)| {
        let figures = keepers.iter().map(|running| running.keeper).zip(figures);
        Standing::of(*load, figures)
    });
    Ok(standings.collect())
}

impl Standing {
    fn of(
        (connections, depth): (u32, u32),
        figures: impl Iterator<Item = (Keeper, Vec<Figures>)>,
    ) -> Self {
        let mut keepers: Vec<_> = figures
            .map(|(keeper, rounds)| Entry {
                keeper,
                median: Figures::median(&rounds),
                rounds,
                to_redis: None,
                to_memory: None,
            })
            .collect();
        let all = keepers.iter();
        let all: Vec<_> = all
            .map(|entry| (entry.keeper, entry.rounds.clone()))
            .collect();
        for entry in &mut keepers {
            let beside = |system, mode| {
                let (_, other) = all
                    .iter()
                    .find(|(keeper, _)| *keeper == Keeper { system, mode })?;
                ratio(&entry.rounds, other, |figures| figures.pairs_per_second)
            };
            let Keeper { system, mode } = entry.keeper;
            (entry.to_redis, entry.to_memory) =
                (beside(Peer::Redis, mode), beside(system, Mode::Memory));
        }
        Self {
            connections,
            depth,
            keepers,
        }
    }
}

/// How long it takes to bring some bytes to disk that have room in a file already: half of the times, and 99 of 100.
///
/// # Errors
/// The folder cannot be written to.
pub fn sync_time(folder: &Path) -> Result<(Duration, Duration)> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    file.write_all(&vec![0; SYNCS * SYNCED_BYTES])?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[7; SYNCED_BYTES])?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok((took[SYNCS / 2], took[SYNCS * 99 / 100]))
}

/// All standings, one below the other.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Standing]);

const HEAD: [&str; 12] = [
    "system",
    "keeps",
    "pairs/s",
    "(from - to)",
    "x redis",
    "x memory",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "server ns/op",
    "= user",
    "+ system",
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().flat_map(|standing| {
            let head = HEAD.map(String::from).to_vec();
            [head].into_iter().chain(standing.keepers.iter().map(row))
        });
        let text = Columns(rows.collect()).to_string();
        let mut lines = text.lines();
        for standing in self.0 {
            let (connections, depth) = (standing.connections, standing.depth);
            writeln!(
                f,
                "\nacquire and release: {connections} connections, depth {depth}"
            )?;
            for line in lines.by_ref().take(1 + standing.keepers.len()) {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let median = &entry.median;
    let rates = || entry.rounds.iter().map(|round| round.pairs_per_second);
    let (least, most) = (
        rates().fold(f64::INFINITY, f64::min),
        rates().fold(0.0, f64::max),
    );
    let unknown = || String::from("-");
    let times = |ratio: Option<f64>| ratio.map_or_else(unknown, |ratio| format!("{ratio:.2}"));
    let nanos = |nanos: Option<f64>| nanos.map_or_else(unknown, grouped);
    vec![
        entry.keeper.system.to_string(),
        String::from(entry.keeper.mode.name()),
        grouped(median.pairs_per_second),
        format!("({} - {})", grouped(least), grouped(most)),
        times(entry.to_redis),
        times(entry.to_memory),
        grouped(median.p50_us),
        grouped(median.p99_us),
        grouped(median.p99_9_us),
        nanos(median.server_ns()),
        nanos(median.server_user_ns),
        nanos(median.server_system_ns),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs_per_second: f64) -> Vec<Figures> {
        let figures = Figures {
            pairs_per_second,
            ..Figures::default()
        };
        vec![figures]
    }

    #[test]
    fn each_is_beside_whoever_keeps_as_much_and_beside_itself_in_memory() {
        let rates = [
            (Peer::Tenure, Mode::Memory, 300.0),
            (Peer::Tenure, Mode::Always, 150.0),
            (Peer::Redis, Mode::Always, 50.0),
        ];
        let figures = rates.map(|(system, mode, rate)| (Keeper { system, mode }, figures(rate)));
        let standing = Standing::of((50, 16), figures.into_iter());
        let ratios = standing
            .keepers
            .iter()
            .map(|entry| (entry.to_redis, entry.to_memory));
        let expected = [(None, Some(1.0)), (Some(3.0), Some(0.5)), (Some(1.0), None)];
        assert_eq!(ratios.collect::<Vec<_>>(), expected);
        let table = Table(&[standing]).to_string();
        let always = table.lines().find(|line| line.contains("tenure  always"));
        assert!(always.unwrap().contains("3.00      0.50"), "{table}");
    }
}
