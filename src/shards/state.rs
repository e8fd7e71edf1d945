//! One shard: an engine, presence beside it, its way into the journal, and whom it tells. What is done under its mutex.
//!
//! Decides nothing itself: an item is handed to the engine, presence or the streams, and what comes of it to whom it
//! concerns. Must hold: what has changed is kept before the step is over, and a loser hears before the winner's reply.

use std::mem::{forget, needs_drop, replace, take};

use bytes::BytesMut;
use tenure_engine::presence::{Command as PresenceCommand, Presence};
use tenure_engine::{
    Answer, Command, Engine, Entry, Grant, LogTime, Query, Released, Reply, SessionId, SessionRef,
};
use tenure_protocol::{ErrorCode, Position};

use super::answers::Answers;
use super::hearers::Hearers;
use super::pen::Pen;
use super::router::Router;
use crate::audit::{Trail, Watch};
use crate::clock::Stamp;
use crate::dispatch::requests::OF_ANOTHER_ORG;
use crate::dispatch::{self, All, Item, Work, replies, streams};
use crate::journal::{Full, Mark};
use crate::metrics::CommandOutcome;
use crate::streams::Moment;

/// Told to whoever asks for what cannot be kept at the moment.
pub(crate) const NO_ROOM: &str =
    "what is decided cannot be kept at the moment, since the disk is full or too slow; ask again";

/// Ticks that a page is preceded by, of which each ends what is over as far as it gets.
pub(super) const SWEEPS_MAX: usize = 16;

/// Steps that prepare these ticks at most: for what is over among tens of thousands whose timers have come up. A debug build
/// gets less far in each.
const PREPARES_MAX: usize = if cfg!(debug_assertions) { 512 } else { 16 };

/// See the file's header.
#[derive(Debug)]
pub(super) struct State {
    pub(super) engine: Engine,
    /// Privileged acts.
    pub(super) trail: Trail,
    pub(super) pen: Pen,
    pub(super) presence: Presence,
    pub(super) hearers: Hearers,
    /// When the timekeeper will wake up by itself.
    pub(super) sleeps_until: Option<LogTime>,
}

impl State {
    pub(super) fn new(
        (engine, trail, pen): (Engine, Trail, Pen),
        hearers: Hearers,
        presence: Presence,
    ) -> Self {
        Self {
            engine,
            trail,
            pen,
            presence,
            hearers,
            sleeps_until: None,
        }
    }

    /// Asks for room for what is about to be decided, which takes so many bytes at most.
    pub(super) fn begin(&mut self, bytes: usize) -> Result<(), Full> {
        self.pen.begin(bytes, self.engine.next_token())
    }

    /// Keeps what has been decided since, and tells others. Gives what everything rests on that was said.
    pub(super) fn finish(&mut self, stamp: Stamp) -> Mark {
        let (now, next_token) = (self.engine.now(), self.engine.next_token());
        let mark = self.pen.finish(now, stamp.wall, next_token);
        self.hearers.notes.deliver(mark);
        mark
    }

    /// Answers an item that nothing may be decided for: what can be told is told, the rest is to be asked again.
    pub(super) fn execute_without_room(
        &mut self,
        item: &Item<'_>,
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        answers.frames += 1;
        let out = &mut answers.bytes;
        let is_exact = item.work.reads_path().is_some();
        match &item.work {
            Work::Query(query) if !is_exact => {
                self.hearers
                    .counters
                    .command(item.kind, CommandOutcome::Done);
                let position = if let Query::List(list) = query {
                    self.hearers.streams.position(list.org)
                } else {
                    None
                };
                let answer = self.engine.query(query, stamp.at);
                replies::answer(&self.answering(item), item.kind, &answer, position, out);
            }
            Work::Query(_)
            | Work::Command(_)
            | Work::AcquireAll(_)
            | Work::Stream(_)
            | Work::Presence(_)
            | Work::Audit(_) => {
                self.hearers
                    .counters
                    .command(item.kind, CommandOutcome::Rejected);
                replies::error(item.id, ErrorCode::Unavailable, NO_ROOM, out);
            }
        }
    }

