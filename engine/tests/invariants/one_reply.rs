//! Nobody waits in vain: every queued wait has exactly one ending, a grant or another, and is told.
//!
//! A grant is a notice; every other ending is an event, and a notice if the session is attached and
//! has not asked for it.

use std::collections::BTreeSet;

use tenure_engine::{Notice, Reply, SessionRef, WaitEnd, WaitId, What};

use super::Seen;

#[derive(Default)]
pub(crate) struct Endings {
    open: BTreeSet<WaitId>,
    ended: BTreeSet<WaitId>,
}

impl Endings {
    pub(crate) fn holds(&mut self, seen: &Seen<'_>) {
        if let Reply::Queued { wait, .. } = seen.outcome.reply {
            assert!(
                !self.ended.contains(&wait),
                "{wait:?} has ended and is promised again"
            );
            self.open.insert(wait);
        }
        for (to, notice) in seen.recorded.notices() {
            if let Notice::Granted { wait, .. } = notice {
                self.end(*wait);
                assert_eq!(
                    to.session, seen.ledger.waits[wait].by,
                    "{wait:?}: told to its session"
                );
            }
        }
        for event in seen.recorded.events() {
            if let What::WaitEnded { wait, why, .. } = event.what {
                self.end(wait);
                let to = seen.ledger.current(seen.ledger.waits[&wait].by);
                self.is_told(seen, to, wait, why);
            }
        }
    }

    fn end(&mut self, wait: WaitId) {
        assert!(self.open.remove(&wait), "{wait:?} ends that was not open");
        self.ended.insert(wait);
    }

    fn is_told(&self, seen: &Seen<'_>, to: Option<SessionRef>, wait: WaitId, why: WaitEnd) {
        let told = seen.recorded.notices().filter(
            |(_, notice)| matches!(notice, Notice::WaitEnded { wait: of, .. } if *of == wait),
        );
        let told: Vec<SessionRef> = told.map(|(to, _)| to).collect();
        let quiet = matches!(
            why,
            WaitEnd::Cancelled | WaitEnd::SessionEnded | WaitEnd::Detached
        );
        if quiet {
            assert_eq!(told, [], "{wait:?} {why:?} is no news");
        } else if let Some(to) = to {
            // A session that was moved in this entry may have been told through the old attachment.
            let told: Vec<_> = told.iter().map(|to| to.session).collect();
            assert_eq!(told, [to.session], "{wait:?} {why:?} is told once");
        }
    }

    pub(crate) fn hold_at_the_end(&self) {
        assert!(self.open.is_empty(), "wait for ever: {:?}", self.open);
    }
}
