//! Fuzzes the fetcher's archives: tar in every compression, and zip. What must hold is in the file that this takes in. Run by `cargo fuzz` only. Invariant: no panic, no path that leads out.
#![no_main]

#[path = "../../../agentd/fetcher/tests/common/paper.rs"]
mod paper;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    paper::archives(bytes);
});
