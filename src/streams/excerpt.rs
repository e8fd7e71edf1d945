//! What one listener was given, for the next one: of many who listen to the same, nearly all are given the same.
//!
//! Whoever tells many has one of these; so what many are told is looked for and copied once. Must hold: a listener is given
//! it only if it would have been given exactly that, had nothing been let go of meanwhile. An event is the same for every
//! audience. Presence is not, and is never in what others may be given.

use std::sync::Arc;

use bytes::BytesMut;

use super::stream::Stream;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(super) struct Excerpt {
    pub(super) bytes: BytesMut,
    pub(super) frames: u64,
    /// Of which stream, and what of it, if others may be given it.
    pub(super) source: Option<(Arc<Stream>, Newest)>,
}

/// All that is for a reader in a ring, from one entry to the ring's newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The only filter of the reader. Where it is none, this is a single entry, for whoever is marked with it.
    pub(super) filter: Option<Arc<str>>,
}

impl Excerpt {
    /// The event that is its stream's newest.
    pub(super) const fn of_event(stream: Arc<Stream>, offset: u64, frame: BytesMut) -> Self {
        let newest = Newest {
            first: offset,
            last: offset,
            filter: None,
        };
        Self {
            bytes: frame,
            frames: 1,
            source: Some((stream, newest)),
        }
    }
}
