//! Every queue has a bound, and the bound has an answer: nothing grows beyond its limit.
//!
//! Limits may be lowered under what is there; so what is checked is that nothing above its limit
//! has grown in this entry.

use tenure_engine::limits::{PAGE_MAX, TRUTH_HOLDERS_MAX};
use tenure_engine::{Answer, Policy, Query, Reply, What};

use super::{Lock, Seen, View, locks};
use crate::history::world::ORGS;

pub(crate) fn holds(seen: &Seen<'_>) {
    for lock in locks() {
        queue_is_bounded(seen, lock);
    }
    for org in ORGS {
        holds_are_bounded(seen, org);
        sessions_are_bounded(seen, org);
        waits_are_bounded(seen, org);
    }
    if let Reply::Forced { ended, .. } = &seen.outcome.reply {
        assert!(
            ended.len() <= PAGE_MAX,
            "few share a lock here: {}",
            ended.len()
        );
    }
}

fn policy(seen: &Seen<'_>, org: &str, kind: Option<&str>) -> Policy {
    let answer = seen.engine.query(&Query::Policy { org, kind }, seen.at());
    let Answer::Policy { policy, .. } = answer else {
        panic!("a policy is answered with {answer:?}");
    };
    policy
}

fn queue_is_bounded(seen: &Seen<'_>, lock: Lock) {
    let (org, path) = lock;
    let most = policy(seen, org, path.split('/').next()).queue_max;
    let truth = &seen.after.truths[&lock];
    assert!(
        truth.holders.len() <= TRUTH_HOLDERS_MAX,
        "{lock:?}: some are counted only"
    );
    let grown = seen.recorded.events().any(|event| {
        matches!(&event.what, What::Queued { paths, .. } if paths.iter().any(|of| **of == *path))
            && *event.org == *org
    });
    let waiters = truth.waiters;
    assert!(
        !grown || waiters <= most,
        "{lock:?}: {waiters} wait of {most}"
    );
}

fn holds_are_bounded(seen: &Seen<'_>, org: &str) {
    let policy = policy(seen, org, None);
    let of_org = |view: &View| {
        let holds = view.holds.iter().filter(|(lock, _)| lock.0 == org);
        holds.map(|(_, holds)| holds.len()).sum::<usize>()
    };
    let (before, after) = (of_org(seen.before), of_org(seen.after));
    let most = policy.holds_max as usize;
    let mut events = seen.recorded.events();
    let granted = events.any(|event| matches!(event.what, What::Granted { .. }));
    let bounded = after <= before || after <= most;
    assert!(!granted || bounded, "{org}: {after} holds of {most}");
}

fn sessions_are_bounded(seen: &Seen<'_>, org: &str) {
    let most = policy(seen, org, None).sessions_max as usize;
    let there = seen.ledger.sessions.values();
    let there = there
        .filter(|known| known.org == org && known.ended.is_none())
        .count();
    let opened = matches!(seen.outcome.reply, Reply::Opened { .. });
    let here =
        matches!(&seen.step.command, crate::history::Owned::Open { org: of, .. } if of == org);
    assert!(
        !(opened && here) || there <= most,
        "{org}: {there} sessions of {most}"
    );
}

fn waits_are_bounded(seen: &Seen<'_>, org: &str) {
    let Reply::Queued { wait, .. } = seen.outcome.reply else {
        return;
    };
    let asked = &seen.ledger.waits[&wait];
    let is_new = seen
        .recorded
        .events()
        .any(|event| matches!(event.what, What::Queued { wait: of, .. } if of == wait));
    if asked.org != org || !is_new {
        return;
    }
    let most = policy(seen, org, None).session_waits_max as usize;
    let waits = seen.ledger.waits.values();
    let waits = waits
        .filter(|other| other.by == asked.by && !other.ended)
        .count();
    assert!(waits <= most, "{:?}: {waits} waits of {most}", asked.by);
}
