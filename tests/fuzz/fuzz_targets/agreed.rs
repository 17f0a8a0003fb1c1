//! Fuzzes the log and the backups of masters; what must hold is in the file that this takes in. Run by `cargo fuzz` only. Invariant: no panic, and what was read of a backup survives being written again.
#![no_main]

#[path = "../../../masterd/core/tests/common/agreed.rs"]
mod agreed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    agreed::agreed(bytes);
});
