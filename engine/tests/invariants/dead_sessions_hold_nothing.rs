//! No orphan: a session that has ended holds nothing, waits for nothing and is told nothing.
//!
//! From the very entry that ends it, however much of it has been swept.

use tenure_engine::{Notice, Target};

use super::{Seen, list, locks};

pub(crate) fn holds(seen: &Seen<'_>) {
    let dead = seen
        .ledger
        .sessions
        .iter()
        .filter(|(_, known)| known.ended.is_some());
    for (session, known) in dead {
        let held = list(
            seen.engine,
            &known.org,
            Target::Session(*session),
            seen.at(),
        );
        assert_eq!(held, [], "{session:?} has ended");
        for lock in locks() {
            let waits = seen.after.places[&lock]
                .iter()
                .any(|place| place.to.session == *session);
            assert!(!waits, "{lock:?}: {session:?} has ended and waits");
        }
    }
    for (to, notice) in seen.recorded.notices() {
        let known = &seen.ledger.sessions[&to.session];
        // It may be told of its end, or have been told something before it.
        let ended_now = seen.recorded.events().any(|event| {
            matches!(event.what, tenure_engine::What::SessionEnded { session, .. } if session == to.session)
        });
        let is_end = matches!(notice, Notice::Closed { .. });
        assert!(
            known.ended.is_none() || ended_now,
            "{to:?} has ended and is told {notice:?}"
        );
        assert!(
            !is_end || ended_now,
            "{to:?} is told of an end that was none"
        );
    }
}
