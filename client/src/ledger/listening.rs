//! Subscriptions as this side knows them: where each stands, what of the stream is for it, and how it goes on after a
//! reconnect.
//!
//! A subscription has a key of this client's own, which stays when the server's number ends with a connection. Rule: an
//! event is given to a subscription iff one of its filters is for it and its offset is above the last one given; and a
//! subscription that has a hole is told so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tenure_protocol::{self as wire, Recovery, Reply, Request, push, request};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::{Ledger, mismatch};
use crate::convert;
use crate::convert::streams;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::Feed;
use crate::filters::Filters;
use crate::happened::{LostWhy, Position, StreamEvent};

/// What a filter costs in a frame beside its text, and what a subscribe costs beside its filters.
const FILTER_BYTES: usize = 3;
const SUBSCRIBE_BYTES: usize = 128;

/// Names a subscription within this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriptionKey(u64);

/// What is listened to.
#[derive(Debug)]
pub(crate) struct SubscriptionTerms {
    pub(crate) org: Arc<str>,
    pub(crate) filters: Filters,
    pub(crate) since: Option<Position>,
    pub(crate) presence: bool,
    /// Events that may wait for their reader.
    pub(crate) room: usize,
}

/// A subscription that somebody makes.
pub(crate) struct Subscribing {
    terms: Arc<SubscriptionTerms>,
    done: oneshot::Sender<Result<SubscriptionSeed>>,
}

/// What a subscription handle is made of.
pub(crate) struct SubscriptionSeed {
    pub(crate) key: SubscriptionKey,
    pub(crate) feed: Arc<Feed>,
}

/// All subscriptions of this client.
#[derive(Default)]
pub(crate) struct Listening {
    next: u64,
    subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    by_org: HashMap<Arc<str>, Vec<SubscriptionKey>>,
}

struct Subscription {
    terms: Arc<SubscriptionTerms>,
    feed: Arc<Feed>,
    /// How the server calls it, while it stands on the connection that is up.
    number: Option<u64>,
    /// The last event that was given, or that it begins after.
    last: Position,
    /// Presence that it has been told.
    version: u64,
}

impl Subscribing {
    pub(crate) fn fail(self, error: Error) {
        // Whoever asked may have gone.
        let _ = self.done.send(Err(error));
    }
}

impl SubscriptionTerms {
    fn request(&self, since: Option<Position>) -> Result<Request<'_>> {
        let request = Request::StreamSubscribe(request::Subscribe {
            org: &self.org,
            filters: self.filters.to_wire()?,
            since: since.map(streams::position_to_wire),
            presence: self.presence,
        });
        request.check().map_err(|fault| convert::fault(&fault))?;
        Ok(request)
    }

    /// Bytes of the request, or a few more.
    fn bytes(&self) -> usize {
        let filters = self.filters.texts().iter();
        let filters: usize = filters.map(|text| text.len() + FILTER_BYTES).sum();
        SUBSCRIBE_BYTES + self.org.len() + filters
    }
}

impl Listening {
    /// Adds one that the server has just taken, and tells its reader what has become of what came before.
    fn add(
        &mut self,
        terms: Arc<SubscriptionTerms>,
        subscribed: &wire::reply::Subscribed,
    ) -> SubscriptionSeed {
        let key = SubscriptionKey(self.next);
        self.next += 1;
        let position = streams::position(subscribed.position);
        let feed = Feed::new(terms.room, terms.since.unwrap_or(position));
        let mut subscription = Subscription {
            last: terms.since.unwrap_or(position),
            terms,
            feed: Arc::clone(&feed),
            number: None,
            version: 0,
        };
        subscription.stands(subscribed);
        let org = Arc::clone(&subscription.terms.org);
        self.by_org.entry(org).or_default().push(key);
        self.subscriptions.insert(key, subscription);
        SubscriptionSeed { key, feed }
    }

    fn remove(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(&key)?;
        let org = &subscription.terms.org;
        if let Some(keys) = self.by_org.get_mut(org) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_org.remove(org);
            }
        }
        Some(subscription)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SubscriptionKey> {
        self.subscriptions.keys().copied()
    }

    /// The connection is gone, and with it all that the server knew of them.
    pub(crate) fn disconnected(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            subscription.number = None;
        }
    }

    pub(crate) fn end(&mut self, why: &Error) {
        for subscription in std::mem::take(&mut self.subscriptions).into_values() {
            subscription.feed.end(why.clone());
        }
        self.by_org.clear();
    }

    /// Those of an org that stand on this connection.
    fn standing(&mut self, org: &str, mut each: impl FnMut(&mut Subscription)) {
        for key in self.by_org.get(org).into_iter().flatten() {
            if let Some(subscription) = self.subscriptions.get_mut(key)
                && subscription.number.is_some()
            {
                each(subscription);
            }
        }
    }

    pub(crate) fn told_happened(&mut self, push: &push::Happened<'_>) {
        // Made when the first wants it, and shared: those of one org stand in one epoch.
        let mut happened = None;
        self.standing(push.org, |subscription| {
            let is_new = push.offset > subscription.last.offset;
            if is_new && subscription.is_for(push.event.paths()) {
                subscription.last.offset = push.offset;
                let epoch = subscription.last.epoch;
                let happened =
                    happened.get_or_insert_with(|| Arc::new(streams::happened(epoch, push)));
                let event = StreamEvent::Happened(Arc::clone(happened));
                subscription.feed.tell(event);
            }
        });
    }

    pub(crate) fn told_position(&mut self, push: &push::Reached<'_>) {
        let position = streams::position(push.position);
        self.standing(push.org, |subscription| {
            if position.offset > subscription.last.offset {
                subscription.last = position;
                subscription.feed.reached(position);
            }
        });
    }

    pub(crate) fn told_gap(&mut self, push: &push::Gap<'_>) {
        self.standing(push.org, |subscription| {
            if push.to > subscription.last.offset {
                subscription.last.offset = push.to;
                subscription.feed.tell(StreamEvent::Lost {
                    why: LostWhy::SlowConnection,
                    position: subscription.last,
                });
            }
        });
    }

    pub(crate) fn told_viewers(&mut self, push: &push::ViewersChanged<'_>) {
        let mut change = None;
        self.standing(push.org, |subscription| {
            let wants = subscription.terms.presence && push.version > subscription.version;
            if wants && subscription.is_for(&[push.path]) {
                let change = change.get_or_insert_with(|| Arc::new(streams::viewers_change(push)));
                let event = StreamEvent::ViewersChanged(Arc::clone(change));
                subscription.feed.tell(event);
            }
        });
    }

    pub(crate) fn told_viewers_left_out(&mut self, push: &push::ViewersLeftOut<'_>) {
        self.standing(push.org, |subscription| {
            if subscription.terms.presence && push.version > subscription.version {
                subscription.version = push.version;
                subscription.feed.tell(StreamEvent::ViewersLost);
            }
        });
    }
}

