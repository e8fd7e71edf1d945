//! Scripts that say what the engine does, one file a subject, each naming the rules it shows.
//!
//! The engine has to answer as is written, and the reference model has to agree with it. With
//! `UPDATE_SCENARIOS=1` the answers are written anew, for a human to read over. The language is that
//! of `history/reading.rs` and `history/writing.rs`; `scenarios/README.md` explains it.

mod history;
mod invariants;
mod model;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use history::reading::{self, Asked};
use history::{Owned, Recorded, Step, writing};
use invariants::model_equal;
use model::Model;
use tenure_engine::{Attach, Engine, List, LogTime, Query, Reply, SessionId, Token};

macro_rules! scenarios {
    ($($name:ident)*) => {
        /// The scripts that are checked.
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

scenarios! {
    acquire_all
    cancel
    causes
    convert
    downgrade
    expiry
    fencing
    force_release
    idle
    keep
    limits
    limits_of_sharing
    listing
    losses
    notes_and_hand_over
    orphans
    passed_on
    policies
    queue
    release
    renew
    restart
    resume
    roles
    seize
    sessions
    sharing
    sweeping
    unchanged
    upgrade
    waiting
}

#[test]
fn every_script_is_checked() {
    let mut there: Vec<String> = scripts().into_keys().collect();
    there.sort();
    assert_eq!(
        there, SCRIPTS,
        "scripts in the folder, and those in the list above"
    );
}

#[test]
fn every_rule_has_a_scenario() {
    let all: String = scripts().into_values().collect::<Vec<_>>().join("\n");
    let named = |rule: usize| {
        all.lines()
            .filter(|line| line.starts_with("# rule "))
            .any(|line| {
                let mut numbers = line.split(|c: char| !c.is_ascii_digit());
                numbers.any(|number| number == rule.to_string())
            })
    };
    let missing: Vec<usize> = (1..=37).filter(|rule| !named(*rule)).collect();
    assert_eq!(missing, [0; 0], "rules that no scenario names");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn scripts() -> BTreeMap<String, String> {
    let mut scripts = BTreeMap::new();
    for file in fs::read_dir(folder()).expect("the folder is there") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path
                .file_stem()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned();
            scripts.insert(name, fs::read_to_string(&path).expect("it can be read"));
        }
    }
    scripts
}

/// Plays a script, and compares it with itself as the engine would have written it.
fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let script = fs::read_to_string(&path).expect("the script is there");
    let played = Stage::play(&script);
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        fs::write(&path, played).expect("it can be written");
        return;
    }
    for (number, (written, played)) in script.lines().zip(played.lines()).enumerate() {
        assert_eq!(
            written,
            played,
            "{name}.txt, line {}: as written, as played",
            number + 1
        );
    }
    assert_eq!(script, played, "{name}.txt: as written, as played");
}

/// Engine and model on one stage, and what is written of it.
struct Stage {
    engine: Engine,
    model: Model,
    attach: BTreeMap<SessionId, Attach>,
    shows_events: bool,
    shows_unchanged: bool,
    written: String,
}

impl Stage {
    fn new(first_token: Token) -> Self {
        Self {
            engine: Engine::new(first_token),
            model: Model::new(first_token),
            attach: BTreeMap::new(),
            shows_events: false,
            shows_unchanged: false,
            written: String::new(),
        }
    }

    fn play(script: &str) -> String {
        let mut stage = Self::new(Token(1));
        for line in script.lines() {
            stage.line(line);
        }
        stage.written
    }

    fn line(&mut self, line: &str) {
        let is_consequence = line.starts_with("    ");
        if is_consequence {
            return;
        }
        let asked = line.split(" -> ").next().unwrap_or_default().trim_end();
        let first = asked.split_whitespace().next().unwrap_or_default();
        match first {
            "" | "#" => self.write(line),
            "show" => {
                self.write(line);
                self.shows_events |= line.contains("events");
                self.shows_unchanged |= line.contains("unchanged");
            }
            "anew" => {
                let token = asked
                    .rsplit(" t")
                    .next()
                    .and_then(|token| token.parse().ok());
                let (events, unchanged) = (self.shows_events, self.shows_unchanged);
                let written = std::mem::take(&mut self.written);
                *self = Self {
                    written,
                    ..Self::new(Token(token.unwrap_or(1)))
                };
                (self.shows_events, self.shows_unchanged) = (events, unchanged);
                self.write(line);
            }
            "times" => {
                let mut words = asked.splitn(3, ' ').skip(1);
                let times: u64 = words.next().and_then(|n| n.parse().ok()).expect("how many");
                let repeated = words.next().expect("what is repeated");
                let mut all = Recorded::default();
                let mut answer = String::new();
                for n in 1..=times {
                    let once = numbered(repeated, n);
                    let recorded;
                    (answer, recorded) = self.ask(&once);
                    all.0.extend(recorded.0);
                }
                self.write(&format!("{asked} -> {answer}"));
                self.consequences(&all);
            }
            _ => {
                let (answer, recorded) = self.ask(asked);
                self.write(&format!("{asked} -> {answer}"));
                self.consequences(&recorded);
            }
        }
    }

