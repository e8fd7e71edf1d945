//! `tenure-bench storm`: everybody is cut off at once, and comes back at once.
//!
//! Rule: the limit of open files is raised before a server starts, which inherits it.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::cpu::CpuTime;
use tenure_bench::open_files;
use tenure_bench::report::grouped;
use tenure_bench::storm::{self, Measured, Progress, Storm};

use super::server::ServerArguments;
use super::{command_line, progress, write_json};

/// Measure a reconnect storm
///
/// Opens so many connections, each with one session that looks at a path and hears of who else does, cuts all of them at
/// once, and has all of them come back at once: resume, subscribe from where they were, enter, read who is there. Clients
/// wait a random while before they come back; here nobody does.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct StormArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// How many connections
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,

    /// Over how many paths they are spread
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    paths: u32,

    /// How often it is measured, each time at a fresh server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- storm
  cargo run --release -p tenure-bench -- storm --connections 10000 --paths 100 --json

It needs some more open files than connections, and so does the server: `ulimit -n`.";

/// Open files beside those of the connections.
const OTHER_FILES: u64 = 200;

/// One round.
#[derive(Debug, Serialize)]
struct Row {
    /// From the cut until a connection had all that it asked for.
    back_p50_ms: f64,
    back_p99_ms: f64,
    back_last_ms: f64,
    /// From the cut until there was nothing more to be told.
    quiet_after_ms: f64,
    bytes_to_clients: u64,
    bytes_to_server: u64,
    bytes_per_connection: f64,
    server_us_per_connection: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    connections: u32,
    paths: u32,
    rows: &'a [Row],
}

impl StormArguments {
    pub(crate) fn run(&self) -> Result<()> {
        open_files::allow(u64::from(self.connections) + OTHER_FILES)?;
        let mut rows = Vec::new();
        for _ in 0..self.rounds {
            let server = self.server.server()?;
            let storm = Storm {
                address: server.address,
                pid: server.pid,
                key: self.server.key(),
                connections: self.connections,
                paths: self.paths.min(self.connections),
            };
            let measured = storm::measure(&storm, &mut |how_far| match how_far {
                Progress::Opened(count) => progress::show(&format!("{count} are there")),
                Progress::Back(count) => progress::show(&format!("{count} are back")),
            })?;
            rows.push(Row::of(&storm, &measured));
        }
        progress::clear();
        self.print(&rows)
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            let report = Report {
                command,
                connections: self.connections,
                paths: self.paths,
                rows,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\n{} connections at {} paths; milliseconds since the cut\n",
            grouped(self.connections.into()),
            self.paths
        )?;
        let head = [
            "round",
            "back p50",
            "p99",
            "last",
            "quiet after",
            "bytes to clients",
            "to the server",
            "bytes/connection",
            "server us/connection",
        ];
        let cells = rows.iter().zip(1..).map(|(row, round)| row.cells(round));
        write!(out, "{}", Columns::under(&head, cells))?;
        Ok(())
    }
}

impl Row {
    fn of(storm: &Storm, measured: &Measured) -> Self {
        let back = |share| measured.back.value_at_quantile(share) as f64 / 1e3;
        let each = |amount: f64| amount / f64::from(storm.connections);
        let bytes = measured.bytes_to_clients + measured.bytes_to_server;
        let micros = |spent: Duration| spent.as_secs_f64() * 1e6;
        Self {
            back_p50_ms: back(0.5),
            back_p99_ms: back(0.99),
            back_last_ms: back(1.0),
            quiet_after_ms: measured.quiet_after.as_secs_f64() * 1e3,
            bytes_to_clients: measured.bytes_to_clients,
            bytes_to_server: measured.bytes_to_server,
            bytes_per_connection: each(bytes as f64),
            server_us_per_connection: measured
                .server
                .map(CpuTime::total)
                .map(|spent| each(micros(spent))),
        }
    }

    fn cells(&self, round: u32) -> Vec<String> {
        let spent = self.server_us_per_connection;
        vec![
            round.to_string(),
            grouped(self.back_p50_ms),
            grouped(self.back_p99_ms),
            grouped(self.back_last_ms),
            grouped(self.quiet_after_ms),
            grouped(self.bytes_to_clients as f64),
            grouped(self.bytes_to_server as f64),
            grouped(self.bytes_per_connection),
            spent.map_or_else(|| String::from("-"), grouped),
        ]
    }
}
