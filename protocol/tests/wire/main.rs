//! The wire, from outside: one sample of everything, and what must hold for each.
//!
//! Knows the public interface alone. The golden vectors are checked here, the document in `tests/document.rs`.

mod another_library;
mod bounds;
mod damage;
mod filters;
mod round_trip;
mod samples;
mod tolerance;
mod vectors;
