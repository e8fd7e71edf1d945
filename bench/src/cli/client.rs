//! `tenure-bench client`: what the client crate adds to a request.
//!
//! Rule: the generator and the client take turns, so that a bad minute of the machine hits both.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tenure_bench::client_load::{self, ClientLoad};
use tenure_bench::columns::Columns;
use tenure_bench::dialect::Tenure;
use tenure_bench::load::{self, Course, Load, Progress};
use tenure_bench::report::{Case, Figures, grouped};

use super::server::{Server, ServerArguments};
use super::{command_line, cores, progress, write_json};

/// Measure what the client crate adds to the bare generator
///
/// Both acquire and release random paths over one connection of one session, with one request under way and with many: the
/// generator writes them from templates, the client has a task for each, which waits for its answer as a service does. What
/// the client's process spends more for an operation is what the crate costs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ClientArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// Tasks on the one connection, or requests in flight of the generator
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = clap::value_parser!(u32).range(1..=512))]
    tasks: Vec<u32>,

    /// Paths to choose from
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    paths: u32,

    /// Threads of the client's runtime
    #[arg(long, default_value_t = 1)]
    threads: usize,

    /// Seconds that each is measured in each round
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,

    /// How often each is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- client
  cargo run --release -p tenure-bench -- client --tasks 1,16,64,256 --threads 2 --json";

/// How long each runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// So many requests under way, by either.
#[derive(Debug, Serialize)]
struct Row {
    tasks: u32,
    bare: Case,
    client: Case,
    /// Processor time that the client's process spends more for an operation.
    added_ns: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    cores: usize,
    threads: usize,
    paths: u32,
    rows: &'a [Row],
}

impl ClientArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let server = self.server.server()?;
        let rows = self
            .tasks
            .iter()
            .map(|&tasks| self.measure(&server, tasks))
            .collect::<Result<Vec<_>>>()?;
        drop(server);
        progress::clear();
        self.print(&rows)
    }

    fn measure(&self, server: &Server, tasks: u32) -> Result<Row> {
        let (mut bare, mut client) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            let title = |who| format!("round {round} of {}, {tasks} by the {who}", self.rounds);
            bare.push(self.bare(server, tasks, &title("generator"))?);
            client.push(self.client(server, tasks, &title("client"))?);
        }
        let (bare, client) = (Case::of(1, tasks, bare), Case::of(1, tasks, client));
        let each = [bare.median.generator_ns, client.median.generator_ns];
        let [bare_ns, client_ns] = each;
        Ok(Row {
            tasks,
            bare,
            client,
            added_ns: client_ns.zip(bare_ns).map(|(client, bare)| client - bare),
        })
    }

    fn bare(&self, server: &Server, depth: u32, title: &str) -> Result<Figures> {
        let load = Load {
            address: server.address,
            server_pid: server.pid,
            course: Course::Pairs,
            rate: None,
            connections: 1,
            depth,
            paths: self.paths,
            threads: 1,
            // As the client does.
            awake: Duration::ZERO,
            warm_up: WARM_UP,
            duration: Duration::from_secs(self.seconds.into()),
        };
        let system = Tenure {
            key: self.server.key(),
            ..Tenure::default()
        };
        let measured = load::run(&load, &system, &mut |progress| show(title, progress))?;
        Ok(Figures::of(&measured))
    }

    fn client(&self, server: &Server, tasks: u32, title: &str) -> Result<Figures> {
        let load = ClientLoad {
            address: server.address,
            server_pid: server.pid,
            key: self.server.key(),
            tasks,
            paths: self.paths,
            threads: self.threads,
            warm_up: WARM_UP,
            duration: Duration::from_secs(self.seconds.into()),
        };
        let measured = client_load::run(&load, &mut |progress| show(title, progress))?;
        Ok(Figures::of(&measured))
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            let report = Report {
                command,
                cores: cores(),
                threads: self.threads,
                paths: self.paths,
                rows,
            };
            return write_json(&mut out, &report);
        }
        let head = [
            "tasks",
            "by",
            "pairs/s",
            "p50 us",
            "p99 us",
            "its CPU ns/op",
            "server ns/op",
            "added ns/op",
        ];
        let mut cells = vec![head.map(String::from).to_vec()];
        for row in rows {
            cells.push(cells_of(row.tasks, "generator", &row.bare.median, None));
            cells.push(cells_of(
                row.tasks,
                "client",
                &row.client.median,
                row.added_ns,
            ));
        }
        writeln!(
            out,
            "{command}\n{} cores; one connection; {} paths; medians of {} x {} s\n\n{}",
            cores(),
            grouped(self.paths.into()),
            self.rounds,
            self.seconds,
            Columns(cells)
        )?;
        Ok(())
    }
}

fn cells_of(tasks: u32, by: &str, figures: &Figures, added_ns: Option<f64>) -> Vec<String> {
    let known = |figure: Option<f64>| figure.map_or_else(|| String::from("-"), grouped);
    let mut cells = vec![
        tasks.to_string(),
        by.to_owned(),
        grouped(figures.pairs_per_second),
        format!("{:.0}", figures.p50_us),
        format!("{:.0}", figures.p99_us),
        known(figures.generator_ns),
        known(figures.server_ns()),
    ];
    cells.extend(added_ns.map(grouped));
    cells
}

fn show(title: &str, progress: Progress) {
    let rate = grouped(progress.operations_per_second);
    progress::show(&format!("{title}: {rate} operations/s"));
}
