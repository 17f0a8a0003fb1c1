//! Fuzzes the checkpoint that an agent starts from; what must hold is in the file that this takes in. Run by `cargo fuzz` only. Invariant: no panic, and what was read survives being written again.
#![no_main]

#[path = "../../../agentd/core/tests/common/log.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    log::log(bytes);
});
