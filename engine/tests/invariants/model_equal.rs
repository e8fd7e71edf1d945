//! The engine does what the rules say: for any history it answers as the reference model does.
//!
//! Reply, changed, the notices of each session in order, events as a multiset, and all queries.

use std::collections::BTreeMap;

use tenure_engine::{
    Answer, Engine, Event, List, LogTime, Millis, Mode, Notice, Outcome, Query, SessionRef, Target,
    Token,
};

use super::list;
use crate::history::world::{KINDS, ORGS, OWNERS, PATHS};
use crate::history::{Owned, Recorded, Step, writing};
use crate::model::{Answered, Model};

/// What differs in the answer to an entry, in words; empty when nothing does.
pub(crate) fn differences(
    outcome: &Outcome,
    recorded: &Recorded,
    expected: &Answered,
) -> Vec<String> {
    let mut differences = Vec::new();
    if outcome.reply != expected.reply {
        let (got, expected) = (
            writing::reply(&outcome.reply),
            writing::reply(&expected.reply),
        );
        differences.push(format!("reply:    {got}\nexpected: {expected}"));
    }
    if outcome.changed != expected.changed {
        differences.push(format!(
            "changed: {}, expected {}",
            outcome.changed, expected.changed
        ));
    }
    let got = by_session(recorded.notices());
    let expected_notices = by_session(expected.notices.iter().map(|(to, notice)| (*to, notice)));
    if got != expected_notices {
        let expected =
            lines(expected_notices.iter().flat_map(|(to, notices)| {
                notices.iter().map(|notice| writing::notice(*to, notice))
            }));
        let got =
            lines(got.iter().flat_map(|(to, notices)| {
                notices.iter().map(|notice| writing::notice(*to, notice))
            }));
        differences.push(format!("notices:\n{got}expected:\n{expected}"));
    }
    let (got, expected) = (sorted(recorded.events()), sorted(&expected.events));
    if got != expected {
        let (got, expected) = (lines(got.into_iter()), lines(expected.into_iter()));
        differences.push(format!("events:\n{got}expected:\n{expected}"));
    }
    differences
}

fn by_session<'a>(
    notices: impl Iterator<Item = (SessionRef, &'a Notice)>,
) -> BTreeMap<SessionRef, Vec<&'a Notice>> {
    let mut by_session: BTreeMap<SessionRef, Vec<&Notice>> = BTreeMap::new();
    for (to, notice) in notices {
        by_session.entry(to).or_default().push(notice);
    }
    by_session
}

/// As written, with all that writing leaves out.
fn sorted<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let events = events
        .into_iter()
        .map(|e| format!("{} in {} {:?}", writing::event(e), e.org, e.wall));
    let mut events: Vec<String> = events.collect();
    events.sort();
    events
}

fn lines(of: impl Iterator<Item = String>) -> String {
    of.map(|line| format!("    {line}\n")).collect()
}

/// Every query that is exact without settling, as of `at`.
pub(crate) fn queries_agree(engine: &Engine, model: &Model, at: LogTime) {
    for org in ORGS {
        for target in [
            Target::All,
            Target::Path(PATHS[0]),
            Target::Prefix("doc/"),
            Target::Owner(OWNERS[0]),
            Target::Session(tenure_engine::SessionId(3)),
        ] {
            let asked = List {
                org,
                target,
                mode: None,
                held_min: Millis::ZERO,
                after: None,
                page: 2,
            };
            let Answer::Page { holds, .. } = model.query(&Query::List(asked), at) else {
                panic!("a list is answered with a page");
            };
            assert_eq!(list(engine, org, target, at), holds, "{asked:?}");
        }
        let filtered = List {
            org,
            target: Target::All,
            mode: Some(Mode::Exclusive),
            held_min: Millis(1000),
            after: Some(PATHS[0]),
            page: 256,
        };
        agree(engine, model, &Query::List(filtered), at);
        agree(engine, model, &Query::Policy { org, kind: None }, at);
        for kind in KINDS {
            agree(
                engine,
                model,
                &Query::Policy {
                    org,
                    kind: Some(kind),
                },
                at,
            );
        }
    }
    agree(engine, model, &Query::Counts, at);
}

/// The truth of every path, settled on copies as a read would.
pub(crate) fn truths_agree_once_settled(engine: &Engine, model: &Model, at: LogTime) {
    let (mut engine, mut model) = (engine.clone(), model.clone());
    for org in ORGS {
        for path in PATHS {
            let command = Owned::Settle {
                org: org.to_owned(),
                path: path.to_owned(),
            };
            let settle = Step { at: at.0, command };
            let (outcome, recorded) = settle.apply(&mut engine);
            let expected = settle.lend(|entry| model.apply(entry));
            let differences = differences(&outcome, &recorded, &expected);
            assert!(
                differences.is_empty(),
                "settling {org} {path}: {differences:#?}"
            );
            agree(&engine, &model, &Query::Status { org, path }, at);
            agree(&engine, &model, &Query::Places { org, path }, at);
            let token = super::status(&engine, org, path, at)
                .token
                .unwrap_or(Token(1));
            agree(&engine, &model, &Query::Check { org, path, token }, at);
            agree(
                &engine,
                &model,
                &Query::Check {
                    org,
                    path,
                    token: Token(token.0 + 1),
                },
                at,
            );
        }
    }
}

fn agree(engine: &Engine, model: &Model, query: &Query<'_>, at: LogTime) {
    let (got, expected) = (engine.query(query, at), model.query(query, at));
    let words = || (writing::answer(&got), writing::answer(&expected));
    assert_eq!(got, expected, "{query:?}: {:?}", words());
}
