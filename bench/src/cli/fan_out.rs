//! `tenure-bench fan-out`: what it costs to tell many of one thing, beside systems that do little else.
//!
//! Rule: each round is measured at a server of its own, systems in turn; what is told is the median of the rounds.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tenure_bench::columns::Columns;
use tenure_bench::cpu::CpuTime;
use tenure_bench::fan_out::{self, FanOut, Measured, System};
use tenure_bench::open_files;
use tenure_bench::peers::Peer;
use tenure_bench::report::grouped;

use super::server::{Server, ServerArguments};
use super::{command_line, progress, write_json};

/// Measure what it costs to tell many subscribers of one event
///
/// One connection publishes, the others listen and read. At most so many messages are on their way; one is done when the
/// last subscriber has it. A probe beside acquires and releases at a fixed rate in the same org: what it takes shows what
/// locks notice of it. What happens to a lock is told to as many, for comparison. With --frozen, each round is measured twice: without, and with so many subscribers more that never
/// read.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct FanOutArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// Leave out the peers, though they are on this machine
    #[arg(long)]
    alone: bool,

    /// Connections that listen
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    subscribers: Vec<u32>,

    /// Messages on their way at most
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: Vec<u32>,

    /// Bytes of a message
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(0..=16_384))]
    payload: u32,

    /// Pairs of acquire and release a second beside; 0 is none
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    probe_rate: u32,

    /// Subscribers that never read, in every second measurement
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    frozen: Option<u32>,

    /// Seconds that each is measured in each round
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
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
  cargo run --release -p tenure-bench -- fan-out
  cargo run --release -p tenure-bench -- fan-out --subscribers 100 --in-flight 64 --frozen 1 --rounds 5 --alone";

/// Files that are open beside the connections.
const OTHER_FILES: u64 = 200;

/// How long each runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// One measurement, or the medians of several.
#[derive(Debug, Clone, Serialize)]
struct Row {
    system: &'static str,
    subscribers: u32,
    frozen: u32,
    in_flight: u32,
    messages_per_second: f64,
    deliveries_per_second: f64,
    /// From the publishing until the last subscriber had it.
    last_p50_us: f64,
    last_p99_us: f64,
    /// Processor time of the server in nanoseconds, what it did for the probe included.
    server_ns_per_delivery: Option<f64>,
    generator_ns_per_delivery: Option<f64>,
    /// What acquires and releases took beside.
    probe_p50_us: Option<f64>,
    probe_p99_us: Option<f64>,
}

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    command: String,
    payload_bytes: u32,
    probe_rate: u32,
    rounds: u32,
    rows: &'a [Row],
}

impl FanOutArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let most = self.subscribers.iter().max().copied().unwrap_or(0);
        // The server inherits what is allowed here.
        let connections = most + self.frozen.unwrap_or(0);
        open_files::allow(u64::from(connections) + OTHER_FILES)?;
        let mut rows = Vec::new();
        for &subscribers in &self.subscribers {
            for &in_flight in &self.in_flight {
                rows.extend(self.in_turn(subscribers, in_flight)?);
            }
        }
        progress::clear();
        self.print(&rows)
    }

    /// Every system, round by round; the medians of each.
    fn in_turn(&self, subscribers: u32, in_flight: u32) -> Result<Vec<Row>> {
        let systems = self.systems();
        let frozen: Vec<u32> = [0].into_iter().chain(self.frozen).collect();
        let mut measured = vec![Vec::new(); systems.len() * frozen.len()];
        for round in 1..=self.rounds {
            let cases = systems
                .iter()
                .flat_map(|system| frozen.iter().map(move |frozen| (system, *frozen)));
            for ((system, frozen), rows) in cases.zip(&mut measured) {
                progress::show(&format!(
                    "{}: {subscribers} subscribers, {in_flight} in flight, round {round} of {}",
                    system.name(),
                    self.rounds
                ));
                let server = self.start(system)?;
                let fan_out = FanOut {
                    address: server.address,
                    pid: server.pid,
                    subscribers,
                    frozen,
                    in_flight,
                    payload_bytes: self.payload as usize,
                    probe_rate: self.probe_rate,
                    warm_up: WARM_UP,
                    duration: Duration::from_secs(self.seconds.into()),
                };
                rows.push(Row::of(
                    &fan_out,
                    system,
                    &fan_out::measure(&fan_out, system)?,
                ));
            }
        }
        Ok(measured
            .iter()
            .filter_map(|rows| Row::median(rows))
            .collect())
    }

    fn systems(&self) -> Vec<System> {
        let peers = [
            (Peer::Redis, System::Redis),
            (Peer::Valkey, System::Valkey),
            (Peer::Nats, System::Nats),
        ];
        let is_measured = |peer: Peer| !self.alone && !self.server.is_given() && peer.is_here();
        let here = peers.into_iter().filter(|(peer, _)| is_measured(*peer));
        let key = self.server.key();
        [System::Tenure(key.clone()), System::TenureLock(key)]
            .into_iter()
            .chain(here.map(|(_, system)| system))
            .collect()
    }

    fn start(&self, system: &System) -> Result<Server> {
        match system {
            System::Tenure(_) | System::TenureLock(_) => self.server.server(),
            System::Redis => self.server.peer(Peer::Redis),
            System::Valkey => self.server.peer(Peer::Valkey),
            System::Nats => self.server.peer(Peer::Nats),
        }
    }

    fn print(&self, rows: &[Row]) -> Result<()> {
        let (mut out, command) = (stdout().lock(), command_line());
        if self.json {
            let report = Report {
                command,
                payload_bytes: self.payload,
                probe_rate: self.probe_rate,
                rounds: self.rounds,
                rows,
            };
            return write_json(&mut out, &report);
        }
        writeln!(
            out,
            "{command}\nmessages of {} bytes, {} pairs/s of acquire and release beside, medians of {} rounds; microseconds\n",
            self.payload, self.probe_rate, self.rounds
        )?;
        let head = [
            "system",
            "subscribers",
            "frozen",
            "in flight",
            "messages/s",
            "deliveries/s",
            "to the last p50",
            "p99",
            "server ns/delivery",
            "generator ns",
            "locks p50",
            "p99",
        ];
        write!(
            out,
            "{}",
            Columns::under(&head, rows.iter().map(Row::cells))
        )?;
        Ok(())
    }
}

