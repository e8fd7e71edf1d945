//! `tenure-bench durability`: what it costs to keep what is acknowledged, beside Redis that keeps as much.
//!
//! Rule: whatever it starts ends with it.

use std::env;
use std::fs;
use std::io::{Write as _, stderr, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tenure_bench::compare::Terms;
use tenure_bench::durability::{self, Keeper, Mode, Standing, Table};
use tenure_bench::load::Progress;
use tenure_bench::peers::Peer;
use tenure_bench::report::grouped;
use tenure_bench::server_process::beside_this_binary;

use super::{command_line, cores, progress, write_json};

/// Measure what it costs to keep what is acknowledged, beside Redis that keeps as much
///
/// Tenure in its three modes, and Redis without a log, with one that is synced every second, and with one that is synced
/// before it answers, all on the same disk, under the same loads in turn: acquire and release.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DurabilityArguments {
    /// Where all keep what they keep: a folder on the disk to be measured [default: that for temporary files]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// Leave out redis-server, though it is on this machine
    #[arg(long)]
    alone: bool,

    /// This project's server [default: tenure beside this binary; built before under `cargo run`]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Connections
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,

    /// Requests in flight on each connection
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_parser = clap::value_parser!(u32).range(1..=512))]
    depth: Vec<u32>,

    /// Paths to choose from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    paths: u32,

    /// Organisations that the connections are spread over; databases of Redis
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    orgs: u32,

    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Milliseconds that each is measured in each round
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    milliseconds: u32,

    /// Milliseconds before each measurement
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    warm_up: u32,

    /// Threads of the generator [default: half the cores]
    #[arg(long)]
    threads: Option<usize>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- durability
  cargo run --release -p tenure-bench -- durability --folder /var/lib/tenure --depth 1,16,64 --json

The folder must be on a real disk: where it lies in memory, as /tmp may, nothing is kept by anybody.";

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    cores: usize,
    threads: usize,
    orgs: u32,
    paths: u32,
    rounds: u32,
    milliseconds: u32,
    folder: String,
    sync_p50_us: f64,
    sync_p99_us: f64,
    standings: &'a [Standing],
}

impl DurabilityArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let folder = self.folder.clone().unwrap_or_else(env::temp_dir);
        let folder = fs::canonicalize(&folder)
            .with_context(|| format!("there is no folder {}", folder.display()))?;
        let tenure = match &self.binary {
            Some(binary) => binary.clone(),
            None => beside_this_binary()?,
        };
        let sync = durability::sync_time(&folder)?;
        let mut keepers = Vec::new();
        for keeper in self.keepers()? {
            keepers.push(keeper.start(&tenure, &folder)?);
        }
        let loads: Vec<_> = self
            .depth
            .iter()
            .map(|depth| (self.connections, *depth))
            .collect();
        let standings = durability::run(&keepers, &loads, (self.paths, &self.terms()), &mut show)?;
        progress::clear();
        drop(keepers);
        let us = |span: Duration| span.as_nanos() as f64 / 1e3;
        self.print(&Report {
            command: command_line(),
            cores: cores(),
            threads: self.threads(),
            orgs: self.orgs,
            paths: self.paths,
            rounds: self.rounds,
            milliseconds: self.milliseconds,
            folder: folder.display().to_string(),
            sync_p50_us: us(sync.0),
            sync_p99_us: us(sync.1),
            standings: &standings,
        })
    }

    fn keepers(&self) -> Result<Vec<Keeper>> {
        let mut systems = vec![Peer::Tenure];
        if Peer::Redis.is_here() && !self.alone {
            systems.push(Peer::Redis);
        } else if !self.alone {
            writeln!(stderr(), "redis is not on this machine: left out")?;
        }
        let all = systems
            .into_iter()
            .flat_map(|system| Mode::ALL.map(|mode| Keeper { system, mode }));
        Ok(all.collect())
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| cores().div_ceil(2)).max(1)
    }

    fn terms(&self) -> Terms {
        Terms {
            rounds: self.rounds,
            warm_up: Duration::from_millis(self.warm_up.into()),
            duration: Duration::from_millis(self.milliseconds.into()),
            threads: self.threads(),
            orgs: self.orgs,
        }
    }

    fn print(&self, report: &Report<'_>) -> Result<()> {
        let mut out = stdout().lock();
        if self.json {
            return write_json(&mut out, report);
        }
        writeln!(
            out,
            "{}\n{} cores, {} of the generator; {} paths, orgs: {}; medians of {} x {} ms\n\
             a sync of 4 KiB in {} takes {:.0} us, 99 of 100 at most {:.0}\n{}",
            report.command,
            report.cores,
            report.threads,
            grouped(report.paths.into()),
            report.orgs,
            report.rounds,
            report.milliseconds,
            report.folder,
            report.sync_p50_us,
            report.sync_p99_us,
            Table(report.standings)
        )?;
        Ok(())
    }
}

fn show(title: &str, progress: Progress) {
    let rate = grouped(progress.operations_per_second);
    progress::show(&format!("{title}: {rate} operations/s"));
}
