//! Masters on hosts of their own, of which some are killed, stopped, cut off and made mute while agents run tasks and clients
//! write and read: no task is started twice, no end is lost, and what clients saw could have come from one master. So it is, too,
//! when one after the other becomes one of the next wire version, and goes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod storm;

use nesos_cluster_tests::hosts;
use storm::{Blow, Build, Storm};

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

#[test]
fn a_rolling_upgrade_and_the_way_back_lose_nothing() {
    if !hosts::alone("a_rolling_upgrade_and_the_way_back_lose_nothing") {
        return;
    }
    let agents = 4;
    let mut storm = Storm::brew(3, agents);
    let present = Build::Present.version();
    let mut speaks = [present; 3];
    storm.until_version(present, &speaks);
    // Some agents before the masters, the others after them.
    for build in [Build::Next, Build::Present] {
        for number in 0..agents / 2 {
            storm.renew_agent(number, build);
        }
        for at in 0..3 {
            storm.renew_master(at, build);
            speaks[at] = build.version();
            let lowest = speaks.into_iter().min().unwrap();
            storm.until_version(lowest, &speaks);
        }
        if build == Build::Next {
            let reason = format!("all masters speak {} by now", build.version());
            storm.refuse_newcomer(Build::Present, &reason);
        }
        for number in agents / 2..agents {
            storm.renew_agent(number, build);
        }
    }
    storm.calm();
}
