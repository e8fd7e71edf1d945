//! Lives through a schedule at a speed: each edit asks for its lock and stands in line, works, releases.
//!
//! ```text
//!            begin                granted               work done             answered
//!  (nothing) ------> Asking ----------------> Working ------------> Releasing --------> (nothing)
//!                      \--> Waiting --/
//! ```
//!
//! Rules: one session an owner; an owner who begins to edit what he is editing goes on with it, and works that much longer;
//! what is late since the generator or the server is, counts from when it was due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;

use super::link::Link;
use super::schedule::{Planned, Schedule};
use crate::cpu::CpuTime;
use crate::dialect::{Answer, Ask, Outcome, System};
use crate::paths::Path;

/// A server that is silent for this long while it owes an answer has stopped answering.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a connection may have nothing to say before servers end it.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often whoever watches is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// The part of its length that a replay may be late at its end and still have kept up.
const LATE_MAX: f64 = 0.1;

/// What has come of a replay at one speed. Times are those of the clock on the wall, in nanoseconds in the histograms.
#[derive(Debug)]
pub struct Measured {
    /// How much faster than the trace.
    pub speed: f64,
    /// How long it would have taken if nobody had waited.
    pub scheduled: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// Edits that acquired, worked and released.
    pub edits: u64,
    /// Edits that were begun again by their owner while they were under way.
    pub continued: u64,
    /// Edits whose path somebody else held, so that they stood in line.
    pub conflicts: u64,
    /// Locks that were granted to somebody who stood in line.
    pub hand_offs: u64,
    /// Edits that found nobody, from when they were due to when they were granted.
    pub at_once: Histogram<u64>,
    /// The same of those that stood in line.
    pub waits: Histogram<u64>,
    /// By how many places grants were not in the order in which one path was asked for.
    pub places_off: Histogram<u64>,
    /// The server's processor time.
    pub server: Option<CpuTime>,
    /// The generator's own. It does not sleep.
    pub generator: Option<CpuTime>,
}

impl Measured {
    /// Whether server and generator were as quick as the trace.
    #[must_use]
    pub fn has_kept_up(&self) -> bool {
        self.elapsed.as_secs_f64() <= self.scheduled.as_secs_f64() * (1.0 + LATE_MAX)
    }
}

/// A server that traces are replayed at.
pub struct Replay<'s> {
    schedule: &'s Schedule,
    server_pid: Option<u32>,
    links: Vec<Link>,
}

impl<'s> Replay<'s> {
    /// Connects once for each copy of the trace, each in an org of its own.
    ///
    /// # Errors
    /// The server cannot be reached, or cannot make anybody wait.
    pub fn new(
        schedule: &'s Schedule,
        copies: u32,
        address: SocketAddr,
        server_pid: Option<u32>,
        system: &dyn System,
    ) -> Result<Self> {
        ensure!(
            system.supports(Ask::Wait),
            "an edit stands in line for its lock, and this system has no line"
        );
        let links = (0..copies).map(|copy| Link::open(address, system.dialect(copy)));
        Ok(Self {
            schedule,
            server_pid,
            links: links.collect::<Result<_>>()?,
        })
    }

    /// Lives through it once, and tells `watch` now and then how many edits are done.
    ///
    /// # Errors
    /// The server stops answering, or answers with an error; or it is so slow that connections would fall asleep.
    pub fn run(&mut self, speed: f64, watch: &mut dyn FnMut(u64)) -> Result<Measured> {
        let schedule = self.schedule;
        ensure!(
            schedule.pause_max.as_secs_f64() / speed <= PAUSE_MAX.as_secs_f64(),
            "a pause of {:?} would last longer than {PAUSE_MAX:?} at a speed of {speed}",
            schedule.pause_max
        );
        let before = (self.server_pid.and_then(CpuTime::of), CpuTime::own());
        let mut run = Run::new(schedule, &mut self.links, speed)?;
        let began = run.began;
        let (mut heard, mut told) = (began, began);
        while run.is_under_way() {
            let is_idle = !run.step()?;
            let now = Instant::now();
            if is_idle {
                ensure!(
                    run.in_flight == 0 || now - heard < SILENCE_MAX,
                    "the server has stopped answering"
                );
                thread::yield_now();
            } else {
                heard = now;
            }
            if now - told > PROGRESS_EVERY {
                told = now;
                watch(run.measured.edits);
            }
        }
        let mut measured = run.measured;
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after? - before?);
        measured.elapsed = began.elapsed();
        measured.server = since(before.0, self.server_pid.and_then(CpuTime::of));
        measured.generator = since(before.1, CpuTime::own());
        Ok(measured)
    }
}

