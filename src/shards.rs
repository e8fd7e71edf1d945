//! The shards: who orders history, and what follows from it. [`Shards::submit`] is the way in for every command.
//!
//! An org lives in one shard: an engine, the routes of its sessions and the streams of its orgs behind one mutex. Under
//! that mutex a batch is stamped once, applied, and what it says is put into outboxes: the loser's notice before the
//! winner's grant or reply. Nothing awaits under it, nothing is written to a socket, and no listener is woken. What has
//! changed is in the journal's buffer before the mutex is given back, and what was said bears the mark that it rests on.
//!
//! Knows no lock rule, no socket, no wire (that is `dispatch/`).

mod notes;
mod pen;
mod presence;
mod router;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tenure_engine::presence::{Bounds as PresenceBounds, Command as PresenceCommand, Presence};
use tenure_engine::{
    Answer, Attach, Command, Engine, Entry, LogTime, Millis, Query, Reply, SessionId, SessionRef,
    Token, WaitId,
};
use tenure_protocol::reply::SessionRenewal;
use tenure_protocol::{ErrorCode, Position, RequestKind};
use tokio::sync::Notify;

use self::notes::{Called, Notes};
use self::pen::{Pen, bytes_of, bytes_of_commands};
use self::presence::{Aftermath, Own};
use self::router::Router;
use crate::audit::{Trail, Watch};
use crate::clock::{Clock, Stamp};
use crate::dispatch::requests::OF_ANOTHER_ORG;
use crate::dispatch::{self, Item, Work, notices, replies, streams};
use crate::gate::{Gate, Held};
use crate::homes::{Home, Homes, ShardIndex};
use crate::journal::{Full, Lived, Mark};
use crate::metrics::{CommandOutcome, ShardCounters, ShardView};
use crate::outbox::{Attachment, Outbox};
use crate::streams::{Epochs, Keeping, Moment, Room, Streams, Woken};

/// Commands that one hold of a shard's mutex takes at most.
pub(crate) const BATCH_MAX: usize = 64;

/// Steps that a page is preceded by, of which each ends what is over as far as it gets.
const SWEEPS_MAX: usize = 16;

/// Steps of a sweep after which those are woken who were told something in them.
const STEPS_UNTOLD: u32 = 16;

/// What is refused because it cannot be kept is tried again after this, where nobody waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Told to whoever asks for what cannot be kept at the moment.
pub(crate) const NO_ROOM: &str =
    "what is decided cannot be kept at the moment, since the disk is full or too slow; ask again";

/// A buffer for replies that has grown beyond this is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// Paths whose waiters are told their places in one second, per shard.
const MOVED_MAX: usize = 1024;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    pub(crate) homes: Homes,
    pub(crate) clock: Clock,
    pub(crate) gate: Arc<Gate>,
    /// What all streams occupy.
    room: Arc<Room>,
}

/// Where history goes on: what each shard has lived so far, and whether what it goes on to live is kept.
pub(crate) enum Beginning {
    /// These engines; nothing is kept.
    Memory(Vec<Engine>),
    /// These engines, each with its way into the journal.
    Kept {
        shards: Vec<Lived>,
        /// Whether what is said waits for the disk.
        holds_back: bool,
    },
}

#[derive(Debug)]
struct Shard {
    state: Mutex<State>,
    /// Something is due earlier than the timekeeper of this shard believes.
    due_earlier: Notify,
}

#[derive(Debug)]
struct State {
    home: Home,
    engine: Engine,
    /// Privileged acts.
    trail: Trail,
    pen: Pen,
    presence: Presence,
    notes: Notes,
    /// Room for the answers to one batch.
    replies: BytesMut,
    /// What presence has still to hear of; nothing between two steps.
    aftermath: Vec<Aftermath>,
    /// Where the attached sessions are to be reached.
    routes: HashMap<SessionId, Route>,
    streams: Streams,
    counters: ShardCounters,
    /// When the timekeeper will wake up by itself.
    sleeps_until: Option<LogTime>,
    /// Queues in which somebody has moved up since their waiters were told.
    moved: HashMap<(Arc<str>, Arc<str>), ()>,
    /// The place that each waiter was told last.
    places: HashMap<WaitId, u32>,
}

