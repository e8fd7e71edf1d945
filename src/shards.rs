//! The shards: who orders history, and what follows from it. [`Shards::submit`] is the way in for every command.
//!
//! An org lives in one shard: an engine, the routes of its sessions and the streams of its orgs behind one mutex. Under
//! that mutex a batch is stamped once, applied, and what it says is put into outboxes: the loser's notice before the
//! winner's grant or reply. Nothing awaits under it, nothing is written to a socket, and no listener is woken.
//!
//! Knows no lock rule, no socket, no wire (that is `dispatch/`).

mod presence;

use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};
use tenure_engine::presence::{Bounds as PresenceBounds, Command as PresenceCommand, Presence};
use tenure_engine::{
    Answer, Attach, Command, Effects, Engine, Entry, Event, LogTime, Millis, Notice, Query, Reply,
    SessionId, SessionRef, Token, WaitId, What,
};
use tenure_protocol::reply::SessionRenewal;
use tenure_protocol::{ErrorCode, Position, RequestKind};
use tokio::sync::Notify;

use self::presence::{Aftermath, Own};
use crate::audit;
use crate::clock::{Clock, Stamp};
use crate::dispatch::requests::OF_ANOTHER_ORG;
use crate::dispatch::{Item, Work, events, notices, replies, streams};
use crate::homes::{Home, Homes, ShardIndex};
use crate::metrics::{CommandOutcome, ShardCounters, ShardView};
use crate::outbox::{Attachment, Outbox};
use crate::streams::{Epochs, Keeping, Moment, Room, Streams, Woken};

/// Commands that one hold of a shard's mutex takes at most.
pub(crate) const BATCH_MAX: usize = 64;

/// Steps that a page is preceded by, of which each ends what is over as far as it gets.
const SWEEPS_MAX: usize = 16;

/// Paths whose waiters are told their places in one second, per shard.
const MOVED_MAX: usize = 1024;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    pub(crate) homes: Homes,
    pub(crate) clock: Clock,
    /// What all streams occupy.
    room: Arc<Room>,
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
    presence: Presence,
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

#[derive(Debug, Clone)]
struct Route {
    attach: Attach,
    outbox: Arc<Outbox>,
}

impl Shards {
    /// Empty shards, whose tokens begin at `first_token`, and whose streams keep so much.
    pub(crate) fn new(
        homes: Homes,
        first_token: Token,
        clock: Clock,
        keeping: Keeping,
        presence: PresenceBounds,
    ) -> Self {
        let room = Room::new(keeping.bytes_max);
        let epochs = Epochs::random();
        let shard = |home: Home| Shard {
            state: Mutex::new(State {
                home,
                engine: Engine::new(first_token),
                presence: Presence::new(presence),
                aftermath: Vec::new(),
                routes: HashMap::new(),
                streams: Streams::new(keeping.each, Arc::clone(&room), epochs.of(home)),
                counters: ShardCounters::default(),
                sleeps_until: None,
                moved: HashMap::new(),
                places: HashMap::new(),
            }),
            due_earlier: Notify::new(),
        };
        Self {
            shards: homes.all().map(shard).collect(),
            homes,
            clock,
            room,
        }
    }

    /// Applies a batch at one instant, on the caller's own thread, and puts the answers into the asker's outbox.
    ///
    /// Who orders history is hidden here: an answer may come later than this returns, always through the outbox. Gives whom
    /// to tell what has happened.
    pub(crate) fn submit(
        &self,
        shard: ShardIndex,
        batch: &[Item<'_>],
        asker: &Arc<Outbox>,
    ) -> Woken {
        let mut out = BytesMut::with_capacity(64 * batch.len());
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        let mut frames = 0;
        for item in batch {
            frames += 1 + state.execute(item, stamp, asker, &mut out);
        }
        asker.append(&out, frames);
        self.leave(shard, state)
    }

    /// Applies what nobody waits for an answer of: the passing of time, a lost connection, a start.
    pub(crate) fn propose(&self, shard: ShardIndex, commands: &[Command<'_>]) {
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        for command in commands {
            state.propose(*command, stamp);
        }
        self.leave(shard, state).wake();
    }

    /// Renews one of the sessions of a list, which may lie in several shards.
    pub(crate) fn renew_session(&self, shard: ShardIndex, by: SessionRef) -> SessionRenewal {
        let mut state = self.shards[shard.0].state.lock();
        let stamp = self.clock.stamp();
        let command = Command::RenewSession(by);
        let renewal = replies::renewal(&state.apply(command, stamp, None).0);
        self.leave(shard, state).wake();
        renewal
    }

    /// A connection has ended, and with it this subscription.
    pub(crate) fn unsubscribe(&self, shard: ShardIndex, org: &str, connection: u64, number: u64) {
        let mut state = self.shards[shard.0].state.lock();
        let now = self.clock.now();
        state.streams.unsubscribe(org, connection, number, now);
    }

    /// Gives the mutex back. Gives whom that what has happened concerns.
    fn leave(&self, shard: ShardIndex, mut state: MutexGuard<'_, State>) -> Woken {
        let woken = state.streams.woken();
        if let Some(deadline) = state.next_deadline()
            && state.sleeps_until.is_none_or(|wake| deadline < wake)
        {
            state.sleeps_until = Some(deadline);
            self.shards[shard.0].due_earlier.notify_one();
        }
        drop(state);
        woken
    }

    /// Proposes a tick whenever something is due in the shard. Never returns.
    pub(crate) async fn keep_time(&self, shard: ShardIndex) {
        loop {
            let deadline = {
                let mut state = self.shards[shard.0].state.lock();
                state.sleeps_until = state.next_deadline();
                state.sleeps_until
            };
            let now = self.clock.now();
            match deadline {
                Some(deadline) if deadline <= now => {
                    self.tick(shard, deadline, now);
                    // A long sweep is many short steps, between which others have their turn.
                    tokio::task::yield_now().await;
                }
                _ => self.sleep(shard, deadline).await,
            }
        }
    }

    fn tick(&self, shard: ShardIndex, deadline: LogTime, now: LogTime) {
        let mut state = self.shards[shard.0].state.lock();
        state.counters.tick(deadline, now);
        state.tick(self.clock.stamp());
        let woken = state.streams.woken();
        // Whoever waits for the mutex comes before the next tick.
        MutexGuard::unlock_fair(state);
        woken.wake();
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
                if let Some(outbox) = state.outbox_of(place.to) {
                    outbox.push(&notices::place(state.home, &place));
                }
            }
        }
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

impl State {
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
            Work::Command(command) => self.decide(item, *command, stamp, (asker, out)),
            Work::AcquireAll(all) => self.decide(item, all.command(), stamp, (asker, out)),
        }
    }

