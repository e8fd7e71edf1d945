//! Nobody waits in vain: a lock that could be granted never has an eligible waiter.
//!
//! A queue that one step could not serve to its end is gone on with by ticks that are wanted at once; they are taken on a
//! copy. There every path is settled, as a read would, and then asked: whoever stands first must have somebody in the
//! way; and so must every `acquire_all`.

use tenure_engine::{Engine, LogTime, Mode, Notice, Truth, What};

use super::ledger::Asked;
use super::{Ledger, Lock, Seen, locks, places, status};
use crate::history::owned::Owned;
use crate::history::{Recorded, Step};

pub(crate) fn holds(seen: &Seen<'_>) {
    let (mut engine, mut ledger) = (seen.engine.clone(), seen.ledger.clone());
    let at = seen.at();
    tick_on(&mut engine, &mut ledger);
    for (org, path) in locks() {
        let (org, path) = (org.to_owned(), path.to_owned());
        let settle = Step {
            at: at.0,
            command: Owned::Settle { org, path },
        };
        let (outcome, recorded) = settle.apply(&mut engine);
        ledger.learn(&settle, &outcome.reply, &recorded);
        nothing_waits_for_a_settling(&recorded);
        tick_on(&mut engine, &mut ledger);
    }
    for lock in locks() {
        the_first_is_blocked(&engine, &ledger, lock, at);
    }
    for asked in ledger
        .waits
        .values()
        .filter(|asked| asked.all && !asked.ended)
    {
        if ledger.current(asked.by).is_some() {
            some_item_is_blocked(&engine, asked, at);
        }
    }
}

/// Takes the ticks that are wanted at once.
fn tick_on(engine: &mut Engine, ledger: &mut Ledger) {
    while engine.next_deadline() == Some(engine.now()) {
        let (at, command) = (engine.now().0, Owned::Tick);
        let tick = Step { at, command };
        let (outcome, recorded) = tick.apply(engine);
        ledger.learn(&tick, &outcome.reply, &recorded);
        if !outcome.changed {
            break;
        }
    }
}

/// Except where something is over that nobody has swept, settling finds nothing to grant.
fn nothing_waits_for_a_settling(recorded: &Recorded) {
    let mut notices = recorded.notices();
    let grants = notices.any(|(_, notice)| matches!(notice, Notice::Granted { .. }));
    let mut events = recorded.events();
    let ends = events.any(|e| matches!(e.what, What::Ended { .. } | What::WaitEnded { .. }));
    assert!(!grants || ends, "settling alone granted: {:?}", recorded.0);
}

fn the_first_is_blocked(engine: &Engine, ledger: &Ledger, (org, path): Lock, at: LogTime) {
    let Some(first) = places(engine, org, path, at).first().copied() else {
        return;
    };
    let asked = &ledger.waits[&first.wait];
    let truth = status(engine, org, path, at);
    let (_, mode, limit) = &asked.items[0];
    let free = is_free_for(&truth, &asked.owner, *mode, *limit);
    assert!(
        !free,
        "{org} {path}: {first:?} waits for {mode:?} {limit:?} of {truth:?}"
    );
}

fn some_item_is_blocked(engine: &Engine, asked: &Asked, at: LogTime) {
    let free = asked.items.iter().all(|(path, mode, limit)| {
        let truth = status(engine, &asked.org, path, at);
        let holds = truth
            .holders
            .iter()
            .any(|holder| *holder.owner == *asked.owner);
        let queue = places(engine, &asked.org, path, at);
        let passes = holds || *mode == Mode::Exclusive || truth.mode.is_none() || queue.is_empty();
        passes && is_free_for(&truth, &asked.owner, *mode, *limit)
    });
    assert!(!free, "{asked:?} could be granted");
}

/// Whether the owner could be granted the path, whoever waits.
fn is_free_for(truth: &Truth, owner: &str, mode: Mode, limit: Option<u32>) -> bool {
    let own = truth.holders.iter().any(|holder| *holder.owner == *owner);
    match (truth.mode, mode) {
        (None, _) => true,
        (Some(Mode::Exclusive), _) => own,
        (Some(Mode::Shared), Mode::Exclusive) => own && truth.holder_count == 1,
        (Some(Mode::Shared), Mode::Shared) => {
            let room = truth.limit.is_none_or(|limit| truth.holder_count < limit);
            own || truth.limit == limit && room
        }
    }
}
