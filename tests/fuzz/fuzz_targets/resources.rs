//! Any list of public resources makes a bag or a sentence, and what a bag shows makes the same bag again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nesos_api::resources::{ReservationFormat, Shape, bag, list};
use nesos_api::v1::Offer;

fuzz_target!(|bytes: &[u8]| {
    let Ok(offer) = Offer::from_protobuf(bytes) else {
        return;
    };
    let Ok(first) = bag(&offer.resources) else {
        return;
    };
    // Beyond this a double cannot hold every thousandth.
    let exact = |thousandths: i64| thousandths < 1 << 50;
    if !first.entries().iter().all(|entry| exact(entry.scalar().0)) {
        return;
    }
    let shape = Shape {
        allocation: None,
        format: ReservationFormat::Stack,
    };
    assert_eq!(bag(&list(&first, &shape)), Ok(first));
});
