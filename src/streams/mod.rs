//! The streams of a shard's orgs: what has happened there, in order, for whoever listens.
//!
//! ```text
//!  a shard, under its mutex                          a connection, without it
//!    event -> Ring::append, listeners are marked
//!             Woken, after the mutex -> Outbox::wake -> Subscriptions::drain -> frames that match, copied
//! ```
//!
//! Must hold: nothing is encoded for an org that nobody listens to, and what is encoded is encoded once; an offset never
//! means two events, since a stream that was closed has another epoch when it is opened again.

mod cursor;
mod filter_map;
mod interest;
mod listener;
mod published;
mod ring;
mod subscriptions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use hashbrown::HashMap;
use tenure_engine::{LogTime, Millis};
use tenure_protocol::reply::{Published as Publication, StreamStats, Subscribed};
use tenure_protocol::{Event, Filter, LostWhy, Position, Push, Recovery, push};

use self::interest::Interest;
pub(crate) use self::listener::Listener;
use self::listener::{Beginning, Stream, parse};
use self::published::Published;
use self::ring::Ring;
pub(crate) use self::ring::{Audience, Bounds, Frames, Room};
pub(crate) use self::subscriptions::{FILTERS_MAX, SUBSCRIPTIONS_MAX, Subscriptions};
use crate::homes::Home;
use crate::metrics::{StreamCounts, StreamTotals};
use crate::outbox::Outbox;

/// What is kept of an org's changes of presence: few, since whoever missed some reads the whole anew.
const PRESENCE_BOUNDS: Bounds = Bounds {
    entries_max: 1024,
    bytes_max: 1 << 20,
    age_max: Millis::from_secs(30),
};

/// Listeners that are woken in one go.
const WOKEN_AT_ONCE: usize = 64;

/// Streams that one step of [`Streams::forget_old`] looks at.
const ROUND_MAX: usize = 1024;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Streams {
    open: HashMap<Arc<str>, OpenStream>,
    bounds: Bounds,
    room: Arc<Room>,
    epochs: Epochs,
    /// Listeners that have something to read since the last [`Self::woken`].
    woken: Vec<Arc<Listener>>,
    /// The open streams, in the order in which they are looked at for what is old.
    round: VecDeque<Arc<str>>,
    /// The frame that is being made.
    frame: BytesMut,
    totals: StreamTotals,
}

/// Numbers of which no other shard and no other process gives one again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    next: u64,
    step: u64,
}

/// One org's, while somebody listens, and for a while after.
#[derive(Debug)]
struct OpenStream {
    stream: Arc<Stream>,
    /// Offset of the newest event.
    top: u64,
    /// By the connection's number.
    listeners: HashMap<u64, Arc<Listener>>,
    subscriptions: usize,
    in_events: Interest<Arc<Listener>>,
    in_presence: Interest<Arc<Listener>>,
    published: Published,
    publish_count: u64,
    /// When the last listener went, or something was published.
    used: LogTime,
}

/// Who wants to hear what of an org.
#[derive(Debug)]
pub(crate) struct Subscribe<'a> {
    pub(crate) connection: u64,
    /// Chosen by the connection.
    pub(crate) subscription: u64,
    pub(crate) audience: Audience,
    pub(crate) org: &'a str,
    pub(crate) filters: Vec<Filter<'a>>,
    pub(crate) since: Option<Position>,
    pub(crate) presence: bool,
}

/// Something of an application's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publish<'a> {
    pub(crate) org: &'a str,
    pub(crate) path: &'a str,
    pub(crate) event: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) id: Option<&'a str>,
}

/// Who is at a path has changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PresenceChange<'a> {
    pub(crate) org: &'a str,
    /// Above that of every change of the org before.
    pub(crate) version: u64,
    pub(crate) path: &'a str,
    pub(crate) frames: Frames<'a>,
}

/// When something happens: by log time, and for people to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: LogTime,
    /// Milliseconds of Unix time.
    pub(crate) wall_ms: u64,
}

