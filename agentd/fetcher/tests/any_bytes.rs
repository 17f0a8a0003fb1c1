//! The short, plain form of the fuzz target `archives`: damaged archives and noise, none of which may panic.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/paper.rs"]
mod paper;

use common::COMPRESSIONS;
use tar::EntryType;

/// Numbers that look random and are the same every time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let next = |x: &u64| {
        Some(
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695),
        )
    };
    std::iter::successors(Some(seed), next).map(|x| x >> 24)
}

#[test]
fn no_bytes_make_it_panic_or_leave() {
    let tar = common::tar_of(&[
        common::folder("d"),
        common::file(&"n".repeat(150), "text"),
        common::link(EntryType::Symlink, "l", "d"),
        common::extended(&[("path", "p"), ("uid", "1")], "f", "x"),
    ]);
    let mut samples: Vec<Vec<u8>> = COMPRESSIONS
        .iter()
        .map(|(_, compress)| compress(&tar))
        .collect();
    samples.push(common::raw_zip(&[
        ("a", 0o100_644, b"x"),
        ("l", 0o120_777, b"a"),
    ]));
    for (number, sample) in samples.iter().enumerate() {
        paper::archives(sample);
        for (turn, place) in noise(number as u64).take(300).enumerate() {
            let mut damaged = sample.clone();
            let at = place as usize % damaged.len();
            damaged[at] ^= 1 << (turn % 8);
            paper::archives(&damaged);
            paper::archives(&damaged[..at]);
        }
    }
}
