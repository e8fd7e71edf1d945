//! The wire, from outside: one sample of everything, and what must hold for each.

mod bounds;
mod damage;
mod round_trip;
mod samples;
mod tolerance;
mod vectors;
