//! Agents of another wire version than their master's.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent};
use nesos_wire::version::{self, Version};

/// Upgrades begin with whom they begin with: an agent may be ahead of its master.
#[test]
fn an_agent_of_the_next_wire_version_is_welcome_and_one_too_old_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let said = async |version: u16| {
            let mut link = board.dial(&address).await;
            let hello = Hello {
                version: Version(version),
                ..board.hello()
            };
            link.say(&AgentToMaster::Hello(hello)).await;
            link.hear().await
        };
        let welcome = said(version::CURRENT.0 + 1).await;
        assert!(matches!(welcome, MasterToAgent::Welcome(_)), "{welcome:?}");
        let refused = said(version::MIN.0 - 1).await;
        let MasterToAgent::Refused { reason } = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("the peer speaks wire version"), "{reason}");
    });
}