    fn read(&mut self, item: &Item<'_>, query: &Query<'_>, stamp: Stamp, out: &mut BytesMut) {
        if let Some((org, path)) = item.work.reads_path() {
            // A read tells the truth of this instant, however far the sweeps have got.
            self.propose(Command::Settle { org, path }, stamp);
        }
        let position = self.position_for(query, stamp);
        self.counters.command(item.kind, CommandOutcome::Done);
        let answer = self.engine.query(query, stamp.at);
        replies::answer(&self.answering(item), item.kind, &answer, position, out);
    }

    fn decide(
        &mut self,
        item: &Item<'_>,
        command: Command<'_>,
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
        let (reply, mut pushed) = self.apply(command, stamp, Some((asker, told)));
        if let Some(by) = self.note_attachment(&command, &reply, asker) {
            let resumed = PresenceCommand::SessionResumed(by);
            pushed += self
                .apply_presence(&resumed, stamp, Some((asker, &mut afterwards)))
                .1;
        }
        if let Reply::Queued { wait, place } = &reply {
            self.places.insert(*wait, *place);
        }
        self.counters.command(item.kind, CommandOutcome::of(&reply));
        audit::log(&command, &reply);
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
            self.propose(Command::Tick, stamp);
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
            self.propose(Command::Tick, stamp);
        }
        if is_due(self.presence.next_deadline()) {
            self.apply_presence(&PresenceCommand::Tick, stamp, None);
        }
    }

    fn propose(&mut self, command: Command<'_>, stamp: Stamp) {
        self.apply(command, stamp, None);
    }

    /// One step of history. What the asker is told beside its reply goes to `own`; gives the number of those frames.
    fn apply(&mut self, command: Command<'_>, stamp: Stamp, own: Option<Own<'_>>) -> (Reply, u64) {
        let resumes = if let Command::ResumeSession(resume) = &command {
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
            counters: &mut self.counters,
            moved: &mut self.moved,
            places: &mut self.places,
            own,
            resumes,
            pushed: 0,
        };
        let entry = Entry {
            at: stamp.at,
            wall: stamp.wall,
            command,
        };
        let outcome = self.engine.apply(&entry, &mut router);
        let Router {
            own, mut pushed, ..
        } = router;
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

    fn outbox_of(&self, to: SessionRef) -> Option<&Arc<Outbox>> {
        self.routes
            .get(&to.session)
            .filter(|route| route.attach == to.attach)
            .map(|route| &route.outbox)
    }
}

/// Carries the consequences of one entry to where they belong.
struct Router<'s, 'o> {
    home: Home,
    at: LogTime,
    presence: &'s Presence,
    aftermath: &'s mut Vec<Aftermath>,
    routes: &'s mut HashMap<SessionId, Route>,
    streams: &'s mut Streams,
    counters: &'s mut ShardCounters,
    moved: &'s mut HashMap<(Arc<str>, Arc<str>), ()>,
    places: &'s mut HashMap<WaitId, u32>,
    /// The asking connection, and the buffer for what it is told.
    own: Option<Own<'o>>,
    /// The session that this entry resumes: its new attachment is the asker's, though no route says so yet.
    resumes: Option<SessionId>,
    /// Frames put into the asker's buffer.
    pushed: u64,
}

