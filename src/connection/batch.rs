//! What one read of a connection has brought: requests for shards, and what the connection answers by itself.
//!
//! Knows no socket. Must hold: what is for one shard is executed in the order in which it came, under one hold of its mutex.

use std::mem::replace;
use std::sync::Arc;

use bytes::BytesMut;
use tenure_protocol::{ErrorCode, RequestKind};

use crate::dispatch::Item;
use crate::journal::Mark;
use crate::outbox::Outbox;
use crate::server::Shared;
use crate::shards::BATCH_MAX;
use crate::streams::Woken;

/// A request has seldom fewer.
const REQUEST_BYTES: usize = 32;

/// Room for so many requests is kept from one read to the next: for connections that ask one after the other.
const ROOM_KEPT: usize = 2;

/// What one read has brought, decoded.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Answers of the connection's own.
    pub(super) own: Own,
    pub(super) close: Option<(ErrorCode, String)>,
}

/// Answers that no shard gives.
#[derive(Default)]
pub(super) struct Own {
    bytes: BytesMut,
    frames: u64,
    /// What they rest on.
    pub(super) mark: Mark,
}

impl Own {
    pub(super) fn add(&mut self, encode: impl FnOnce(&mut BytesMut) -> usize) {
        encode(&mut self.bytes);
        self.frames += 1;
    }
}

impl<'a> Batch<'a> {
    /// An empty one, in the room of the one before, or with room for the requests that may be in so many bytes.
    pub(super) fn for_bytes(count: usize, room: Vec<Item<'a>>) -> Self {
        let mut items = room;
        items.reserve_exact((count / REQUEST_BYTES).min(BATCH_MAX));
        Self {
            items,
            ..Self::default()
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

    /// Has everything executed: each shard's part under one hold of its mutex, in the order in which it came. Gives whom to
    /// tell of it, if it was a single request; whom many concern is woken, and takes all there is at once.
    pub(super) fn submit(&mut self, shared: &Shared, outbox: &Arc<Outbox>) -> Option<Woken> {
        let mut to_tell = None;
        if !self.items.is_sorted_by_key(|item| item.shard) {
            self.items.sort_by_key(|item| item.shard);
        }
        for items in self.items.chunk_by(|a, b| a.shard == b.shard) {
            let woken = shared.shards.submit(items[0].shard, items, outbox);
            replace(&mut to_tell, woken)
                .into_iter()
                .for_each(Woken::wake);
        }
        self.items.clear();
        if self.own.frames > 0 {
            outbox.append(&self.own.bytes, self.own.frames, self.own.mark);
            self.own = Own::default();
        }
        if let Some((code, message)) = self.close.take() {
            outbox.close(code, &message);
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
