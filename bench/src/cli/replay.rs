//! `tenure-bench replay`: who edited what and when, as far speeded up as the server keeps up.
//!
//! Rule: every speed that was tried is told, also the one that was too much.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::cpu::CpuTime;
use tenure_bench::dialect::Tenure;
use tenure_bench::replay::{Measured, Model, Replay, Schedule, Trace};
use tenure_bench::report::grouped;

use super::server::{Server, ServerArguments};
use super::{command_line, progress, write_json};

/// Replay who edited what and when, as fast as the server keeps up
///
/// A trace says when something was saved. The model for the rest: what is saved together was worked on together, since its
/// owner's save before, but for at most --work-max (and at least --work-min); the lock is asked for when that work begins,
/// stood in line for if somebody else has it, and released when the work is done, which is later than in the trace for who
/// has waited. Pauses in which nobody edits are shortened to --pause-max. An owner is a session; one who begins to edit what
/// he is editing goes on with it. Names of owners and paths are replaced by numbers, paths have 24 bytes.
///
/// The speed is doubled until the replay ends more than a tenth of its length too late; --speed tries one alone. Several
/// copies of the trace are replayed at once, each in an org of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[group(id = "source", required = true, multiple = false, args = ["trace", "git"])]
pub(crate) struct ReplayArguments {
    /// A trace: lines of unix_time,owner,path under that head, in order of time; gzip too
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// A git checkout: each file that a commit touches is an edit of its author's
    #[arg(long, value_name = "FOLDER")]
    git: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArguments,

    /// Copies of the trace that are replayed at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    copies: u32,

    /// How much faster than the trace [default: doubled as long as the server keeps up]
    #[arg(long, value_parser = speed)]
    speed: Option<f64>,

    /// Seconds that the first and slowest replay takes
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600), conflicts_with = "speed")]
    seconds: u32,

    /// Seconds of the trace that a pause lasts at most
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pause_max: u32,

    /// Seconds of the trace that an edit works at most
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    work_max: u32,

    /// Seconds of the trace that an edit works at least
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..))]
    work_min: u32,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- replay --git .
  cargo run --release -p tenure-bench -- replay --trace edits.csv.gz --copies 1 --speed 20000 --json";

/// A replay that is shorter tells nothing any more.
const LENGTH_MIN: Duration = Duration::from_millis(250);

/// What one speed came to. Times in microseconds of the clock on the wall.
#[derive(Debug, Serialize)]
struct Row {
    speed: f64,
    kept_up: bool,
    scheduled_seconds: f64,
    took_seconds: f64,
    edits: u64,
    edits_per_second: f64,
    continued: u64,
    conflicts: u64,
    hand_offs: u64,
    at_once_p50_us: f64,
    at_once_p99_us: f64,
    waits_p50_us: f64,
    waits_p99_us: f64,
    waits_max_us: f64,
    waits_mean_us: f64,
    out_of_turn_max: u64,
    server_us_per_edit: Option<f64>,
    generator_us_per_edit: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    edits: usize,
    owners: u32,
    paths: u32,
    copies: u32,
    pause_max_seconds: u32,
    work_max_seconds: u32,
    work_min_seconds: u32,
    rows: &'a [Row],
}

