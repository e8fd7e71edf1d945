//! Acquires a random path and, if that was granted, releases it. One that somebody else holds is given up, and another one
//! tried.

use super::{Start, Step, Steps};
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// See the file's header.
pub(super) struct Pairs {
    random: fastrand::Rng,
    paths: u32,
    held: Option<Path>,
}

impl Pairs {
    pub(super) fn new(random: fastrand::Rng, paths: u32) -> Self {
        Self {
            random,
            paths,
            held: None,
        }
    }
}

impl Steps for Pairs {
    fn next(&mut self) -> Step {
        self.last().unwrap_or_else(|| Step {
            ask: Ask::Acquire,
            path: Path::at(self.random.u32(..self.paths)),
            start: Start::WhenDue,
        })
    }

    fn answered(&mut self, step: &Step, outcome: Outcome) {
        let is_granted = (step.ask, outcome) == (Ask::Acquire, Outcome::Done);
        self.held = is_granted.then_some(step.path);
    }

    fn last(&mut self) -> Option<Step> {
        self.held.map(|path| Step {
            ask: Ask::Release,
            path,
            start: Start::AtOnce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_granted_is_released() {
        let mut pairs = Pairs::new(fastrand::Rng::with_seed(1), 10);
        let acquire = pairs.next();
        assert_eq!((acquire.ask, acquire.start), (Ask::Acquire, Start::WhenDue));
        pairs.answered(&acquire, Outcome::Refused);
        assert_eq!(pairs.last(), None);

        let acquire = pairs.next();
        pairs.answered(&acquire, Outcome::Done);
        let release = pairs.next();
        assert_eq!((release.ask, release.path), (Ask::Release, acquire.path));
        assert_eq!(pairs.last(), Some(release));
        pairs.answered(&release, Outcome::Done);
        assert_eq!(pairs.next().ask, Ask::Acquire);
    }
}
