//! Fuzzes what Imager leaves on a card; what must hold is in `nesos_wire_compat::decoders`. Run by `cargo fuzz` only. Invariant: no panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    nesos_wire_compat::decoders::preset(bytes);
});
