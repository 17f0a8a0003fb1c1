//! Pins the bytes of every message: a change here is a change of the protocol.
//!
//! `tests/golden/v1.txt` holds one line per sample. A released line is never edited; a new variant adds lines.
//! `UPDATE_EXPECT=1` rewrites the file while version 1 is not released.

use std::fs;
use std::path::Path;

use nesos_base::token::hex;
use nesos_wire_compat::samples;

#[test]
fn version_1_bytes_are_what_they_were() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1.txt");
    let now: String = samples()
        .iter()
        .map(|s| format!("{} {}\n", s.name.replace(' ', "_"), hex(&s.bytes)))
        .collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().expect("has a parent")).expect("make golden/");
        fs::write(&path, &now).expect("write golden file");
    }
    let frozen = fs::read_to_string(&path).expect("golden/v1.txt");
    for (frozen, now) in frozen.lines().zip(now.lines()) {
        assert_eq!(frozen, now, "the wire format changed");
    }
    assert_eq!(
        frozen.lines().count(),
        now.lines().count(),
        "a sample was added or lost"
    );
}

#[test]
fn frozen_bytes_decode_and_encode_to_themselves() {
    for sample in samples() {
        assert_eq!(
            (sample.recode)(&sample.bytes).as_deref(),
            Some(&sample.bytes[..]),
            "{}",
            sample.name
        );
    }
}

#[test]
fn damaged_messages_never_panic() {
    for sample in samples() {
        for at in 0..sample.bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = sample.bytes.clone();
                bytes[at] ^= flip;
                let _ = (sample.recode)(&bytes);
                let _ = (sample.recode)(&bytes[..at]);
            }
        }
    }
}
