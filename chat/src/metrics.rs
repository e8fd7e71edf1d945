//! What the service counts, and how it is told to a scraper. Never a chat, an organisation or a person: labels are from
//! short lists.
//!
//! Rule: every figure has its handle here, made once at the start.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What [`Metrics::encode`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Everything the service counts.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Labels, Counter>,
    request_seconds: Histogram,
    /// Connections that are served.
    pub(crate) connections: Gauge,
    connections_turned_away: Family<Labels, Counter>,
    /// Feeds that are open.
    pub(crate) feeds: Gauge,
    /// Times that a feed was told that something is lost.
    pub(crate) feed_losses: Counter,
    /// Organisations that are followed at the lock server.
    pub(crate) orgs_followed: Gauge,
    /// Sessions of browsers.
    pub(crate) sessions: Gauge,
    /// Whether the lock server answers: 1 or 0.
    pub(crate) tenure_up: Gauge,
    /// Messages that were stored.
    pub(crate) messages: Counter,
    /// Sends that were a repetition.
    pub(crate) messages_replayed: Counter,
    /// Messages that were taken while the lock server was away.
    pub(crate) messages_unguarded: Counter,
    /// From commit to stream.
    pub(crate) delivery_seconds: Histogram,
    /// Events that were published.
    pub(crate) published: Counter,
    /// Attempts to publish that failed.
    pub(crate) publish_failures: Counter,
    /// Rows in the outbox.
    pub(crate) outbox_rows: Gauge,
    /// Age of the oldest.
    pub(crate) outbox_seconds: Gauge,
    /// What recounts have found wrong, in messages. Anything but 0 is a fault.
    pub(crate) unread_drift: Counter,
    /// Messages that exports have written.
    pub(crate) exported_messages: Counter,
    archive_runs: Family<Labels, Counter>,
    /// Messages that the schedule has moved.
    pub(crate) archived_messages: Counter,
    /// Empty chats that the schedule has made go.
    pub(crate) cleaned_up_chats: Counter,
    /// What one step takes: who sends to the same chat may wait for it.
    pub(crate) archive_step_seconds: Histogram,
    /// When this companion has completed a run last, in Unix time.
    pub(crate) archive_completed_at: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("tenure_chat");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", version);
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            connections: Gauge::default(),
            connections_turned_away: Family::default(),
            feeds: Gauge::default(),
            feed_losses: Counter::default(),
            orgs_followed: Gauge::default(),
            sessions: Gauge::default(),
            tenure_up: Gauge::default(),
            messages: Counter::default(),
            messages_replayed: Counter::default(),
            messages_unguarded: Counter::default(),
            delivery_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 20)),
            published: Counter::default(),
            publish_failures: Counter::default(),
            outbox_rows: Gauge::default(),
            outbox_seconds: Gauge::default(),
            unread_drift: Counter::default(),
            exported_messages: Counter::default(),
            archive_runs: Family::default(),
            archived_messages: Counter::default(),
            cleaned_up_chats: Counter::default(),
            archive_step_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            archive_completed_at: Gauge::default(),
        };
        metrics.register(&mut registry);
        *metrics.registry.lock() = registry;
        Arc::new(metrics)
    }

    fn register(&self, to: &mut Registry) {
        to.register(
            "requests",
            "Requests, by method, route and status",
            self.requests.clone(),
        );
        let help = "Time to the first byte of an answer, in seconds";
        to.register("request_seconds", help, self.request_seconds.clone());
        to.register(
            "connections",
            "Connections that are served",
            self.connections.clone(),
        );
        let help = "Connections beyond the bound: told so, or closed when too many are being told";
        let turned_away = self.connections_turned_away.clone();
        to.register("connections_turned_away", help, turned_away);
        to.register("feeds", "Feeds that are open", self.feeds.clone());
        let help = "Times that a feed was told that something is lost";
        to.register("feed_losses", help, self.feed_losses.clone());
        let help = "Organisations that are followed at the lock server";
        to.register("orgs_followed", help, self.orgs_followed.clone());
        to.register("sessions", "Sessions of browsers", self.sessions.clone());
        to.register(
            "tenure_up",
            "Whether the lock server answers",
            self.tenure_up.clone(),
        );
        to.register(
            "messages",
            "Messages that were stored",
            self.messages.clone(),
        );
        let help = "Sends that were a repetition";
        to.register("messages_replayed", help, self.messages_replayed.clone());
        let help = "Messages that were taken while the lock server was away";
        to.register("messages_unguarded", help, self.messages_unguarded.clone());
        let help = "From commit to stream, in seconds";
        to.register("delivery_seconds", help, self.delivery_seconds.clone());
        to.register(
            "published",
            "Events that were published",
            self.published.clone(),
        );
        let help = "Attempts to publish that failed";
        to.register("publish_failures", help, self.publish_failures.clone());
        to.register(
            "outbox_rows",
            "Rows that wait to be published",
            self.outbox_rows.clone(),
        );
        let help = "Age of the oldest row that waits to be published, in seconds";
        to.register("outbox_seconds", help, self.outbox_seconds.clone());
        let help = "What recounts of unread messages have found wrong";
        to.register("unread_drift", help, self.unread_drift.clone());
        self.register_upkeep(to);
    }

    fn register_upkeep(&self, to: &mut Registry) {
        let help = "Messages that exports have written";
        to.register("exported_messages", help, self.exported_messages.clone());
        let help = "Runs of the archive's schedule here, by how they ended";
        to.register("archive_runs", help, self.archive_runs.clone());
        let help = "Messages that this companion's schedule has moved to the archive";
        to.register("archived_messages", help, self.archived_messages.clone());
        let help = "Empty chats that this companion's schedule has cleaned up";
        to.register("cleaned_up_chats", help, self.cleaned_up_chats.clone());
        let help = "What a step of archiving takes, in seconds";
        let steps = self.archive_step_seconds.clone();
        to.register("archive_step_seconds", help, steps);
        let help = "When this companion has completed a run of archiving, in Unix time; 0 if never";
        let completed = self.archive_completed_at.clone();
        to.register("archive_completed_at", help, completed);
    }

    /// There was one connection too many.
    pub(crate) fn turned_away(&self, how: &str) {
        let labels = vec![("how", how.to_owned())];
        self.connections_turned_away.get_or_create(&labels).inc();
    }

    /// A run of the archive's schedule has ended.
    pub(crate) fn archive_run(&self, ended: &str) {
        let labels = vec![("ended", ended.to_owned())];
        self.archive_runs.get_or_create(&labels).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let labels = vec![
            ("method", known(method).to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// As OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        // A string takes everything.
        let _ = text::encode(&mut out, &self.registry.lock());
        out
    }
}

/// Anybody may send any word as a method; the figures know some.
fn known(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    if known.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}
