//! The stream of one org, while somebody listens and for a while after: what is kept of it, who listens, what was published.
//!
//! Its shard has the [`OpenStream`], under its mutex; listeners share the [`Stream`] in it, which they read without.
//! Must hold: an event has the next offset, and is marked for exactly those who care for one of its paths.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use hashbrown::HashMap;
use tenure_engine::{LogTime, Millis};
use tenure_protocol::reply::{Published as Publication, StreamStats, Subscribed};
use tenure_protocol::{Event, LostWhy, Position, Push, Recovery, push};

use super::interest::Interest;
use super::listener::{Beginning, Listener, parse};
use super::published::Published;
use super::ring::{Bounds, Frames, Ring, Room, Showing};
use super::woken::Woken;
use super::{Moment, PresenceChange, Publish, Subscribe};
use crate::outbox::Outbox;

/// What is kept of an org's changes of presence: those of some thousands of paths, until readers that are not slow have had
/// them. Whoever missed some reads the whole anew.
pub(super) const PRESENCE_BOUNDS: Bounds = Bounds {
    entries_max: 16 * 1024,
    bytes_max: 4 << 20,
    age_max: Millis::from_secs(30),
};

/// What an org's listeners read. Outlives its place in the shard for as long as somebody reads.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) org: Arc<str>,
    /// Which life of the org's stream.
    pub(super) epoch: u64,
    /// Numbered by offset.
    pub(super) events: Ring,
    /// Numbered by version.
    pub(super) presence: Ring,
    /// Gaps that listeners were told of.
    pub(super) gaps: AtomicU64,
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct OpenStream {
    stream: Arc<Stream>,
    /// Offset of the newest event.
    top: u64,
    /// By the connection's number.
    pub(super) listeners: HashMap<u64, Arc<Listener>>,
    subscriptions: usize,
    pub(super) in_events: Interest<Arc<Listener>>,
    pub(super) in_presence: Interest<Arc<Listener>>,
    published: Published,
    publish_count: u64,
    /// When the last listener went, or something was published.
    used: LogTime,
}

/// What making an event known takes: room for its frame, and a list of whom to wake.
pub(super) struct Telling<'s> {
    pub(super) frame: &'s mut BytesMut,
    pub(super) woken: &'s mut Woken,
}

impl Stream {
    pub(super) fn new(
        org: &str,
        epoch: u64,
        (bounds, showing): (Bounds, Showing),
        room: &Arc<Room>,
    ) -> Self {
        Self {
            org: Arc::from(org),
            epoch,
            events: Ring::new(0, bounds, Arc::clone(room), showing),
            presence: Ring::new(0, PRESENCE_BOUNDS, Arc::clone(room), showing),
            gaps: AtomicU64::new(0),
        }
    }

    pub(super) const fn position(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset,
        }
    }
}

impl OpenStream {
    pub(super) fn of(stream: Stream) -> Self {
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

    // What happens.

    /// Gives the offset of the event.
    pub(super) fn append(&mut self, when: Moment, event: Event<'_>, telling: Telling<'_>) -> u64 {
        let Telling { frame, woken } = telling;
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
        let mut is_heard = false;
        let mark = || {
            let listeners = paths.iter().flat_map(|path| self.in_events.in_path(path));
            listeners.for_each(|listener| {
                is_heard = true;
                let is_unknown = listener.events.mark(offset);
                woken.note(listener, is_unknown);
            });
        };
        let frames = Frames::Same(frame);
        let ring = &self.stream.events;
        let lost = ring.append(offset, when.at, paths, frames, mark);
        self.published.forget_before(lost + 1);
        woken.note_event(&self.stream, offset, is_heard);
        offset
    }

    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        when: Moment,
        telling: Telling<'_>,
    ) -> Publication {
        self.used = when.at;
        let listeners = count(self.in_events.count(publish.path));
        if let Some(offset) = publish.id.and_then(|id| self.published.offset_of(id)) {
            return Publication {
                position: self.stream.position(offset),
                repeated: true,
                listeners,
            };
        }
        let event = Event::Published {
            path: publish.path,
            event: publish.event,
            payload: publish.payload,
            event_id: publish.id,
        };
        let offset = self.append(when, event, telling);
        if let Some(id) = publish.id {
            self.published.remember(id, offset);
        }
        self.publish_count += 1;
        Publication {
            position: self.stream.position(offset),
            repeated: false,
            listeners,
        }
    }

