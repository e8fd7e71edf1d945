//! See `tenure_fuzz::presence`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::presence::run(data));
