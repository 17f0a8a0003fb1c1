//! Reads any bytes as an agent's checkpoint and starts from what comes out. Shared by a test and the fuzz target `checkpoint`.

use agentd_core::checkpoint::{self, Record};
use agentd_core::{Agent, Config, Moment, Seed};
use nesos_base::time::Instant;
use nesos_wire::{NodeId, resource_text, version};

/// As a log, and behind the checksums that keep strangers' bytes out of one: as records, each with its length in one byte
/// before it. Nothing may panic, and what is read of a log must survive being written again.
pub(crate) fn log(bytes: &[u8]) {
    start(checkpoint::replay(bytes).records);
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((length, body)) = rest.split_first() {
        let length = usize::from(*length).min(body.len());
        if let Ok(record) = postcard::from_bytes::<Record>(&body[..length]) {
            records.push(record);
        }
        rest = &body[length..];
    }
    start(records);
}

/// An agent that begins with these writes records that lead to the same agent.
fn start(records: Vec<Record>) {
    let mut written = Vec::new();
    for record in &records {
        if checkpoint::append(&mut written, record).is_err() {
            return;
        }
    }
    let replay = checkpoint::replay(&written);
    assert_eq!(replay.skipped, 0);
    assert_eq!(replay.records.len(), records.len());
    let moment = Moment {
        now: Instant::from_secs(1),
        unix: 1.0,
    };
    let mut agent = Agent::recover(config(), Seed([1; 16]), records, moment);
    let _ = agent.ready();
    let snapshot = agent.snapshot();
    let again = Agent::recover(config(), Seed([1; 16]), snapshot.clone(), moment);
    assert_eq!(format!("{:?}", again.snapshot()), format!("{snapshot:?}"));
}

fn config() -> Config {
    Config {
        node: NodeId::new("n"),
        version: version::CURRENT,
        boot_id: "b".into(),
        hostname: "h".into(),
        ip: String::new(),
        port: 5051,
        software: "0".into(),
        resources: resource_text::parse("cpus:4;mem:512").unwrap_or_default(),
        attributes: Vec::new(),
        domain: None,
        executors: Default::default(),
    }
}