/// One replay at one speed.
struct Run<'r> {
    schedule: &'r Schedule,
    links: &'r mut [Link],
    speed: f64,
    began: Instant,
    /// What comes, soonest first.
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    under_way: HashMap<Key, Editing>,
    copies: Vec<Everybody>,
    in_flight: u64,
    answers: Vec<Answer>,
    measured: Measured,
}

/// What comes at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The edit with this number, of this copy.
    Begin { copy: u32, edit: u32 },
    /// The work of this edit is done, unless its owner goes on.
    Done(Key),
}

/// An edit that is under way. A slot is never shared, and given again only after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    copy: u32,
    slot: u32,
}

/// Its state: the drawing is in the file's header.
#[derive(Debug)]
struct Editing {
    owner: u32,
    path: u32,
    /// When it should have been asked for.
    asked: Instant,
    /// How many asked for the path before.
    turn: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Asking { work: Duration },
    Waiting { work: Duration },
    Working { until: Instant },
    Releasing,
}

/// All who edit in one copy of the trace.
#[derive(Debug, Default)]
struct Everybody {
    /// The slot of an owner who edits a path.
    editing: HashMap<(u32, u32), u32>,
    /// Slots that an owner has used before and that are free.
    free: HashMap<u32, Vec<u32>>,
    /// How many slots an owner has used.
    used: HashMap<u32, u32>,
    /// How often each path was asked for, and granted.
    lines: HashMap<u32, (u64, u64)>,
}

impl<'r> Run<'r> {
    fn new(schedule: &'r Schedule, links: &'r mut [Link], speed: f64) -> Result<Self> {
        let nanoseconds = Histogram::new_with_max(600_000_000_000, 3)?;
        let began = Instant::now() + Duration::from_millis(10);
        let copy_count = links.len() as u32;
        let mut run = Self {
            schedule,
            speed,
            began,
            due: BinaryHeap::new(),
            under_way: HashMap::new(),
            copies: (0..copy_count).map(|_| Everybody::default()).collect(),
            in_flight: 0,
            answers: Vec::new(),
            measured: Measured {
                speed,
                scheduled: schedule.length.div_f64(speed),
                elapsed: Duration::ZERO,
                edits: 0,
                continued: 0,
                conflicts: 0,
                hand_offs: 0,
                at_once: nanoseconds.clone(),
                waits: nanoseconds,
                places_off: Histogram::new_with_max(1_000_000, 3)?,
                server: None,
                generator: None,
            },
            links,
        };
        for copy in 0..copy_count {
            run.begin_later(copy, 0);
        }
        Ok(run)
    }

    fn is_under_way(&self) -> bool {
        !self.due.is_empty() || !self.under_way.is_empty()
    }

    /// Does what is due and hears what was answered. Tells whether there was anything.
    fn step(&mut self) -> Result<bool> {
        let now = Instant::now();
        let mut is_busy = false;
        while let Some(Reverse((at, due))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            is_busy = true;
            match due {
                Due::Begin { copy, edit } => self.begin(copy, edit, at),
                Due::Done(key) => self.done(key, now)?,
            }
        }
        let mut answers = std::mem::take(&mut self.answers);
        for copy in 0..self.copies.len() as u32 {
            self.links[copy as usize].exchange(&mut answers)?;
            let now = Instant::now();
            is_busy |= !answers.is_empty();
            for Answer { slot, outcome } in answers.drain(..) {
                self.answered(Key { copy, slot }, outcome, now)?;
            }
        }
        self.answers = answers;
        Ok(is_busy)
    }

    /// Copies follow one another at a distance, so that they do not all do the same at the same moment.
    fn begin_later(&mut self, copy: u32, edit: u32) {
        if let Some(planned) = self.schedule.edits.get(edit as usize) {
            let distance = self.schedule.pause_max * copy / self.copies.len() as u32;
            let at = self.began + (planned.begin + distance).div_f64(self.speed);
            self.due.push(Reverse((at, Due::Begin { copy, edit })));
        }
    }

