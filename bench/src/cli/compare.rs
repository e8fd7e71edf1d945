//! `tenure-bench compare`: this server, the floor and every peer that is on the machine, under the same loads in turn.
//!
//! Rule: whatever it starts ends with it.

use std::fs;
use std::io::{Write as _, stderr, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tenure_bench::compare::{self, Contestant, Standing, Table, Terms, Trial};
use tenure_bench::cpu::MachineTime;
use tenure_bench::load::{Course, Progress};
use tenure_bench::peers::Peer;
use tenure_bench::report::grouped;
use tenure_bench::server_process::ServerProcess;

use super::load::CourseName;
use super::{command_line, cores, progress};

/// Put this server, a bare one and every peer on this machine under the same loads in turn
///
/// Starts each on a free port of this machine, with nothing kept on disk, and ends it. The floor is a bare server with the
/// same protocol, which only cuts frames, decodes, touches a map and answers; "guided" is this server as bench/guided-build has
/// built it, if it has. Only true successes count; an operation is a request that was answered with yes. Each figure is the
/// median of the rounds. After that, pairs at half of the rate that Redis reached, in an open loop and in bursts of the depth:
/// how long answers take when nobody is at the end of their strength.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompareArguments {
    /// Only these: tenure, guided, floor, redis, valkey, slock, etcd, nats [default: all that are found]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<Peer>,

    /// All but these
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    skip: Vec<Peer>,

    /// A Redis that runs already, instead of one of this command's own
    #[arg(long, value_name = "ADDRESS")]
    redis: Option<SocketAddr>,

    /// The process of that Redis, for its processor time
    #[arg(long, requires = "redis")]
    redis_pid: Option<u32>,

    /// This project's server [default: tenure beside this binary; built before under `cargo run`]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// What is asked
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pairs,renew")]
    course: Vec<CourseName>,

    /// Connections
    #[arg(long, value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,

    /// Requests in flight on each connection [default: 1,16,64; renew: 16,64; hand-off: so many that 1000 wait]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=512))]
    depth: Vec<u32>,

    /// Paths to choose from [default: 100000; hand-off: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    paths: Option<u32>,

    /// Organisations that the connections are spread over; databases of Redis
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    orgs: u32,

    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Milliseconds that each is measured in each round
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    milliseconds: u32,

    /// Milliseconds before each measurement
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    warm_up: u32,

    /// Threads of the generator [default: half the cores]
    #[arg(long)]
    threads: Option<usize>,

    /// Leave out the pairs at half of Redis's rate
    #[arg(long)]
    no_half: bool,

    /// Write all figures as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw charts into this folder as well
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  cargo run --release -p tenure-bench -- compare
  cargo run --release -p tenure-bench -- compare --only tenure,floor,redis --connections 1,16,50,256
  cargo run --release -p tenure-bench -- compare --course pairs,mixed,hand-off --paths 1000000 --orgs 16
  cargo run --release -p tenure-bench -- compare --json compare.json --svg docs/benchmarks";

/// Everything, for machines.
#[derive(Serialize)]
struct Report<'a> {
    /// What was typed.
    command: String,
    cores: usize,
    threads: usize,
    orgs: u32,
    rounds: u32,
    milliseconds: u32,
    warm_up_milliseconds: u32,
    /// What the machine's host gave to others meanwhile, of all cores.
    stolen_percent: Option<f64>,
    standings: &'a [Standing],
}

impl CompareArguments {
    pub(crate) fn run(&self) -> Result<()> {
        let (contestants, servers) = self.contestants()?;
        let terms = self.terms();
        let (began, machine) = (Instant::now(), MachineTime::now());
        let mut standings = compare::run(&contestants, &self.trials(), &terms, &mut show);
        if !self.no_half {
            let trials = compare::at_half_of_redis(&standings);
            standings.extend(compare::run(&contestants, &trials, &terms, &mut show));
        }
        progress::clear();
        drop(servers);
        let stolen = machine.and_then(MachineTime::percent_stolen_since);
        self.print(&standings, began.elapsed(), stolen)?;
        self.write(&standings, stolen)
    }

