//! Following one organisation at the lock server: one subscription for what happens in its chats and to its people, one for
//! who holds what and who is where. However many browsers care, the lock server tells it once.
//!
//! Rule: a subscription that ends is begun again, from where it was; what cannot be had is told as lost.

use std::sync::Arc;
use std::time::Duration;

use tenure_client::{Error, Position, StreamEvent, Subscription};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::org::Org;
use super::telling::telling;
use crate::locks::Link;

/// What is followed.
const CHATS: &str = "chat/**";
const PEOPLE: &str = "user/**";

/// Events that wait to be taken in.
const BUFFER: usize = 8192;

/// Pause before a subscription is begun again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How often a stream in which nothing happens is asked how far it is.
const REACH_EVERY: Duration = Duration::from_secs(5);

/// Follows what happens, for ever.
pub(super) async fn follow_stream(org: Arc<Org>, link: Link) {
    loop {
        match begin(&org, &link).await {
            Ok(subscription) => read(&org, subscription).await,
            Err(why) => tracing::debug!(org = org.name, %why, "the stream cannot be followed"),
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// Follows who holds what and who is where, for ever.
pub(super) async fn follow_state(org: Arc<Org>, link: Link) {
    loop {
        let subscribe = link.client().subscribe(org.name.as_str(), [CHATS]);
        match subscribe.with_presence().with_state().buffer(BUFFER).await {
            Ok(mut subscription) => {
                while let Some(told) = subscription.next().await {
                    if let StreamEvent::Ended { why } = &told {
                        tracing::debug!(org = org.name, %why, "the state is followed no more");
                        break;
                    }
                    org.mirrored(told).await;
                }
            }
            Err(why) => tracing::debug!(org = org.name, %why, "the state cannot be followed"),
        }
        org.mirror_is_behind();
        sleep(AGAIN_AFTER).await;
    }
}

/// From where it was; at first from the oldest that the lock server keeps, so that browsers that come from another companion
/// can go on here.
async fn begin(org: &Org, link: &Link) -> Result<Subscription, Error> {
    let client = link.client();
    let stats = client.stream_stats(&org.name, None).await?;
    let oldest = stats.position.map(|at| match stats.oldest {
        Some(oldest) => Position {
            epoch: at.epoch,
            offset: oldest.saturating_sub(1),
        },
        None => at,
    });
    let since = org.position().or(oldest);
    let subscribe = client
        .subscribe(org.name.as_str(), [CHATS, PEOPLE])
        .buffer(BUFFER);
    let subscription = match since {
        Some(since) => subscribe.since(since).await?,
        None => subscribe.await?,
    };
    let from = since.unwrap_or_else(|| subscription.position());
    org.begin(from, stats.position.unwrap_or(from));
    Ok(subscription)
}

async fn read(org: &Org, mut subscription: Subscription) {
    let mut reach = interval(REACH_EVERY);
    reach.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            told = subscription.next() => told,
            _ = reach.tick() => {
                org.reach(subscription.position());
                continue;
            }
        };
        match told {
            Some(StreamEvent::Happened(happened)) => {
                if let Some(telling) = telling(&happened) {
                    org.tell(happened.position, telling).await;
                } else {
                    org.reach(happened.position);
                }
            }
            Some(StreamEvent::Lost { why, position }) => org.lost(why.name(), position),
            Some(StreamEvent::Ended { why }) => {
                tracing::debug!(org = org.name, %why, "the stream is followed no more");
                return;
            }
            Some(_) => {}
            None => return,
        }
    }
}
