//! What the server counts, and how it is told to a scraper. Never a path, an org or a person: labels are from short lists.
//!
//! - **In a shard**, under the mutex that is held anyway: plain integers in its [`ShardCounters`], which are visited
//!   through [`Shards`] and summed at a scrape, so that no command waits for a shared atomic.
//! - **At the edge**: each connection's [`OpenConnection`] counts bytes and frames in one of several stripes, once for each
//!   read and write; commands that never reach a shard are counted by [`Metrics::command`].
//!
//! ```text
//! let metrics = Metrics::new(shards);             // Arc<dyn Shards> -> Arc<Metrics>
//! let open = metrics.connection_opened();         // counted as open until dropped
//! open.received(bytes, frames);  open.sent(bytes, frames);
//! metrics.connection_refused(ConnectionRefusal::Full);  metrics.goodbye(ErrorCode::…);
//! metrics.command(RequestKind::Ping, CommandOutcome::Done);
//! shard.counters.command(kind, CommandOutcome::of(&reply));  shard.counters.event(&event.what);
//! ```
//!
//! Rule: every metric stands in `docs/operating.md` (tested).

mod label;
mod shard;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tenure_protocol::{ErrorCode, RequestKind};

pub use label::{CommandOutcome, ConnectionRefusal};
use shard::{Collector, CommandCounts, slot};
pub use shard::{ShardCounters, ShardView, Shards, StreamCounts, StreamTotals};

/// What [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// More connections than cores can add at once without meeting.
const STRIPE_COUNT: usize = 16;

/// Everything that the server counts.
pub struct Metrics {
    registry: Registry,
    edge: Arc<Edge>,
    open: Gauge,
    accepted: Counter,
    refused: [Counter; ConnectionRefusal::ALL.len()],
    goodbyes: Family<[(&'static str, &'static str); 1], Counter>,
    stream_gaps: Counter,
}

/// One connection, counted as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    metrics: Arc<Metrics>,
    stripe: usize,
}

/// What is counted outside of shards and often.
#[derive(Default)]
struct Edge {
    commands: [[AtomicU64; CommandOutcome::ALL.len()]; RequestKind::ALL.len()],
    stripes: [Stripe; STRIPE_COUNT],
    next_stripe: AtomicUsize,
}

/// Traffic of some of the connections, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    received_bytes: AtomicU64,
    received_frames: AtomicU64,
    sent_bytes: AtomicU64,
    sent_frames: AtomicU64,
}

impl Metrics {
    /// Metrics over these shards.
    pub fn new(shards: Arc<dyn Shards>) -> Arc<Self> {
        let edge = Arc::new(Edge::default());
        let mut registry = Registry::with_prefix("tenure");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", version);

        let open = Gauge::default();
        registry.register("connections", "Connections that are open", open.clone());
        let accepted = Counter::default();
        let help = "Connections that were let in";
        registry.register("connections_accepted", help, accepted.clone());
        let refused = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let handles = ConnectionRefusal::ALL
            .map(|reason| refused.get_or_create(&[("reason", reason.name())]).clone());
        registry.register(
            "connections_refused",
            "Connections that were turned away",
            refused,
        );
        let goodbyes = Family::default();
        let help = "Connections that the server has ended, by the code it gave";
        registry.register("goodbyes", help, goodbyes.clone());
        let stream_gaps = Counter::default();
        let help =
            "Times that a listener was told that it has missed events or changes of presence";
        registry.register("stream_gaps", help, stream_gaps.clone());
        registry.register_collector(Box::new(Collector::new(Arc::clone(&edge), shards)));

        Arc::new(Self {
            registry,
            edge,
            open,
            accepted,
            refused: handles,
            goodbyes,
            stream_gaps,
        })
    }