    pub(super) fn presence_changed(
        &self,
        change: &PresenceChange<'_>,
        at: LogTime,
        woken: &mut Woken,
    ) {
        if self.in_presence.is_empty() {
            return;
        }
        let (version, path) = (change.version, change.path);
        let mark = || {
            for listener in self.in_presence.in_path(path) {
                let is_unknown = listener.presence.mark(version);
                woken.note(listener, is_unknown);
            }
        };
        let ring = &self.stream.presence;
        ring.append(version, at, &[path], change.frames, mark);
        woken.note_presence(&self.stream, version);
    }

    // Who listens.

    /// Gives the answer, and the listener, which is to be woken: so its connection gets to know it.
    pub(super) fn subscribe(
        &mut self,
        subscribe: &Subscribe<'_>,
        outbox: &Arc<Outbox>,
        version: u64,
        at: LogTime,
    ) -> (Subscribed, Arc<Listener>) {
        self.forget_old(at);
        let (offset, recovery) = self.recovery(subscribe.since);
        let version = subscribe.presence.then_some(version);
        let number = subscribe.connection;
        let listener = self.listeners.entry(number).or_insert_with(|| {
            let (outbox, stream) = (Arc::downgrade(outbox), Arc::clone(&self.stream));
            Arc::new(Listener::new(subscribe.audience, outbox, stream))
        });
        let beginning = Beginning { offset, version };
        listener.subscribe(subscribe.subscription, &subscribe.filters, beginning);
        self.subscriptions += 1;
        for filter in &subscribe.filters {
            self.in_events.add(*filter, number, Arc::clone(listener));
            if version.is_some() {
                self.in_presence.add(*filter, number, Arc::clone(listener));
            }
        }
        let listener = Arc::clone(listener);
        let subscribed = Subscribed {
            subscription: subscribe.subscription,
            position: self.position(),
            recovery,
            version,
        };
        (subscribed, listener)
    }

    /// From where on a subscription is told, and what has become of what it has missed.
    fn recovery(&self, since: Option<Position>) -> (u64, Recovery) {
        let Some(since) = since else {
            return (self.top, Recovery::Fresh);
        };
        let why = if since.epoch != self.stream.epoch {
            LostWhy::Epoch
        } else if since.offset > self.top {
            LostWhy::Ahead
        } else if since.offset < self.stream.events.read().lost() {
            LostWhy::Trimmed
        } else {
            return (since.offset, Recovery::Exact);
        };
        (self.top, Recovery::Lost { why })
    }

    pub(super) fn unsubscribe(&mut self, connection: u64, number: u64, at: LogTime) {
        let Some(listener) = self.listeners.get(&connection) else {
            return;
        };
        let Some(dropped) = listener.unsubscribe(number) else {
            return;
        };
        self.subscriptions -= 1;
        if !listener.is_in_use() {
            self.listeners.remove(&connection);
            self.used = at;
        }
        for text in dropped.events {
            self.in_events.remove(parse(&text), connection);
        }
        for text in dropped.presence {
            self.in_presence.remove(parse(&text), connection);
        }
    }

    // What is asked.

    pub(super) fn position(&self) -> Position {
        self.stream.position(self.top)
    }

    pub(super) fn stats(&self, path: Option<&str>) -> StreamStats {
        let listeners = path.map_or(self.listeners.len(), |path| self.in_events.count(path));
        let log = self.stream.events.read();
        StreamStats {
            listeners: count(listeners),
            subscriptions: count(self.subscriptions),
            position: Some(self.position()),
            oldest: log.oldest(),
            events: count(log.count()),
            bytes: log.bytes() as u64,
            published: self.publish_count,
            gaps: self.stream.gaps.load(Ordering::Relaxed),
        }
    }

    // As time passes.

    /// Lets go of what is too old.
    pub(super) fn forget_old(&mut self, now: LogTime) {
        self.stream.events.forget_old(now);
        self.stream.presence.forget_old(now);
        let lost = self.stream.events.read().lost();
        self.published.forget_before(lost + 1);
    }

    /// Whether nobody has used it for so long.
    pub(super) fn is_unused(&self, since: Millis, now: LogTime) -> bool {
        self.listeners.is_empty() && self.used + since <= now
    }
}

/// What a reply counts in 32 bits.
fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
