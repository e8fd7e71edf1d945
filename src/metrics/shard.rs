//! What a shard counts, under its own mutex and with plain integers, and how a scrape sums it over all shards.
//!
//! Knows the engine's events and replies, so that a shard hands them over as they are.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tenure_engine::presence::Stats;
use tenure_engine::{Counts, LogTime, Millis, What};
use tenure_protocol::RequestKind;

use super::Edge;
use super::label::{
    CommandOutcome, HoldEnd, LockEvent, SessionEndReason, SessionEvent, WaitEndReason,
};

/// How holds last, up to the longest TTL.
const HOLD_BOUNDS_MS: [u64; 12] = [
    100, 1_000, 5_000, 15_000, 30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000, 14_400_000,
    86_400_000,
];

/// How people wait.
const WAIT_BOUNDS_MS: [u64; 12] = [
    1, 5, 10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 3_600_000,
];

/// A tick is late by a few milliseconds when all is well.
const LATENESS_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// For each command, by slot, how often it was answered how.
pub(super) type CommandCounts = [[u64; CommandOutcome::ALL.len()]; RequestKind::ALL.len()];

/// One more than the highest number of a command.
const NUMBERS: usize = RequestKind::ALL[RequestKind::ALL.len() - 1] as usize + 1;

/// The place of each command among all, by its number, which has gaps.
const SLOTS: [u8; NUMBERS] = {
    let mut slots = [0; NUMBERS];
    let mut slot = 0;
    while slot < RequestKind::ALL.len() {
        slots[RequestKind::ALL[slot] as usize] = slot as u8;
        slot += 1;
    }
    slots
};

/// What the server lets the metrics see of its shards.
pub trait Shards: fmt::Debug + Send + Sync + 'static {
    /// Calls `visit` once for each shard. Called at each scrape; what `visit` does takes microseconds, so it may be
    /// called under the shard's mutex.
    fn visit(&self, visit: &mut dyn FnMut(ShardView<'_>));

    /// Bytes that the streams of all shards occupy.
    fn stream_bytes(&self) -> u64;
}

/// One shard at one moment.
#[derive(Debug, Clone, Copy)]
pub struct ShardView<'a> {
    /// What it has counted.
    pub counters: &'a ShardCounters,
    /// What there is in it (`Query::Counts`).
    pub counts: Counts,
    /// For how long its next deadline has been due; zero when it lies ahead.
    pub overdue: Millis,
    /// What its streams come to.
    pub streams: StreamCounts,
    /// How many are where in it.
    pub presence: Stats,
}

/// The streams of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Orgs that somebody listens to, or did a while ago.
    pub open: u64,
    /// Connections that listen, in each org counted anew.
    pub listeners: u64,
    /// What went through them.
    pub totals: StreamTotals,
}

/// What went through the streams of one shard since the server started. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamTotals {
    /// Events put into a stream.
    pub events: u64,
    /// Of them published by applications.
    pub published: u64,
}

/// What one shard has counted since the server started. Only ever grows.
#[derive(Debug, Clone)]
pub struct ShardCounters {
    commands: CommandCounts,
    lock_events: [u64; LockEvent::ALL.len()],
    hold_ends: [u64; HoldEnd::ALL.len()],
    wait_ends: [u64; WaitEndReason::ALL.len()],
    session_events: [u64; SessionEvent::ALL.len()],
    session_ends: [u64; SessionEndReason::ALL.len()],
    held: Histogram<{ HOLD_BOUNDS_MS.len() }>,
    waited: Histogram<{ WAIT_BOUNDS_MS.len() }>,
    lateness: Histogram<{ LATENESS_BOUNDS_MS.len() }>,
    presence_changes: u64,
}

impl ShardCounters {
    /// Counts an answer to a command.
    pub fn command(&mut self, kind: RequestKind, outcome: CommandOutcome) {
        self.commands[slot(kind)][outcome as usize] += 1;
    }

    /// Counts something that has happened.
    pub fn event(&mut self, what: &What<&str>) {
        match what {
            What::Granted { waited, .. } => {
                self.lock_events[LockEvent::Granted as usize] += 1;
                if *waited > Millis::ZERO {
                    self.waited.observe(*waited);
                }
            }
            What::Converted { .. } => self.lock_events[LockEvent::Converted as usize] += 1,
            What::Queued { .. } => self.lock_events[LockEvent::Queued as usize] += 1,
            What::Orphaned { .. } => self.lock_events[LockEvent::Orphaned as usize] += 1,
            What::Adopted { .. } => self.lock_events[LockEvent::Adopted as usize] += 1,
            What::Ended { cause, held, .. } => {
                self.hold_ends[HoldEnd::of(cause) as usize] += 1;
                self.held.observe(*held);
            }
            What::WaitEnded { why, .. } => {
                self.wait_ends[WaitEndReason::of(*why) as usize] += 1;
            }
            What::SessionOpened { .. } => {
                self.session_events[SessionEvent::Opened as usize] += 1;
            }
            What::SessionDetached { .. } => {
                self.session_events[SessionEvent::Detached as usize] += 1;
            }
            What::SessionResumed { .. } => {
                self.session_events[SessionEvent::Resumed as usize] += 1;
            }
            What::SessionEnded { why, .. } => {
                self.session_ends[SessionEndReason::of(*why) as usize] += 1;
            }
        }
    }

