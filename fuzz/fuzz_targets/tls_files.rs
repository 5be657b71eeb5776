#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringroad_fuzz::tls_files(bytes));
