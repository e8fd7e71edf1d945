//! See `tenure_fuzz::lived_history`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::lived_history::run(data));
