//! First in, first out; and the loser is told first, before anyone is granted because of it.
//!
//! The exceptions to the order, and only these: an upgrade, a hand-over, a seizure, a waiting
//! `acquire_all`, and the waits of an owner who has just been granted the path.

use std::collections::BTreeMap;

use tenure_engine::{Notice, Place, Reply, SessionId, SessionRef, Token, WaitId};

use super::{Lock, Seen, locks};
use crate::history::Effect;
use crate::history::owned::Owned;

pub(crate) fn holds(seen: &Seen<'_>) {
    losers_are_told_first(seen);
    for lock in locks() {
        nobody_is_overtaken(seen, lock);
        places_count_up(&seen.after.places[&lock]);
    }
}

fn losers_are_told_first(seen: &Seen<'_>) {
    let mut granted: BTreeMap<(&str, &str), Token> = BTreeMap::new();
    let org_of = |to: &SessionRef| seen.ledger.sessions[&to.session].org.as_str();
    for effect in &seen.recorded.0 {
        match effect {
            Effect::Notice(to, Notice::Granted { holds, .. }) => {
                for held in holds {
                    let of = granted.entry((org_of(to), &held.path));
                    let highest = of.or_insert(held.grant.token);
                    *highest = held.grant.token.max(*highest);
                }
            }
            // Who is granted and then loses in one step loses what has been granted.
            Effect::Notice(to, Notice::Lost { path, token, .. }) => {
                let winner = granted.get(&(org_of(to), path));
                let told_first = winner.is_none_or(|winner| winner <= token);
                assert!(
                    told_first,
                    "{path}: {token:?} lost after {winner:?} was granted"
                );
            }
            Effect::Notice(..) | Effect::Event(_) => {}
        }
    }
}

fn nobody_is_overtaken(seen: &Seen<'_>, lock: Lock) {
    let (_, path) = lock;
    if matches!(&seen.step.command, Owned::HandOver { path: of, .. } if of == path) {
        return;
    }
    let granted: Vec<WaitId> = granted_from_queue(seen, lock);
    let was_upgrade = |wait: &WaitId| {
        let owner = &seen.ledger.waits[wait].owner;
        seen.before
            .holds
            .get(&lock)
            .is_some_and(|holds| holds.iter().any(|hold| *hold.holder.owner == **owner))
    };
    for wait in &granted {
        let owner = &seen.ledger.waits[wait].owner;
        let first_of_owner = granted
            .iter()
            .find(|w| seen.ledger.waits[w].owner == *owner);
        let follows = first_of_owner != Some(wait) || came_by_it_otherwise(seen, lock, owner);
        if was_upgrade(wait) || follows {
            continue;
        }
        for passed in waited_throughout(seen, lock).filter(|passed| passed < wait) {
            let same_owner = seen.ledger.waits[&passed].owner == *owner;
            assert!(
                same_owner,
                "{lock:?}: {wait:?} was granted before {passed:?}"
            );
        }
    }
}

/// Whether the owner got the path, or a session of it came back to it, by something other than the
/// queue: its waits follow.
fn came_by_it_otherwise(seen: &Seen<'_>, (org, path): Lock, owner: &str) -> bool {
    let is_own = |session| {
        let known = &seen.ledger.sessions[&session];
        (known.org.as_str(), known.owner.as_str()) == (org, owner)
    };
    let granted = matches!(seen.outcome.reply, Reply::Granted(_) | Reply::GrantedAll(_));
    let by = match seen.step.command.by() {
        Some(by) if granted => Some(by.session),
        Some(_) | None => resumed(seen),
    };
    let by_command = by.is_some_and(is_own);
    let by_all = seen.recorded.notices().any(|(to, notice)| {
        matches!(notice, Notice::Granted { wait, holds } if seen.ledger.waits[wait].all
            && is_own(to.session)
            && holds.iter().any(|held| *held.path == *path))
    });
    by_command || by_all
}

fn resumed(seen: &Seen<'_>) -> Option<SessionId> {
    if let Owned::Resume { session, .. } = seen.step.command {
        return seen
            .ledger
            .sessions
            .contains_key(&session)
            .then_some(session);
    }
    None
}

fn granted_from_queue(seen: &Seen<'_>, (org, path): Lock) -> Vec<WaitId> {
    let mut granted = Vec::new();
    for (_, notice) in seen.recorded.notices() {
        if let Notice::Granted { wait, .. } = notice {
            granted.push(*wait);
        }
    }
    granted.retain(|wait| {
        let asked = &seen.ledger.waits[wait];
        !asked.all && asked.org == org && asked.items[0].0 == path
    });
    granted
}

/// Waits that stood in the queue before and after, of sessions that were there all the time.
fn waited_throughout<'a>(seen: &'a Seen<'_>, lock: Lock) -> impl Iterator<Item = WaitId> + 'a {
    let before = seen.before.places.get(&lock).into_iter().flatten();
    let throughout = before.filter(move |place| {
        let mut after = seen.after.places[&lock].iter();
        after.any(|other| (other.wait, other.to) == (place.wait, place.to))
    });
    throughout.map(|place| place.wait)
}

fn places_count_up(places: &[Place]) {
    for pair in places.windows(2) {
        assert!(pair[0].place < pair[1].place, "places rise: {pair:?}");
    }
}
