//! See `tenure_fuzz::kept_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::kept_record::run(data));
