//! What a held lock costs in memory, and how much of it is given back: the resident memory of the server before, with so
//! many holds, and after all of them were released.
//!
//! Sessions count as part of what their holds cost, connections do not. Knows no system.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Bulk, Shape, System};
use crate::resident::resident_bytes;

/// Holds that outlive the measurement.
const TTL: Duration = Duration::from_secs(3600);

/// How long a server is given to put its memory in order, before it is looked at.
const SETTLE: Duration = Duration::from_secs(2);

/// How many requests there are between two looks at the progress.
const PROGRESS_EVERY: u32 = 50_000;

/// What a server is filled with.
#[derive(Debug, Clone)]
pub struct Fill {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// How many locks are held.
    pub holds: u32,
    /// How many sessions hold them.
    pub sessions: u32,
    /// Where it stands who they are.
    pub shape: Shape,
}

/// What has come of it. All memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// With one connection, and nothing else.
    pub before: u64,
    /// With all sessions, and no hold.
    pub with_sessions: u64,
    /// With all holds.
    pub full: u64,
    /// After all holds were released and all sessions closed.
    pub after: u64,
    /// How long filling took.
    pub filled_in: Duration,
    /// How long releasing took.
    pub emptied_in: Duration,
}

impl Measured {
    /// Bytes for a hold, with its share of its session.
    #[must_use]
    pub fn bytes_per_hold(&self, holds: u32) -> f64 {
        self.full.saturating_sub(self.before) as f64 / f64::from(holds.max(1))
    }

    /// How much of what the holds had taken was given back: 1 is all.
    #[must_use]
    pub fn given_back(&self) -> f64 {
        let taken = self.full.saturating_sub(self.before).max(1);
        self.full.saturating_sub(self.after) as f64 / taken as f64
    }
}

/// Which way it goes, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many locks are held.
    Acquired(u32),
    /// So many are held no more.
    Released(u32),
}

/// Fills a server and empties it, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, does not grant all that is asked, or its memory is not to be known.
pub fn measure(fill: &Fill, system: &System, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let resident = || {
        thread::sleep(SETTLE);
        resident_bytes(fill.pid).context("the system does not tell the server's memory")
    };
    let mut bulk = Bulk::connect(fill.address)?;
    let mut crowd = system.crowd(0, fill.sessions, fill.shape);
    let before = resident()?;
    crowd.open(&mut bulk)?;
    let with_sessions = resident()?;

    let began = Instant::now();
    for part in parts(fill.holds) {
        let end = part.end;
        bulk.ask_all(crowd.as_mut(), part, |crowd, number, out| {
            crowd.acquire(number, TTL, out);
        })?;
        watch(Progress::Acquired(end));
    }
    let filled_in = began.elapsed();
    let full = resident()?;

    let began = Instant::now();
    for part in parts(fill.holds) {
        let end = part.end;
        bulk.ask_all(crowd.as_mut(), part, |crowd, number, out| {
            crowd.release(number, out);
        })?;
        watch(Progress::Released(end));
    }
    let emptied_in = began.elapsed();
    crowd.close(&mut bulk)?;
    Ok(Measured {
        before,
        with_sessions,
        full,
        after: resident()?,
        filled_in,
        emptied_in,
    })
}

fn parts(holds: u32) -> impl Iterator<Item = std::ops::Range<u32>> {
    let starts = (0..holds).step_by(PROGRESS_EVERY as usize);
    starts.map(move |start| start..holds.min(start.saturating_add(PROGRESS_EVERY)))
}
