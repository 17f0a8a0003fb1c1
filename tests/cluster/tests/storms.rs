//! Masters on hosts of their own, of which some are killed, stopped, cut off and made mute while agents run tasks and clients
//! write and read: no task is started twice, no end is lost, and what clients saw could have come from one master.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod storm;

use nesos_cluster_tests::hosts;
use storm::{Blow, Storm};

#[test]
fn three_masters_outlast_all_that_befalls_one() {
    if !hosts::alone("three_masters_outlast_all_that_befalls_one") {
        return;
    }
    let mut storm = Storm::brew(3, 30);
    for blow in [
        Blow::Kill,
        Blow::Stop,
        Blow::Unplug,
        Blow::Mute,
        Blow::Deafen,
        Blow::Kill,
    ] {
        storm.blow(blow, 1);
    }
    storm.calm();
}

#[test]
fn five_masters_outlast_all_that_befalls_two() {
    if !hosts::alone("five_masters_outlast_all_that_befalls_two") {
        return;
    }
    let mut storm = Storm::brew(5, 3);
    for blow in [Blow::Unplug, Blow::Kill, Blow::Mute, Blow::Stop] {
        storm.blow(blow, 2);
    }
    storm.calm();
}
