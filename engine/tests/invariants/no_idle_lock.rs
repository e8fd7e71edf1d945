//! Nobody waits in vain: a lock that could be granted never has an eligible waiter.
//!
//! Every path is settled on a copy, as a read would, and then asked: whoever stands first must have
//! somebody in the way; and so must every `acquire_all`.

use tenure_engine::{Engine, LogTime, Mode, Truth};

use super::ledger::Asked;
use super::{Lock, Seen, locks, places, status};
use crate::history::Step;
use crate::history::owned::Owned;

pub(crate) fn holds(seen: &Seen<'_>) {
    let mut engine = seen.engine.clone();
    let at = seen.at();
    for (org, path) in locks() {
        let (org, path) = (org.to_owned(), path.to_owned());
        let settle = Step {
            at: at.0,
            command: Owned::Settle { org, path },
        };
        let (_, recorded) = settle.apply(&mut engine);
        // Nothing waits for a settling, except where something is over that nobody has swept.
        let grants = recorded
            .notices()
            .any(|(_, notice)| matches!(notice, tenure_engine::Notice::Granted { .. }));
        let ends = recorded.events().any(|event| {
            use tenure_engine::What;
            matches!(event.what, What::Ended { .. } | What::WaitEnded { .. })
        });
        assert!(!grants || ends, "settling alone granted: {:?}", recorded.0);
    }
    for lock in locks() {
        the_first_is_blocked(seen, &engine, lock, at);
    }
    for asked in seen
        .ledger
        .waits
        .values()
        .filter(|asked| asked.all && !asked.ended)
    {
        some_item_is_blocked(seen, &engine, asked, at);
    }
}

fn the_first_is_blocked(seen: &Seen<'_>, engine: &Engine, (org, path): Lock, at: LogTime) {
    let Some(first) = places(engine, org, path, at).first().copied() else {
        return;
    };
    let asked = &seen.ledger.waits[&first.wait];
    let truth = status(engine, org, path, at);
    let (_, mode, limit) = &asked.items[0];
    let free = is_free_for(&truth, &asked.owner, *mode, *limit);
    assert!(
        !free,
        "{org} {path}: {first:?} waits for {mode:?} {limit:?} of {truth:?}"
    );
}

fn some_item_is_blocked(seen: &Seen<'_>, engine: &Engine, asked: &Asked, at: LogTime) {
    let is_attached = seen.ledger.current(asked.by).is_some();
    let is_waiting = asked
        .items
        .iter()
        .all(|(path, _, _)| status(engine, &asked.org, path, at).waiters > 0);
    if !is_attached || !is_waiting {
        return;
    }
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
    // It may have ended by the settling on the copy, which the ledger has not heard of.
    let waits = tenure_engine::Query::Counts;
    let tenure_engine::Answer::Counts(counts) = engine.query(&waits, at) else {
        return;
    };
    assert!(!free || counts.waits == 0, "{asked:?} could be granted");
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
