//! Agents that link without TLS: who may, and what they have to prove.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::{Master, run};
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::plain::{self, PlainError};
use nesos_wire::NodeId;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::plain::LinkSecret;
use tokio::net::TcpStream;

/// The master's first word to this greeting on a link without TLS.
async fn greet(
    address: &str,
    node: &NodeId,
    secret: &LinkSecret,
    greeting: AgentToMaster,
) -> Result<MasterToAgent, PlainError> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut link = plain::knock(stream, node, secret).await?;
    framed::write(&mut link, &greeting).await?;
    let answer = FrameReader::new(link).read_within(common::DEADLINE).await?;
    Ok(answer.expect("an answer"))
}

#[test]
fn who_proves_itself_is_an_agent_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--agent_tls=optional"]);
    let warning = master.wait_log("without TLS");
    assert!(warning.contains("WARN"), "{warning}");
    let address = master.address();
    run(async {
        let node = board(&address, dir.path(), "n1").await;
        let hello = || AgentToMaster::Hello(node.hello());
        let answer = greet(&address, &node.node, &node.secret, hello()).await;
        let Ok(MasterToAgent::Welcome(welcome)) = answer else {
            panic!("not welcome: {answer:?}")
        };
        // With TLS it is the same agent, and others need not do without.
        let (_link, again) = node.register(&address).await;
        assert_eq!(again, welcome.agent.as_str());

        let other = board(&address, dir.path(), "n2").await;
        let answer = greet(&address, &other.node, &other.secret, hello()).await;
        assert!(
            matches!(answer, Ok(MasterToAgent::Refused { ref reason }) if reason.contains("'n2'")),
            "{answer:?}"
        );
        let answer = greet(&address, &node.node, &other.secret, hello()).await;
        assert!(
            matches!(answer, Err(PlainError::Proof("master"))),
            "{answer:?}"
        );
    });
}

#[test]
fn a_master_that_requires_tls_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let node = board(&address, dir.path(), "n1").await;
        let hello = AgentToMaster::Hello(node.hello());
        let answer = greet(&address, &node.node, &node.secret, hello).await;
        assert!(
            matches!(answer, Err(PlainError::Refused(ref reason)) if reason.contains("--agent_tls=optional")),
            "{answer:?}"
        );
        node.register(&address).await;
    });
    let line = master.wait_log("with TLS only");
    assert!(line.contains("\"n1\""), "{line}");
}
