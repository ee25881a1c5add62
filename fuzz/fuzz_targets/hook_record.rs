#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| disk_guard::fuzzing::hook_record(bytes));
