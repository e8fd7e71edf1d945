//! When each edit of a trace begins, and how long it works: a model, since a trace only says when something was saved.
//! Pure; times are those of the trace.

use std::collections::HashMap;
use std::time::Duration;

use super::trace::Trace;

/// What a trace does not say.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// A pause of the whole trace that is longer is shortened to this: nights and holidays lock nothing.
    pub pause_max: Duration,
    /// How long an edit works at most.
    pub work_max: Duration,
    /// How long an edit works at least.
    pub work_min: Duration,
}

/// An edit with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// When its owner asks for the lock, from the beginning of the replay.
    pub(super) begin: Duration,
    /// How long it is held, once it is granted.
    pub(super) work: Duration,
    /// Who.
    pub(super) owner: u32,
    /// What.
    pub(super) path: u32,
}

/// All edits of a trace, in the order in which they begin.
///
/// What is saved together was worked on together: from when its owner last saved something else, but for no longer than
/// [`Model::work_max`]; the lock was asked for at the beginning of that. Who waits for a lock begins his work when it is
/// granted, and so saves later than in the trace.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(super) edits: Vec<Planned>,
    pub(super) owners: u32,
    /// When the last edit ends, if nobody waits.
    pub(super) length: Duration,
    pub(super) pause_max: Duration,
}

impl Schedule {
    /// The edits of a trace under a model.
    #[must_use]
    pub fn new(trace: &Trace, model: &Model) -> Self {
        let mut edits = Vec::with_capacity(trace.edits().len());
        let mut saved_before: HashMap<u32, (Duration, Duration)> = HashMap::new();
        // So that the first can have begun to work before it was saved.
        let mut now = model.work_max;
        let mut last_at = trace.edits().first().map_or(0, |edit| edit.at);
        for edit in trace.edits() {
            let pause = Duration::from_secs(edit.at - last_at);
            now += pause.min(model.pause_max);
            last_at = edit.at;
            let (saved, work) = saved_before
                .get(&edit.owner)
                .copied()
                .unwrap_or((Duration::ZERO, model.work_max));
            // The other files of one save were worked on for as long.
            let work = if saved == now {
                work
            } else {
                (now - saved).clamp(model.work_min, model.work_max)
            };
            saved_before.insert(edit.owner, (now, work));
            edits.push(Planned {
                begin: now.saturating_sub(work),
                work,
                owner: edit.owner,
                path: edit.path,
            });
        }
        edits.sort_by_key(|edit| edit.begin);
        Self {
            length: now,
            edits,
            owners: trace.owner_count(),
            pause_max: model.pause_max,
        }
    }

    /// How many edits there are.
    #[must_use]
    pub const fn edit_count(&self) -> usize {
        self.edits.len()
    }

    /// When the last edit ends, if nobody waits.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_shortened_and_work_lasts_since_the_save_before() {
        let text = "unix_time,owner,path\n\
            1000,ada,a\n1000,ada,b\n1010,ben,a\n9000,ada,c\n9005,ada,c\n";
        let trace = Trace::parse(text.as_bytes()).unwrap();
        let seconds = Duration::from_secs;
        let model = Model {
            pause_max: seconds(60),
            work_max: seconds(30),
            work_min: seconds(8),
        };
        let schedule = Schedule::new(&trace, &model);
        let planned: Vec<_> = schedule
            .edits
            .iter()
            .map(|edit| {
                (
                    edit.begin.as_secs(),
                    edit.work.as_secs(),
                    edit.owner,
                    edit.path,
                )
            })
            .collect();
        // Saves lie at 30, 30, 40, 100 and 105 s.
        let expected = [
            (0, 30, 0, 0),
            (0, 30, 0, 1),
            (10, 30, 1, 0),
            (70, 30, 0, 2),
            (97, 8, 0, 2),
        ];
        assert_eq!(planned, expected);
        assert_eq!(schedule.length(), seconds(105));
    }
}