/// How much every stream of a shard keeps at most, and all of all shards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeping {
    pub(crate) each: Bounds,
    pub(crate) bytes_max: usize,
}

/// Listeners that have something to read. They are woken when the shard's mutex has been given back.
#[derive(Debug)]
#[must_use = "whoever is not woken does not read"]
pub(crate) struct Woken(Vec<Arc<Listener>>);

impl Woken {
    /// Wakes them: a few at once; many on a task of their own, so that nobody waits until all have been.
    pub(crate) fn wake(self) {
        if self.0.len() <= WOKEN_AT_ONCE {
            self.0.iter().for_each(Listener::wake);
            return;
        }
        tokio::spawn(async move {
            for listeners in self.0.chunks(WOKEN_AT_ONCE) {
                listeners.iter().for_each(Listener::wake);
                tokio::task::yield_now().await;
            }
        });
    }
}

impl Epochs {
    /// Those of this process, from a beginning that leaves as many again below what JavaScript can count.
    pub(crate) fn random() -> Self {
        const BEGINNINGS: u64 = 1 << 52;
        let mut random = [0; size_of::<u64>()];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system gives random bytes");
        Self {
            next: 1 + u64::from_ne_bytes(random) % BEGINNINGS,
            step: 1,
        }
    }

    /// Those of one shard.
    pub(crate) fn of(self, home: Home) -> Self {
        Self {
            next: self.next + home.to_wire(0),
            step: home.to_wire(1) - home.to_wire(0),
        }
    }

    const fn next(&mut self) -> u64 {
        let next = self.next;
        self.next += self.step;
        next
    }
}

impl Streams {
    /// No streams, each of which will keep so much, and all of them together so much.
    pub(crate) fn new(bounds: Bounds, room: Arc<Room>, epochs: Epochs) -> Self {
        Self {
            open: HashMap::new(),
            bounds,
            room,
            epochs,
            woken: Vec::new(),
            round: VecDeque::new(),
            frame: BytesMut::new(),
            totals: StreamTotals::default(),
        }
    }

