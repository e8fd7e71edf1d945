//! See `tenure_fuzz::server_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenure_fuzz::server_message::run(data));