impl Row {
    fn of(fan_out: &FanOut, system: &System, measured: &Measured) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        let each = |spent: Duration| spent.as_nanos() as f64 / measured.deliveries.max(1) as f64;
        let probe = |share| {
            let probe = &measured.probe;
            (!probe.is_empty()).then(|| probe.value_at_quantile(share) as f64)
        };
        Self {
            system: system.name(),
            subscribers: fan_out.subscribers,
            frozen: fan_out.frozen,
            in_flight: fan_out.in_flight,
            messages_per_second: measured.messages as f64 / seconds,
            deliveries_per_second: measured.deliveries as f64 / seconds,
            last_p50_us: measured.to_the_last.value_at_quantile(0.5) as f64,
            last_p99_us: measured.to_the_last.value_at_quantile(0.99) as f64,
            server_ns_per_delivery: measured.server.map(CpuTime::total).map(each),
            generator_ns_per_delivery: measured.generator.map(each),
            probe_p50_us: probe(0.5),
            probe_p99_us: probe(0.99),
        }
    }

    /// Figure by figure.
    fn median(rows: &[Self]) -> Option<Self> {
        let first = rows.first()?;
        let middle = |of: &dyn Fn(&Self) -> Option<f64>| {
            let mut values: Vec<f64> = rows.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let known = |of: fn(&Self) -> f64| middle(&|row| Some(of(row))).unwrap_or_default();
        Some(Self {
            messages_per_second: known(|row| row.messages_per_second),
            deliveries_per_second: known(|row| row.deliveries_per_second),
            last_p50_us: known(|row| row.last_p50_us),
            last_p99_us: known(|row| row.last_p99_us),
            server_ns_per_delivery: middle(&|row| row.server_ns_per_delivery),
            generator_ns_per_delivery: middle(&|row| row.generator_ns_per_delivery),
            probe_p50_us: middle(&|row| row.probe_p50_us),
            probe_p99_us: middle(&|row| row.probe_p99_us),
            ..first.clone()
        })
    }

    fn cells(&self) -> Vec<String> {
        let known = |value: Option<f64>| value.map_or_else(|| String::from("-"), grouped);
        vec![
            self.system.to_owned(),
            self.subscribers.to_string(),
            self.frozen.to_string(),
            self.in_flight.to_string(),
            grouped(self.messages_per_second),
            grouped(self.deliveries_per_second),
            grouped(self.last_p50_us),
            grouped(self.last_p99_us),
            known(self.server_ns_per_delivery),
            known(self.generator_ns_per_delivery),
            known(self.probe_p50_us),
            known(self.probe_p99_us),
        ]
    }
}
