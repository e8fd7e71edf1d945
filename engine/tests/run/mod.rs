//! Engine and model living one history side by side, with the invariants checked after every entry.
//!
//! It does not know where a history comes from: proptest, a fuzzer or a script. The first difference
//! ends it.
#![allow(dead_code, reason = "every user needs another part of it")]

use tenure_engine::{Engine, LogTime, Millis, Token};

use crate::history::world::{Op, World};
use crate::history::{Owned, Step, writing};
use crate::invariants::{Invariants, model_equal};
use crate::model::Model;

const FIRST_TOKEN: Token = Token(1);

/// Engine and model, living the same history.
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) model: Model,
    world: World,
    invariants: Invariants,
    pub(crate) script: Vec<String>,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self::beginning_at(FIRST_TOKEN)
    }

    pub(crate) fn beginning_at(first_token: Token) -> Self {
        Self {
            engine: Engine::new(first_token),
            model: Model::new(first_token),
            world: World::default(),
            invariants: Invariants::default(),
            script: Vec::new(),
        }
    }

    pub(crate) fn live(&mut self, ops: &[Op]) -> Result<(), String> {
        for op in ops {
            let step = self.world.resolve(op, self.model.earliest_over());
            self.take(&step)?;
        }
        self.run_out()
    }

    pub(crate) fn take(&mut self, step: &Step) -> Result<(), String> {
        self.script.push(writing::step(step));
        let before = (self.engine.digest(), self.engine.now());
        if self.script.len().is_multiple_of(3) {
            self.engine.prepare(LogTime(step.at));
            self.engine.check();
            assert_eq!((self.engine.digest(), self.engine.now()), before);
        }
        let (outcome, recorded) = step.apply(&mut self.engine);
        self.script
            .push(format!("    -> {}", writing::reply(&outcome.reply)));
        self.engine.check();
        let expected = step.lend(|entry| self.model.apply(entry));
        let mut differences = model_equal::differences(&outcome, &recorded, &expected);
        if !outcome.changed && (self.engine.digest(), self.engine.now()) != before {
            differences.push("unchanged, but not identical".to_owned());
        }
        let quiet_for = [1, 1_000, 60_000].map(Millis);
        let ends = quiet_for.map(|span| self.engine.now() + span);
        let ends = ends.map(|end| (end, self.engine.wants_no_tick_before(end)));
        let sleeps_until = self.engine.next_deadline();
        for (end, is_quiet) in ends {
            assert!(
                !is_quiet || sleeps_until.is_none_or(|until| until >= end),
                "a glance saw nothing before {end:?}, where {sleeps_until:?} is due"
            );
        }
        if let Some(due) = self
            .model
            .earliest_over()
            .map(|due| due.max(self.model.now().0))
            && sleeps_until.is_none_or(|until| until.0 > due)
        {
            let until = writing::moment(sleeps_until);
            differences.push(format!(
                "sleeps until {until}, beyond what is over at {due}ms"
            ));
        }
        if !differences.is_empty() {
            return Err(differences.join("\n"));
        }
        self.world.learn(&step.command, &outcome.reply, &recorded);
        self.invariants
            .hold_after(step, &outcome, &recorded, &self.engine);
        let at = LogTime(step.at).max(self.engine.now());
        model_equal::queries_agree(&self.engine, &self.model, at);
        // Dear, and rarely the first to notice.
        if self.script.len().is_multiple_of(8) {
            model_equal::truths_agree_once_settled(&self.engine, &self.model, at);
        }
        Ok(())
    }

    /// Lets time run out for everything: ticks when they are due, and nothing else.
    pub(crate) fn run_out(&mut self) -> Result<(), String> {
        while let Some(due) = self.model.earliest_over() {
            let at = due.max(self.model.now().0);
            self.take(&Step {
                at,
                command: Owned::Tick,
            })?;
        }
        self.invariants.hold_at_the_end(&self.engine);
        Ok(())
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().cloned();
    let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    message.unwrap_or_else(|| "a panic without words".to_owned())
}