    /// Whoever takes part, and the processes that were started for it.
    fn contestants(&self) -> Result<(Vec<Contestant>, Vec<ServerProcess>)> {
        let (mut contestants, mut servers) = (Vec::new(), Vec::new());
        for peer in Peer::ALL.into_iter().filter(|peer| self.is_wanted(*peer)) {
            if let Some(address) = self.redis.filter(|_| peer == Peer::Redis) {
                let pid = self.redis_pid;
                contestants.push(Contestant { peer, address, pid });
                continue;
            }
            if !peer.is_here() {
                ensure!(!self.only.contains(&peer), peer.absence());
                writeln!(stderr(), "{}: left out", peer.absence())?;
                continue;
            }
            let server = peer.start(self.binary.as_deref())?;
            contestants.push(Contestant {
                peer,
                address: server.address(),
                pid: Some(server.pid()),
            });
            servers.push(server);
        }
        ensure!(!contestants.is_empty(), "there is nothing to compare");
        Ok((contestants, servers))
    }

    fn is_wanted(&self, peer: Peer) -> bool {
        (self.only.is_empty() || self.only.contains(&peer)) && !self.skip.contains(&peer)
    }

    fn trials(&self) -> Vec<Trial> {
        let mut trials = Vec::new();
        for course in &self.course {
            for &connections in &self.connections {
                for depth in self.depths(*course, connections) {
                    trials.push(Trial {
                        course: Course::from(*course),
                        connections,
                        depth,
                        paths: self.paths.unwrap_or_else(|| course.paths()),
                        rate: None,
                        without: Vec::new(),
                    });
                }
            }
        }
        trials
    }

    fn depths(&self, course: CourseName, connections: u32) -> Vec<u32> {
        if self.depth.is_empty() {
            course.depths(connections)
        } else {
            self.depth.clone()
        }
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| cores().div_ceil(2)).max(1)
    }

    fn terms(&self) -> Terms {
        Terms {
            rounds: self.rounds,
            warm_up: Duration::from_millis(self.warm_up.into()),
            duration: Duration::from_millis(self.milliseconds.into()),
            threads: self.threads(),
            orgs: self.orgs,
        }
    }

    fn print(&self, standings: &[Standing], took: Duration, stolen: Option<f64>) -> Result<()> {
        let stolen = stolen.map_or_else(String::new, |percent| {
            format!(", {percent:.1} % of the cores' time stolen by the host")
        });
        writeln!(
            stdout(),
            "{}\n{} cores, {} of the generator; orgs: {}; medians of {} x {} ms; {:.0} s in total{stolen}\n{}",
            command_line(),
            cores(),
            self.threads(),
            self.orgs,
            self.rounds,
            self.milliseconds,
            took.as_secs_f64(),
            Table(standings)
        )?;
        Ok(())
    }

    fn write(&self, standings: &[Standing], stolen_percent: Option<f64>) -> Result<()> {
        if let Some(file) = &self.json {
            let report = Report {
                command: command_line(),
                cores: cores(),
                threads: self.threads(),
                orgs: self.orgs,
                rounds: self.rounds,
                milliseconds: self.milliseconds,
                warm_up_milliseconds: self.warm_up,
                stolen_percent,
                standings,
            };
            let text = serde_json::to_string_pretty(&report)? + "\n";
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if let Some(folder) = &self.svg {
            fs::create_dir_all(folder)?;
            for (name, chart) in compare::charts(standings) {
                let file = folder.join(name);
                fs::write(&file, chart)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        Ok(())
    }
}

fn show(title: &str, progress: Progress) {
    let rate = grouped(progress.operations_per_second);
    progress::show(&format!("{title}: {rate} operations/s"));
}
