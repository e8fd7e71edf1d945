//! One connection's listening in one org: where it reads, in the org's events and in its presence, and what for.
//!
//! Shards subscribe and mark it under their mutex; its connection drains it without, or whoever writes past that while it
//! sleeps. A wake carries no bytes: what is to be read stays in the rings until the connection has room for it, so a slow
//! one costs nobody anything.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tenure_protocol::{Filter, Push, push};
use tokio::time::Instant;

use super::cursor::{Cursor, Step};
use super::excerpt::{Excerpt, Newest};
use super::ring::{Audience, Portion};
use super::stream::Stream;
use crate::outbox::Outbox;
use crate::outlet::Filled;

/// A listener that was told nothing for this long is told where it stands, if it has come further.
const POSITION_EVERY: Duration = Duration::from_secs(10);

/// What is read in one go while a ring is held up.
const PORTION: Portion = Portion {
    bytes_max: 64 * 1024,
    looks_max: 256,
};

/// Presence goes out only while less than this is to be written: of a slow connection it is the first to be left out.
const PRESENCE_UNWRITTEN_MAX: usize = 64 * 1024;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Listener {
    audience: Audience,
    outbox: Weak<Outbox>,
    pub(super) stream: Arc<Stream>,
    pub(super) events: Cursor,
    pub(super) presence: Cursor,
    /// By number.
    subscriptions: Mutex<HashMap<u64, Subscription>>,
    /// Whether any of them has ever been for presence.
    has_presence: AtomicBool,
    /// The last batch of its shard in which something was for it, where batches are shown one by one.
    batch: AtomicU64,
    /// It has been woken so, and its connection has not drained it yet.
    is_called: AtomicBool,
    /// It is among those who are being told, and its turn has not come.
    has_turn: AtomicBool,
    reading: Mutex<Reading>,
}

/// How far it is with what it reads: its connection, and whoever writes past that while it sleeps.
#[derive(Debug, Default)]
struct Reading {
    readiness: Readiness,
    /// The last position it was told, by an event or by itself, and when.
    told: Option<(u64, Instant)>,
}

/// Whether the connection has something to read here, as far as it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Readiness {
    /// It does not know of the listener yet.
    #[default]
    Unknown,
    Idle,
    Ready,
}

#[derive(Debug)]
struct Subscription {
    filters: Box<[Box<str>]>,
    has_presence: bool,
}

/// From where on a subscription is to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    /// Events above this offset.
    pub(super) offset: u64,
    /// Changes of presence above this version, if it wants any.
    pub(super) version: Option<u64>,
}

/// What nobody wants any more of a connection.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pub(super) events: Vec<Box<str>>,
    pub(super) presence: Vec<Box<str>>,
}

/// What a connection has been given by one step.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) frames: u64,
    pub(crate) gaps: u64,
    /// Every event up to here has been given, or is not for it.
    pub(crate) passed: u64,
    pub(crate) has_more: bool,
    /// What was given, if others may be given just that.
    newest: Option<Newest>,
}

impl Listener {
    pub(super) fn new(audience: Audience, outbox: Weak<Outbox>, stream: Arc<Stream>) -> Self {
        Self {
            audience,
            outbox,
            stream,
            events: Cursor::default(),
            presence: Cursor::default(),
            subscriptions: Mutex::default(),
            has_presence: AtomicBool::new(false),
            batch: AtomicU64::new(0),
            is_called: AtomicBool::new(false),
            has_turn: AtomicBool::new(false),
            reading: Mutex::default(),
        }
    }

    /// Whose events these are.
    pub(crate) fn org(&self) -> &Arc<str> {
        &self.stream.org
    }

