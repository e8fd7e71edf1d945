//! `tenure-bench load`: the closed loop of acquiring and releasing, case by case and round by round.
//!
//! Rule: the rounds go through all cases in turn, so that a bad minute of the machine hits all alike.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tenure_bench::dialect::Tenure;
use tenure_bench::load::{self, Load, Progress};
use tenure_bench::report::{Case, Figures, Table, grouped};

use super::server::{Server, ServerArguments};
use super::{command_line, cores, progress};

/// Acquire and release random paths as fast as the server answers
///
/// Every connection has so many requests in flight (--depth): each answer is followed by the next request. A pair is an
/// acquire and its release; only pairs that were truly granted and released count. An operation is half a pair.
/// Each figure is the median of the rounds, which go through all cases in turn.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LoadArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// Connections, one session each
    #[arg(long, value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,

    /// Requests in flight on each connection
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..=512))]
    depth: Vec<u32>,

    /// Paths to choose from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    paths: u32,

    /// Organisations that the connections are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    orgs: u32,

    /// Seconds that each case is measured in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,

    /// Seconds before each measurement
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=60))]
    warm_up: u32,

    /// How often each case is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Threads of the generator [default: half the cores]
    #[arg(long)]
    threads: Option<usize>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- load
  cargo run --release -p tenure-bench -- load --connections 1,50 --depth 64 --orgs 16 --json
  tenure-bench load --server 127.0.0.1:7420 --pid $(pidof tenure)";

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    /// What was typed.
    command: String,
    cores: usize,
    threads: usize,
    paths: u32,
    orgs: u32,
    seconds: u32,
    warm_up: u32,
    cases: &'a [Case],
}

impl LoadArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let server = self.server.server()?;
        let cases = self.measure(&server)?;
        drop(server);
        self.print(&cases)
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| cores().div_ceil(2)).max(1)
    }

    /// All cases in turn, and that as often as there are rounds, so that a bad minute of the machine hits all alike.
    fn measure(&self, server: &Server) -> Result<Vec<Case>> {
        let system = Tenure {
            key: self.server.key(),
            orgs: self.orgs,
            ..Tenure::default()
        };
        let mut cases: Vec<(u32, u32, Vec<Figures>)> = Vec::new();
        for &connections in &self.connections {
            cases.extend(
                self.depth
                    .iter()
                    .map(|&depth| (connections, depth, Vec::new())),
            );
        }
        for round in 1..=self.rounds {
            for (connections, depth, rounds) in &mut cases {
                let load = Load {
                    address: server.address,
                    server_pid: server.pid,
                    connections: *connections,
                    depth: *depth,
                    paths: self.paths,
                    threads: self.threads(),
                    warm_up: Duration::from_secs(self.warm_up.into()),
                    duration: Duration::from_secs(self.seconds.into()),
                };
                let title = format!(
                    "round {round} of {}, {connections} connections, depth {depth}",
                    self.rounds
                );
                let measured = load::run(&load, &system, &mut |progress| show(&title, progress))?;
                ensure!(measured.pairs > 0, "{title}: not one pair succeeded");
                rounds.push(Figures::of(&measured));
            }
        }
        progress::clear();
        let case = |(connections, depth, rounds)| Case::of(connections, depth, rounds);
        Ok(cases.into_iter().map(case).collect())
    }

    fn print(&self, cases: &[Case]) -> Result<()> {
        let mut out = stdout().lock();
        let command = command_line();
        if self.json {
            let report = Report {
                command,
                cores: cores(),
                threads: self.threads(),
                paths: self.paths,
                orgs: self.orgs,
                seconds: self.seconds,
                warm_up: self.warm_up,
                cases,
            };
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(
            out,
            "{command}\n{} cores, {} of the generator; {} paths, orgs: {}; medians of {} x {} s\n\n{}",
            cores(),
            self.threads(),
            grouped(self.paths.into()),
            self.orgs,
            self.rounds,
            self.seconds,
            Table(cases)
        )?;
        for case in cases {
            let Figures {
                conflicts_per_pair,
                lost,
                ..
            } = case.median;
            let (connections, depth) = (case.connections, case.depth);
            if lost > 0.0 {
                writeln!(out, "{connections} x {depth}: {lost:.0} holds were lost")?;
            }
            if conflicts_per_pair > 0.01 {
                let percent = 100.0 * conflicts_per_pair;
                writeln!(
                    out,
                    "{connections} x {depth}: {percent:.1} refusals for 100 pairs"
                )?;
            }
        }
        Ok(())
    }
}

fn show(title: &str, progress: Progress) {
    let (seconds, rate) = (progress.elapsed.as_secs_f64(), progress.pairs_per_second);
    progress::show(&format!(
        "{title}: {seconds:.1} s, {} pairs/s",
        grouped(rate)
    ));
}
