//! The journal, driven step by step and by its threads: over a disk at its worst, and over a real one.
//!
//! The histories are those of the engine's own tests; what is held against them is in `life.rs`.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its message")]
#![allow(
    clippy::print_stdout,
    reason = "seeds and figures are for whoever runs the test"
)]

mod chance;
mod command_line;
mod crashes;
mod damage;
mod directory;
mod faulty;
mod golden;
#[path = "../../engine/tests/history/mod.rs"]
mod history;
mod life;
mod threads;
