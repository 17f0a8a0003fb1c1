//! Fuzzes what registries and archives say of images: indexes, manifests, configurations, names, logins. What must hold is in the file that this takes in. Run by `cargo fuzz` only. Invariant: no panic, no path or name that leads elsewhere.
#![no_main]

#[path = "../../../agentd/core/tests/common/documents.rs"]
mod documents;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    documents::documents(bytes);
});
