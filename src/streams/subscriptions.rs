//! What one connection listens to, in whichever orgs: its subscriptions by number, and who of its listeners has something
//! to read.
//!
//! Knows no ring and no shard. Must hold: every bound of a connection is looked at here, before a shard is asked; a
//! listener that was woken is drained until it has no more.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use tokio::time::Instant;

use super::listener::{Listener, Readiness};
use crate::homes::ShardIndex;

/// Subscriptions of one connection at once.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1024;

/// Filters of all subscriptions of one connection.
pub(crate) const FILTERS_MAX: usize = 10_000;

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
    ready: VecDeque<Arc<Listener>>,
    /// Those that were woken since the last look, in a room that is used again and again.
    woken: Vec<Arc<Listener>>,
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

    /// Where to put those that have something to read, before [`Self::note_woken`].
    pub(crate) const fn woken(&mut self) -> &mut Vec<Arc<Listener>> {
        &mut self.woken
    }

    /// Takes note of those. Whoever is not listened to any more is not listened to.
    #[inline]
    pub(crate) fn note_woken(&mut self) {
        if !self.woken.is_empty() {
            self.note_all_woken();
        }
    }

    fn note_all_woken(&mut self) {
        for listener in self.woken.drain(..) {
            if !listener.is_in_use() {
                // Somebody may still be telling it, and leave the rest of that to the connection.
                listener.answer_call();
                continue;
            }
            let was = listener.become_ready();
            if was == Readiness::Unknown
                && let Some(listening) = self.orgs.get_mut(listener.org())
            {
                listening.listener = Some(Arc::clone(&listener));
            }
            if was != Readiness::Ready {
                self.ready.push_back(listener);
            }
        }
    }

    /// All of them may have come further than they have been told.
    pub(crate) fn look_at_all(&mut self) {
        let listeners = self.orgs.values().filter_map(|org| org.listener.as_ref());
        let idle = listeners.filter(|one| one.become_ready() != Readiness::Ready);
        self.ready.extend(idle.cloned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
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
            let Some(listener) = self.ready.pop_front() else {
                break;
            };
            let step = listener.drain(now, out);
            drained.frames += step.frames;
            drained.gaps += step.gaps;
            let is_barren = step.has_more && step.frames == 0;
            barren = if is_barren { barren + 1 } else { 0 };
            if step.has_more {
                self.ready.push_back(listener);
            } else {
                listener.become_idle();
            }
        }
        drained
    }
}
