//! What is lent and who is ended, sample by sample, against what was written down.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use agentd_core::slack::{Amount, Estimator, Holder, Measured, Sample, Tolerance, Waits, victim};
use nesos_base::time::Instant;
use nesos_wire::ContainerId;

const TOLERANCE: Tolerance = Tolerance {
    cpu: 30.0,
    memory: 10.0,
};

/// One container in one sample: its name, cpus in thousandths used since the last one, megabytes, per cent of waiting.
type Row = (&'static str, u64, u64, Option<(f64, f64)>);

/// Samples 15 s apart; what was decided after each, a line for each.
fn told(holders: &[Holder], machine: (f64, f64), samples: &[&[Row]]) -> String {
    let mut estimator = Estimator::default();
    let mut used_us = std::collections::BTreeMap::new();
    let mut told = String::new();
    let waits = |(cpu, memory)| Waits { cpu, memory };
    for (number, rows) in samples.iter().enumerate() {
        let mut sample = Sample {
            machine: waits(machine),
            ..Sample::default()
        };
        for (name, cpus, megabytes, waiting) in *rows {
            let total: &mut u64 = used_us.entry(*name).or_default();
            *total += cpus * 15_000;
            let measured = Measured {
                cpu_us: *total,
                memory: megabytes << 20,
                waits: waiting.map(waits),
            };
            sample.containers.insert(ContainerId::new(*name), measured);
        }
        let now = Instant::from_secs(100 + 15 * number as u64);
        let Amount { cpus, mem } = estimator.take(now, holders, &sample);
        write!(told, "{number}: {cpus} {}", mem / 1000).unwrap();
        if let Some((container, why)) = victim(TOLERANCE, &estimator, holders, &sample) {
            write!(told, ", end {container}: {why}").unwrap();
        }
        told.push('\n');
    }
    told
}

fn holder(name: &str, cpus: i64, megabytes: i64, is_revocable: bool) -> Holder {
    Holder {
        container: ContainerId::new(name),
        own: Amount {
            cpus,
            mem: megabytes * 1000,
        },
        is_revocable,
    }
}

#[test]
fn what_a_whole_window_left_unused_is_lent_less_a_reserve() {
    let holders = [holder("a", 2000, 256, false), holder("b", 1000, 64, false)];
    let idle: &[Row] = &[("a", 100, 50, None), ("b", 0, 10, None)];
    let busy: &[Row] = &[("a", 1500, 50, None), ("b", 0, 10, None)];
    let full: &[Row] = &[("a", 1500, 250, None), ("b", 0, 10, None)];
    // The first sample begins the watch, the next four are the window. What shrinks does so at once; the busy moment is
    // remembered for a window.
    let samples = [
        idle, idle, idle, idle, idle, busy, idle, idle, idle, idle, full,
    ];
    let lent = "\
0: 0 0
1: 0 0
2: 0 0
3: 0 0
4: 2300 192
5: 900 192
6: 900 192
7: 900 192
8: 900 192
9: 2300 192
10: 900 32
";
    assert_eq!(told(&holders, (0.0, 0.0), &samples), lent);
}

#[test]
fn revocable_containers_lend_nothing_and_small_growth_is_not_told() {
    let holders = [holder("a", 1000, 0, false), holder("r", 4000, 400, true)];
    let row = |used| [("a", used, 0, None), ("r", 0, 0, None)];
    let rows = [
        700, 700, 700, 700, 700, 600, 600, 600, 600, 500, 500, 500, 500,
    ]
    .map(row);
    let samples: Vec<&[Row]> = rows.iter().map(|row| &row[..]).collect();
    let lent = "\
0: 0 0
1: 0 0
2: 0 0
3: 0 0
4: 0 0
5: 0 0
6: 0 0
7: 0 0
8: 200 0
9: 200 0
10: 200 0
11: 200 0
12: 200 0
";
    assert_eq!(told(&holders, (0.0, 0.0), &samples), lent);
}

#[test]
fn who_uses_most_of_what_lenders_wait_for_is_ended() {
    let holders = [
        holder("a", 1000, 64, false),
        holder("r1", 0, 0, true),
        holder("r2", 0, 0, true),
    ];
    let row = |cpu, memory| -> [Row; 3] {
        [
            ("a", 100, 60, Some((cpu, memory))),
            ("r1", 900, 10, Some((90.0, 90.0))),
            ("r2", 100, 90, None),
        ]
    };
    let rows = [
        row(29.9, 9.9),
        row(30.0, 0.0),
        row(80.0, 12.5),
        row(0.0, 0.0),
    ];
    let samples: Vec<&[Row]> = rows.iter().map(|row| &row[..]).collect();
    let ended = "\
0: 0 0
1: 0 0, end r1: container a waited 30 % of the time for a processor
2: 0 0, end r2: container a waited 12.5 % of the time for memory
3: 0 0
";
    assert_eq!(told(&holders, (99.0, 99.0), &samples), ended);
}

#[test]
fn the_machines_pressure_counts_for_lenders_without_a_cgroup() {
    let holders = [holder("a", 1000, 64, false), holder("r", 0, 0, true)];
    let rows: &[Row] = &[("a", 0, 0, None), ("r", 500, 10, None)];
    let ended = "\
0: 0 0, end r: container a waited 50 % of the time for a processor
1: 0 0, end r: container a waited 50 % of the time for a processor
";
    assert_eq!(told(&holders, (50.0, 0.0), &[rows, rows]), ended);
    // Nobody lends, so nobody suffers; nobody holds, so nobody goes.
    assert_eq!(told(&holders[1..], (50.0, 0.0), &[rows]), "0: 0 0\n");
    assert_eq!(told(&holders[..1], (50.0, 0.0), &[rows]), "0: 0 0\n");
}
