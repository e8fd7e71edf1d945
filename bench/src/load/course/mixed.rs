//! What a help desk asks: of 100 requests 75 renew what is held, 10 release it, 10 acquire something else, and 5 ask for
//! what somebody else holds and are refused.
//!
//! Rule: the paths of a slot are its own, so that nothing is refused but what shall be. What shall be is one path for each
//! connection, which the first slot of the next one holds throughout.

use std::iter::StepBy;
use std::ops::Range;

use super::{Start, Step, Steps};
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// Of 90 requests of a slot that holds something. The other 10 of 100 acquire, having released.
const RENEWALS: u32 = 75;
const REFUSALS: u32 = 5;
const RELEASES: u32 = 10;

/// See the file's header.
pub(super) struct Mixed {
    random: fastrand::Rng,
    own: StepBy<Range<u32>>,
    /// What somebody else holds.
    taken: Path,
    /// What this slot holds throughout, so that others are refused.
    keeps: Option<Path>,
    is_kept: bool,
    held: Option<Path>,
    /// What should have been refused, and was not.
    stray: Option<Path>,
}

impl Mixed {
    pub(super) const fn new(
        random: fastrand::Rng,
        own: StepBy<Range<u32>>,
        taken: Path,
        keeps: Option<Path>,
    ) -> Self {
        Self {
            random,
            own,
            taken,
            keeps,
            is_kept: false,
            held: None,
            stray: None,
        }
    }

    fn random_own(&mut self) -> Path {
        let place = self.random.usize(..self.own.len().max(1));
        let number = self.own.clone().nth(place);
        Path::at(number.expect("a slot has a path of its own"))
    }
}

impl Steps for Mixed {
    fn next(&mut self) -> Step {
        let at_once = |ask, path| Step {
            ask,
            path,
            start: Start::AtOnce,
        };
        let when_due = |ask, path| Step {
            ask,
            path,
            start: Start::WhenDue,
        };
        if let Some(stray) = self.stray {
            return at_once(Ask::Release, stray);
        }
        if let Some(keeps) = self.keeps.filter(|_| !self.is_kept) {
            return at_once(Ask::Acquire, keeps);
        }
        let Some(held) = self.held else {
            return when_due(Ask::Acquire, self.random_own());
        };
        match self.random.u32(..RENEWALS + REFUSALS + RELEASES) {
            ..RENEWALS => when_due(Ask::Renew, held),
            RENEWALS..80 => when_due(Ask::Acquire, self.taken),
            80.. => when_due(Ask::Release, held),
        }
    }

    fn answered(&mut self, step: &Step, outcome: Outcome) {
        let granted = (outcome == Outcome::Done && step.ask != Ask::Release).then_some(step.path);
        if Some(step.path) == self.keeps {
            self.is_kept = granted.is_some();
        } else if step.path == self.taken {
            self.stray = granted;
        } else {
            self.held = granted;
        }
    }

    fn last(&mut self) -> Option<Step> {
        let kept = self.keeps.filter(|_| self.is_kept);
        self.stray.or(self.held).or(kept).map(|path| Step {
            ask: Ask::Release,
            path,
            start: Start::AtOnce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(keeps: Option<Path>) -> Mixed {
        let random = fastrand::Rng::with_seed(1);
        Mixed::new(random, (3..100).step_by(10), Path::at(100), keeps)
    }

    #[test]
    fn the_shares_are_as_in_a_help_desk() {
        let mut mixed = mixed(None);
        let mut counts = [0_u32; 4];
        for _ in 0..100_000 {
            let step = mixed.next();
            let is_taken = step.path == Path::at(100);
            let kind = match step.ask {
                Ask::Acquire if is_taken => 3,
                Ask::Acquire => 0,
                Ask::Release => 1,
                Ask::Renew => 2,
                Ask::Wait => unreachable!("nobody waits"),
            };
            counts[kind] += 1;
            let outcome = if is_taken {
                Outcome::Refused
            } else {
                Outcome::Done
            };
            mixed.answered(&step, outcome);
        }
        for (count, percent) in counts.into_iter().zip([10, 10, 75, 5]) {
            let difference = count.abs_diff(percent * 1000);
            assert!(difference < 500, "{counts:?}");
        }
    }

    #[test]
    fn all_is_released_at_last_and_own_paths_are_own() {
        let mut mixed = mixed(Some(Path::at(101)));
        for _ in 0..100 {
            let step = mixed.next();
            let number = Path::number_of(step.path.as_bytes()).unwrap();
            assert!(number >= 100 || number % 10 == 3);
            // Even what was to be refused is granted.
            mixed.answered(&step, Outcome::Done);
        }
        let mut released = 0;
        while let Some(step) = mixed.last() {
            assert_eq!(step.ask, Ask::Release);
            mixed.answered(&step, Outcome::Done);
            released += 1;
        }
        assert!((1..=3).contains(&released));
    }
}
