//! `tenure-bench idle`: what connections cost that do nothing but live.
//!
//! Rule: the limit of open files is raised before a server starts, which inherits it.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::open_files;
use tenure_bench::report::grouped;
use tenure_bench::scale::System;
use tenure_bench::scale::idle::{self, Idle, Measured, Progress};

use super::server::Server;
use super::systems::SystemArguments;
use super::{command_line, progress, write_json};

/// Measure what idle connections cost
///
/// Opens so many connections with one session each, which give a sign of life every 5 seconds as clients must, one after
/// another at even distances. Memory is what the server's process has resident; what the kernel keeps for a socket is not
/// in it.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct IdleArguments {
    #[command(flatten)]
    systems: SystemArguments,

    /// How many connections; a server with its defaults takes 10000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,

    /// Seconds that they live
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- idle
  cargo run --release -p tenure-bench -- idle --connections 1000 --seconds 60 --json

It needs some more open files than connections, and so does the server: `ulimit -n`.";

/// Open files beside those of the connections.
const OTHER_FILES: u64 = 100;

/// One row.
#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    connections: u32,
    bytes_per_connection: f64,
    /// Of one core, in microseconds each second.
    cpu_us_per_connection_second: f64,
    cpu_us_per_beat: f64,
    before_bytes: u64,
    full_bytes: u64,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    rows: &'a [Row],
}

impl IdleArguments {
    pub(crate) fn run(&self) -> Result<()> {
        // The server inherits it.
        open_files::allow(u64::from(self.connections) + OTHER_FILES)?;
        let measure = |server: &Server, system: &System| self.measure(server, system);
        self.print(&self.systems.in_turn(1, measure)?)
    }

    fn measure(&self, server: &Server, system: &System) -> Result<Row> {
        let idle = Idle {
            address: server.address,
            pid: server.pid.context(
                "give the process of the server with --pid: it is its figures that count",
            )?,
            connections: self.connections,
            duration: Duration::from_secs(self.seconds.into()),
        };
        let mut show = |progress: Progress| {
            let (count, what) = match progress {
                Progress::Opened(count) => (u64::from(count), "connections"),
                Progress::Beaten(count) => (count, "signs of life"),
            };
            progress::show(&format!(
                "{}: {} {what}",
                system.name(),
                grouped(count as f64)
            ));
        };
        let measured = idle::measure(&idle, system, &mut show)?;
        Ok(Row::of(&idle, system, &measured))
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            return write_json(&mut out, &Report { command, rows });
        }
        writeln!(
            out,
            "{command}\nresident memory and processor time of the server; a sign of life every 5 s\n"
        )?;
        let head = [
            "system",
            "connections",
            "bytes per connection",
            "CPU us/s per connection",
            "CPU us per sign",
        ];
        let cells = rows.iter().map(Row::cells);
        write!(out, "{}", Columns::under(&head, cells))?;
        Ok(())
    }
}

impl Row {
    fn of(idle: &Idle, system: &System, measured: &Measured) -> Self {
        let connections = f64::from(idle.connections);
        let spent_us = measured.server.total().as_secs_f64() * 1e6;
        Self {
            system: system.name(),
            connections: idle.connections,
            bytes_per_connection: measured.full.saturating_sub(measured.before) as f64
                / connections,
            cpu_us_per_connection_second: spent_us / connections / measured.elapsed.as_secs_f64(),
            cpu_us_per_beat: spent_us / (measured.beats as f64).max(1.0),
            before_bytes: measured.before,
            full_bytes: measured.full,
        }
    }
    fn cells(&self) -> Vec<String> {
        vec![
            self.system.to_owned(),
            grouped(self.connections.into()),
            grouped(self.bytes_per_connection),
            format!("{:.2}", self.cpu_us_per_connection_second),
            format!("{:.1}", self.cpu_us_per_beat),
        ]
    }
}
