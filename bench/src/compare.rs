//! Several systems under the same loads, and what that says of each beside the others.
//!
//! ```text
//!  round 1: load 1: tenure, floor, redis, ...   load 2: tenure, floor, redis, ...   round 2: ...
//! ```
//!
//! Rules: systems take turns, so that a bad minute of the machine hits all alike; one that fails is told of and left out,
//! and the others go on.

mod chart;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::{self, AWAKE, Course, Load, Progress};
use crate::peers::{Peer, Spread};
use crate::report::{Figures, grouped, ratio};

pub use self::chart::charts;
pub use self::table::Table;

/// A comparison at the deepest pipeline says nothing where the floor is not at least so many times as fast as Redis: then
/// the machine, or the generator, is the limit.
const FLOOR_TO_REDIS_MIN: f64 = 5.0;

/// The depth of that comparison.
const DEEP: u32 = 64;

/// A server that takes part.
#[derive(Debug)]
pub struct Contestant {
    /// What it is.
    pub peer: Peer,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub pid: Option<u32>,
}

/// One load that all are put under.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What is asked.
    pub course: Course,
    /// How many connections.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// How many paths are chosen from.
    pub paths: u32,
    /// How many pairs a second; `None` is as many as are answered.
    pub rate: Option<u32>,
    /// Who is not asked.
    pub without: Vec<Peer>,
}

/// How all trials are run.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How often each is measured.
    pub rounds: u32,
    /// How long before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Threads of the generator.
    pub threads: usize,
    /// Orgs that the connections are spread over.
    pub orgs: u32,
}

/// What has come of one trial.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// What was asked.
    pub course: Course,
    /// How many connections.
    pub connections: u32,
    /// Requests in flight on each.
    pub depth: u32,
    /// How many paths were chosen from.
    pub paths: u32,
    /// How many pairs a second, in an open loop.
    pub rate: Option<u32>,
    /// Whether the floor was too close to Redis for this to say anything.
    pub is_void: bool,
    /// The systems, in the order in which they took their turns.
    pub systems: Vec<Entry>,
}

/// What has come of one system in one trial.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Which.
    pub system: Peer,
    /// Requests that it had in flight, if it takes fewer than it was offered.
    pub depth: u32,
    /// Of each figure by itself, over the rounds; `None` when it failed.
    pub median: Option<Figures>,
    /// In the order in which they were run.
    pub rounds: Vec<Figures>,
    /// Beside Redis.
    pub to_redis: Option<Ratios>,
    /// Beside the floor.
    pub to_floor: Option<Ratios>,
    /// Why there is nothing to be told.
    pub failure: Option<String>,
}

/// One system's figures as multiples of another's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Of its rate.
    pub rate: f64,
    /// Of its server's processor time for an operation.
    pub server: Option<f64>,
    /// Of its p99.
    pub p99: f64,
}

impl Ratios {
    fn of(course: Course, own: &[Figures], other: &[Figures]) -> Option<Self> {
        let server = |figures: &Figures| figures.server_ns().unwrap_or(f64::NAN);
        Some(Self {
            rate: ratio(own, other, |figures| rate(course, figures))?,
            server: ratio(own, other, server).filter(|ratio| !ratio.is_nan()),
            p99: ratio(own, other, |figures| figures.p99_us)?,
        })
    }
}

impl Standing {
    /// What has come of a system, if it took part and did not fail.
    #[must_use]
    pub fn figures(&self, system: Peer) -> Option<&Figures> {
        let mut entries = self.systems.iter();
        entries
            .find(|entry| entry.system == system)?
            .median
            .as_ref()
    }

    fn compare(&mut self) {
        for entry in &mut self.systems {
            let has_come_through = entry.failure.is_none() && !entry.rounds.is_empty();
            entry.median = has_come_through.then(|| Figures::median(&entry.rounds));
        }
        let rounds_of = |system| {
            let mut entries = self.systems.iter();
            let found = entries.find(|entry| entry.system == system && entry.median.is_some());
            found.map_or_else(Vec::new, |entry| entry.rounds.clone())
        };
        let (redis, floor) = (rounds_of(Peer::Redis), rounds_of(Peer::Floor));
        for entry in self
            .systems
            .iter_mut()
            .filter(|entry| entry.median.is_some())
        {
            entry.to_redis = Ratios::of(self.course, &entry.rounds, &redis);
            entry.to_floor = Ratios::of(self.course, &entry.rounds, &floor);
        }
        let is_deep = self.course == Course::Pairs && self.depth == DEEP && self.rate.is_none();
        let floor_to_redis = ratio(&floor, &redis, |figures| rate(self.course, figures));
        self.is_void = is_deep && floor_to_redis.is_some_and(|ratio| ratio < FLOOR_TO_REDIS_MIN);
    }
}

/// What a course is about, a second: pairs where it has them.
#[must_use]
pub const fn rate(course: Course, figures: &Figures) -> f64 {
    match course {
        Course::Pairs | Course::HandOff => figures.pairs_per_second,
        Course::Renew | Course::Mixed => figures.operations_per_second,
    }
}

