//! `tenure ping`: whether the server is there, what it is, who we are to it, and how long a question takes.
//! Opens no session and asks for no org, so every key may.

use std::time::Duration;

use serde::Serialize;
use tenure_protocol::{Request, request};
use tokio::time::Instant;

use super::output::Output;
use super::wire::Wire;
use super::{Exit, Shared};

/// Ask the server whether it is there
///
/// Says what it is, who you are to it, how much you may do, and how long a question and its answer take.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Ping {
    /// How many times to ask
    #[arg(long, short, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

const AFTER_HELP: &str = "\
Examples:
  tenure ping
  tenure ping --server locks.example.com --tls --json

--json has what the server answers to a hello, and round_trip_us: least, mean, most in microseconds.
Exit status: 0 it answers, 2 it does not";

/// The answer for programs.
#[derive(Serialize)]
struct Pong<'a> {
    version: u32,
    server: &'a str,
    connection: u64,
    principal: &'a str,
    role: &'a str,
    round_trip_us: RoundTrip,
}

#[derive(Serialize)]
struct RoundTrip {
    count: u32,
    min: u64,
    mean: u64,
    max: u64,
}

impl Ping {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let mut trips = Vec::new();
        for _ in 0..self.count {
            let sent = Instant::now();
            wire.ask(&Request::Ping(request::Ping {})).await?;
            trips.push(sent.elapsed());
        }
        let hello = wire.hello()?;
        let pong = Pong {
            version: hello.version,
            server: hello.server,
            connection: hello.connection,
            principal: hello.principal,
            role: hello.role.name(),
            round_trip_us: RoundTrip::of(&trips),
        };
        Output::new(shared).answer(&pong, |paint| {
            let (address, trip) = (wire.address(), &pong.round_trip_us);
            format!(
                "{} is {}, protocol {}; you are {}, {}\n{} round trips: {} least, {} mean, {} most",
                address,
                paint.yes(pong.server),
                pong.version,
                pong.principal,
                pong.role,
                trip.count,
                millis(trip.min),
                millis(trip.mean),
                millis(trip.max),
            )
        })?;
        Ok(Exit::Yes)
    }
}

impl RoundTrip {
    fn of(trips: &[Duration]) -> Self {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let count = u32::try_from(trips.len()).unwrap_or(u32::MAX);
        Self {
            count,
            min: trips.iter().min().copied().map_or(0, us),
            mean: us(trips.iter().sum::<Duration>() / count.max(1)),
            max: trips.iter().max().copied().map_or(0, us),
        }
    }
}

fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}
