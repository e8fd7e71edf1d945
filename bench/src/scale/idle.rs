//! What connections cost that do nothing but live: each has one session, and gives a sign of life as often as a client
//! must. Knows no system.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::System;
use crate::cpu::CpuTime;
use crate::resident::resident_bytes;

/// How often a client gives a sign of life, at least.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// How long a server is given to put its memory in order, before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);

/// What lives.
#[derive(Debug, Clone)]
pub struct Idle {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// How many connections.
    pub connections: u32,
    /// How long its processor time is measured.
    pub duration: Duration,
}

/// What has come of it.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Resident memory of the server without them, in bytes.
    pub before: u64,
    /// With them, after they have lived for a while.
    pub full: u64,
    /// The server's processor time in that while.
    pub server: CpuTime,
    /// How long that was.
    pub elapsed: Duration,
    /// Signs of life in it.
    pub beats: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many connections are open.
    Opened(u32),
    /// So many signs of life were given and answered.
    Beaten(u64),
}

/// Opens all connections, has them live for a while, and tells `watch` now and then how far it is.
///
/// # Errors
/// The server cannot be reached, lets not all of them in, or its figures are not to be known.
pub fn measure(idle: &Idle, system: &System, watch: &mut dyn FnMut(Progress)) -> Result<Measured> {
    let resident =
        || resident_bytes(idle.pid).context("the system does not tell the server's memory");
    let spent =
        || CpuTime::of(idle.pid).context("the system does not tell the server's processor time");
    let before = resident()?;
    let mut living = Vec::new();
    for number in 0..idle.connections {
        let opened = system.open(idle.address, number, 1);
        let number = number + 1;
        living.push(opened.with_context(|| format!("connection {number} cannot be opened"))?);
        if number % 256 == 0 {
            watch(Progress::Opened(number));
        }
    }
    thread::sleep(SETTLE);
    let (began, spent_before) = (Instant::now(), spent()?);
    let mut beats = 0;
    while began.elapsed() < idle.duration {
        let round = Instant::now();
        for (number, (bulk, crowd)) in (0..).zip(&mut living) {
            let due = round + BEAT_EVERY * number / idle.connections;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            bulk.ask_all(crowd.as_mut(), 0..1, |crowd, _, out| crowd.beat(out))?;
            beats += 1;
            if beats % 256 == 0 {
                watch(Progress::Beaten(beats));
            }
        }
        thread::sleep((round + BEAT_EVERY).saturating_duration_since(Instant::now()));
    }
    Ok(Measured {
        before,
        full: resident()?,
        server: spent()? - spent_before,
        elapsed: began.elapsed(),
        beats,
    })
}