    /// Counts a tick that was due at `deadline` and came at `at`.
    pub fn tick(&mut self, deadline: LogTime, at: LogTime) {
        self.lateness.observe(deadline.until(at));
    }

    /// Counts a change of presence that has been told.
    pub fn presence_changed(&mut self) {
        self.presence_changes += 1;
    }

    fn add(&mut self, other: &Self) {
        add_commands(&mut self.commands, &other.commands);
        add(&mut self.lock_events, &other.lock_events);
        add(&mut self.hold_ends, &other.hold_ends);
        add(&mut self.wait_ends, &other.wait_ends);
        add(&mut self.session_events, &other.session_events);
        add(&mut self.session_ends, &other.session_ends);
        self.held.add(&other.held);
        self.waited.add(&other.waited);
        self.lateness.add(&other.lateness);
        self.presence_changes += other.presence_changes;
    }
}

impl Default for ShardCounters {
    fn default() -> Self {
        Self {
            commands: Default::default(),
            lock_events: Default::default(),
            hold_ends: Default::default(),
            wait_ends: Default::default(),
            session_events: Default::default(),
            session_ends: Default::default(),
            held: Histogram::new(&HOLD_BOUNDS_MS),
            waited: Histogram::new(&WAIT_BOUNDS_MS),
            lateness: Histogram::new(&LATENESS_BOUNDS_MS),
            presence_changes: 0,
        }
    }
}

/// Sums at each scrape what the shards and the edge have counted.
pub(super) struct Collector {
    edge: Arc<Edge>,
    shards: Arc<dyn Shards>,
}

impl Collector {
    pub(super) fn new(edge: Arc<Edge>, shards: Arc<dyn Shards>) -> Self {
        Self { edge, shards }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl collector::Collector for Collector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sum = ShardCounters::default();
        let mut counts = Counts::default();
        let mut streams = StreamCounts::default();
        let (mut viewers, mut sittings) = (0, 0);
        let mut lag = Millis::ZERO;
        self.shards.visit(&mut |shard| {
            sum.add(shard.counters);
            add_counts(&mut counts, &shard.counts);
            add_streams(&mut streams, &shard.streams);
            viewers += u64::from(shard.presence.viewers);
            sittings += u64::from(shard.presence.sittings);
            lag = lag.max(shard.overdue);
        });
        add_commands(&mut sum.commands, &self.edge.command_counts());
        let mut out = Out(encoder);
        out.commands(&sum.commands)?;
        out.shards(&sum)?;
        out.counts(&counts)?;
        out.streams(&streams, self.shards.stream_bytes())?;
        let help = "Owners that are somewhere, at each path counted anew.";
        out.gauge("viewers", help, viewers)?;
        out.gauge(
            "sittings",
            "Sessions that are somewhere, at each path counted anew.",
            sittings,
        )?;
        let help =
            "Changes of who is where, as they were gathered, whether or not anybody listened.";
        out.counter("presence_changes", help, sum.presence_changes)?;
        let help =
            "For how long something that is over has not been swept; truth does not wait for it.";
        out.gauge("sweep_lag_seconds", help, seconds(lag.0))?;
        for (name, help, count) in self.edge.traffic() {
            out.counter(name, help, count)?;
        }
        Ok(())
    }
}