    /// Counts a connection that is let in.
    #[must_use]
    pub fn connection_opened(self: &Arc<Self>) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        let stripe = self.edge.next_stripe.fetch_add(1, Ordering::Relaxed) % STRIPE_COUNT;
        OpenConnection {
            metrics: Arc::clone(self),
            stripe,
        }
    }

    /// Counts a connection that is turned away.
    pub fn connection_refused(&self, reason: ConnectionRefusal) {
        self.refused[reason as usize].inc();
    }

    /// Counts a connection that the server ends with this code.
    pub fn goodbye(&self, code: ErrorCode) {
        self.goodbyes.get_or_create(&[("code", code.name())]).inc();
    }

    /// Counts what slow listeners were told.
    pub fn stream_gaps(&self, count: u64) {
        self.stream_gaps.inc_by(count);
    }

    /// Counts a command that was answered without a shard.
    pub fn command(&self, kind: RequestKind, outcome: CommandOutcome) {
        self.edge.commands[slot(kind)][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Everything, as OpenMetrics text. Visits each shard once.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes all that is written to it");
        text
    }

    /// Metrics over nothing.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Arc<Self> {
        Self::new(Arc::new(tests::Still::default()))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl OpenConnection {
    /// Counts what one read brought.
    pub fn received(&self, bytes: u64, frames: u64) {
        let stripe = self.stripe();
        stripe.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        stripe.received_frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts what one write took.
    pub fn sent(&self, bytes: u64, frames: u64) {
        let stripe = self.stripe();
        stripe.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        stripe.sent_frames.fetch_add(frames, Ordering::Relaxed);
    }

    fn stripe(&self) -> &Stripe {
        &self.metrics.edge.stripes[self.stripe]
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}

impl Edge {
    fn command_counts(&self) -> CommandCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.commands
            .each_ref()
            .map(|counts| counts.each_ref().map(load))
    }

    /// Name, meaning and sum over all stripes of each kind of traffic.
    fn traffic(&self) -> [(&'static str, &'static str, u64); 4] {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            self.stripes
                .iter()
                .map(|stripe| of(stripe).load(Ordering::Relaxed))
                .sum()
        };
        [
            (
                "received_bytes",
                "Bytes read from connections.",
                sum(|s| &s.received_bytes),
            ),
            (
                "received_frames",
                "Frames read from connections.",
                sum(|s| &s.received_frames),
            ),
            (
                "sent_bytes",
                "Bytes written to connections.",
                sum(|s| &s.sent_bytes),
            ),
            (
                "sent_frames",
                "Frames written to connections.",
                sum(|s| &s.sent_frames),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use tenure_engine::presence::{self, Stats};
    use tenure_engine::{Cause, Counts, LogTime, Millis, Mode, SessionId, Token, What, Who};
    use tenure_engine::{SessionEnd, WaitEnd, WaitId};

    use super::*;

    /// Shards that stand still.
    #[derive(Debug, Default)]
    pub(super) struct Still(Vec<(ShardCounters, Counts, Millis)>);

    impl Shards for Still {
        fn visit(&self, visit: &mut dyn FnMut(ShardView<'_>)) {
            for (counters, counts, overdue) in &self.0 {
                visit(ShardView {
                    counters,
                    counts: *counts,
                    overdue: *overdue,
                    streams: STREAMS,
                    presence: PRESENCE,
                });
            }
        }

        fn stream_bytes(&self) -> u64 {
            4096
        }
    }

    const PRESENCE: Stats = Stats {
        paths: 2,
        viewers: 6,
        sittings: 7,
        counts: presence::Counts {
            idle: 0,
            viewing: 6,
            typing: 0,
            editing: 0,
        },
    };

    const STREAMS: StreamCounts = StreamCounts {
        open: 3,
        listeners: 5,
        totals: StreamTotals {
            events: 70,
            published: 40,
        },
    };

    fn who() -> Who<&'static str> {
        Who {
            owner: "ann",
            name: "Ann",
        }
    }

    fn ended(held: u64, cause: Cause) -> What<&'static str> {
        What::Ended {
            path: "doc/secret-plan",
            who: who(),
            token: Token(1),
            cause,
            held: Millis(held),
        }
    }

    fn two_shards() -> Still {
        let mut one = ShardCounters::default();
        one.command(RequestKind::LockAcquire, CommandOutcome::Done);
        one.command(RequestKind::LockAcquire, CommandOutcome::Refused);
        one.event(&ended(1_500, Cause::Released));
        one.tick(LogTime(100), LogTime(103));
        let mut two = ShardCounters::default();
        two.command(RequestKind::LockAcquire, CommandOutcome::Done);
        two.command(RequestKind::LockRelease, CommandOutcome::NotHeld);
        two.event(&What::Granted {
            path: "doc/secret-plan",
            who: who(),
            mode: Mode::Exclusive,
            token: Token(2),
            waited: Millis(40),
        });
        two.event(&ended(90_000_000, Cause::Expired));
        two.event(&What::WaitEnded {
            paths: Vec::new(),
            who: who(),
            wait: WaitId(1),
            why: WaitEnd::TimedOut,
        });
        let session = SessionId(1);
        two.event(&What::SessionEnded {
            session,
            who: who(),
            why: SessionEnd::GraceOver,
        });
        let counts = Counts {
            holds: 3,
            holds_orphaned: 1,
            sessions: 5,
            ..Counts::default()
        };
        Still(vec![(one, counts, Millis(7)), (two, counts, Millis(2))])
    }

    #[test]
    fn what_the_shards_count_is_summed_over_them() {
        let metrics = Metrics::new(Arc::new(two_shards()));
        metrics.command(RequestKind::LockRelease, CommandOutcome::Done);
        let text = metrics.encode();
        for line in [
            r#"tenure_commands_total{command="lock.acquire",outcome="done"} 2"#,
            r#"tenure_commands_total{command="lock.acquire",outcome="refused"} 1"#,
            r#"tenure_commands_total{command="lock.release",outcome="done"} 1"#,
            r#"tenure_commands_total{command="lock.release",outcome="not_held"} 1"#,
            r#"tenure_hold_ends_total{cause="released"} 1"#,
            r#"tenure_hold_ends_total{cause="expired"} 1"#,
            r#"tenure_hold_ends_total{cause="seized"} 0"#,
            r#"tenure_wait_ends_total{reason="timed_out"} 1"#,
            r#"tenure_session_ends_total{reason="grace_over"} 1"#,
            r#"tenure_lock_events_total{event="granted"} 1"#,
            "tenure_holds 6",
            "tenure_holds_orphaned 2",
            "tenure_sessions 10",
            "tenure_sweep_lag_seconds 0.007",
            "tenure_streams 6",
            "tenure_listeners 10",
            "tenure_stream_events_total 140",
            "tenure_stream_published_total 80",
            "tenure_stream_bytes 4096",
            "tenure_viewers 12",
            "tenure_sittings 14",
            "tenure_hold_seconds_sum 90001.5",
            "tenure_hold_seconds_count 2",
            r#"tenure_hold_seconds_bucket{le="1.0"} 0"#,
            r#"tenure_hold_seconds_bucket{le="5.0"} 1"#,
            r#"tenure_hold_seconds_bucket{le="+Inf"} 2"#,
            r#"tenure_wait_seconds_bucket{le="0.05"} 1"#,
            r#"tenure_tick_lateness_seconds_bucket{le="0.005"} 1"#,
        ] {
            assert!(
                text.lines().any(|is| is == line),
                "{line} is not in:\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(
            !text.contains("secret-plan") && !text.contains("ann\""),
            "{text}"
        );
    }

    #[test]
    fn connections_and_their_traffic_are_counted() {
        let metrics = Metrics::for_tests();
        let open = (0..20)
            .map(|_| metrics.connection_opened())
            .collect::<Vec<_>>();
        for connection in &open {
            connection.received(100, 2);
            connection.sent(50, 1);
        }
        drop(open);
        let _still_open = metrics.connection_opened();
        metrics.connection_refused(ConnectionRefusal::Full);
        metrics.goodbye(ErrorCode::ShuttingDown);
        metrics.stream_gaps(2);
        let text = metrics.encode();
        for line in [
            "tenure_connections 1",
            "tenure_stream_gaps_total 2",
            "tenure_connections_accepted_total 21",
            r#"tenure_connections_refused_total{reason="full"} 1"#,
            r#"tenure_connections_refused_total{reason="tls"} 0"#,
            r#"tenure_goodbyes_total{code="shutting_down"} 1"#,
            "tenure_received_bytes_total 2000",
            "tenure_received_frames_total 40",
            "tenure_sent_bytes_total 1000",
            "tenure_sent_frames_total 20",
        ] {
            assert!(
                text.lines().any(|is| is == line),
                "{line} is not in:\n{text}"
            );
        }
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let document = include_str!("../docs/operating.md");
        let metrics = Metrics::for_tests();
        metrics.goodbye(ErrorCode::ShuttingDown);
        let text = metrics.encode();
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut count = 0;
        for family in families {
            let (name, kind) = family.split_once(' ').unwrap();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let row = format!("| `{name}{suffix}` | {kind} |");
            assert!(
                document.contains(&row),
                "docs/operating.md has no row that begins {row}"
            );
            count += 1;
        }
        let rows = document
            .lines()
            .filter(|line| line.starts_with("| `tenure_"))
            .count();
        assert_eq!(
            rows, count,
            "docs/operating.md lists a metric that there is not"
        );
    }
}
