//! What one connection listens to, in whichever orgs: its subscriptions by number, and who of its listeners has something
//! to read.
//!
//! Knows no ring and no shard. Must hold: every bound of a connection is looked at here, before a shard is asked; a
//! listener that was woken is drained until it has no more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hashbrown::HashMap;
use tokio::time::Instant;

use super::listener::Listener;
use crate::homes::ShardIndex;

/// Subscriptions of one connection at once.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1024;

/// Filters of all subscriptions of one connection.
pub(crate) const FILTERS_MAX: usize = 10_000;

/// A listener that was told nothing for this long is told where it stands, if it has come further.
const POSITION_EVERY: Duration = Duration::from_secs(10);

/// Steps of listeners between two writes.
const STEPS_MAX: usize = 64;

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_number: HashMap<u64, Subscription>,
    last_number: u64,
    filters: usize,
    orgs: HashMap<Arc<str>, Listening>,
    /// Those with something to read, each once.
    ready: VecDeque<Arc<str>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) org: Arc<str>,
    pub(crate) shard: ShardIndex,
    filters: usize,
}

/// What a connection listens to in one org.
#[derive(Debug)]
struct Listening {
    subscriptions: usize,
    /// Known from when it was woken for the first time.
    listener: Option<Arc<Listener>>,
    is_ready: bool,
    /// The last position it was told, by the reply, an event or by itself, and when.
    told: Option<(u64, Instant)>,
}

/// What was drained.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DrainedFrames {
    pub(crate) frames: u64,
    pub(crate) gaps: u64,
}

impl Subscriptions {
    /// The number of one more subscription; `None` when there are as many as there may be.
    pub(crate) fn begin(&mut self, org: &str, shard: ShardIndex, filters: usize) -> Option<u64> {
        if self.by_number.len() >= SUBSCRIPTIONS_MAX || self.filters + filters > FILTERS_MAX {
            return None;
        }
        let org = match self.orgs.get_key_value(org) {
            Some((org, _)) => Arc::clone(org),
            None => Arc::from(org),
        };
        let listening = self.orgs.entry(Arc::clone(&org)).or_insert(Listening {
            subscriptions: 0,
            listener: None,
            is_ready: false,
            told: None,
        });
        listening.subscriptions += 1;
        self.filters += filters;
        self.last_number += 1;
        let subscription = Subscription {
            org,
            shard,
            filters,
        };
        self.by_number.insert(self.last_number, subscription);
        Some(self.last_number)
    }

    /// Ends one, if there is one with this number.
    pub(crate) fn end(&mut self, number: u64) -> Option<Subscription> {
        let ended = self.by_number.remove(&number)?;
        self.filters -= ended.filters;
        if let Some(listening) = self.orgs.get_mut(&ended.org) {
            listening.subscriptions -= 1;
            if listening.subscriptions == 0 {
                self.orgs.remove(&ended.org);
            }
        }
        Some(ended)
    }

    /// Ends all. Gives them by number.
    pub(crate) fn end_all(&mut self) -> impl Iterator<Item = (u64, Subscription)> + use<> {
        std::mem::take(self).by_number.into_iter()
    }

    // What there is to read.

    /// These have something to read. Whoever is not listened to any more is not listened to.
    pub(crate) fn woken(&mut self, listeners: Vec<Arc<Listener>>) {
        for listener in listeners.into_iter().filter(|one| one.is_in_use()) {
            let Some((org, listening)) = self.orgs.get_key_value_mut(listener.org()) else {
                continue;
            };
            if !std::mem::replace(&mut listening.is_ready, true) {
                self.ready.push_back(Arc::clone(org));
            }
            listening.listener = Some(listener);
        }
    }

    /// All of them may have come further than they have been told.
    pub(crate) fn look_at_all(&mut self) {
        for (org, listening) in &mut self.orgs {
            if !std::mem::replace(&mut listening.is_ready, true) {
                self.ready.push_back(Arc::clone(org));
            }
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Appends what there is to read, in turn, until `out` has `bytes_max` or nobody has anything at hand.
    pub(crate) fn drain(
        &mut self,
        bytes_max: usize,
        now: Instant,
        out: &mut BytesMut,
    ) -> DrainedFrames {
        let mut drained = DrainedFrames::default();
        // Of those that have more, how many in a row had nothing to give.
        let mut barren = 0;
        for _ in 0..STEPS_MAX {
            if out.len() >= bytes_max || barren >= self.ready.len() {
                break;
            }
            let Some(org) = self.ready.pop_front() else {
                break;
            };
            let Some(listening) = self.orgs.get_mut(&org) else {
                continue;
            };
            let before = drained.frames;
            listening.is_ready = listening.drain(now, out, &mut drained);
            if listening.is_ready {
                self.ready.push_back(org);
            }
            let is_barren = listening.is_ready && drained.frames == before;
            barren = if is_barren { barren + 1 } else { 0 };
        }
        drained
    }
}

impl Listening {
    /// Tells whether there is more.
    fn drain(&mut self, now: Instant, out: &mut BytesMut, sum: &mut DrainedFrames) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        let drained = listener.drain(out);
        sum.frames += drained.frames;
        sum.gaps += drained.gaps;
        let (told, when) = *self.told.get_or_insert((drained.passed, now));
        if drained.frames > 0 {
            self.told = Some((drained.passed, now));
        } else if !drained.has_more && drained.passed > told && now >= when + POSITION_EVERY {
            listener.tell_position(drained.passed, out);
            sum.frames += 1;
            self.told = Some((drained.passed, now));
        }
        drained.has_more
    }
}
