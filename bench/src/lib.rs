//! The load generator of Tenure, and what its benchmarks share.
//!
//! ```text
//!  main: flags --> load::run --+-- worker (a thread) -- connections -- dialect -- server
//!                              +-- worker ...                             |
//!                              +-- cpu: of the server, and its own     speaks, reads; knows no load
//! ```
//!
//! [`load`] is the skeleton: sockets, batches, the loop, the clock. A [`dialect`] is all that differs between
//! systems: how a lock is asked for, and what an answer means. [`replay`] speaks the same dialects, of edits that people
//! have made; [`scale`] is about very many holds, sessions and connections. Rule: only true successes count.

#![forbid(unsafe_code)]

pub mod client_load;
pub mod columns;
pub mod companions;
pub mod compare;
pub mod cpu;
pub mod dialect;
pub mod durability;
pub mod fan_out;
pub mod floor;
pub mod load;
mod lookout;
pub mod open_files;
pub mod paths;
pub mod peers;
pub mod replay;
pub mod report;
pub mod resident;
pub mod scale;
pub mod server_process;
pub mod storm;
mod template;