/// Puts all contestants through all trials, and tells `watch` now and then how far it is.
pub fn run(
    contestants: &[Contestant],
    trials: &[Trial],
    terms: &Terms,
    watch: &mut dyn FnMut(&str, Progress),
) -> Vec<Standing> {
    let mut standings: Vec<_> = trials
        .iter()
        .map(|trial| trial.begin(contestants, trials))
        .collect();
    for round in 1..=terms.rounds {
        for (trial, standing) in trials.iter().zip(&mut standings) {
            for entry in &mut standing.systems {
                let title = format!(
                    "round {round} of {}, {trial}: {}",
                    terms.rounds, entry.system
                );
                let contestant = contestants.iter().find(|one| one.peer == entry.system);
                let Some(contestant) = contestant.filter(|_| entry.failure.is_none()) else {
                    continue;
                };
                let mut watch = |progress| watch(&title, progress);
                match trial.measure(contestant, entry.depth, terms, &mut watch) {
                    Ok(figures) => entry.rounds.push(figures),
                    Err(error) => entry.failure = Some(format!("{error:#}")),
                }
            }
        }
    }
    for standing in &mut standings {
        standing.compare();
    }
    standings
}

impl Trial {
    /// The standing before the first round. A system that makes use of fewer requests in flight than it is offered takes part
    /// once, where it is offered the fewest that are enough.
    fn begin(&self, contestants: &[Contestant], trials: &[Self]) -> Standing {
        let entry = |contestant: &Contestant| {
            let system = contestant.peer.system(Spread::default());
            let depth_max = system.depth_max().unwrap_or(u32::MAX);
            let is_offered_enough_before = trials
                .iter()
                .any(|trial| (depth_max..self.depth).contains(&trial.depth) && trial.is_like(self));
            let is_asked = self.course.asks().iter().all(|ask| system.supports(*ask))
                && !self.without.contains(&contestant.peer)
                && !is_offered_enough_before;
            is_asked.then(|| Entry::new(contestant.peer, depth_max.min(self.depth)))
        };
        Standing {
            course: self.course,
            connections: self.connections,
            depth: self.depth,
            paths: self.paths,
            rate: self.rate,
            is_void: false,
            systems: contestants.iter().filter_map(entry).collect(),
        }
    }

    /// Whether it is the same but for the depth.
    fn is_like(&self, other: &Self) -> bool {
        let of = |trial: &Self| (trial.course, trial.connections, trial.paths, trial.rate);
        of(self) == of(other)
    }

    fn measure(
        &self,
        contestant: &Contestant,
        depth: u32,
        terms: &Terms,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Figures> {
        let load = Load {
            address: contestant.address,
            server_pid: contestant.pid,
            course: self.course,
            rate: self.rate,
            connections: self.connections,
            depth,
            paths: self.paths,
            threads: terms.threads,
            awake: AWAKE,
            warm_up: terms.warm_up,
            duration: terms.duration,
        };
        // Who stands in line has to be somebody else than the holder, so then each slot has a session.
        let sessions = match self.course {
            Course::Pairs | Course::Renew | Course::Mixed => 1,
            Course::HandOff => depth,
        };
        let orgs = terms.orgs;
        let system = contestant.peer.system(Spread { orgs, sessions });
        let measured = load::run(&load, &*system, watch)?;
        ensure!(measured.operations() > 0, "nothing succeeded");
        Ok(Figures::of(&measured))
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (course, connections, depth) = (self.course, self.connections, self.depth);
        write!(f, "{course}, {connections} connections, depth {depth}")?;
        if let Some(rate) = self.rate {
            write!(f, ", {} pairs/s", grouped(rate.into()))?;
        }
        Ok(())
    }
}

impl Entry {
    const fn new(system: Peer, depth: u32) -> Self {
        Self {
            system,
            depth,
            median: None,
            rounds: Vec::new(),
            to_redis: None,
            to_floor: None,
            failure: None,
        }
    }
}

/// The trials that follow from what Redis has reached: pairs at half of its rate, to see how long answers take when nobody is
/// at the end of their strength. Who could not keep up is not asked.
#[must_use]
pub fn at_half_of_redis(standings: &[Standing]) -> Vec<Trial> {
    let of_pairs = standings
        .iter()
        .filter(|standing| standing.course == Course::Pairs && standing.rate.is_none());
    let half = |standing: &Standing| {
        let rate = standing.figures(Peer::Redis)?.pairs_per_second / 2.0;
        let is_too_slow = |peer: &Peer| {
            let figures = standing.figures(*peer);
            figures.is_none_or(|figures| figures.pairs_per_second < rate)
        };
        Some(Trial {
            course: standing.course,
            connections: standing.connections,
            depth: standing.depth,
            paths: standing.paths,
            rate: Some(rate as u32),
            without: Peer::ALL.into_iter().filter(is_too_slow).collect(),
        })
    };
    of_pairs.filter_map(half).collect()
}

#[cfg(test)]
mod tests;
