//! The outbox's other end: what was committed is told through the lock server, in the order of each chat.
//!
//! Knows neither people nor requests. Rules: a row is gone only when the lock server has said that the event is in the
//! stream, and it carries an id by which a repetition is known there; a chat whose event could not be told waits as a whole,
//! and the others do not wait for it. Several companions may do this over one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure_client::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::locks::{Link, chat_path, person_path};
use crate::metrics::Metrics;
use crate::store::{ChatId, OutboxRow, Store, UnixMs};

/// Rows that are taken at once.
const BATCH: u32 = 500;

/// What was taken and not done is another worker's after this.
const LEASE: Duration = Duration::from_secs(15);

/// The outbox is looked into this often when nobody rings: others may have put something there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The shortest way from one look to the next: what comes in between is told together, by one commit. Whatever comes after
/// a pause is told at once.
const PACE: Duration = Duration::from_millis(20);

/// The pause after a failure doubles from here on.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often it is measured what waits.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// A payload that is larger is told as one to be read: the lock server takes 64 KiB.
const PAYLOAD_MAX: usize = 60_000;

/// People that are told at once.
const NOTIFY_AT_ONCE: usize = 32;

/// What a person is told of a chat.
const NOTIFICATION: &str = "message.notification";

/// See the file's header.
#[derive(Clone)]
pub(crate) struct Relay {
    store: Store,
    link: Link,
    metrics: Arc<Metrics>,
    worker: Uuid,
}

impl Relay {
    pub(crate) fn new(store: Store, link: Link, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            link,
            metrics,
            worker: Uuid::now_v7(),
        }
    }

    /// Tells what there is to tell, until it is told to stop and nothing is left that can be told.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let measuring = tokio::spawn(self.clone().measure());
        let signal = self.store.outbox_signal();
        let mut pause = PAUSE_MIN;
        let mut told = Vec::new();
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            match self.step(&mut told).await {
                Step::Empty => {
                    pause = PAUSE_MIN;
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        _ = timeout(LOOK_EVERY, signal.notified()) => {}
                    }
                }
                Step::Told => {
                    pause = PAUSE_MIN;
                    sleep_until(began + PACE).await;
                }
                Step::Failed => {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = sleep(pause) => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        // What has been answered is told, as far as that goes without waiting.
        while matches!(self.step(&mut told).await, Step::Told) {}
        measuring.abort();
        self.note(&mut told).await;
        if let Err(why) = self.store.outbox_give_back(self.worker).await {
            tracing::debug!(%why, "what was taken waits for the end of its lease");
        }
    }

    /// Tells what waits. `told` is what was told by the step before and is to be noted.
    async fn step(&self, told: &mut Vec<i64>) -> Step {
        // While the lock server is away nothing is taken, so that nothing has to be given back.
        if !self.link.client().is_connected() {
            self.note(told).await;
            return Step::Failed;
        }
        let next = self
            .store
            .outbox_go_on(self.worker, told, BATCH, LEASE)
            .await;
        let rows = match next {
            Ok(rows) => rows,
            Err(why) => {
                tracing::warn!(%why, "the outbox cannot be read");
                return Step::Failed;
            }
        };
        told.clear();
        if rows.is_empty() {
            return Step::Empty;
        }
        let taken = rows.len();
        *told = self.tell(rows).await;
        if told.len() == taken {
            return Step::Told;
        }
        self.metrics.publish_failures.inc();
        self.note(told).await;
        if let Err(why) = self.store.outbox_give_back(self.worker).await {
            tracing::debug!(%why, "what was taken waits for the end of its lease");
        }
        Step::Failed
    }

    /// Notes what was told.
    async fn note(&self, told: &mut Vec<i64>) {
        match self.store.outbox_done(told).await {
            Ok(()) => told.clear(),
            Err(why) => tracing::warn!(%why, "what was told cannot be noted yet"),
        }
    }

    /// Gives the ids of what was told.
    async fn tell(&self, rows: Vec<OutboxRow>) -> Vec<i64> {
        let mut chats: HashMap<ChatId, Vec<OutboxRow>> = HashMap::new();
        for row in rows {
            chats.entry(row.chat).or_default().push(row);
        }
        let mut telling = JoinSet::new();
        for rows in chats.into_values() {
            let relay = self.clone();
            telling.spawn(async move { relay.tell_chat(rows).await });
        }
        telling.join_all().await.into_iter().flatten().collect()
    }

    /// In order, up to the first that cannot be told.
    async fn tell_chat(&self, rows: Vec<OutboxRow>) -> Vec<i64> {
        let mut done = Vec::with_capacity(rows.len());
        for row in rows {
            if let Err(why) = self.tell_row(&row).await {
                tracing::debug!(chat = %row.chat, rev = row.rev, %why, "an event cannot be told yet");
                break;
            }
            done.push(row.id);
        }
        done
    }

    async fn tell_row(&self, row: &OutboxRow) -> Result<(), Error> {
        let name = event_name(row);
        let client = self.link.client();
        let publish = client.publish(&row.org, chat_path(row.chat), name, payload(row));
        publish.id(row.event_id.to_string()).await?;
        self.metrics.published.inc();
        let took = UnixMs::now().0.saturating_sub(row.committed_at.0).max(0);
        let took = Duration::from_millis(u64::try_from(took).unwrap_or(0));
        self.metrics.delivery_seconds.observe(took.as_secs_f64());
        self.notify(row).await
    }

    async fn notify(&self, row: &OutboxRow) -> Result<(), Error> {
        for (index, some) in row.notify.chunks(NOTIFY_AT_ONCE).enumerate() {
            let mut telling = JoinSet::new();
            for (within, notify) in some.iter().enumerate() {
                let number = index * NOTIFY_AT_ONCE + within;
                let data = json!({"chat": row.chat, "rev": row.rev, "unread": notify.unread});
                let path = person_path(&notify.person);
                let publish =
                    self.link
                        .client()
                        .publish(&row.org, path, NOTIFICATION, data.to_string());
                let publish = publish.id(format!("{}:{number}", row.event_id));
                telling.spawn(publish.into_future());
            }
            for told in telling.join_all().await {
                told?;
            }
        }
        Ok(())
    }

    async fn measure(self) {
        let mut every = interval(MEASURE_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.metrics.tenure_up.set(i64::from(self.link.is_up()));
            if let Ok(lag) = self.store.outbox_lag().await {
                self.metrics.outbox_rows.set(lag.rows);
                let seconds = i64::try_from(lag.oldest.as_secs()).unwrap_or(i64::MAX);
                self.metrics.outbox_seconds.set(seconds);
            }
        }
    }
}

enum Step {
    /// Nothing waits.
    Empty,
    /// All that was taken was told.
    Told,
    /// Something could not be told.
    Failed,
}

fn event_name(row: &OutboxRow) -> String {
    match serde_json::to_value(row.event) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "event".to_owned(),
    }
}

fn payload(row: &OutboxRow) -> String {
    if row.payload.len() <= PAYLOAD_MAX {
        return row.payload.clone();
    }
    json!({"chat": row.chat, "rev": row.rev, "truncated": true}).to_string()
}