    fn begin(&mut self, copy: u32, edit: u32, asked: Instant) {
        self.begin_later(copy, edit + 1);
        let Planned {
            owner, path, work, ..
        } = self.schedule.edits[edit as usize];
        let work = work.div_f64(self.speed);
        let of_copy = &mut self.copies[copy as usize];
        if let Some(&slot) = of_copy.editing.get(&(owner, path)) {
            self.measured.continued += 1;
            if let Some(editing) = self.under_way.get_mut(&Key { copy, slot }) {
                editing.go_on(asked, work);
            }
            return;
        }
        let slot = of_copy.slot(owner, self.schedule.owners);
        of_copy.editing.insert((owner, path), slot);
        let (turn, _) = of_copy.lines.entry(path).or_default();
        let editing = Editing {
            owner,
            path,
            asked,
            turn: *turn,
            stage: Stage::Asking { work },
        };
        *turn += 1;
        self.under_way.insert(Key { copy, slot }, editing);
        self.in_flight += 1;
        self.links[copy as usize].ask(slot, Ask::Wait, &Path::at(path));
    }

    fn done(&mut self, key: Key, now: Instant) -> Result<()> {
        let editing = self.under_way.get_mut(&key);
        let editing = editing.context("an edit was done that nobody had begun")?;
        let Stage::Working { until } = editing.stage else {
            bail!("expected an edit at work, found one {:?}", editing.stage);
        };
        if until > now {
            self.due.push(Reverse((until, Due::Done(key))));
            return Ok(());
        }
        editing.stage = Stage::Releasing;
        let (owner, path) = (editing.owner, editing.path);
        self.copies[key.copy as usize]
            .editing
            .remove(&(owner, path));
        self.in_flight += 1;
        self.links[key.copy as usize].ask(key.slot, Ask::Release, &Path::at(path));
        Ok(())
    }

    fn answered(&mut self, key: Key, outcome: Outcome, now: Instant) -> Result<()> {
        let editing = self.under_way.get_mut(&key);
        let editing = editing.context("the server has answered what nobody asked")?;
        match (editing.stage, outcome) {
            (Stage::Asking { work }, Outcome::Queued) => {
                self.in_flight -= 1;
                self.measured.conflicts += 1;
                editing.stage = Stage::Waiting { work };
            }
            (Stage::Asking { work }, Outcome::Done) => {
                self.in_flight -= 1;
                self.granted(key, work, now);
            }
            (Stage::Waiting { work }, Outcome::Done) => {
                self.measured.hand_offs += 1;
                self.granted(key, work, now);
            }
            (Stage::Releasing, Outcome::Done) => {
                self.in_flight -= 1;
                self.measured.edits += 1;
                let owner = editing.owner;
                self.under_way.remove(&key);
                let of_copy = &mut self.copies[key.copy as usize];
                of_copy.free.entry(owner).or_default().push(key.slot);
            }
            (stage, outcome) => bail!("expected no {outcome:?} for an edit {stage:?}"),
        }
        Ok(())
    }

    fn granted(&mut self, key: Key, work: Duration, now: Instant) {
        let Some(editing) = self.under_way.get_mut(&key) else {
            return;
        };
        let took = now.saturating_duration_since(editing.asked).as_nanos() as u64;
        let histogram = match editing.stage {
            Stage::Waiting { .. } => &mut self.measured.waits,
            Stage::Asking { .. } | Stage::Working { .. } | Stage::Releasing => {
                &mut self.measured.at_once
            }
        };
        histogram.saturating_record(took);
        let of_copy = &mut self.copies[key.copy as usize];
        let (_, granted) = of_copy.lines.entry(editing.path).or_default();
        let places_off = granted.abs_diff(editing.turn);
        *granted += 1;
        self.measured.places_off.saturating_record(places_off);
        editing.stage = Stage::Working { until: now + work };
        self.due.push(Reverse((now + work, Due::Done(key))));
    }
}

impl Editing {
    /// Its owner has begun it again, with so much work.
    fn go_on(&mut self, now: Instant, more: Duration) {
        match &mut self.stage {
            Stage::Asking { work } | Stage::Waiting { work } => *work = more.max(*work),
            Stage::Working { until } => *until = (now + more).max(*until),
            Stage::Releasing => {}
        }
    }
}

impl Everybody {
    /// A slot that is free, whose session is the owner's: sessions take turns in the slots of a connection.
    fn slot(&mut self, owner: u32, owners: u32) -> u32 {
        if let Some(slot) = self.free.get_mut(&owner).and_then(Vec::pop) {
            return slot;
        }
        let used = self.used.entry(owner).or_default();
        *used += 1;
        owner + owners * (*used - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_an_owner_are_used_again() {
        let mut everybody = Everybody::default();
        assert_eq!(
            (
                everybody.slot(3, 10),
                everybody.slot(3, 10),
                everybody.slot(4, 10)
            ),
            (3, 13, 4)
        );
        everybody.free.entry(3).or_default().push(3);
        assert_eq!((everybody.slot(3, 10), everybody.slot(3, 10)), (3, 23));
    }
}