impl Subscription {
    fn is_for(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.terms.filters.matches(path))
    }

    /// It stands again after a reconnect. Nothing of presence can be resumed.
    fn goes_on(&mut self, subscribed: &wire::reply::Subscribed) {
        self.stands(subscribed);
        if self.terms.presence {
            self.feed.tell(StreamEvent::ViewersLost);
        }
    }

    /// The server has taken it, on this connection.
    fn stands(&mut self, subscribed: &wire::reply::Subscribed) {
        self.number = Some(subscribed.subscription);
        self.version = subscribed.version.unwrap_or(0);
        let position = streams::position(subscribed.position);
        match subscribed.recovery {
            Recovery::Fresh => self.last = position,
            Recovery::Exact => self.feed.tell(StreamEvent::Recovered {
                position: self.last,
            }),
            Recovery::Lost { why } => {
                self.last = position;
                self.feed.tell(StreamEvent::Lost {
                    why: streams::lost_why(why),
                    position,
                });
            }
        }
    }
}

impl Ledger {
    /// Listens on behalf of a caller.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        terms: SubscriptionTerms,
        done: oneshot::Sender<Result<SubscriptionSeed>>,
    ) -> Result<()> {
        self.link.check()?;
        if terms.bytes() > self.frame_bytes {
            let message = "expected filters that fit a frame, found more; subscribe in parts";
            return Err(Error::new(ErrorKind::BadRequest, message));
        }
        let terms = Arc::new(terms);
        let request = terms.request(terms.since)?;
        let subscribing = Subscribing {
            terms: Arc::clone(&terms),
            done,
        };
        let then = Then::Subscribe(Box::new(subscribing));
        self.calls.send(now, Some(permit), &request, then);
        Ok(())
    }

    /// The answer to [`subscribe`](Self::subscribe).
    pub(crate) fn subscribed(&mut self, subscribing: Subscribing, reply: Result<Reply<'_>>) {
        let Subscribing { terms, done } = subscribing;
        let seed = match reply {
            Ok(Reply::StreamSubscribe(subscribed)) => Ok(self.listening.add(terms, &subscribed)),
            Ok(_) => Err(mismatch()),
            Err(error) => Err(error),
        };
        // Whoever asked may have gone: then nobody will ever read it.
        if let Err(Ok(seed)) = done.send(seed) {
            self.unsubscribe(seed.key);
        }
    }

    /// Goes on with a subscription after a reconnect, from the last that it was given.
    pub(crate) fn resubscribe(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        key: SubscriptionKey,
    ) {
        let Some(subscription) = self.listening.subscriptions.get(&key) else {
            return;
        };
        let terms = Arc::clone(&subscription.terms);
        match terms.request(Some(subscription.last)) {
            Ok(request) => {
                let then = Then::Resubscribe(key);
                self.calls.send(now, Some(permit), &request, then);
            }
            Err(error) => self.subscription_over(key, &error),
        }
    }

    /// The answer to [`resubscribe`](Self::resubscribe).
    pub(crate) fn resubscribed(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        reply: Result<Reply<'_>>,
    ) {
        match reply {
            Ok(Reply::StreamSubscribe(subscribed)) => {
                match self.listening.subscriptions.get_mut(&key) {
                    Some(subscription) => subscription.goes_on(&subscribed),
                    // It was dropped meanwhile.
                    None => self.unsubscribe_soon(subscribed.subscription),
                }
            }
            Err(error) if error.is_retryable() => self.later(now, Errand::Resubscribe(key)),
            Ok(_) => self.subscription_over(key, &mismatch()),
            Err(error) => self.subscription_over(key, &error),
        }
    }

    /// Nobody reads the subscription any more.
    pub(crate) fn unsubscribe(&mut self, key: SubscriptionKey) {
        let subscription = self.listening.remove(key);
        if let Some(number) = subscription.and_then(|subscription| subscription.number) {
            self.unsubscribe_soon(number);
        }
    }

    fn unsubscribe_soon(&mut self, number: u64) {
        self.errands.push_back(Errand::Unsubscribe(number));
    }

    fn subscription_over(&mut self, key: SubscriptionKey, why: &Error) {
        if let Some(subscription) = self.listening.remove(key) {
            tracing::warn!(org = &*subscription.terms.org, error = %why, "subscription is over");
            subscription.feed.end(why.clone());
        }
    }
}

#[cfg(test)]
mod tests;
