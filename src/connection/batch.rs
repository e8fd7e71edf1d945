//! What one read of a connection has brought: requests for shards, and what the connection answers by itself.
//!
//! Knows no socket. Must hold: what is for one shard is executed in the order in which it came, under one hold of its mutex.

use std::mem::replace;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tenure_protocol::{ErrorCode, RequestKind};

use crate::dispatch::Item;
use crate::journal::Mark;
use crate::outbox::{Outbox, Unwritten};
use crate::server::Shared;
use crate::shards::BATCH_MAX;
use crate::streams::Woken;

/// A request has seldom fewer.
const REQUEST_BYTES: usize = 32;

/// Room for so many requests is kept from one read to the next: for connections that ask one after the other.
const ROOM_KEPT: usize = 4;

/// What one read has brought, decoded.
pub(super) struct Batch<'a, 'w> {
    pub(super) items: Vec<Item<'a>>,
    /// What the connection is about to write, and behind it what shards answer.
    written: &'w mut Unwritten,
    /// How many answers that are.
    pub(super) answered: u64,
    /// When the last of it was done.
    pub(super) done_at: Option<Instant>,
    /// Seldom anything.
    aside: Option<Box<Aside>>,
}

/// What no shard says.
#[derive(Default)]
struct Aside {
    bytes: BytesMut,
    frames: u64,
    /// What it rests on.
    mark: Mark,
    close: Option<(ErrorCode, String)>,
}

impl<'w> Batch<'_, 'w> {
    /// An empty one, in the room of the one before, or with room for the requests that may be in so many bytes.
    pub(super) fn for_bytes(
        count: usize,
        room: Vec<Item<'static>>,
        written: &'w mut Unwritten,
    ) -> Self {
        let mut items = room;
        items.reserve_exact((count / REQUEST_BYTES).clamp(1, BATCH_MAX));
        Self {
            items,
            written,
            answered: 0,
            done_at: None,
            aside: None,
        }
    }

    /// Lets go of what is in it, and gives its room for the next one.
    pub(super) fn into_room(self) -> Vec<Item<'static>> {
        let mut items = self.items;
        if items.capacity() > ROOM_KEPT {
            return Vec::new();
        }
        items.clear();
        // Nothing is in it that could have lived too short. It is collected where it lies.
        let nothing = items.into_iter().map(|_| unreachable!("it is empty"));
        nothing.collect()
    }

    /// Says something after what shards answer.
    pub(super) fn say(&mut self, encode: impl FnOnce(&mut BytesMut) -> usize) {
        let aside = self.aside.get_or_insert_default();
        encode(&mut aside.bytes);
        aside.frames += 1;
    }

    /// What it says rests on this, too.
    pub(super) fn rests_on(&mut self, mark: Mark) {
        let aside = self.aside.get_or_insert_default();
        aside.mark = aside.mark.max(mark);
    }

    /// Says goodbye after all else.
    pub(super) fn close(&mut self, code: ErrorCode, message: String) {
        self.aside.get_or_insert_default().close = Some((code, message));
    }

    /// Has everything executed: each shard's part under one hold of its mutex, in the order in which it came. Gives whom to
    /// tell of it, if it was a single request; whom many concern is woken, and takes all there is at once.
    pub(super) fn submit(&mut self, shared: &Shared, outbox: &Arc<Outbox>) -> Option<Box<Woken>> {
        let mut to_tell = None;
        if !self.items.is_sorted_by_key(|item| item.shard) {
            self.items.sort_by_key(|item| item.shard);
        }
        for items in self.items.chunk_by(|a, b| a.shard == b.shard) {
            let shard = items[0].shard;
            let done = shared.shards.submit(shard, items, outbox, self.written);
            self.answered += done.frames;
            self.done_at = Some(done.at);
            if let Some(woken) = replace(&mut to_tell, done.to_tell) {
                woken.wake();
            }
        }
        self.items.clear();
        if let Some(aside) = self.aside.take() {
            outbox.append(&aside.bytes, aside.frames, aside.mark);
            if let Some((code, message)) = aside.close {
                outbox.close(code, &message);
            }
        }
        to_tell
    }
}

/// Whether nothing may be executed together with this: what comes after it may depend on what it leads to, its answer may
/// be large, and the outbox is to be looked at first, or it is much work.
pub(super) const fn is_alone(kind: RequestKind) -> bool {
    matches!(
        kind,
        RequestKind::SessionOpen
            | RequestKind::SessionResume
            | RequestKind::SessionClose
            | RequestKind::LockList
            | RequestKind::LockForceRelease
            | RequestKind::StreamSubscribe
            | RequestKind::StreamUnsubscribe
    )
}
