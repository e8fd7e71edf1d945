//! The companion of the Tenure lock server: chats that persist, and locks over HTTP.
//!
//! A thin service between browsers, a database and Tenure. Messages live in SQLite or PostgreSQL ([`store`]); locks,
//! presence and events are Tenure's, reached through its client as any other service would.
//!
//! ```text
//!   browser ──HTTP──▶ http ──▶ store ──one transaction──▶ database
//!      ▲               │ └──▶ locks ──tenure-client──▶ Tenure      outbox in the database
//!      │ events        └────▶ live ◀──one subscription──┘ ▲             │
//!      └──────────────────────┘                           └── relay ◀───┘
//! ```

#[expect(
    unused_qualifications,
    reason = "the macros that make the document of routes write whole names"
)]
mod http;
mod live;
mod locks;
mod metrics;
mod relay;
mod serving;

pub mod archiving;
pub mod config;
pub mod identity;
pub mod service;
pub mod store;
pub mod telemetry;
