//! The streams of a shard's orgs: what has happened there, in order, for whoever listens.
//!
//! ```text
//!  a shard, under its mutex                          a connection, without it
//!    event -> Ring::append, listeners are marked
//!             Woken, after the mutex, and when it is on disk -> Outbox::wake -> Subscriptions::drain -> frames that match, copied
//!                                                            \-> Spread, past those that sleep -> Excerpt -> sockets
//! ```
//!
//! Must hold: nothing is encoded for an org that nobody listens to, and what is encoded is encoded once; an offset never
//! means two events, since a stream that was closed has another epoch when it is opened again.

mod cursor;
mod epochs;
mod excerpt;
mod filter_map;
mod interest;
mod listener;
mod published;
mod ring;
mod spread;
mod stream;
mod subscriptions;
mod woken;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use tenure_engine::LogTime;
use tenure_protocol::reply::{Published as Publication, StreamStats, Subscribed};
use tenure_protocol::{Event, Filter, Position};

pub(crate) use self::epochs::Epochs;
pub(crate) use self::listener::Listener;
pub(crate) use self::ring::{Audience, Bounds, Frames, Room, Showing};
use self::stream::{OpenStream, Stream, Telling};
pub(crate) use self::subscriptions::{FILTERS_MAX, SUBSCRIPTIONS_MAX, Subscriptions};
pub(crate) use self::woken::Woken;
use crate::metrics::{StreamCounts, StreamTotals};
use crate::outbox::Outbox;

/// Streams that one step of [`Streams::forget_old`] looks at.
const ROUND_MAX: usize = 1024;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Streams {
    open: HashMap<Arc<str>, OpenStream>,
    bounds: Bounds,
    showing: Showing,
    room: Arc<Room>,
    epochs: Epochs,
    /// What has happened since the last [`Self::woken`], and who is to read it.
    woken: Woken,
    /// The open streams, in the order in which they are looked at for what is old.
    round: VecDeque<Arc<str>>,
    /// The frame that is being made.
    frame: BytesMut,
    totals: StreamTotals,
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

impl Streams {
    /// No streams, each of which will keep so much, and all of them together so much.
    pub(crate) fn new(
        (bounds, showing): (Bounds, Showing),
        room: Arc<Room>,
        epochs: Epochs,
    ) -> Self {
        Self {
            open: HashMap::new(),
            bounds,
            showing,
            room,
            epochs,
            woken: Woken::first(showing),
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

    /// Who is to be woken once the shard's mutex has been given back, and what was said may be read; if anybody is.
    #[inline]
    pub(crate) fn woken(&mut self) -> Option<Box<Woken>> {
        if self.woken.is_unused() {
            return None;
        }
        let woken = self.woken.take(&mut self.frame);
        (!woken.is_empty()).then_some(woken)
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
            let (frame, woken) = (&mut self.frame, &mut self.woken);
            open.append(when, event, Telling { frame, woken });
            self.totals.events += 1;
        }
    }

    /// An application says that something has happened. What it has said before with the same id is not said again.
    pub(crate) fn publish(&mut self, publish: &Publish<'_>, when: Moment) -> Publication {
        let (open, telling) = self.opened(publish.org);
        let publication = open.publish(publish, when, telling);
        if !publication.repeated {
            self.totals.events += 1;
            self.totals.published += 1;
        }
        publication
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
        open.presence_changed(change, at, &mut self.woken);
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
        let (open, telling) = self.opened(subscribe.org);
        let (subscribed, listener) = open.subscribe(subscribe, outbox, version, at);
        telling.woken.call(listener);
        subscribed
    }

    /// A subscription ends.
    pub(crate) fn unsubscribe(&mut self, org: &str, connection: u64, number: u64, at: LogTime) {
        if let Some(open) = self.open.get_mut(org) {
            open.unsubscribe(connection, number, at);
        }
    }

    // What is asked.

    /// Where the org's stream stands; `None` while it is closed.
    pub(crate) fn position(&self, org: &str) -> Option<Position> {
        self.open.get(org).map(OpenStream::position)
    }

    /// How the org's stream stands, and who listens to a path, or to any.
    pub(crate) fn stats(&self, org: &str, path: Option<&str>) -> StreamStats {
        const CLOSED: StreamStats = StreamStats {
            listeners: 0,
            subscriptions: 0,
            position: None,
            oldest: None,
            events: 0,
            bytes: 0,
            published: 0,
            gaps: 0,
        };
        self.open.get(org).map_or(CLOSED, |open| open.stats(path))
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
            open.forget_old(now);
            if open.is_unused(self.bounds.age_max, now) {
                self.open.remove(&org);
            } else {
                self.round.push_back(org);
            }
        }
    }

    /// The org's stream, opened if it is closed, and what it takes to tell something.
    fn opened(&mut self, org: &str) -> (&mut OpenStream, Telling<'_>) {
        if !self.open.contains_key(org) {
            let stream = Stream::new(
                org,
                self.epochs.next(),
                (self.bounds, self.showing),
                &self.room,
            );
            self.round.push_back(Arc::clone(&stream.org));
            self.open
                .insert(Arc::clone(&stream.org), OpenStream::of(stream));
        }
        let open = self.open.get_mut(org).expect("it was opened if needed");
        let (frame, woken) = (&mut self.frame, &mut self.woken);
        (open, Telling { frame, woken })
    }
}

#[cfg(test)]
mod tests;
