//! What must hold after every entry, computed from the outside: replies, notices, events, queries.
//!
//! One promise a file; the first line of each is the promise. None of them looks into the engine or
//! asks the reference model, except `model_equal`, whose matter that is.
#![allow(dead_code, reason = "every test binary uses another part of it")]

pub(crate) mod bounds;
pub(crate) mod dead_sessions_hold_nothing;
pub(crate) mod fencing_rises;
pub(crate) mod leases_end;
mod ledger;
pub(crate) mod model_equal;
pub(crate) mod mutual_exclusion;
pub(crate) mod no_idle_lock;
pub(crate) mod one_reply;
pub(crate) mod queue_order;
pub(crate) mod replay_equal;

use std::collections::BTreeMap;

use tenure_engine::{
    Answer, Engine, List, ListedHold, LogTime, Millis, Outcome, Place, Query, Target, Truth,
};

use crate::history::world::{ORGS, PATHS};
use crate::history::{Recorded, Step};
pub(crate) use ledger::Ledger;

/// A lock's names.
pub(crate) type Lock = (&'static str, &'static str);

/// What an entry looked like from the outside.
pub(crate) struct Seen<'a> {
    pub(crate) step: &'a Step,
    pub(crate) outcome: &'a Outcome,
    pub(crate) recorded: &'a Recorded,
    /// As it is after the entry.
    pub(crate) engine: &'a Engine,
    /// As known after the entry.
    pub(crate) ledger: &'a Ledger,
    pub(crate) before: &'a View,
    pub(crate) after: &'a View,
}

impl Seen<'_> {
    pub(crate) fn at(&self) -> LogTime {
        LogTime(self.step.at).max(self.engine.now())
    }
}

/// All that queries tell at one moment, lock by lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) holds: BTreeMap<Lock, Vec<ListedHold>>,
    pub(crate) truths: BTreeMap<Lock, Truth>,
    pub(crate) places: BTreeMap<Lock, Vec<Place>>,
}

impl View {
    pub(crate) fn of(engine: &Engine, at: LogTime) -> Self {
        let mut view = Self::default();
        for (org, path) in locks() {
            let lock = (org, path);
            view.holds
                .insert(lock, list(engine, org, Target::Path(path), at));
            view.truths.insert(lock, status(engine, org, path, at));
            view.places.insert(lock, places(engine, org, path, at));
        }
        view
    }
}

/// All invariants, with what they remember.
#[derive(Default)]
pub(crate) struct Invariants {
    ledger: Ledger,
    before: View,
    fencing: fencing_rises::Fencing,
    endings: one_reply::Endings,
}

impl Invariants {
    /// To be called after each entry.
    pub(crate) fn hold_after(
        &mut self,
        step: &Step,
        outcome: &Outcome,
        recorded: &Recorded,
        engine: &Engine,
    ) {
        self.ledger.learn(step, &outcome.reply, recorded);
        let at = LogTime(step.at).max(engine.now());
        let after = View::of(engine, at);
        let (before, ledger) = (&self.before, &self.ledger);
        let seen = Seen {
            step,
            outcome,
            recorded,
            engine,
            ledger,
            before,
            after: &after,
        };
        mutual_exclusion::holds(&seen);
        self.fencing.holds(&seen);
        self.endings.holds(&seen);
        queue_order::holds(&seen);
        no_idle_lock::holds(&seen);
        leases_end::holds(&seen);
        dead_sessions_hold_nothing::holds(&seen);
        bounds::holds(&seen);
        self.before = after;
    }

    /// To be called when time has run out for everything.
    pub(crate) fn hold_at_the_end(&self, engine: &Engine) {
        self.endings.hold_at_the_end();
        leases_end::hold_at_the_end(engine);
    }
}

pub(crate) fn locks() -> impl Iterator<Item = Lock> {
    ORGS.into_iter()
        .flat_map(|org| PATHS.into_iter().map(move |path| (org, path)))
}

/// A whole list, in small pages.
pub(crate) fn list(engine: &Engine, org: &str, target: Target<'_>, at: LogTime) -> Vec<ListedHold> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let list = List {
            org,
            target,
            mode: None,
            held_min: Millis::ZERO,
            after: after.as_deref(),
            page: 2,
        };
        let Answer::Page { holds, next } = engine.query(&Query::List(list), at) else {
            panic!("a list is answered with a page");
        };
        all.extend(holds);
        let Some(next) = next else { return all };
        assert!(
            after.as_ref().is_none_or(|after| *after < next),
            "pages go on: {next}"
        );
        after = Some(next);
    }
}

pub(crate) fn status(engine: &Engine, org: &str, path: &str, at: LogTime) -> Truth {
    let answer = engine.query(&Query::Status { org, path }, at);
    let Answer::Status(truth) = answer else {
        panic!("a status is answered with {answer:?}");
    };
    truth
}

pub(crate) fn places(engine: &Engine, org: &str, path: &str, at: LogTime) -> Vec<Place> {
    let answer = engine.query(&Query::Places { org, path }, at);
    let Answer::Places(places) = answer else {
        panic!("places are answered with {answer:?}");
    };
    places
}
