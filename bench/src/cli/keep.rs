//! `tenure-bench keep`: a million locks that are renewed again and again.
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
use tenure_bench::scale::keep::{self, Keep, Measured, Progress};

use super::server::Server;
use super::systems::SystemArguments;
use super::{command_line, progress, write_json};

/// Measure what it costs to keep very many locks, and what others notice of it
///
/// Acquires so many locks, and renews all of them three times in each time to live, every connection at the same moment: as
/// a service does that speaks for very many people. Tenure renews a session with all that it holds, a thousand sessions in
/// a request; Redis has no sessions, and every key is renewed by itself (PEXPIRE, without looking whose it is). A probe
/// beside acquires and releases at a fixed rate in the same org: how long its requests take shows what others notice. A
/// lock that is lost meanwhile is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct KeepArguments {
    #[command(flatten)]
    systems: SystemArguments,

    /// How many locks
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    holds: u32,

    /// How many sessions hold them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,

    /// Over how many connections
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,

    /// Seconds that a lock lives without renewal
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=30))]
    ttl: u32,

    /// Seconds that they are kept and measured, after the first time to live
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

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
  cargo run --release -p tenure-bench -- keep
  cargo run --release -p tenure-bench -- keep --holds 100000 --ttl 6 --rounds 3 --json";

/// One row. Times in milliseconds.
#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    /// Until all that one connection has is renewed.
    renewed_p50_ms: f64,
    renewed_max_ms: f64,
    others_p50_ms: f64,
    others_p99_ms: f64,
    others_p999_ms: f64,
    others_max_ms: f64,
    /// The server's processor time, of one core, what it did for the probe included.
    server_core: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    holds: u32,
    sessions: u32,
    ttl_seconds: u32,
    probe_rate: u32,
    rows: &'a [Row],
}

impl KeepArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let measure = |server: &Server, system: &System| self.measure(server, system);
        self.print(&self.systems.in_turn(self.rounds, measure)?)
    }

    fn measure(&self, server: &Server, system: &System) -> Result<Row> {
        let keep = Keep {
            address: server.address,
            pid: server.pid,
            holds: self.holds,
            sessions: self.sessions,
            connections: self.connections,
            ttl: Duration::from_secs(self.ttl.into()),
            duration: Duration::from_secs(self.seconds.into()),
            probe_rate: self.probe_rate,
        };
        let mut show = |progress: Progress| {
            let acquired = grouped(progress.acquired.into());
            let rounds = progress.renewed / self.connections;
            progress::show(&format!(
                "{}: {acquired} acquired, renewed {rounds} times",
                system.name()
            ));
        };
        let measured = keep::measure(&keep, system, &mut show)?;
        Ok(Row::of(system, &measured))
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            let report = Report {
                command,
                holds: self.holds,
                sessions: self.sessions,
                ttl_seconds: self.ttl,
                probe_rate: self.probe_rate,
                rows,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\n{} locks of {} sessions that live for {} s, all renewed three times in that, {} pairs/s of others \
             beside; milliseconds\n",
            grouped(self.holds.into()),
            grouped(self.sessions.into()),
            self.ttl,
            self.probe_rate
        )?;
        let head = [
            "system",
            "renewed in p50",
            "max",
            "others p50",
            "p99",
            "p99.9",
            "max",
            "server, of a core",
        ];
        let cells = rows.iter().map(Row::cells);
        write!(out, "{}", Columns::under(&head, cells))?;
        Ok(())
    }
}

impl Row {
    fn of(system: &System, measured: &Measured) -> Self {
        let at =
            |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share) as f64 / 1e3;
        let of_a_core = |spent: Duration| spent.as_secs_f64() / measured.during.as_secs_f64();
        Self {
            system: system.name(),
            renewed_p50_ms: at(&measured.renewed_in, 0.5),
            renewed_max_ms: at(&measured.renewed_in, 1.0),
            others_p50_ms: at(&measured.others, 0.5),
            others_p99_ms: at(&measured.others, 0.99),
            others_p999_ms: at(&measured.others, 0.999),
            others_max_ms: at(&measured.others, 1.0),
            server_core: measured.server.map(CpuTime::total).map(of_a_core),
        }
    }

    fn cells(&self) -> Vec<String> {
        let core = self
            .server_core
            .map(|core| format!("{:.1} %", 100.0 * core));
        vec![
            self.system.to_owned(),
            format!("{:.1}", self.renewed_p50_ms),
            format!("{:.1}", self.renewed_max_ms),
            format!("{:.2}", self.others_p50_ms),
            format!("{:.2}", self.others_p99_ms),
            format!("{:.2}", self.others_p999_ms),
            format!("{:.2}", self.others_max_ms),
            core.unwrap_or_else(|| String::from("-")),
        ]
    }
}