impl ReplayArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let trace = self.trace()?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let model = Model {
            pause_max: seconds(self.pause_max),
            work_max: seconds(self.work_max),
            work_min: seconds(self.work_min.min(self.work_max)),
        };
        let schedule = Schedule::new(&trace, &model);
        let server = self.server.server()?;
        let rows = self.measure(&trace, &schedule, &server)?;
        drop(server);
        self.print(&trace, &rows)
    }

    fn trace(&self) -> Result<Trace> {
        match (&self.trace, &self.git) {
            (Some(file), _) => Trace::read(file),
            (None, Some(checkout)) => Trace::of_git(checkout),
            (None, None) => bail!("expected --trace or --git"),
        }
    }

    fn measure(&self, trace: &Trace, schedule: &Schedule, server: &Server) -> Result<Vec<Row>> {
        let system = Tenure {
            key: self.server.key(),
            orgs: self.copies,
            sessions: trace.owner_count(),
        };
        let (address, pid) = (server.address, server.pid);
        let mut replay = Replay::new(schedule, self.copies, address, pid, &system)?;
        let length = schedule.length().as_secs_f64();
        let slowest = length / f64::from(self.seconds);
        let mut speed = self.speed.unwrap_or(slowest);
        let mut rows = Vec::new();
        loop {
            let measured = replay.run(speed, &mut |edits| {
                let edits = grouped(edits as f64);
                progress::show(&format!("speed {}: {edits} edits", grouped(speed)));
            })?;
            rows.push(Row::of(&measured));
            speed *= 2.0;
            let is_too_short = length / speed < LENGTH_MIN.as_secs_f64();
            if self.speed.is_some() || !measured.has_kept_up() || is_too_short {
                break;
            }
        }
        progress::clear();
        Ok(rows)
    }

    fn print(&self, trace: &Trace, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        let edits = trace.edits().len();
        if self.json {
            let report = Report {
                command,
                edits,
                owners: trace.owner_count(),
                paths: trace.path_count(),
                copies: self.copies,
                pause_max_seconds: self.pause_max,
                work_max_seconds: self.work_max,
                work_min_seconds: self.work_min,
                rows,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\n{} edits by {} owners of {} paths, copies: {}; pauses of at most {} s, work of {} to {} s, all divided \
             by the speed\n",
            grouped(edits as f64),
            grouped(trace.owner_count().into()),
            grouped(trace.path_count().into()),
            self.copies,
            self.pause_max,
            self.work_min,
            self.work_max
        )?;
        let head = [
            "speed",
            "edits/s",
            "took s (scheduled)",
            "conflicts",
            "hand-offs",
            "waits ms p50 / p99 / max",
            "at once us p50 / p99",
            "out of turn",
            "server us/edit",
            "generator us/edit",
        ];
        let cells = rows.iter().map(Row::cells);
        write!(out, "{}", Columns::under(&head, cells))?;
        let kept_up = rows.iter().rev().find(|row| row.kept_up);
        match kept_up {
            Some(row) => writeln!(
                out,
                "\nit kept up to {} times the speed of the trace: {} edits/s",
                grouped(row.speed),
                grouped(row.edits_per_second)
            )?,
            None => writeln!(out, "\nit did not keep up")?,
        }
        if self.speed.is_none() && rows.last().is_some_and(|row| row.kept_up) {
            writeln!(
                out,
                "faster, the trace would be too short to tell anything: replay more --copies of it at once"
            )?;
        }
        Ok(())
    }
}

impl Row {
    fn of(measured: &Measured) -> Self {
        let at =
            |histogram: &Histogram<u64>, share| histogram.value_at_quantile(share) as f64 / 1e3;
        let edits = measured.edits as f64;
        let each = |spent: CpuTime| spent.total().as_secs_f64() * 1e6 / edits.max(1.0);
        Self {
            speed: measured.speed,
            kept_up: measured.has_kept_up(),
            scheduled_seconds: measured.scheduled.as_secs_f64(),
            took_seconds: measured.elapsed.as_secs_f64(),
            edits: measured.edits,
            edits_per_second: edits / measured.elapsed.as_secs_f64(),
            continued: measured.continued,
            conflicts: measured.conflicts,
            hand_offs: measured.hand_offs,
            at_once_p50_us: at(&measured.at_once, 0.5),
            at_once_p99_us: at(&measured.at_once, 0.99),
            waits_p50_us: at(&measured.waits, 0.5),
            waits_p99_us: at(&measured.waits, 0.99),
            waits_max_us: at(&measured.waits, 1.0),
            waits_mean_us: measured.waits.mean() / 1e3,
            out_of_turn_max: measured.places_off.max(),
            server_us_per_edit: measured.server.map(each),
            generator_us_per_edit: measured.generator.map(each),
        }
    }
    fn cells(&self) -> Vec<String> {
        let known = |us: Option<f64>| us.map_or_else(|| String::from("-"), |us| format!("{us:.1}"));
        let [p50, p99, max] = [self.waits_p50_us, self.waits_p99_us, self.waits_max_us];
        vec![
            grouped(self.speed),
            grouped(self.edits_per_second),
            format!("{:.2} ({:.2})", self.took_seconds, self.scheduled_seconds),
            grouped(self.conflicts as f64),
            grouped(self.hand_offs as f64),
            format!("{:.2} / {:.2} / {:.1}", p50 / 1e3, p99 / 1e3, max / 1e3),
            format!("{:.0} / {:.0}", self.at_once_p50_us, self.at_once_p99_us),
            self.out_of_turn_max.to_string(),
            known(self.server_us_per_edit),
            known(self.generator_us_per_edit),
        ]
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text
        .parse()
        .ok()
        .filter(|speed| (1.0..=1e12).contains(speed));
    speed.ok_or_else(|| format!("expected a number from 1 to 1e12, found {text:?}"))
}
