//! No orphan: a hold ends by release, expiry, or the end of its last session; nobody holds by a
//! lease that is over, and what nobody uses costs nothing.

use tenure_engine::{
    Answer, Command, Counts, Engine, Entry, LogTime, Millis, Query, Target, WallTime,
};

use super::{Seen, list, locks};
use crate::history::Recorded;
use crate::history::owned::Owned;
use crate::history::world::ORGS;

/// Beyond every lease, grace and idle time that histories know.
const FOR_EVER: u64 = u64::MAX;

/// No history has more locks at once.
const PIECES_MAX: usize = 1000;

pub(crate) fn holds(seen: &Seen<'_>) {
    for lock in locks() {
        for hold in &seen.after.holds[&lock] {
            assert_ne!(
                hold.holder.remaining,
                Millis::ZERO,
                "{lock:?} is held and over"
            );
        }
    }
    for org in ORGS {
        let left = list(seen.engine, org, Target::All, LogTime(FOR_EVER));
        assert_eq!(left, [], "{org}: every lease ends");
    }
    if seen.step.command == Owned::Tick && !seen.outcome.changed {
        nothing_is_due(seen.engine.clone(), seen.at());
    }
}

/// But to give back memory that was that of locks, piece by piece.
fn nothing_is_due(mut engine: Engine, now: LogTime) {
    let tick = Entry {
        at: now,
        wall: WallTime(0),
        command: &Command::Tick,
    };
    for _ in 0..PIECES_MAX {
        if engine.next_deadline().is_none_or(|due| due > now) {
            return;
        }
        let outcome = engine.apply(&tick, &mut Recorded::default());
        assert!(!outcome.changed, "a tick left something to another");
    }
    panic!("ticks at {now:?} find nothing to do");
}

pub(crate) fn hold_at_the_end(engine: &Engine) {
    let Answer::Counts(counts) = engine.query(&Query::Counts, engine.now()) else {
        panic!("counts are answered with counts");
    };
    // An org with a policy stays.
    let nothing = Counts {
        orgs: counts.orgs,
        ..Counts::default()
    };
    assert_eq!(counts, nothing, "all is reclaimed");
}
