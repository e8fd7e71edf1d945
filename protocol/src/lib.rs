//! The wire of Tenure: bytes to messages, and messages to bytes.
//!
//! Owns the frames, the MessagePack in them, the catalog of commands and pushes, the bounds of every field, and the
//! error codes. It knows no socket, no clock and no rule of locks; it does not know the engine. The document beside it,
//! `docs/protocol.md`, says the same for people, and a test holds the two together.
//!
//! A server cuts frames with [`frame`], reads each with [`FromClient::decode`], and answers with [`Reply::encode`],
//! [`reply::Error::encode`] and [`Push::encode`]. A client writes with [`Request::encode`] and reads with
//! [`FromServer::decode`]. Decoded messages borrow from the frame; nothing is copied but lists.
//!
//! Every message serialises with `serde` too: as MessagePack arrays by position, and in formats for people, such as
//! JSON, as objects with the names that the document gives.
//!
//! ```
//! use tenure_protocol::{FromClient, Mode, Request, frame, limits, request};
//!
//! let acquire = request::Acquire {
//!     session: 7,
//!     path: "doc/quote-123",
//!     mode: Mode::Exclusive,
//!     wait_ms: 0,
//!     ttl_ms: Some(60_000),
//!     limit: None,
//!     note: None,
//!     seize: None,
//!     metadata: b"",
//! };
//! let mut out = bytes::BytesMut::new();
//! Request::LockAcquire(acquire.clone()).encode(1, &mut out);
//!
//! let payload = frame::cut(&mut out, limits::FRAME_FROM_CLIENT)?.expect("a whole frame was written");
//! let decoded = FromClient::decode(&payload)?;
//! assert_eq!(decoded.id, 1);
//! assert_eq!(decoded.request, Request::LockAcquire(acquire));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

#[macro_use]
mod message;

pub mod catalog;
mod envelope;
mod error_code;
mod event;
mod fault;
mod filter;
pub mod frame;
pub mod limits;
mod marker;
mod messagepack;
mod presence;
pub mod push;
mod reader;
pub mod reply;
pub mod request;
pub mod shape;
mod terms;
mod writer;

pub use catalog::{Push, PushKind, Reply, Request, RequestKind};
pub use envelope::{FromClient, FromServer};
pub use error_code::{Class, Code, ErrorCode};
pub use event::{Event, LostWhy, Position, Recovery};
pub use fault::{DecodeError, Fault};
pub use filter::{Filter, Scope};
pub use presence::{Activity, CollisionLevel, Counts, PathViewers, Viewer};
pub use terms::*;
pub use writer::Writer;

/// The version of the protocol that this crate speaks. What a later one adds, an older reader may ignore.
pub const VERSION: u32 = 1;
