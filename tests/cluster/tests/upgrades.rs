//! Three masters and agents with running tasks, of which one after the other becomes one of the next wire version, and goes back:
//! no task is started twice, no end is lost, all masters have the same registry, and the group speaks what all of them read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod storm;

use nesos_cluster_tests::hosts;
use storm::{Build, Storm};

const MASTERS: usize = 3;
const AGENTS: usize = 4;

#[test]
fn a_rolling_upgrade_and_the_way_back_lose_nothing() {
    if !hosts::alone("a_rolling_upgrade_and_the_way_back_lose_nothing") {
        return;
    }
    let mut storm = Storm::brew(MASTERS as u8, AGENTS);
    let present = Build::Present.version();
    let mut speaks = [present; MASTERS];
    storm.until_version(present, &speaks);
    // Some agents before the masters, the others after them.
    for build in [Build::Next, Build::Present] {
        for number in 0..AGENTS / 2 {
            storm.renew_agent(number, build);
        }
        for at in 0..MASTERS {
            storm.renew_master(at, build);
            speaks[at] = build.version();
            let lowest = speaks.into_iter().min().unwrap();
            storm.until_version(lowest, &speaks);
        }
        for number in AGENTS / 2..AGENTS {
            storm.renew_agent(number, build);
        }
    }
    storm.calm();
}
