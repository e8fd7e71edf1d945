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
    slots: Slots,
    paths: u32,
    /// One for each path of each org.
    lines: Vec<Arc<Line>>,
}

/// How many slots there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    pub(crate) connections: u32,
    /// Of each connection.
    pub(crate) depth: u32,
    /// Over which the connections are spread in turn.
    pub(crate) orgs: u32,
}

impl Slots {
    const fn count(self) -> u64 {
        self.connections as u64 * self.depth as u64
    }

    /// The next connection of the same org, and after the last the first.
    const fn neighbour(self, connection: u32) -> u32 {
        let next = connection + self.orgs;
        if next < self.connections {
            next
        } else {
            connection % self.orgs
        }
    }
}

impl Plan {
    pub(crate) fn new(course: Course, slots: Slots, paths: u32) -> Result<Self> {
        let Slots {
            connections, orgs, ..
        } = slots;
        match course {
            Course::Pairs => {}
            Course::HandOff => ensure!(
                slots.count() >= u64::from(paths),
                "expected a slot for each of the {paths} paths at least, found {}",
                slots.count()
            ),
            Course::Renew | Course::Mixed => ensure!(
                slots.count() <= u64::from(paths),
                "expected a path for each of the {} slots at least, found {paths}",
                slots.count()
            ),
        }
        ensure!(
            course != Course::Mixed || connections >= 2 * orgs,
            "expected two connections of each org at least, found {connections} of {orgs}: what another session holds needs \
             another session"
        );
        let line_count = match course {
            Course::HandOff => u64::from(paths) * u64::from(orgs),
            Course::Pairs | Course::Renew | Course::Mixed => 0,
        };
        Ok(Self {
            course,
            slots,
            paths: paths.max(1),
            lines: (0..line_count).map(|_| Arc::default()).collect(),
        })
    }

    /// The course of one slot of one connection. Equal numbers choose equal paths.
    pub(crate) fn slot(&self, connection: u32, slot: u32) -> Box<dyn Steps> {
        let index = connection * self.slots.depth + slot;
        let random = fastrand::Rng::with_seed(index.into());
        match self.course {
            Course::Pairs => Box::new(Pairs::new(random, self.paths)),
            Course::Renew => {
                let own = u64::from(index) * u64::from(self.paths) / self.slots.count();
                Box::new(Renew::new(Path::at(own as u32)))
            }
            Course::Mixed => {
                let kept_by = |connection: u32| Path::at(self.paths + connection);
                Box::new(Mixed::new(
                    random,
                    (index..self.paths).step_by(self.slots.count() as usize),
                    kept_by(self.slots.neighbour(connection)),
                    (slot == 0).then(|| kept_by(connection)),
                ))
            }
            Course::HandOff => {
                let path = index % self.paths;
                let line = connection % self.slots.orgs * self.paths + path;
                let line = Arc::clone(&self.lines[line as usize]);
                Box::new(HandOff::new(Path::at(path), line))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_of_one_org_and_others_than_oneself() {
        for orgs in 1..5 {
            let slots = Slots {
                connections: 11,
                depth: 1,
                orgs,
            };
            for connection in 0..11 {
                let neighbour = slots.neighbour(connection);
                assert_eq!(neighbour % orgs, connection % orgs);
                assert_ne!(neighbour, connection);
            }
        }
    }
}
