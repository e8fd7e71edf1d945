//! What the store promises, the same on both databases: every test here runs on SQLite, and on a PostgreSQL that it
//! starts itself where there is one. It sees the store as the web side does, and no table.

#[path = "../support/postgres.rs"]
mod postgres;

mod access;
mod crowd;
mod guests;
mod held_up;
mod histories;
mod lists;
mod looking;
mod old;
mod opening;
mod outbox;
mod place;
mod sending;