    pub(super) fn is_anything_held(&self) -> bool {
        let Answer::Counts(counts) = self.engine.query(&Query::Counts, LogTime::ZERO) else {
            return false;
        };
        counts.holds > 0 || counts.waits > 0
    }

    /// Executes one item and appends its answer. It is the body of the loop over a batch, which keeps at hand what all items
    /// need.
    #[inline(always)]
    pub(super) fn execute(&mut self, item: &Item<'_>, stamp: Stamp, answers: &mut Answers<'_>) {
        answers.frames += 1;
        match &item.work {
            Work::Query(query) => self.read(item, query, stamp, &mut answers.bytes),
            Work::Stream(work) if self.names_another_org(work, stamp) => {
                self.hearers
                    .counters
                    .command(item.kind, CommandOutcome::Denied);
                let code = ErrorCode::NotAttached;
                replies::error(item.id, code, OF_ANOTHER_ORG, &mut answers.bytes);
            }
            Work::Stream(work) => {
                self.hearers
                    .counters
                    .command(item.kind, CommandOutcome::Done);
                let when = Moment {
                    at: stamp.at,
                    wall_ms: stamp.wall.0,
                };
                let (streams, presence) = (&mut self.hearers.streams, &self.presence);
                streams::execute(streams, presence, work, answers.asker, when)
                    .encode(item.id, &mut answers.bytes);
                self.end_typing(work, stamp, answers);
            }
            Work::Presence(work) => self.attend(item, work, stamp, answers),
            Work::Audit(work) => {
                self.hearers
                    .counters
                    .command(item.kind, CommandOutcome::Done);
                dispatch::audit::page(item.id, work, &self.trail, &mut answers.bytes);
            }
            Work::Command(command) => self.decide(item, command, stamp, answers),
            Work::AcquireAll(all) => self.decide_all(item, all, stamp, answers),
        }
    }

    pub(super) fn read(
        &mut self,
        item: &Item<'_>,
        query: &Query<'_>,
        stamp: Stamp,
        out: &mut BytesMut,
    ) {
        if let Some((org, path)) = item.work.reads_path() {
            // A read tells the truth of this instant, however far the sweeps have got.
            self.propose(&Command::Settle { org, path }, stamp);
        }
        let position = self.position_for(query, stamp);
        self.hearers
            .counters
            .command(item.kind, CommandOutcome::Done);
        let answer = self.engine.query(query, stamp.at);
        replies::answer(&self.answering(item), item.kind, &answer, position, out);
    }

    #[inline(always)]
    fn decide(
        &mut self,
        item: &Item<'_>,
        command: &Command<'_>,
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        if let Command::ResumeSession(resume) = command {
            return self.resume(item, (command, resume.session), stamp, answers);
        }
        let acts = self.trail.last();
        // What a loser on this connection is told comes before the winner's reply.
        let reply = self.apply(command, stamp, Some(answers));
        if let Reply::Opened {
            session, attach, ..
        } = reply
        {
            let by = SessionRef { session, attach };
            self.hearers.attach(by, answers.asker);
        } else if let Reply::Queued { wait, place } = reply {
            self.hearers.places.insert(wait, place);
        }
        self.answer(item, &reply, acts, &mut answers.bytes);
        if matches!(reply, Reply::Granted(_) | Reply::Released(_)) {
            // Nearly all are one of these, and own nothing that would have to be looked for.
            const { assert!(!needs_drop::<(Grant, Released)>()) };
            forget(reply);
        }
    }

    /// The command borrows its items from here.
    fn decide_all(
        &mut self,
        item: &Item<'_>,
        all: &All<'_>,
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        self.decide(item, &all.command(), stamp, answers);
    }