    fn write(&mut self, line: &str) {
        self.written.push_str(line);
        self.written.push('\n');
    }

    fn ask(&mut self, line: &str) -> (String, Recorded) {
        let attach_of = |session| self.attach.get(&session).copied().unwrap_or(Attach(1));
        let (at, asked) = reading::line(line, &attach_of);
        let at = at.0;
        let query = match &asked {
            Asked::Command(command) => {
                return self.apply(&Step {
                    at,
                    command: command.clone(),
                });
            }
            Asked::Due => {
                let due = self.engine.next_deadline();
                return (writing::moment(due), Recorded::default());
            }
            Asked::Status { org, path } => Query::Status { org, path },
            Asked::Check { org, path, token } => Query::Check {
                org,
                path,
                token: *token,
            },
            Asked::List {
                org,
                target,
                mode,
                held,
                page,
                after,
            } => Query::List(List {
                org,
                target: target.lend(),
                mode: *mode,
                held_min: *held,
                after: after.as_deref(),
                page: *page,
            }),
            Asked::Places { org, path } => Query::Places { org, path },
            Asked::Policy { org, kind } => Query::Policy {
                org,
                kind: kind.as_deref(),
            },
            Asked::Counts => Query::Counts,
        };
        let answer = self.engine.query(&query, LogTime(at));
        if !matches!(query, Query::List(_)) {
            assert_eq!(
                answer,
                self.model.query(&query, LogTime(at)),
                "{line}: engine, model"
            );
        }
        (writing::answer(&answer), Recorded::default())
    }

    /// One step; and, if a queue was longer than one step serves, the ticks that go on with it, as a server would have them
    /// at once. So a script reads the same however many that is.
    fn apply(&mut self, step: &Step) -> (String, Recorded) {
        let (outcome, mut recorded) = step.apply(&mut self.engine);
        self.engine.check();
        let expected = step.lend(|entry| self.model.apply(entry));
        let differences = model_equal::differences(&outcome, &recorded, &expected);
        let line = writing::step(step);
        assert!(
            differences.is_empty(),
            "{line}: the model differs\n{}",
            differences.join("\n")
        );
        match (&step.command, &outcome.reply) {
            (
                _,
                Reply::Opened {
                    session, attach, ..
                },
            ) => {
                self.attach.insert(*session, *attach);
            }
            (Owned::Resume { session, .. }, Reply::Resumed(resumed)) => {
                self.attach.insert(*session, resumed.attach);
            }
            _ => {}
        }
        if self.model.is_behind() {
            let (at, command) = (step.at, Owned::Tick);
            let (_, further) = self.apply(&Step { at, command });
            recorded.0.extend(further.0);
        }
        let unchanged = if outcome.changed || !self.shows_unchanged {
            ""
        } else {
            " (unchanged)"
        };
        (
            format!("{}{unchanged}", writing::reply(&outcome.reply)),
            recorded,
        )
    }

    /// What followed, line by line; many of one sort are counted.
    fn consequences(&mut self, recorded: &Recorded) {
        let notices = recorded
            .notices()
            .map(|(to, notice)| writing::notice(to, notice));
        let events = recorded
            .events()
            .filter(|_| self.shows_events)
            .map(writing::event);
        let lines: Vec<String> = notices.chain(events).collect();
        let sort = |line: &String| {
            line.split_whitespace()
                .take(3)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for same in lines.chunk_by(|one, next| sort_key(&sort(one)) == sort_key(&sort(next))) {
            let shown = if same.len() > 4 { 1 } else { same.len() };
            for line in &same[..shown] {
                self.write(&format!("    {line}"));
            }
            if shown < same.len() {
                self.write(&format!("    ... {} like it in all", same.len()));
            }
        }
    }
}

/// `! s1.1 lost` and `* ended`: to whom, and what.
fn sort_key(words: &[String]) -> Vec<String> {
    let most = if words.first().is_some_and(|word| word == "!") {
        3
    } else {
        2
    };
    words.iter().take(most).cloned().collect()
}

/// `{n}` is the number in three digits, `{n+2}` two more, as it is.
fn numbered(line: &str, n: u64) -> String {
    let line = line.replace("{n}", &format!("{n:03}"));
    let Some((before, rest)) = line.split_once("{n+") else {
        return line;
    };
    let (more, after) = rest
        .split_once('}')
        .expect("a brace that is opened is closed");
    let more: u64 = more.parse().expect("a number");
    format!("{before}{}{after}", n + more)
}
