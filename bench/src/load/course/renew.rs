//! Holds one path, and renews it over and over. One that is lost all the same is acquired again, so that the load stays what
//! it is.

use super::{Start, Step, Steps};
use crate::dialect::{Ask, Outcome};
use crate::paths::Path;

/// See the file's header.
pub(super) struct Renew {
    path: Path,
    is_held: bool,
}

impl Renew {
    pub(super) const fn new(path: Path) -> Self {
        Self {
            path,
            is_held: false,
        }
    }

    const fn step(&self, ask: Ask, start: Start) -> Step {
        Step {
            ask,
            path: self.path,
            start,
        }
    }
}

impl Steps for Renew {
    fn next(&mut self) -> Step {
        if self.is_held {
            self.step(Ask::Renew, Start::WhenDue)
        } else {
            self.step(Ask::Acquire, Start::AtOnce)
        }
    }

    fn answered(&mut self, step: &Step, outcome: Outcome) {
        self.is_held = step.ask != Ask::Release && outcome == Outcome::Done;
    }

    fn last(&mut self) -> Option<Step> {
        self.is_held.then(|| self.step(Ask::Release, Start::AtOnce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_renewed_and_at_last_released() {
        let mut renew = Renew::new(Path::at(1));
        assert_eq!(renew.last(), None);
        for (ask, outcome) in [
            (Ask::Acquire, Outcome::Done),
            (Ask::Renew, Outcome::Done),
            (Ask::Renew, Outcome::Refused),
            (Ask::Acquire, Outcome::Done),
        ] {
            let step = renew.next();
            assert_eq!(step.ask, ask);
            renew.answered(&step, outcome);
        }
        let release = renew.last().unwrap();
        assert_eq!(release.ask, Ask::Release);
        renew.answered(&release, Outcome::Done);
        assert_eq!(renew.last(), None);
    }
}
