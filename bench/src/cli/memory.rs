//! `tenure-bench memory`: what a held lock costs in memory, and what of it is given back.
//!
//! Rule: each row is measured at a server of its own, so that none inherits what another has left behind; one that runs
//! already is emptied in between, and says so by its rows.

use std::io::{Write as _, stdout};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::report::grouped;
use tenure_bench::scale::memory::{self, Fill, Measured, Progress};
use tenure_bench::scale::{Shape, System};

use super::server::Server;
use super::systems::SystemArguments;
use super::{command_line, progress, write_json};

/// Measure what a held lock costs in memory
///
/// Fills a server with locks on paths of 24 bytes, looks at its resident memory before and after, releases all of them, and
/// looks again. Sessions count as part of what their holds cost.
///
/// There are two shapes of what is known about a holder. `hold`: 52 bytes of content with every lock, as in a key's value.
/// `session`: owner, name and 80 bytes of metadata of the session, once for all that it holds; Redis, which has no sessions,
/// then has 80 bytes of content with every key.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MemoryArguments {
    #[command(flatten)]
    systems: SystemArguments,

    /// How many locks are held
    #[arg(long, value_delimiter = ',', default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    holds: Vec<u32>,

    /// How many sessions hold them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,

    /// Where it stands who holds a lock
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "hold,session"
    )]
    shape: Vec<HolderIn>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- memory
  cargo run --release -p tenure-bench -- memory --holds 1000000,10000000 --json";

/// As it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum HolderIn {
    Hold,
    Session,
}

/// One row.
#[derive(Debug, Serialize)]
struct Row {
    system: &'static str,
    holds: u32,
    sessions: u32,
    shape: HolderIn,
    bytes_per_hold: f64,
    /// Of 1.
    given_back: f64,
    before_bytes: u64,
    with_sessions_bytes: u64,
    full_bytes: u64,
    after_bytes: u64,
    acquires_per_second: f64,
    releases_per_second: f64,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    rows: &'a [Row],
}

impl MemoryArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let mut rows = Vec::new();
        for &holds in &self.holds {
            for &shape in &self.shape {
                for system in self.systems.systems() {
                    let server = self.systems.start(&system)?;
                    rows.push(self.measure(&server, &system, holds, shape)?);
                }
            }
        }
        progress::clear();
        self.print(&rows)
    }

    fn measure(
        &self,
        server: &Server,
        system: &System,
        holds: u32,
        shape: HolderIn,
    ) -> Result<Row> {
        let fill = Fill {
            address: server.address,
            pid: server.pid.context(
                "give the process of the server with --pid: it is its memory that counts",
            )?,
            holds,
            sessions: self.sessions.min(holds),
            shape: match shape {
                HolderIn::Hold => Shape::InTheHold,
                HolderIn::Session => Shape::InTheSession,
            },
        };
        let mut show = |progress: Progress| {
            let (done, what) = match progress {
                Progress::Acquired(count) => (count, "acquired"),
                Progress::Released(count) => (count, "released"),
            };
            let (done, holds) = (grouped(done.into()), grouped(holds.into()));
            progress::show(&format!("{}: {done} of {holds} {what}", system.name()));
        };
        let measured = memory::measure(&fill, system, &mut show)?;
        Ok(Row::of(&fill, system, shape, &measured))
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            return write_json(&mut out, &Report { command, rows });
        }
        writeln!(
            out,
            "{command}\nresident memory of the server; holder in the hold: 52 bytes of content with each; in the session: \
             owner, name and 80 bytes once\n"
        )?;
        let head = [
            "system",
            "holds",
            "sessions",
            "holder in",
            "bytes per hold",
            "given back",
            "acquires/s",
            "releases/s",
        ];
        let cells = rows.iter().map(Row::cells);
        write!(out, "{}", Columns::under(&head, cells))?;
        Ok(())
    }
}

impl Row {
    fn of(fill: &Fill, system: &System, shape: HolderIn, measured: &Measured) -> Self {
        let holds = fill.holds;
        Self {
            system: system.name(),
            holds,
            sessions: fill.sessions,
            shape,
            bytes_per_hold: measured.bytes_per_hold(holds),
            given_back: measured.given_back(),
            before_bytes: measured.before,
            with_sessions_bytes: measured.with_sessions,
            full_bytes: measured.full,
            after_bytes: measured.after,
            acquires_per_second: f64::from(holds) / measured.filled_in.as_secs_f64(),
            releases_per_second: f64::from(holds) / measured.emptied_in.as_secs_f64(),
        }
    }
    fn cells(&self) -> Vec<String> {
        let holder_in = match self.shape {
            HolderIn::Hold => "hold",
            HolderIn::Session => "session",
        };
        vec![
            self.system.to_owned(),
            grouped(self.holds.into()),
            grouped(self.sessions.into()),
            holder_in.to_owned(),
            format!("{:.1}", self.bytes_per_hold),
            format!("{:.0} %", 100.0 * self.given_back),
            grouped(self.acquires_per_second),
            grouped(self.releases_per_second),
        ]
    }
}
