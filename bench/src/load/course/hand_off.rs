//! Stands in line for a path that all others want too, and releases it as soon as it is granted: what is measured is how
//! quickly a lock changes hands, and whether each is served in its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Start, Step, Steps};
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// All that want one path: how often it was asked for, and how often granted.
#[derive(Debug, Default)]
pub(super) struct Line {
    asked: AtomicU64,
    granted: AtomicU64,
}

/// See the file's header.
pub(super) struct HandOff {
    path: Path,
    line: Arc<Line>,
    is_held: bool,
    /// How many asked before.
    turn: u64,
    /// By how many places the last grant was not in its turn.
    places_off: u64,
}

impl HandOff {
    pub(super) const fn new(path: Path, line: Arc<Line>) -> Self {
        Self {
            path,
            line,
            is_held: false,
            turn: 0,
            places_off: 0,
        }
    }
}

impl Steps for HandOff {
    fn next(&mut self) -> Step {
        self.last().unwrap_or_else(|| {
            self.turn = self.line.asked.fetch_add(1, Ordering::Relaxed);
            Step {
                ask: Ask::Wait,
                path: self.path,
                start: Start::AtOnce,
            }
        })
    }

    fn answered(&mut self, step: &Step, outcome: Outcome) {
        self.is_held = (step.ask, outcome) == (Ask::Wait, Outcome::Done);
        if self.is_held {
            let granted = self.line.granted.fetch_add(1, Ordering::Relaxed);
            self.places_off = granted.abs_diff(self.turn);
        }
    }

    fn last(&mut self) -> Option<Step> {
        self.is_held.then_some(Step {
            ask: Ask::Release,
            path: self.path,
            start: Start::AtOnce,
        })
    }

    fn places_off(&self) -> Option<u64> {
        Some(self.places_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_served_before_others_is_out_of_turn() {
        let line = Arc::<Line>::default();
        let mut slots: Vec<_> = (0..3)
            .map(|_| HandOff::new(Path::at(0), Arc::clone(&line)))
            .collect();
        let waits: Vec<_> = slots.iter_mut().map(Steps::next).collect();
        for (slot, places_off) in [(0, 0), (2, 1), (1, 1)] {
            slots[slot].answered(&waits[slot], Outcome::Queued);
            assert_eq!(slots[slot].last(), None, "it holds nothing yet");
            slots[slot].answered(&waits[slot], Outcome::Done);
            assert_eq!(slots[slot].places_off(), Some(places_off));
            let release = slots[slot].next();
            assert_eq!(release.ask, Ask::Release);
            slots[slot].answered(&release, Outcome::Done);
        }
    }
}