    /// Whether nobody listens to anything: then nothing has to be told.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.open.is_empty()
    }

    /// Who is to be woken once the shard's mutex has been given back.
    pub(crate) fn woken(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.woken))
    }

    // What happens.

    /// Something has happened in an org. If the stream is open, costs one encoding and the marks of those who care; else a
    /// look.
    pub(crate) fn happened<'e>(
        &mut self,
        org: &str,
        when: Moment,
        event: impl FnOnce() -> Option<Event<'e>>,
    ) {
        let Some(open) = self.open.get_mut(org) else {
            return;
        };
        if let Some(event) = event() {
            open.append(when, event, &mut self.frame, &mut self.woken);
            self.totals.events += 1;
        }
    }

    /// An application says that something has happened. What it has said before with the same id is not said again.
    pub(crate) fn publish(&mut self, publish: &Publish<'_>, when: Moment) -> Publication {
        self.open(publish.org);
        let open = self.open.get_mut(publish.org).expect("it is open");
        open.used = when.at;
        let listeners = count(open.in_events.count(publish.path));
        if let Some(offset) = publish.id.and_then(|id| open.published.offset_of(id)) {
            return Publication {
                position: open.stream.position(offset),
                repeated: true,
                listeners,
            };
        }
        let event = Event::Published {
            path: publish.path,
            event: publish.event,
            payload: publish.payload,
            id: publish.id,
        };
        let offset = open.append(when, event, &mut self.frame, &mut self.woken);
        if let Some(id) = publish.id {
            open.published.remember(id, offset);
        }
        open.publish_count += 1;
        self.totals.events += 1;
        self.totals.published += 1;
        Publication {
            position: open.stream.position(offset),
            repeated: false,
            listeners,
        }
    }

    /// Whether anybody is to be told of changes of presence in the org.
    pub(crate) fn hears_presence(&self, org: &str) -> bool {
        self.open
            .get(org)
            .is_some_and(|open| !open.in_presence.is_empty())
    }

    /// Who is at a path has changed: for those who listen to presence there, if there are any.
    pub(crate) fn presence_changed(&mut self, change: &PresenceChange<'_>, at: LogTime) {
        let Some(open) = self.open.get(change.org) else {
            return;
        };
        if open.in_presence.is_empty() {
            return;
        }
        let PresenceChange {
            version,
            path,
            frames,
            ..
        } = *change;
        open.stream
            .presence
            .append(version, at, &[path], frames, || {
                for listener in open.in_presence.in_path(path) {
                    if listener.presence.mark(version) {
                        self.woken.push(Arc::clone(listener));
                    }
                }
            });
    }

    // Who listens.

    /// A connection listens, from here on or from where it left off. `version` is that of the org's presence.
    pub(crate) fn subscribe(
        &mut self,
        subscribe: &Subscribe<'_>,
        outbox: &Arc<Outbox>,
        version: u64,
        at: LogTime,
    ) -> Subscribed {
        let org = subscribe.org;
        self.open(org);
        let open = self.open.get_mut(org).expect("it is open");
        open.stream.events.forget_old(at);
        let (offset, recovery) = open.recovery(subscribe.since);
        let version = subscribe.presence.then_some(version);
        let listener = open
            .listeners
            .entry(subscribe.connection)
            .or_insert_with(|| {
                let (number, stream) = (subscribe.connection, Arc::clone(&open.stream));
                let outbox = Arc::downgrade(outbox);
                Arc::new(Listener::new(number, subscribe.audience, outbox, stream))
            });
        listener.subscribe(
            subscribe.subscription,
            &subscribe.filters,
            Beginning { offset, version },
        );
        open.subscriptions += 1;
        for filter in &subscribe.filters {
            open.in_events
                .add(*filter, listener.number, Arc::clone(listener));
            if version.is_some() {
                open.in_presence
                    .add(*filter, listener.number, Arc::clone(listener));
            }
        }
        // The connection gets to know its listener by being woken.
        self.woken.push(Arc::clone(listener));
        Subscribed {
            subscription: subscribe.subscription,
            position: open.position(),
            recovery,
            version,
        }
    }

    /// A subscription ends.
    pub(crate) fn unsubscribe(&mut self, org: &str, connection: u64, number: u64, at: LogTime) {
        let Some(open) = self.open.get_mut(org) else {
            return;
        };
        let Some(listener) = open.listeners.get(&connection) else {
            return;
        };
        let Some(dropped) = listener.unsubscribe(number) else {
            return;
        };
        open.subscriptions -= 1;
        if !listener.is_in_use() {
            open.listeners.remove(&connection);
            open.used = at;
        }
        for text in dropped.events {
            open.in_events.remove(parse(&text), connection);
        }
        for text in dropped.presence {
            open.in_presence.remove(parse(&text), connection);
        }
    }

    // What is asked.

    /// Where the org's stream stands; `None` while it is closed.
    pub(crate) fn position(&self, org: &str) -> Option<Position> {
        self.open.get(org).map(OpenStream::position)
    }

    /// How the org's stream stands, and who listens to a path, or to any.
    pub(crate) fn stats(&self, org: &str, path: Option<&str>) -> StreamStats {
        let Some(open) = self.open.get(org) else {
            return StreamStats {
                listeners: 0,
                subscriptions: 0,
                position: None,
                oldest: None,
                events: 0,
                bytes: 0,
                published: 0,
                gaps: 0,
            };
        };
        let log = open.stream.events.read();
        StreamStats {
            listeners: count(path.map_or(open.listeners.len(), |path| open.in_events.count(path))),
            subscriptions: count(open.subscriptions),
            position: Some(open.position()),
            oldest: log.oldest(),
            events: count(log.count()),
            bytes: log.bytes() as u64,
            published: open.publish_count,
            gaps: open.stream.gaps.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn counts(&self) -> StreamCounts {
        let listeners = self.open.values().map(|open| open.listeners.len() as u64);
        StreamCounts {
            open: self.open.len() as u64,
            listeners: listeners.sum(),
            totals: self.totals,
        }
    }

    // As time passes.

    /// Lets go of what is too old, and closes what nobody has used for as long as that. To be called about once a second;
    /// looks at a bounded number of streams, and at the next ones when it is called again.
    pub(crate) fn forget_old(&mut self, now: LogTime) {
        for _ in 0..self.round.len().min(ROUND_MAX) {
            let Some(org) = self.round.pop_front() else {
                return;
            };
            let Some(open) = self.open.get_mut(&org) else {
                continue;
            };
            open.stream.events.forget_old(now);
            open.stream.presence.forget_old(now);
            let lost = open.stream.events.read().lost();
            open.published.forget_before(lost + 1);
            if open.listeners.is_empty() && open.used + self.bounds.age_max <= now {
                self.open.remove(&org);
            } else {
                self.round.push_back(org);
            }
        }
    }

    /// Opens the org's stream, if it is closed.
    fn open(&mut self, org: &str) {
        if !self.open.contains_key(org) {
            let stream = Stream::new(org, self.epochs.next(), self.bounds, &self.room);
            self.round.push_back(Arc::clone(&stream.org));
            self.open
                .insert(Arc::clone(&stream.org), OpenStream::of(stream));
        }
    }
}

impl OpenStream {
    fn of(stream: Stream) -> Self {
        Self {
            stream: Arc::new(stream),
            top: 0,
            listeners: HashMap::new(),
            subscriptions: 0,
            in_events: Interest::default(),
            in_presence: Interest::default(),
            published: Published::default(),
            publish_count: 0,
            used: LogTime::ZERO,
        }
    }

    fn position(&self) -> Position {
        self.stream.position(self.top)
    }

    /// Gives the offset of the event.
    fn append(
        &mut self,
        when: Moment,
        event: Event<'_>,
        frame: &mut BytesMut,
        woken: &mut Vec<Arc<Listener>>,
    ) -> u64 {
        self.top += 1;
        let offset = self.top;
        let push = Push::StreamEvent(push::Happened {
            org: &self.stream.org,
            offset,
            at_ms: when.wall_ms,
            event,
        });
        frame.clear();
        push.encode(frame);
        let Push::StreamEvent(push::Happened { event, .. }) = &push else {
            unreachable!("that is what it was made as");
        };
        let paths = event.paths();
        let mark = || {
            for listener in paths.iter().flat_map(|path| self.in_events.in_path(path)) {
                if listener.events.mark(offset) {
                    woken.push(Arc::clone(listener));
                }
            }
        };
        let frames = Frames::Same(frame);
        let ring = &self.stream.events;
        let lost = ring.append(offset, when.at, paths, frames, mark);
        self.published.forget_before(lost + 1);
        offset
    }

    /// From where on a subscription is told, and what has become of what it has missed.
    fn recovery(&self, since: Option<Position>) -> (u64, Recovery) {
        let top = self.top;
        let Some(since) = since else {
            return (top, Recovery::Fresh);
        };
        let why = if since.epoch != self.stream.epoch {
            LostWhy::Epoch
        } else if since.offset > top {
            LostWhy::Ahead
        } else if since.offset < self.stream.events.read().lost() {
            LostWhy::Trimmed
        } else {
            return (since.offset, Recovery::Exact);
        };
        (top, Recovery::Lost { why })
    }
}

impl Stream {
    fn new(org: &str, epoch: u64, bounds: Bounds, room: &Arc<Room>) -> Self {
        Self {
            org: Arc::from(org),
            epoch,
            events: Ring::new(0, bounds, Arc::clone(room)),
            presence: Ring::new(0, PRESENCE_BOUNDS, Arc::clone(room)),
            gaps: AtomicU64::new(0),
        }
    }
}

/// What a reply counts in 32 bits.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