    /// A resume. What it leads to comes after the reply that says that the session is here.
    fn resume(
        &mut self,
        item: &Item<'_>,
        (command, session): (&Command<'_>, SessionId),
        stamp: Stamp,
        answers: &mut Answers<'_>,
    ) {
        let before = take(&mut answers.bytes);
        let acts = self.trail.last();
        let reply = self.apply(command, stamp, Some(answers));
        if let Reply::Resumed(resumed) = &reply {
            let attach = resumed.attach;
            let by = SessionRef { session, attach };
            self.hearers.attach(by, answers.asker);
            let resumed = PresenceCommand::SessionResumed(by);
            self.apply_presence(&resumed, stamp, Some(answers));
        }
        let afterwards = replace(&mut answers.bytes, before);
        self.answer(item, &reply, acts, &mut answers.bytes);
        answers.bytes.extend_from_slice(&afterwards);
    }

    /// Appends the answer to a command, and logs those of its acts that are later than the one with this number.
    fn answer(&mut self, item: &Item<'_>, reply: &Reply, acts: u64, out: &mut BytesMut) {
        self.hearers
            .counters
            .command(item.kind, CommandOutcome::of(reply));
        self.trail.log_after(acts);
        replies::reply(&self.answering(item), item, reply, out);
    }

    const fn answering(&self, item: &Item<'_>) -> replies::Answering {
        replies::Answering {
            home: self.hearers.home,
            id: item.id,
        }
    }

    /// Where the stream stands to which a page belongs. What is over is ended before as far as bounded work goes: its events
    /// are then below the position. What is over and not ended yet the page leaves out; its events come above.
    fn position_for(&mut self, query: &Query<'_>, stamp: Stamp) -> Option<Position> {
        let Query::List(list) = query else {
            return None;
        };
        self.hearers.streams.position(list.org)?;
        let (mut ticks, mut prepares) = (0, 0);
        while ticks < SWEEPS_MAX
            && prepares < PREPARES_MAX
            && (self.engine.next_deadline()).is_some_and(|deadline| deadline <= stamp.at)
        {
            let is_tick = self.sweep(stamp);
            ticks += usize::from(is_tick);
            prepares += usize::from(!is_tick);
        }
        self.hearers.streams.position(list.org)
    }

    /// Whether nothing is due before this, for certain.
    pub(super) fn is_quiet_before(&self, at: LogTime) -> bool {
        let presence = self.presence.next_deadline();
        self.engine.wants_no_tick_before(at) && presence.is_none_or(|due| at <= due)
    }

    /// When something is due, of the locks or of presence.
    pub(super) fn next_deadline(&mut self) -> Option<LogTime> {
        let deadlines = [self.engine.next_deadline(), self.presence.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Tells whether it was a tick of anything, and not only prepared.
    pub(super) fn tick(&mut self, stamp: Stamp) -> bool {
        let is_due =
            |deadline: Option<LogTime>| deadline.is_some_and(|deadline| deadline <= stamp.at);
        let mut has_ticked = is_due(self.engine.next_deadline()) && self.sweep(stamp);
        if is_due(self.presence.next_deadline()) {
            self.apply_presence(&PresenceCommand::Tick, stamp, None);
            has_ticked = true;
        }
        has_ticked
    }

    /// One step towards there being nothing that is over. Tells whether it was a tick, and not only prepared one.
    fn sweep(&mut self, stamp: Stamp) -> bool {
        let is_ready = self.engine.prepare(stamp.at);
        if is_ready {
            self.propose(&Command::Tick, stamp);
        }
        is_ready
    }

    pub(super) fn propose(&mut self, command: &Command<'_>, stamp: Stamp) {
        self.apply(command, stamp, None);
    }

    /// One step of history. What the asker is told beside its reply goes to `answers`.
    pub(super) fn apply(
        &mut self,
        command: &Command<'_>,
        stamp: Stamp,
        mut answers: Option<&mut Answers<'_>>,
    ) -> Reply {
        let mut router = Router {
            hearers: &mut self.hearers,
            presence: &self.presence,
            at: stamp.at,
            answers: answers.as_deref_mut(),
            command,
        };
        let entry = Entry {
            at: stamp.at,
            wall: stamp.wall,
            command,
        };
        let (engine, trail) = (&mut self.engine, &mut self.trail);
        let watched = Watch::over(command, stamp.wall, (&mut router, trail), |watch| {
            engine.apply(&entry, watch)
        });
        let outcome = watched.unwrap_or_else(|| engine.apply(&entry, &mut router));
        if outcome.changed {
            self.pen.keep(command);
        }
        self.hearers.end_step();
        if !self.hearers.aftermath.is_empty() {
            self.tell_presence(stamp, answers);
        }
        outcome.reply
    }
}
