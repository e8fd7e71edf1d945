//! Histories: commands that own their names, random ones, and what is recorded of a run.
//!
//! It knows neither rule nor expectation; it must give the same history for the same operations,
//! whoever is asked.
#![allow(dead_code, reason = "every test binary uses another part of it")]

pub(crate) mod owned;
pub(crate) mod random;
pub(crate) mod reading;
pub(crate) mod world;
pub(crate) mod writing;

use tenure_engine::{
    Effects, Engine, Entry, Event, LogTime, Notice, Outcome, SessionRef, WallTime,
};

pub(crate) use owned::Owned;

/// One step of a history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) at: u64,
    pub(crate) command: Owned,
}

impl Step {
    /// Wall time runs beside log time, from another beginning.
    pub(crate) fn lend<R>(&self, use_it: impl FnOnce(&Entry<'_>) -> R) -> R {
        let (at, wall) = (
            LogTime(self.at),
            WallTime(self.at.saturating_add(1_700_000_000_000)),
        );
        self.command.lend(|command| {
            use_it(&Entry {
                at,
                wall,
                command: &command,
            })
        })
    }

    pub(crate) fn apply(&self, engine: &mut Engine) -> (Outcome, Recorded) {
        let mut recorded = Recorded::default();
        let outcome = self.lend(|entry| engine.apply(entry, &mut recorded));
        (outcome, recorded)
    }
}

/// A consequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Notice(SessionRef, Notice),
    Event(Event),
}

/// All that an entry led to, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recorded(pub(crate) Vec<Effect>);

impl Recorded {
    pub(crate) fn notices(&self) -> impl Iterator<Item = (SessionRef, &Notice)> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Notice(to, notice) => Some((*to, notice)),
            Effect::Event(_) => None,
        })
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Event(event) => Some(event),
            Effect::Notice(..) => None,
        })
    }
}

impl Effects for Recorded {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        self.0.push(Effect::Notice(to, notice.into_owned()));
    }

    fn event(&mut self, event: &Event<&str>) {
        self.0.push(Effect::Event(event.clone().into_owned()));
    }
}
