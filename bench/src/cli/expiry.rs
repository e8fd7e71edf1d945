//! `tenure-bench expiry`: a million locks whose time is over within one second.
//!
//! Rule: each round is measured at a server of its own, systems in turn.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::cpu::CpuTime;
use tenure_bench::report::grouped;
use tenure_bench::scale::System;
use tenure_bench::scale::expiry::{self, Due, Measured, Progress};

use super::server::Server;
use super::systems::SystemArguments;
use super::{command_line, progress, write_json};

/// Measure how late holders are told that their time is over, when very many are at once
///
/// Acquires so many locks, each with the time to live that is left until it is due, so that all fall due within --within-ms,
/// at moments of their own. Every session is attached and is told of each of its locks. A probe beside acquires and releases
/// at a fixed rate in the same org: how long its requests take shows what others notice. Redis tells of expired keys by
/// keyspace notifications. What is stolen is what a virtual machine's host gave to others meanwhile, of all its cores.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ExpiryArguments {
    #[command(flatten)]
    systems: SystemArguments,

    /// How many locks
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    holds: u32,

    /// How many sessions hold them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,

    /// Over how many connections the notices come (Redis: one)
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,

    /// Milliseconds within which they fall due
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    within_ms: u32,

    /// Seconds for acquiring them, two of calm included
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=14))]
    lead: u32,

    /// Pairs a second of the probe
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    probe_rate: u32,

    /// How often it is measured, each system in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- expiry
  cargo run --release -p tenure-bench -- expiry --holds 100000 --rounds 5 --json";

/// One row. Times in milliseconds.
#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    late_p50_ms: f64,
    late_p99_ms: f64,
    late_last_ms: f64,
    others_calm_p99_ms: f64,
    others_p50_ms: f64,
    others_p99_ms: f64,
    others_max_ms: f64,
    /// The server's processor time, in nanoseconds, what it did for the probe included.
    server_ns_per_expiry: Option<f64>,
    /// The same of this process, which hears of each.
    generator_ns_per_expiry: Option<f64>,
    /// What the machine's host gave to others meanwhile.
    stolen_percent: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    holds: u32,
    sessions: u32,
    within_ms: u32,
    probe_rate: u32,
    rows: &'a [Row],
}

impl ExpiryArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let measure = |server: &Server, system: &System| self.measure(server, system);
        self.print(&self.systems.in_turn(self.rounds, measure)?)
    }

    fn measure(&self, server: &Server, system: &System) -> Result<Row> {
        let due = Due {
            address: server.address,
            pid: server.pid,
            holds: self.holds,
            sessions: self.sessions,
            connections: self.connections,
            lead: Duration::from_secs(self.lead.into()),
            within: Duration::from_millis(self.within_ms.into()),
            probe_rate: self.probe_rate,
        };
        let mut show = |progress: Progress| {
            let (acquired, told) = (
                grouped(progress.acquired.into()),
                grouped(progress.told.into()),
            );
            progress::show(&format!(
                "{}: {acquired} acquired, {told} told",
                system.name()
            ));
        };
        let measured = expiry::measure(&due, system, &mut show)?;
        Ok(Row::of(&due, system, &measured))
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            let report = Report {
                command,
                holds: self.holds,
                sessions: self.sessions,
                within_ms: self.within_ms,
                probe_rate: self.probe_rate,
                rows,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\n{} locks due within {} ms, {} pairs/s of others beside; milliseconds\n",
            grouped(self.holds.into()),
            self.within_ms,
            self.probe_rate
        )?;
        let head = [
            "system",
            "late p50",
            "late p99",
            "late last",
            "others p99 calm",
            "others p50",
            "others p99",
            "others max",
            "server ns/expiry",
            "generator ns",
            "stolen",
        ];
        let cells = rows.iter().map(Row::cells);
        write!(out, "{}", Columns::under(&head, cells))?;
        Ok(())
    }
}

impl Row {
    fn of(due: &Due, system: &System, measured: &Measured) -> Self {
        let at =
            |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share) as f64 / 1e3;
        let each = |spent: Duration| spent.as_nanos() as f64 / f64::from(due.holds);
        Self {
            system: system.name(),
            late_p50_ms: at(&measured.lateness, 0.5),
            late_p99_ms: at(&measured.lateness, 0.99),
            late_last_ms: at(&measured.lateness, 1.0),
            others_calm_p99_ms: at(&measured.calm, 0.99),
            others_p50_ms: at(&measured.meanwhile, 0.5),
            others_p99_ms: at(&measured.meanwhile, 0.99),
            others_max_ms: at(&measured.meanwhile, 1.0),
            server_ns_per_expiry: measured.server.map(CpuTime::total).map(each),
            generator_ns_per_expiry: measured.generator.map(CpuTime::total).map(each),
            stolen_percent: measured.stolen_percent,
        }
    }

    fn cells(&self) -> Vec<String> {
        let known = |ns: Option<f64>| ns.map_or_else(|| String::from("-"), grouped);
        vec![
            self.system.to_owned(),
            format!("{:.1}", self.late_p50_ms),
            format!("{:.1}", self.late_p99_ms),
            format!("{:.1}", self.late_last_ms),
            format!("{:.2}", self.others_calm_p99_ms),
            format!("{:.2}", self.others_p50_ms),
            format!("{:.2}", self.others_p99_ms),
            format!("{:.2}", self.others_max_ms),
            known(self.server_ns_per_expiry),
            known(self.generator_ns_per_expiry),
            self.stolen_percent
                .map_or_else(|| String::from("-"), |percent| format!("{percent:.0} %")),
        ]
    }
}