/// What has come of the timekeeper's looking.
enum Turn {
    /// Something was due; there may be more.
    Ticked,
    /// Something is due, but cannot be kept.
    Full,
    /// Nothing is due before this.
    Early(Option<LogTime>),
}

#[derive(Debug, Clone)]
struct Route {
    attach: Attach,
    outbox: Arc<Outbox>,
}

impl Shards {
    /// Shards that go on from a beginning, whose streams keep so much. What they say leaves through the gate.
    pub(crate) fn new(
        beginning: Beginning,
        clock: Clock,
        gate: Arc<Gate>,
        (keeping, presence): (Keeping, PresenceBounds),
    ) -> Self {
        let room = Room::new(keeping.bytes_max);
        let epochs = Epochs::random();
        let engines = beginning.engines();
        let homes = Homes::new(engines.len());
        let shard = |(home, (engine, trail, pen)): (Home, (Engine, Trail, Pen))| Shard {
            state: Mutex::new(State {
                home,
                engine,
                trail,
                streams: Streams::new(
                    (keeping.each, pen.showing()),
                    Arc::clone(&room),
                    epochs.of(home),
                ),
                pen,
                presence: Presence::new(presence),
                notes: Notes::default(),
                replies: BytesMut::new(),
                aftermath: Vec::new(),
                routes: HashMap::new(),
                counters: ShardCounters::default(),
                sleeps_until: None,
                moved: HashMap::new(),
                places: HashMap::new(),
            }),
            due_earlier: Notify::new(),
        };
        Self {
            shards: homes.all().zip(engines).map(shard).collect(),
            homes,
            clock,
            gate,
            room,
        }
    }

