//! The companion of the Tenure lock server: chats that persist, and locks over HTTP.
//!
//! A thin service between browsers, a database and Tenure. Messages live in SQLite or PostgreSQL ([`store`]); locks,
//! presence and events are Tenure's, reached through its client as any other service would.

pub mod store;
