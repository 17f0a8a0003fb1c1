//! A loss of power at any byte of the log, and a flipped bit in any: the agent comes back and has lost nothing before it.

use super::executors::{executor, given};
use super::*;
use crate::checkpoint::{append, replay};
use nesos_wire::framework_executor::ExecutorKind;

/// A log in which everything occurs that agents without operations write.
fn story() -> Vec<Record> {
    let mut bench = Bench::live();
    bench.run("running");
    bench.run("killed");
    bench.message(MasterToAgent::Kill {
        key: key("killed"),
        grace_ms: Some(5),
    });
    bench.run("over");
    bench.finish("over", Outcome::Exit(3));
    bench.drain("over");
    bench.run("ended");
    bench.finish("ended", Outcome::Signal(9));
    let pod = executor("pod", ExecutorKind::Default, 7);
    bench.message(MasterToAgent::LaunchExecutor {
        tasks: vec![given("inside", &pod, 8)],
        executor: Box::new(pod),
        start: true,
        group: true,
    });
    bench.launch(spec("launched", 9));
    bench.disk
}

/// The log and where each of its entries ends.
fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut log = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        append(&mut log, record).expect("small");
        ends.push(log.len());
    }
    (log, ends)
}

/// An agent that starts from these bytes holds together, and what it then writes leads to the same agent.
fn recover(log: &[u8]) -> Vec<Record> {
    let records = replay(log).records;
    let now = moment(Instant::from_secs(500));
    let agent = Agent::recover(config(), Seed([5; 16]), records.clone(), now);
    agent.check().expect("invariants");
    let snapshot = agent.snapshot();
    let again = Agent::recover(config(), Seed([6; 16]), snapshot.clone(), now);
    assert_eq!(again.snapshot(), snapshot);
    records
}

#[test]
fn a_log_that_ends_at_any_byte_keeps_every_whole_record() {
    let records = story();
    let (log, ends) = written(&records);
    for cut in 0..=log.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(recover(&log[..cut]), records[..whole], "cut at {cut}");
    }
}

#[test]
fn a_damaged_byte_costs_its_record_and_no_other() {
    let records = story();
    let (log, ends) = written(&records);
    for at in 0..log.len() {
        let mut damaged = log.clone();
        damaged[at] ^= 1 << (at % 8);
        let lost = ends.iter().filter(|end| **end <= at).count();
        let mut left = records.clone();
        left.remove(lost);
        assert_eq!(recover(&damaged), left, "byte {at} of record {lost}");
    }
}

#[test]
fn what_was_not_written_when_the_power_went_reads_as_zeros_or_rubbish() {
    let records = story();
    let (log, ends) = written(&records);
    for (number, begin) in ends.iter().enumerate() {
        for filler in [0u8, 0xff, b'n'] {
            let mut hole = log[..*begin].to_vec();
            hole.resize(log.len(), filler);
            assert_eq!(recover(&hole), records[..=number], "{filler} from {begin}");
        }
    }
}
