//! The shards: who orders history, and what follows from it. [`Shards::submit`] is the way in for every command.
//!
//! An org lives in one shard: an engine, the routes of its sessions and the streams of its orgs behind one mutex. Under
//! that mutex a batch is stamped once, applied, and what it says is put into outboxes, answers behind what their asker is
//! about to write: the loser's notice before the winner's grant or reply. Nothing awaits under it, nothing is written to a socket, and no listener is woken. What has
//! changed is in the journal's buffer before the mutex is given back, and what was said bears the mark that it rests on.
//!
//! Knows no lock rule, no socket, no wire (that is `dispatch/`).

mod answers;
mod hearers;
mod notes;
mod pen;
mod presence;
mod router;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tenure_engine::presence::{Bounds as PresenceBounds, Presence};
use tenure_engine::{Answer, Command, Engine, LogTime, Millis, Query, SessionRef, Token};
use tenure_protocol::reply::SessionRenewal;
use tokio::sync::Notify;

use self::answers::Answers;
use self::hearers::Hearers;
use self::notes::Called;
use self::pen::{Pen, bytes_of, bytes_of_commands};
pub(crate) use self::state::NO_ROOM;
use self::state::State;
use crate::audit::Trail;
use crate::clock::Clock;
use crate::dispatch::{Item, notices, replies};
use crate::gate::{Gate, Held};
use crate::homes::{Home, Homes, ShardIndex};
use crate::journal::{Full, Lived, Mark};
use crate::metrics::ShardView;
use crate::outbox::{Outbox, Unwritten};
use crate::streams::{Epochs, Keeping, Room, Streams, Woken};

/// Commands that one hold of a shard's mutex takes at most.
pub(crate) const BATCH_MAX: usize = 64;

/// Steps of a sweep after which those are woken who were told something in them.
const STEPS_UNTOLD: u32 = 16;

/// What is refused because it cannot be kept is tried again after this, where nobody waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

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

/// What has come of a batch.
pub(crate) struct Done {
    /// Whom to tell of it, if it was a single command and may be told at once.
    pub(crate) to_tell: Option<Box<Woken>>,
    /// Answers that are to be written next. The others are in the outbox.
    pub(crate) frames: u64,
    /// When it happened.
    pub(crate) at: Instant,
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
        let shard = |(home, lived): (Home, (Engine, Trail, Pen))| {
            let keeping = (keeping.each, lived.2.showing());
            let streams = Streams::new(keeping, Arc::clone(&room), epochs.of(home));
            let hearers = Hearers::new(home, streams);
            Shard {
                state: Mutex::new(State::new(lived, hearers, Presence::new(presence))),
                due_earlier: Notify::new(),
            }
        };
        Self {
            shards: homes.all().zip(engines).map(shard).collect(),
            homes,
            clock,
            gate,
            room,
        }
    }

    /// Applies a batch at one instant, on the caller's own thread, and puts the answers behind what the asker is about to
    /// write, or into its outbox if something is to be said to it before.
    ///
    /// Who orders history is hidden here: an answer may come later than this returns, always through the outbox. Whom many
    /// commands concern is woken, and takes all there is together.
    pub(crate) fn submit(
        &self,
        shard: ShardIndex,
        batch: &[Item<'_>],
        asker: &Arc<Outbox>,
        written: &mut Unwritten,
    ) -> Done {
        let mut state = self.shards[shard.0].state.lock();
        let mut answers = Answers::behind(written, asker);
        let stamp = self.clock.stamp();
        let bytes = if state.pen.is_memory() {
            0
        } else {
            bytes_of(batch)
        };
        let mark = match state.begin(bytes) {
            Ok(()) => {
                for item in batch {
                    state.execute(item, stamp, &mut answers);
                }
                state.finish(stamp)
            }
            Err(Full::Segment | Full::Tokens) => {
                for item in batch {
                    state.execute_without_room(item, stamp, &mut answers);
                }
                state.pen.last()
            }
        };
        let frames = answers.put(written, mark);
        let mut to_tell = self.leave(shard, state);
        if batch.len() > 1 || !self.gate.is_reached(mark) {
            self.let_go(mark, to_tell.take());
        }
        Done {
            to_tell,
            frames,
            at: stamp.instant,
        }
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
        let renewal = replies::renewal(&state.apply(&command, stamp, None));
        let mark = state.finish(stamp);
        let woken = self.leave(shard, state);
        self.let_go(mark, woken);
        Ok((renewal, mark))
    }

    /// A connection has ended, and with it this subscription.
    pub(crate) fn unsubscribe(&self, shard: ShardIndex, org: &str, connection: u64, number: u64) {
        let mut state = self.shards[shard.0].state.lock();
        let now = self.clock.now();
        state
            .hearers
            .streams
            .unsubscribe(org, connection, number, now);
    }

    /// Gives the mutex back, and wakes whoever was told something. Gives whom that what has happened concerns, if anybody.
    fn leave(&self, shard: ShardIndex, mut state: MutexGuard<'_, State>) -> Option<Box<Woken>> {
        let woken = state.hearers.streams.woken();
        let called = state.hearers.notes.called();
        let wake = state.sleeps_until;
        if !wake.is_some_and(|wake| state.is_quiet_before(wake))
            && let Some(deadline) = state.next_deadline()
            && wake.is_none_or(|wake| deadline < wake)
        {
            state.sleeps_until = Some(deadline);
            self.shards[shard.0].due_earlier.notify_one();
        }
        drop(state);
        called.wake(&self.gate);
        woken
    }

    /// Has those woken whom that what has happened concerns.
    fn let_go(&self, mark: Mark, woken: Option<Box<Woken>>) {
        if let Some(woken) = woken {
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
        if state.tick(stamp) {
            state.hearers.counters.tick(deadline, stamp.at);
        }
        let mark = state.finish(stamp);
        let woken = state.hearers.streams.woken();
        called.join(state.hearers.notes.called());
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
        for (org, path) in state.hearers.moved() {
            let query = Query::Places {
                org: &org,
                path: &path,
            };
            let Answer::Places(places) = state.engine.query(&query, LogTime::ZERO) else {
                continue;
            };
            for place in places {
                if state.hearers.places.insert(place.wait, place.place) == Some(place.place) {
                    continue;
                }
                let push = notices::place(state.hearers.home, &place);
                state.hearers.tell(place.to, &push);
            }
        }
        let mark = state.pen.last();
        state.hearers.notes.deliver(mark);
        let called = state.hearers.notes.called();
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
        state.hearers.streams.forget_old(self.clock.now());
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
                counters: &state.hearers.counters,
                counts,
                overdue,
                streams: state.hearers.streams.counts(),
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

#[cfg(test)]
pub(crate) mod tests;