    /// Lets the connection know that there is something to drain, unless it has been let know and has not drained yet.
    pub(super) fn wake_once(self: &Arc<Self>) {
        if !self.is_called.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// The connection knows. What comes from here on it has to be let know of again.
    pub(super) fn answer_call(&self) {
        self.is_called.swap(false, Ordering::AcqRel);
    }

    /// Lets the connection know that there is something to drain.
    pub(super) fn wake(self: &Arc<Self>) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.wake(Arc::clone(self));
        }
    }

    /// It is to be told in its turn. Tells whether it was not to be so already: then it is told of what is shown by now, too.
    pub(super) fn take_turn(&self) -> bool {
        !self.has_turn.swap(true, Ordering::AcqRel)
    }

    /// Its turn has come. What is shown from here on it has to have another for.
    pub(super) fn begin_turn(&self) {
        self.has_turn.swap(false, Ordering::AcqRel);
    }

    /// Writes what there is to the connection's socket, if the connection sleeps; if not, wakes it. If the excerpt is just
    /// that, it is written; if not, what is written becomes the excerpt.
    pub(super) fn tell(self: &Arc<Self>, excerpt: &mut Excerpt, now: Instant) {
        let Some(outbox) = self.outbox.upgrade() else {
            return;
        };
        let is_told = outbox.write_past(|| {
            let (gaps, has_more) = if self.takes(excerpt, now) {
                (0, self.hears_presence() && self.presence.is_behind())
            } else {
                self.drain_into(excerpt, now)
            };
            Filled {
                bytes: &excerpt.bytes,
                frames: excerpt.frames,
                gaps,
                has_more,
            }
        });
        if !is_told {
            self.wake_once();
        }
    }

    // Under the shard's mutex: nothing is appended meanwhile.

    pub(super) fn subscribe(&self, number: u64, filters: &[Filter<'_>], beginning: Beginning) {
        let all = filters.iter().copied();
        let top = self.stream.events.read().top();
        self.events.add(all.clone(), beginning.offset, top);
        if let Some(version) = beginning.version {
            self.has_presence.store(true, Ordering::Relaxed);
            self.presence.add(all.clone(), version, version);
        }
        let subscription = Subscription {
            filters: all.map(|filter| Box::from(filter.as_str())).collect(),
            has_presence: beginning.version.is_some(),
        };
        self.subscriptions.lock().insert(number, subscription);
    }

    /// Ends one subscription, if it has it.
    pub(super) fn unsubscribe(&self, number: u64) -> Option<Dropped> {
        let subscription = self.subscriptions.lock().remove(&number)?;
        let mut dropped = Dropped::default();
        for text in subscription.filters {
            let filter = parse(&text);
            if subscription.has_presence && self.presence.remove(filter) {
                dropped.presence.push(text.clone());
            }
            if self.events.remove(filter) {
                dropped.events.push(text);
            }
        }
        Some(dropped)
    }

    /// Whether it has a subscription. One that has not is done with: whoever listens again has another.
    pub(super) fn is_in_use(&self) -> bool {
        !self.subscriptions.lock().is_empty()
    }

    /// Whether this is the first thing for it in a batch.
    pub(super) fn is_first_in(&self, batch: u64) -> bool {
        self.batch.swap(batch, Ordering::Relaxed) != batch
    }

    // By the connection, without the mutex.

    /// There is something to read. Tells how it was before.
    pub(super) fn become_ready(&self) -> Readiness {
        std::mem::replace(&mut self.reading.lock().readiness, Readiness::Ready)
    }

    /// All that there was has been read.
    pub(super) fn become_idle(&self) {
        self.reading.lock().readiness = Readiness::Idle;
    }

    /// Whether the excerpt is all that there is to read of events. If so, it counts as told.
    fn takes(&self, excerpt: &Excerpt, now: Instant) -> bool {
        let Some((stream, newest)) = &excerpt.source else {
            return false;
        };
        let is_all = Arc::ptr_eq(stream, &self.stream)
            && self.events.take_newest(&self.stream.events, newest);
        if is_all {
            self.reading.lock().told = Some((newest.last, now));
        }
        is_all
    }

    /// Makes some of what there is to read the excerpt. Tells how many gaps there are in it, and whether there is more.
    fn drain_into(&self, excerpt: &mut Excerpt, now: Instant) -> (u64, bool) {
        excerpt.bytes.clear();
        let drained = self.drain(now, &mut excerpt.bytes);
        excerpt.frames = drained.frames;
        let newest = drained.newest.filter(|_| !self.hears_presence());
        excerpt.source = newest.map(|newest| (Arc::clone(&self.stream), newest));
        (drained.gaps, drained.has_more)
    }

    fn hears_presence(&self) -> bool {
        self.has_presence.load(Ordering::Relaxed)
    }

    /// Appends some of what there is to read: events first. Holds up whoever appends for one portion at a time.
    pub(super) fn drain(&self, now: Instant, out: &mut BytesMut) -> Drained {
        // Before it reads: what is shown from here on wakes it again.
        self.answer_call();
        let (stream, org) = (&*self.stream, &*self.stream.org);
        let tell = |gap: RangeInclusive<u64>, out: &mut BytesMut| {
            let (from, to) = gap.into_inner();
            Push::StreamGap(push::Gap { org, from, to }).encode(out);
        };
        let step = self
            .events
            .step(&stream.events, self.audience, PORTION, out, tell);
        let mut drained = Drained {
            frames: 0,
            gaps: 0,
            passed: step.passed,
            has_more: step.has_more,
            newest: None,
        };
        self.count(&step, &mut drained);
        drained.newest = step.newest;
        self.tell_position(&mut drained, now, out);
        if !drained.has_more && self.hears_presence() {
            self.drain_presence(&mut drained, out);
        }
        drained
    }

    /// Appends the news that every event up to here has been given, or is not for it, if it was told nothing for long.
    fn tell_position(&self, drained: &mut Drained, now: Instant, out: &mut BytesMut) {
        let mut reading = self.reading.lock();
        let (told, when) = *reading.told.get_or_insert((drained.passed, now));
        if drained.frames == 0 {
            if drained.has_more || drained.passed <= told || now < when + POSITION_EVERY {
                return;
            }
            let org = &*self.stream.org;
            let position = self.stream.position(drained.passed);
            Push::StreamPosition(push::Reached { org, position }).encode(out);
            drained.frames += 1;
        }
        reading.told = Some((drained.passed, now));
    }

    fn drain_presence(&self, drained: &mut Drained, out: &mut BytesMut) {
        if out.len() >= PRESENCE_UNWRITTEN_MAX {
            drained.has_more = self.presence.is_behind();
            return;
        }
        let (stream, org) = (&*self.stream, &*self.stream.org);
        let tell = |gap: RangeInclusive<u64>, out: &mut BytesMut| {
            let version = *gap.end();
            Push::PresenceGap(push::ViewersLeftOut { org, version }).encode(out);
        };
        let step = self
            .presence
            .step(&stream.presence, self.audience, PORTION, out, tell);
        drained.has_more = step.has_more;
        self.count(&step, drained);
    }

    fn count(&self, step: &Step, drained: &mut Drained) {
        let gaps = u64::from(step.has_gap);
        drained.frames += step.frames + gaps;
        drained.gaps += gaps;
        if step.has_gap {
            self.stream.gaps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A filter that has been one before.
pub(super) fn parse(text: &str) -> Filter<'_> {
    Filter::parse(text).expect("a filter that was taken once is one")
}
