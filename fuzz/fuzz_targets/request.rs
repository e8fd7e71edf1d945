//! See `tenure_fuzz::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::request::run(data));
