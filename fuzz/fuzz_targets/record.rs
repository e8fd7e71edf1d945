//! See `tenure_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::record::run(data));
