//! Requests about streams, as work for a shard, and its answers. They are none of the engine's: who listens to what, and
//! what applications publish, is no part of history.

use std::sync::Arc;

use tenure_engine::SessionRef;
use tenure_engine::presence::Presence;
use tenure_protocol::{Reply, reply};

use crate::outbox::Outbox;
use crate::streams::{Moment, Publish, Streams, Subscribe};

/// What is asked of an org's stream.
#[derive(Debug)]
pub(crate) enum StreamWork<'a> {
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        org: Arc<str>,
        connection: u64,
        subscription: u64,
    },
    Publish {
        publish: Publish<'a>,
        /// Whose typing at the path is over with it.
        session: Option<SessionRef>,
    },
    Stats {
        org: &'a str,
        path: Option<&'a str>,
    },
}

/// Does it, and answers. Changes of presence are told from here on to whoever subscribes to them.
pub(crate) fn execute(
    streams: &mut Streams,
    presence: &Presence,
    work: &StreamWork<'_>,
    asker: &Arc<Outbox>,
    when: Moment,
) -> Reply<'static> {
    match work {
        StreamWork::Subscribe(subscribe) => {
            let version = presence.version(subscribe.org);
            Reply::StreamSubscribe(streams.subscribe(subscribe, asker, version, when.at))
        }
        StreamWork::Unsubscribe {
            org,
            connection,
            subscription,
        } => {
            streams.unsubscribe(org, *connection, *subscription, when.at);
            Reply::StreamUnsubscribe(reply::Done {})
        }
        StreamWork::Publish { publish, .. } => Reply::StreamPublish(streams.publish(publish, when)),
        StreamWork::Stats { org, path } => Reply::StreamStats(streams.stats(org, *path)),
    }
}
