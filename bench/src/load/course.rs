//! What a slot does next, one course a file: each is the state of one slot, and knows no socket, no clock and no other
//! slot. What is counted is not its business either.
//!
//! Rule: a course believes only what was answered, so that a step which was never sent has changed nothing.

mod hand_off;
mod mixed;
mod pairs;
mod renew;

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde::Serialize;

use self::hand_off::{HandOff, Line};
use self::mixed::Mixed;
use self::pairs::Pairs;
use self::renew::Renew;
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// What the slots of a load do, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// Acquire a random path, and release it.
    Pairs,
    /// Renew the lock of a path of its own.
    Renew,
    /// As a help desk does: of 100 requests 10 acquire, 10 release, 75 renew, and 5 ask for what somebody else holds.
    Mixed,
    /// Wait in line for one of few paths, and release it as soon as it is granted.
    HandOff,
}

impl Course {
    /// All of them, the plainest first.
    pub const ALL: [Self; 4] = [Self::Pairs, Self::Renew, Self::Mixed, Self::HandOff];

    /// Its name, as it is typed and told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Renew => "renew",
            Self::Mixed => "mixed",
            Self::HandOff => "hand-off",
        }
    }

    /// Whatever it asks of a server.
    #[must_use]
    pub const fn asks(self) -> &'static [Ask] {
        match self {
            Self::Pairs => &[Ask::Acquire, Ask::Release],
            Self::Renew | Self::Mixed => &[Ask::Acquire, Ask::Release, Ask::Renew],
            Self::HandOff => &[Ask::Wait, Ask::Release],
        }
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One request of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) ask: Ask,
    pub(crate) path: Path,
    pub(crate) start: Start,
}

/// When a step is sent. It matters in an open loop alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It belongs to the step before.
    AtOnce,
    /// It is what comes at a fixed rate.
    WhenDue,
}

/// The state of one slot.
pub(crate) trait Steps: Send {
    /// What it asks next, having nothing in flight.
    fn next(&mut self) -> Step;

    /// Takes the answer to a step.
    fn answered(&mut self, step: &Step, outcome: Outcome);

    /// What it lets go of before it ends; `None` when it holds nothing.
    fn last(&mut self) -> Option<Step>;

    /// By how many places the wait that has just been granted was not in its turn, if it stood in line.
    fn places_off(&self) -> Option<u64> {
        None
    }
}

/// Makes the slots of a load.
pub(crate) struct Plan {
    course: Course,
    connections: u32,
    depth: u32,
    paths: u32,
    lines: Vec<Arc<Line>>,
}

impl Plan {
    pub(crate) fn new(course: Course, connections: u32, depth: u32, paths: u32) -> Result<Self> {
        let slots = u64::from(connections) * u64::from(depth);
        match course {
            Course::Pairs => {}
            Course::HandOff => ensure!(
                slots >= u64::from(paths),
                "expected a slot for each of the {paths} paths at least, found {slots}"
            ),
            Course::Renew | Course::Mixed => ensure!(
                slots <= u64::from(paths),
                "expected a path for each of the {slots} slots at least, found {paths}"
            ),
        }
        ensure!(
            course != Course::Mixed || connections > 1,
            "expected two connections at least, found one: what another session holds needs another session"
        );
        let line_count = if course == Course::HandOff { paths } else { 0 };
        Ok(Self {
            course,
            connections,
            depth,
            paths: paths.max(1),
            lines: (0..line_count).map(|_| Arc::default()).collect(),
        })
    }

    /// The course of one slot of one connection. Equal numbers choose equal paths.
    pub(crate) fn slot(&self, connection: u32, slot: u32) -> Box<dyn Steps> {
        let index = connection * self.depth + slot;
        let slot_count = self.connections * self.depth;
        let random = fastrand::Rng::with_seed(index.into());
        match self.course {
            Course::Pairs => Box::new(Pairs::new(random, self.paths)),
            Course::Renew => {
                let own = u64::from(index) * u64::from(self.paths) / u64::from(slot_count);
                Box::new(Renew::new(Path::at(own as u32)))
            }
            Course::Mixed => {
                let taken = |connection: u32| Path::at(self.paths + connection % self.connections);
                Box::new(Mixed::new(
                    random,
                    (index..self.paths).step_by(slot_count as usize),
                    taken(connection + 1),
                    (slot == 0).then(|| taken(connection)),
                ))
            }
            Course::HandOff => {
                let number = index % self.paths;
                let line = Arc::clone(&self.lines[number as usize]);
                Box::new(HandOff::new(Path::at(number), line))
            }
        }
    }
}
