//! What the fuzz targets do with their bytes, one module each. A target that panics has found something.
//!
//! The targets in `fuzz_targets/` only lead libFuzzer here; `tests/corpus.rs` leads here too, on plain stable Rust, with
//! what is kept in `corpus/`. Histories, runs, reference model and invariants are those of the engine's own tests, compiled
//! in by their paths, and so are the bytes of the server's journal: they are written once.

pub mod frame;
pub mod kept_record;
pub mod lived_history;
mod operations;
pub mod presence;
pub mod request;
pub mod server_message;
pub mod snapshot;

#[path = "../../engine/tests/history/mod.rs"]
mod history;
#[path = "../../engine/tests/invariants/mod.rs"]
mod invariants;
#[path = "../../engine/tests/model/mod.rs"]
mod model;
#[path = "../../engine/tests/run/mod.rs"]
mod run;