    /// Applies a batch at one instant, on the caller's own thread, and puts the answers into the asker's outbox.
    ///
    /// Who orders history is hidden here: an answer may come later than this returns, always through the outbox. Gives whom
    /// to tell of it, if it was a single command and may be told at once; whom many concern is woken, and takes all there
    /// is together.
    pub(crate) fn submit(
        &self,
        shard: ShardIndex,
        batch: &[Item<'_>],
        asker: &Arc<Outbox>,
    ) -> Woken {
        let mut state = self.shards[shard.0].state.lock();
        let mut out = std::mem::take(&mut state.replies);
        let stamp = self.clock.stamp();
        let bytes = if state.pen.is_memory() {
            0
        } else {
            bytes_of(batch)
        };
        let mut frames = 0;
        let mark = match state.begin(bytes) {
            Ok(()) => {
                for item in batch {
                    frames += 1 + state.execute(item, stamp, asker, &mut out);
                }
                state.finish(stamp)
            }
            Err(Full::Segment | Full::Tokens) => {
                for item in batch {
                    frames += 1;
                    state.execute_without_room(item, stamp, &mut out);
                }
                state.pen.last()
            }
        };
        asker.append(&out, frames, mark);
        if out.capacity() <= KEPT_BYTES {
            out.clear();
            state.replies = out;
        }
        let woken = self.leave(shard, state);
        if batch.len() == 1 && self.gate.is_reached(mark) {
            return woken;
        }
        self.let_go(mark, woken);
        Woken::default()
    }

    /// Applies what nobody waits for an answer of: the passing of time, a lost connection, a start.
    ///
    /// # Errors
    ///
    /// It cannot be kept at the moment, and was not applied.
    pub(crate) fn propose(&self, shard: ShardIndex, commands: &[Command<'_>]) -> Result<(), Full> {
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        state.begin(bytes_of_commands(commands))?;
        for command in commands {
            state.propose(command, stamp);
        }
        let mark = state.finish(stamp);
        let woken = self.leave(shard, state);
        self.let_go(mark, woken);
        Ok(())
    }

    /// Renews one of the sessions of a list, which may lie in several shards. Gives what the answer rests on, too.
    ///
    /// # Errors
    ///
    /// It cannot be kept at the moment.
    pub(crate) fn renew_session(
        &self,
        shard: ShardIndex,
        by: SessionRef,
    ) -> Result<(SessionRenewal, Mark), Full> {
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        let command = Command::RenewSession(by);
        state.begin(bytes_of_commands(&[command]))?;
        let renewal = replies::renewal(&state.apply(&command, stamp, None).0);
        let mark = state.finish(stamp);
        let woken = self.leave(shard, state);
        self.let_go(mark, woken);
        Ok((renewal, mark))
    }

    /// A connection has ended, and with it this subscription.
    pub(crate) fn unsubscribe(&self, shard: ShardIndex, org: &str, connection: u64, number: u64) {
        let mut state = self.shards[shard.0].state.lock();
        let now = self.clock.now();
        state.streams.unsubscribe(org, connection, number, now);
    }

    /// Gives the mutex back, and wakes whoever was told something. Gives whom that what has happened concerns.
    fn leave(&self, shard: ShardIndex, mut state: MutexGuard<'_, State>) -> Woken {
        let woken = state.streams.woken();
        let called = state.notes.called();
        if let Some(deadline) = state.next_deadline()
            && state.sleeps_until.is_none_or(|wake| deadline < wake)
        {
            state.sleeps_until = Some(deadline);
            self.shards[shard.0].due_earlier.notify_one();
        }
        drop(state);
        called.wake(&self.gate);
        woken
    }

    /// Has those woken whom that what has happened concerns.
    fn let_go(&self, mark: Mark, woken: Woken) {
        if !woken.is_empty() {
            self.gate.hold(mark, Held::Events(woken));
        }
    }

    /// Proposes a tick whenever something is due in the shard. Never returns.
    pub(crate) async fn keep_time(&self, shard: ShardIndex) {
        // A long sweep is many short steps. Whoever is told something in each of them is woken now and then, and writes all
        // of it in one go.
        let mut called = Called::default();
        let mut steps = 0;
        loop {
            let turn = self.tick(shard, &mut called);
            steps += 1;
            if steps == STEPS_UNTOLD || !matches!(turn, Turn::Ticked) {
                std::mem::take(&mut called).wake(&self.gate);
                steps = 0;
            }
            match turn {
                // Between two steps others have their turn.
                Turn::Ticked => tokio::task::yield_now().await,
                Turn::Full => tokio::time::sleep(PATIENCE).await,
                Turn::Early(deadline) => self.sleep(shard, deadline).await,
            }
        }
    }

    /// One step of a sweep, if anything is due.
    fn tick(&self, shard: ShardIndex, called: &mut Called) -> Turn {
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        let next = state.next_deadline();
        state.sleeps_until = next;
        let Some(deadline) = next.filter(|deadline| *deadline <= stamp.at) else {
            return Turn::Early(next);
        };
        if state.begin(bytes_of_commands(&[Command::Tick])).is_err() {
            return Turn::Full;
        }
        state.counters.tick(deadline, stamp.at);
        state.tick(stamp);
        let mark = state.finish(stamp);
        let woken = state.streams.woken();
        called.join(state.notes.called());
        // Whoever waits for the mutex comes before the next tick.
        MutexGuard::unlock_fair(state);
        self.let_go(mark, woken);
        Turn::Ticked
    }

    async fn sleep(&self, shard: ShardIndex, deadline: Option<LogTime>) {
        let earlier = self.shards[shard.0].due_earlier.notified();
        match deadline.and_then(|deadline| self.clock.instant_of(deadline)) {
            Some(instant) => {
                let _ = tokio::time::timeout_at(instant.into(), earlier).await;
            }
            None => earlier.await,
        }
    }

    /// Tells the waiters of every queue that has moved where they stand. To be called about once a second.
    pub(crate) fn tell_places(&self, shard: ShardIndex) {
        let mut state = self.shards[shard.0].state.lock();
        let moved: Vec<_> = state.moved.drain().map(|(at, ())| at).collect();
        for (org, path) in moved {
            let query = Query::Places {
                org: &org,
                path: &path,
            };
            let Answer::Places(places) = state.engine.query(&query, LogTime::ZERO) else {
                continue;
            };
            for place in places {
                if state.places.insert(place.wait, place.place) == Some(place.place) {
                    continue;
                }
                let push = notices::place(state.home, &place);
                let State { routes, notes, .. } = &mut *state;
                if let Some(outbox) = outbox_of(routes, place.to) {
                    notes.push(outbox, &push);
                }
            }
        }
        let mark = state.pen.last();
        state.notes.deliver(mark);
        let called = state.notes.called();
        drop(state);
        called.wake(&self.gate);
    }

    /// Keeps how late it is, if anybody holds or awaits anything: so a restart gives them little more time than they had. One
    /// shard does it for all. To be called about once a second.
    pub(crate) fn mark_time(&self) {
        let stamp = self.clock.stamp();
        for shard in &self.shards {
            let mut state = shard.state.lock();
            if state.is_anything_held() && state.pen.mark_time(stamp.at, stamp.wall).is_ok() {
                return;
            }
        }
    }

    /// Ends history. Gives each shard's engine with its way into the journal, if there is one.
    pub(crate) fn close(&self) -> Vec<Lived> {
        let close = |shard: &Shard| {
            let mut state = shard.state.lock();
            let appender = state.pen.close()?;
            let nothing = Engine::new(state.engine.next_token());
            Some(Lived {
                engine: std::mem::replace(&mut state.engine, nothing),
                trail: std::mem::take(&mut state.trail),
                appender,
            })
        };
        self.shards.iter().filter_map(close).collect()
    }

    /// Lets go of events that are too old, and of streams that nobody uses. To be called about once a second.
    pub(crate) fn forget_old_events(&self, shard: ShardIndex) {
        let mut state = self.shards[shard.0].state.lock();
        state.streams.forget_old(self.clock.now());
    }

    /// Bytes that all streams occupy.
    pub(crate) fn stream_bytes(&self) -> usize {
        self.room.used()
    }

    pub(crate) fn visit(&self, visit: &mut dyn FnMut(ShardView<'_>)) {
        for shard in &self.shards {
            let mut state = shard.state.lock();
            let overdue = state
                .next_deadline()
                .map_or(Millis::ZERO, |deadline| deadline.until(self.clock.now()));
            let Answer::Counts(counts) = state.engine.query(&Query::Counts, LogTime::ZERO) else {
                continue;
            };
            visit(ShardView {
                counters: &state.counters,
                counts,
                overdue,
                streams: state.streams.counts(),
                presence: state.presence.totals(),
            });
        }
    }
}

impl Beginning {
    /// So many shards that have lived nothing, whose tokens begin at `first`.
    pub(crate) fn in_memory(count: usize, first: Token) -> Self {
        Self::Memory((0..count.max(1)).map(|_| Engine::new(first)).collect())
    }

    fn engines(self) -> Vec<(Engine, Trail, Pen)> {
        match self {
            Self::Memory(engines) => engines
                .into_iter()
                .map(|engine| (engine, Trail::default(), Pen::Memory))
                .collect(),
            Self::Kept { shards, holds_back } => {
                let pen = if holds_back {
                    Pen::Always
                } else {
                    Pen::Interval
                };
                shards
                    .into_iter()
                    .map(|lived| (lived.engine, lived.trail, pen(lived.appender)))
                    .collect()
            }
        }
    }
}

impl State {
    /// Asks for room for what is about to be decided, which takes so many bytes at most.
    fn begin(&mut self, bytes: usize) -> Result<(), Full> {
        self.pen.begin(bytes, self.engine.next_token())
    }

    /// Keeps what has been decided since, and tells others. Gives what everything rests on that was said.
    fn finish(&mut self, stamp: Stamp) -> Mark {
        let (now, next_token) = (self.engine.now(), self.engine.next_token());
        let mark = self.pen.finish(now, stamp.wall, next_token);
        self.notes.deliver(mark);
        mark
    }

    /// Answers an item that nothing may be decided for: what can be told is told, the rest is to be asked again.
    fn execute_without_room(&mut self, item: &Item<'_>, stamp: Stamp, out: &mut BytesMut) {
        let is_exact = item.work.reads_path().is_some();
        match &item.work {
            Work::Query(query) if !is_exact => {
                self.counters.command(item.kind, CommandOutcome::Done);
                let position = if let Query::List(list) = query {
                    self.streams.position(list.org)
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
                self.counters.command(item.kind, CommandOutcome::Rejected);
                replies::error(item.id, ErrorCode::Unavailable, NO_ROOM, out);
            }
        }
    }

    fn is_anything_held(&self) -> bool {
        let Answer::Counts(counts) = self.engine.query(&Query::Counts, LogTime::ZERO) else {
            return false;
        };
        counts.holds > 0 || counts.waits > 0
    }

    /// Executes one item and appends its answer. Gives the number of frames that were appended beside the answer.
    fn execute(
        &mut self,
        item: &Item<'_>,
        stamp: Stamp,
        asker: &Arc<Outbox>,
        out: &mut BytesMut,
    ) -> u64 {
        match &item.work {
            Work::Query(query) => {
                self.read(item, query, stamp, out);
                0
            }
            Work::Stream(work) if self.names_another_org(work, stamp) => {
                self.counters.command(item.kind, CommandOutcome::Denied);
                replies::error(item.id, ErrorCode::NotAttached, OF_ANOTHER_ORG, out);
                0
            }
            Work::Stream(work) => {
                self.counters.command(item.kind, CommandOutcome::Done);
                let when = Moment {
                    at: stamp.at,
                    wall_ms: stamp.wall.0,
                };
                let (streams, presence) = (&mut self.streams, &self.presence);
                streams::execute(streams, presence, work, asker, when).encode(item.id, out);
                self.end_typing(work, stamp, (asker, out))
            }
            Work::Presence(work) => self.attend(item, work, stamp, (asker, out)),
            Work::Audit(work) => {
                self.counters.command(item.kind, CommandOutcome::Done);
                dispatch::audit::page(item.id, work, &self.trail, out);
                0
            }
            Work::Command(command) => self.decide(item, command, stamp, (asker, out)),
            Work::AcquireAll(all) => self.decide(item, &all.command(), stamp, (asker, out)),
        }
    }

    fn read(&mut self, item: &Item<'_>, query: &Query<'_>, stamp: Stamp, out: &mut BytesMut) {
        if let Some((org, path)) = item.work.reads_path() {
            // A read tells the truth of this instant, however far the sweeps have got.
            self.propose(&Command::Settle { org, path }, stamp);
        }
        let position = self.position_for(query, stamp);
        self.counters.command(item.kind, CommandOutcome::Done);
        let answer = self.engine.query(query, stamp.at);
        replies::answer(&self.answering(item), item.kind, &answer, position, out);
    }

    fn decide(
        &mut self,
        item: &Item<'_>,
        command: &Command<'_>,
        stamp: Stamp,
        (asker, out): Own<'_>,
    ) -> u64 {
        // What a loser on this connection is told comes before the winner's reply; what a resume leads to comes after
        // the reply that says that the session is here.
        let mut afterwards = BytesMut::new();
        let told = if item.kind == RequestKind::SessionResume {
            &mut afterwards
        } else {
            &mut *out
        };
        let acts = self.trail.last();
        let (reply, mut pushed) = self.apply(command, stamp, Some((asker, told)));
        if let Some(by) = self.note_attachment(command, &reply, asker) {
            let resumed = PresenceCommand::SessionResumed(by);
            pushed += self
                .apply_presence(&resumed, stamp, Some((asker, &mut afterwards)))
                .1;
        }
        if let Reply::Queued { wait, place } = &reply {
            self.places.insert(*wait, *place);
        }
        self.counters.command(item.kind, CommandOutcome::of(&reply));
        self.trail.log_after(acts);
        replies::reply(&self.answering(item), item, &reply, out);
        out.extend_from_slice(&afterwards);
        pushed
    }

    const fn answering(&self, item: &Item<'_>) -> replies::Answering {
        replies::Answering {
            home: self.home,
            id: item.id,
        }
    }

    /// Where the stream stands to which a page belongs. What is over is ended before as far as bounded work goes: its events
    /// are then below the position. What is over and not ended yet the page leaves out; its events come above.
    fn position_for(&mut self, query: &Query<'_>, stamp: Stamp) -> Option<Position> {
        let Query::List(list) = query else {
            return None;
        };
        self.streams.position(list.org)?;
        for _ in 0..SWEEPS_MAX {
            if self
                .engine
                .next_deadline()
                .is_none_or(|deadline| deadline > stamp.at)
            {
                break;
            }
            self.propose(&Command::Tick, stamp);
        }
        self.streams.position(list.org)
    }

    /// When something is due, of the locks or of presence.
    fn next_deadline(&mut self) -> Option<LogTime> {
        let deadlines = [self.engine.next_deadline(), self.presence.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn tick(&mut self, stamp: Stamp) {
        let is_due =
            |deadline: Option<LogTime>| deadline.is_some_and(|deadline| deadline <= stamp.at);
        if is_due(self.engine.next_deadline()) {
            self.propose(&Command::Tick, stamp);
        }
        if is_due(self.presence.next_deadline()) {
            self.apply_presence(&PresenceCommand::Tick, stamp, None);
        }
    }

    fn propose(&mut self, command: &Command<'_>, stamp: Stamp) {
        self.apply(command, stamp, None);
    }

    /// One step of history. What the asker is told beside its reply goes to `own`; gives the number of those frames.
    fn apply(&mut self, command: &Command<'_>, stamp: Stamp, own: Option<Own<'_>>) -> (Reply, u64) {
        let resumes = if let Command::ResumeSession(resume) = command {
            Some(resume.session)
        } else {
            None
        };
        let mut router = Router {
            home: self.home,
            at: stamp.at,
            presence: &self.presence,
            aftermath: &mut self.aftermath,
            routes: &mut self.routes,
            streams: &mut self.streams,
            notes: &mut self.notes,
            counters: &mut self.counters,
            moved: &mut self.moved,
            places: &mut self.places,
            own,
            resumes,
            pushed: 0,
            gone: Vec::new(),
        };
        let entry = Entry {
            at: stamp.at,
            wall: stamp.wall,
            command: *command,
        };
        let (engine, trail) = (&mut self.engine, &mut self.trail);
        let watched = Watch::over(command, stamp.wall, (&mut router, trail), |watch| {
            engine.apply(&entry, watch)
        });
        let outcome = watched.unwrap_or_else(|| engine.apply(&entry, &mut router));
        if outcome.changed {
            self.pen.keep(command);
        }
        let Router {
            own,
            mut pushed,
            gone,
            ..
        } = router;
        self.notes.address(&self.routes);
        for session in gone {
            if let Some(route) = self.routes.remove(&session) {
                let gone = Attachment::Gone(self.home.to_wire(session.0));
                route.outbox.note(gone);
            }
        }
        if !self.aftermath.is_empty() {
            pushed += self.tell_presence(stamp, own);
        }
        (outcome.reply, pushed)
    }

    /// A session has been attached to the asking connection: from here on it is reached there. Gives it if that was anew.
    fn note_attachment(
        &mut self,
        command: &Command<'_>,
        reply: &Reply,
        asker: &Arc<Outbox>,
    ) -> Option<SessionRef> {
        let (session, attach) = match (command, reply) {
            (
                _,
                Reply::Opened {
                    session, attach, ..
                },
            ) => (*session, *attach),
            (Command::ResumeSession(resume), Reply::Resumed(resumed)) => {
                (resume.session, resumed.attach)
            }
            _ => return None,
        };
        self.routes.insert(
            session,
            Route {
                attach,
                outbox: Arc::clone(asker),
            },
        );
        asker.note(Attachment::Made(self.home.to_wire(session.0), attach));
        let is_resumed = matches!(reply, Reply::Resumed(_));
        is_resumed.then_some(SessionRef { session, attach })
    }
}

fn outbox_of(routes: &HashMap<SessionId, Route>, to: SessionRef) -> Option<&Arc<Outbox>> {
    routes
        .get(&to.session)
        .filter(|route| route.attach == to.attach)
        .map(|route| &route.outbox)
}

#[cfg(test)]
mod tests;
