//! The wire, from outside: one sample of everything, and what must hold for each.

mod round_trip;
mod samples;
