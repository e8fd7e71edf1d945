//! `tenure-bench load`: a course of requests, case by case and round by round.
//!
//! Rule: the rounds go through all cases in turn, so that a bad minute of the machine hits all alike.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tenure_bench::dialect::Tenure;
use tenure_bench::load::{self, AWAKE, Course, Load, Progress};
use tenure_bench::report::{Case, Figures, Table, grouped};

use super::server::{Server, ServerArguments};
use super::{command_line, cores, progress, write_json};

/// Put a server under load, as fast as it answers or at a fixed rate
///
/// Every connection has one session and so many requests in flight (--depth). In a closed loop each answer is followed by the
/// next request; with --rate requests come at a fixed rate, all of a connection in one burst, and what is asked late counts from
/// when it was due. An operation is a request that was answered with yes; a pair is an acquire and its release. Each figure is
/// the median of the rounds, which go through all cases in turn.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LoadArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// What is asked
    #[arg(long, value_enum, default_value = "pairs")]
    course: CourseName,

    /// Pairs that begin each second in total, in courses without pairs requests [default: as many as are answered]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,

    /// Connections
    #[arg(long, value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,

    /// Requests in flight on each connection [default: 1,16,64; renew: 16,64; hand-off: so many that 1000 wait]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=512))]
    depth: Vec<u32>,

    /// Paths to choose from [default: 100000; hand-off: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    paths: Option<u32>,

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
  cargo run --release -p tenure-bench -- load --course renew --depth 16,64 --paths 1000000
  cargo run --release -p tenure-bench -- load --course hand-off --connections 50
  cargo run --release -p tenure-bench -- load --rate 20000 --depth 16
  tenure-bench load --server 127.0.0.1:7420 --pid $(pidof tenure)";

/// As it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CourseName {
    /// Acquire a random path and release it
    Pairs,
    /// Renew the lock of a path of its own
    Renew,
    /// 10 % acquire, 10 % release, 75 % renew, 5 % are refused
    Mixed,
    /// All wait in line for one path, and release it when it is granted
    HandOff,
}

impl From<CourseName> for Course {
    fn from(name: CourseName) -> Self {
        match name {
            CourseName::Pairs => Self::Pairs,
            CourseName::Renew => Self::Renew,
            CourseName::Mixed => Self::Mixed,
            CourseName::HandOff => Self::HandOff,
        }
    }
}

impl CourseName {
    /// Paths to choose from, unless it is said otherwise.
    pub(super) const fn paths(self) -> u32 {
        match self {
            Self::Pairs | Self::Renew | Self::Mixed => 100_000,
            Self::HandOff => 1,
        }
    }

    /// Requests in flight on each connection, unless it is said otherwise.
    pub(super) fn depths(self, connections: u32) -> Vec<u32> {
        match self {
            Self::Pairs | Self::Mixed => vec![1, 16, 64],
            Self::Renew => vec![16, 64],
            Self::HandOff => vec![WAITERS.div_ceil(connections).min(512)],
        }
    }
}

/// How many wait in line, unless it is said otherwise.
const WAITERS: u32 = 1000;

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    /// What was typed.
    command: String,
    course: CourseName,
    rate: Option<u32>,
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

    fn paths(&self) -> u32 {
        self.paths.unwrap_or_else(|| self.course.paths())
    }

    fn depths(&self, connections: u32) -> Vec<u32> {
        if self.depth.is_empty() {
            self.course.depths(connections)
        } else {
            self.depth.clone()
        }
    }

    /// All cases in turn, and that as often as there are rounds, so that a bad minute of the machine hits all alike.
    fn measure(&self, server: &Server) -> Result<Vec<Case>> {
        let mut cases: Vec<(u32, u32, Vec<Figures>)> = Vec::new();
        for &connections in &self.connections {
            let depths = self.depths(connections).into_iter();
            cases.extend(depths.map(|depth| (connections, depth, Vec::new())));
        }
        for round in 1..=self.rounds {
            for (connections, depth, rounds) in &mut cases {
                let load = Load {
                    address: server.address,
                    server_pid: server.pid,
                    course: self.course.into(),
                    rate: self.rate,
                    connections: *connections,
                    depth: *depth,
                    paths: self.paths(),
                    threads: self.threads(),
                    awake: AWAKE,
                    warm_up: Duration::from_secs(self.warm_up.into()),
                    duration: Duration::from_secs(self.seconds.into()),
                };
                let title = format!(
                    "round {round} of {}, {connections} connections, depth {depth}",
                    self.rounds
                );
                let measured = load::run(&load, &self.system(*depth), &mut |progress| {
                    show(&title, progress);
                })?;
                ensure!(measured.operations() > 0, "{title}: nothing succeeded");
                rounds.push(Figures::of(&measured));
            }
        }
        progress::clear();
        let case = |(connections, depth, rounds)| Case::of(connections, depth, rounds);
        Ok(cases.into_iter().map(case).collect())
    }

    /// Who stands in line has to be somebody else than the holder, so then each slot has a session.
    fn system(&self, depth: u32) -> Tenure {
        Tenure {
            key: self.server.key(),
            orgs: self.orgs,
            sessions: match self.course {
                CourseName::Pairs | CourseName::Renew | CourseName::Mixed => 1,
                CourseName::HandOff => depth,
            },
        }
    }

    fn print(&self, cases: &[Case]) -> Result<()> {
        let mut out = stdout().lock();
        let command = command_line();
        if self.json {
            let report = Report {
                command,
                course: self.course,
                rate: self.rate,
                cores: cores(),
                threads: self.threads(),
                paths: self.paths(),
                orgs: self.orgs,
                seconds: self.seconds,
                warm_up: self.warm_up,
                cases,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\n{} cores, {} of the generator; {} paths, orgs: {}; medians of {} x {} s\n\n{}",
            cores(),
            self.threads(),
            grouped(self.paths().into()),
            self.orgs,
            self.rounds,
            self.seconds,
            Table(cases)
        )?;
        for case in cases {
            let title = format!("{} x {}", case.connections, case.depth);
            for remark in remarks(&case.median) {
                writeln!(out, "{title}: {remark}")?;
            }
        }
        Ok(())
    }
}

/// What does not fit the table, or should not be.
fn remarks(figures: &Figures) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(waits) = figures.waits {
        remarks.push(format!(
            "waits p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, mean {:.1} ms; out of turn by p99 {:.0} places, max {:.0}",
            waits.p50_us / 1e3,
            waits.p99_us / 1e3,
            waits.max_us / 1e3,
            waits.mean_us / 1e3,
            waits.places_off_p99,
            waits.places_off_max,
        ));
    }
    if figures.lost > 0.0 {
        remarks.push(format!("{} holds were lost", grouped(figures.lost)));
    }
    if figures.overdue > 0.0 {
        remarks.push(format!(
            "{} requests were due and not yet sent when it ended: many of them are a server that did not keep up",
            grouped(figures.overdue)
        ));
    }
    if figures.conflicts_per_operation > 0.005 {
        let percent = 100.0 * figures.conflicts_per_operation;
        remarks.push(format!("{percent:.1} refusals for 100 operations"));
    }
    remarks
}

fn show(title: &str, progress: Progress) {
    let (seconds, rate) = (
        progress.elapsed.as_secs_f64(),
        progress.operations_per_second,
    );
    progress::show(&format!(
        "{title}: {seconds:.1} s, {} operations/s",
        grouped(rate)
    ));
}