impl Effects for Router<'_, '_> {
    fn notice(&mut self, to: SessionRef, notice: Notice) {
        if let Notice::Granted { wait, .. } = &notice {
            self.places.remove(wait);
        }
        let push = notices::push(self.home, to.session, &notice);
        let route = self
            .routes
            .get(&to.session)
            .filter(|route| route.attach == to.attach);
        match (route, &mut self.own) {
            // A session that is resumed where it is attached already has not gone anywhere.
            (Some(route), Some((asker, _)))
                if matches!(notice, Notice::Moved) && Arc::ptr_eq(&route.outbox, asker) => {}
            (Some(route), Some((asker, out))) if Arc::ptr_eq(&route.outbox, asker) => {
                push.encode(out);
                self.pushed += 1;
            }
            (Some(route), _) => route.outbox.push(&push),
            (None, Some((_, out))) if self.resumes == Some(to.session) => {
                push.encode(out);
                self.pushed += 1;
            }
            (None, _) => {}
        }
        if let (Notice::Moved, Some(route)) = (&notice, route) {
            route
                .outbox
                .note(Attachment::Gone(self.home.to_wire(to.session.0)));
        }
    }

    fn event(&mut self, event: Event<&str>) {
        self.counters.event(&event.what);
        if !self.streams.is_silent() {
            self.tell(&event);
        }
        self.note_aftermath(&event);
        match event.what {
            What::SessionEnded { session, .. } | What::SessionDetached { session, .. } => {
                if let Some(route) = self.routes.remove(&session) {
                    route
                        .outbox
                        .note(Attachment::Gone(self.home.to_wire(session.0)));
                }
            }
            What::Granted { path, waited, .. } if waited > Millis::ZERO => {
                self.queue_moved(event.org, path);
            }
            What::WaitEnded { paths, wait, .. } => {
                self.places.remove(&wait);
                paths
                    .into_iter()
                    .for_each(|path| self.queue_moved(event.org, path));
            }
            What::Granted { .. }
            | What::Converted { .. }
            | What::Ended { .. }
            | What::Orphaned { .. }
            | What::Adopted { .. }
            | What::Queued { .. }
            | What::SessionOpened { .. }
            | What::SessionResumed { .. } => {}
        }
    }
}

impl Router<'_, '_> {
    fn tell(&mut self, event: &Event<&str>) {
        let when = Moment {
            at: self.at,
            wall_ms: event.wall.0,
        };
        let home = self.home;
        self.streams
            .happened(event.org, when, || events::event(home, &event.what));
    }

    /// Keeps for presence what concerns it: somebody who is somewhere, or a lock at whose path somebody is.
    fn note_aftermath(&mut self, event: &Event<&str>) {
        let what = match event.what {
            What::SessionDetached { session, keeps, .. } if self.presence.is_anywhere(session) => {
                Aftermath::Detached { session, keeps }
            }
            What::SessionEnded { session, .. } if self.presence.is_anywhere(session) => {
                Aftermath::Ended(session)
            }
            What::Granted { path, .. } | What::Ended { path, .. }
                if self.presence.is_anybody_at(event.org, path) =>
            {
                Aftermath::LockChanged {
                    org: Arc::from(event.org),
                    path: Arc::from(path),
                }
            }
            What::Granted { .. }
            | What::Converted { .. }
            | What::Ended { .. }
            | What::Orphaned { .. }
            | What::Adopted { .. }
            | What::Queued { .. }
            | What::WaitEnded { .. }
            | What::SessionOpened { .. }
            | What::SessionDetached { .. }
            | What::SessionResumed { .. }
            | What::SessionEnded { .. } => return,
        };
        self.aftermath.push(what);
    }

    fn queue_moved(&mut self, org: &str, path: &str) {
        if self.moved.len() < MOVED_MAX {
            self.moved.insert((Arc::from(org), Arc::from(path)), ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_deadline_wakes_the_timekeeper() {
        let clock = Clock::from(LogTime::ZERO);
        let keeping = crate::config::Config::default().keeping();
        let presence = PresenceBounds::default();
        let shards = Shards::new(Homes::new(1), Token(1), clock, keeping, presence);
        let sleeps_until = |shards: &Shards| shards.shards[0].state.lock().sleeps_until;
        assert_eq!(sleeps_until(&shards), None);
        let open = tenure_engine::OpenSession {
            org: "acme",
            owner: "alice",
            name: "",
            metadata: b"",
            role: tenure_engine::Role::Member,
            resume_key: tenure_engine::ResumeKey(0),
            on_disconnect: tenure_engine::Disconnect::ByPolicy,
        };
        shards.propose(ShardIndex(0), &[Command::OpenSession(open)]);
        let idle = sleeps_until(&shards).expect("an idle session has a deadline");
        let by = SessionRef {
            session: SessionId(1),
            attach: Attach(1),
        };
        shards.propose(ShardIndex(0), &[Command::DetachSession(by)]);
        let grace = sleeps_until(&shards).expect("a detached session has a deadline");
        assert!(
            grace < idle,
            "expected the grace to come before the idleness"
        );
    }
}