/// Writes one metric after the other.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn commands(&mut self, counts: &CommandCounts) -> fmt::Result {
        let help = "Commands, by name and how they were answered.";
        let mut family = self
            .0
            .encode_descriptor("commands", help, None, MetricType::Counter)?;
        for (kind, counts) in RequestKind::ALL.iter().zip(counts) {
            for (outcome, count) in CommandOutcome::ALL.iter().zip(counts) {
                // Most pairs cannot be; a series for each would drown the rest.
                if *count > 0 {
                    let labels = [("command", kind.name()), ("outcome", outcome.name())];
                    ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn shards(&mut self, sum: &ShardCounters) -> fmt::Result {
        let names = LockEvent::ALL.map(LockEvent::name);
        self.family(
            "lock_events",
            "What happened to locks.",
            "event",
            &names,
            &sum.lock_events,
        )?;
        let names = HoldEnd::ALL.map(HoldEnd::name);
        self.family(
            "hold_ends",
            "Holds that ended, by cause.",
            "cause",
            &names,
            &sum.hold_ends,
        )?;
        let (names, help) = (
            WaitEndReason::ALL.map(WaitEndReason::name),
            "Waits without a grant.",
        );
        self.family("wait_ends", help, "reason", &names, &sum.wait_ends)?;
        let (names, help) = (
            SessionEvent::ALL.map(SessionEvent::name),
            "What happened to sessions.",
        );
        self.family("session_events", help, "event", &names, &sum.session_events)?;
        let names = SessionEndReason::ALL.map(SessionEndReason::name);
        self.family(
            "session_ends",
            "Sessions that ended.",
            "reason",
            &names,
            &sum.session_ends,
        )?;
        self.histogram(
            "hold_seconds",
            "How long holds that ended were held.",
            &sum.held,
        )?;
        self.histogram(
            "wait_seconds",
            "How long queued grants had waited.",
            &sum.waited,
        )?;
        let help = "How late ticks came after the deadline that wanted them.";
        self.histogram("tick_lateness_seconds", help, &sum.lateness)
    }

    fn counts(&mut self, counts: &Counts) -> fmt::Result {
        for (name, help, count) in [
            (
                "orgs",
                "Orgs with a session, a hold or a policy.",
                counts.orgs,
            ),
            (
                "sessions",
                "Sessions, detached ones included.",
                counts.sessions,
            ),
            (
                "sessions_detached",
                "Sessions without a connection.",
                counts.sessions_detached,
            ),
            ("locks", "Locks that are held or awaited.", counts.locks),
            ("holds", "Holds.", counts.holds),
            (
                "holds_orphaned",
                "Holds without an attached session.",
                counts.holds_orphaned,
            ),
            ("waits", "Waits.", counts.waits),
        ] {
            self.gauge(name, help, count)?;
        }
        Ok(())
    }

    fn streams(&mut self, streams: &StreamCounts, bytes: u64) -> fmt::Result {
        let help = "Orgs that somebody listens to, or did a while ago.";
        self.gauge("streams", help, streams.open)?;
        let help = "Connections that listen, in each org counted anew.";
        self.gauge("listeners", help, streams.listeners)?;
        let help = "Bytes that the streams keep.";
        self.gauge("stream_bytes", help, bytes)?;
        let help = "Events put into a stream; none where nobody listens.";
        self.counter("stream_events", help, streams.totals.events)?;
        let help = "Events that applications have published.";
        self.counter("stream_published", help, streams.totals.published)
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let counter = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(counter)
    }

    fn gauge<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
    {
        let gauge = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(gauge)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
        counts: &[u64],
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values.iter().zip(counts) {
            ConstCounter::new(*count).encode(family.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram<N>,
    ) -> fmt::Result {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        let buckets = histogram.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(histogram.sum_ms), count, &buckets, None)
    }
}

/// How often spans were how long. The library's own has a mutex in it, which a shard does not need.
#[derive(Debug, Clone)]
struct Histogram<const N: usize> {
    bounds_ms: &'static [u64; N],
    /// By the first bound that is not exceeded.
    counts: [u64; N],
    /// Beyond the last bound.
    beyond: u64,
    sum_ms: u64,
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds_ms: &'static [u64; N]) -> Self {
        Self {
            bounds_ms,
            counts: [0; N],
            beyond: 0,
            sum_ms: 0,
        }
    }

    fn observe(&mut self, Millis(ms): Millis) {
        let bucket = self.bounds_ms.partition_point(|bound| *bound < ms);
        *self.counts.get_mut(bucket).unwrap_or(&mut self.beyond) += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    fn add(&mut self, other: &Self) {
        add(&mut self.counts, &other.counts);
        self.beyond += other.beyond;
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    /// Bounds in seconds and counts, not accumulated, with infinity last.
    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds_ms.iter().map(|bound| seconds(*bound));
        let beyond = (f64::INFINITY, self.beyond);
        bounds.zip(self.counts).chain([beyond]).collect()
    }
}

/// The place of a command among all.
pub(super) const fn slot(kind: RequestKind) -> usize {
    SLOTS[kind as usize] as usize
}

fn add<const N: usize>(sum: &mut [u64; N], counts: &[u64; N]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn add_commands(sum: &mut CommandCounts, counts: &CommandCounts) {
    for (sum, counts) in sum.iter_mut().zip(counts) {
        add(sum, counts);
    }
}

fn add_counts(sum: &mut Counts, counts: &Counts) {
    let Counts {
        orgs,
        sessions,
        sessions_detached,
        locks,
        holds,
        holds_orphaned,
        waits,
    } = counts;
    sum.orgs += orgs;
    sum.sessions += sessions;
    sum.sessions_detached += sessions_detached;
    sum.locks += locks;
    sum.holds += holds;
    sum.holds_orphaned += holds_orphaned;
    sum.waits += waits;
}

fn add_streams(sum: &mut StreamCounts, streams: &StreamCounts) {
    let StreamCounts {
        open,
        listeners,
        totals: StreamTotals { events, published },
    } = streams;
    sum.open += open;
    sum.listeners += listeners;
    sum.totals.events += events;
    sum.totals.published += published;
}

/// Prometheus counts time in seconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
