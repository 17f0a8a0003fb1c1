//! The short, plain form of the fuzz target `checkpoint`: damaged records and noise, none of which may panic.

#[path = "common/log.rs"]
mod log;

use agentd_core::checkpoint::{self, Record};
use log::log;
use nesos_wire::{AgentId, Attempt, FrameworkId, TaskId, TaskKey, Uuid};

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

fn records() -> Vec<Record> {
    let key = TaskKey {
        framework: FrameworkId::new("f"),
        task: TaskId::new("t"),
    };
    vec![
        Record::Boot {
            boot_id: "a".into(),
        },
        Record::Admitted {
            agent: AgentId::new("m-S1"),
        },
        Record::KillRequested {
            key: key.clone(),
            grace_ms: 7,
        },
        Record::Acknowledged {
            key: key.clone(),
            uuid: Uuid([3; 16]),
        },
        Record::Forgotten {
            key,
            attempt: Attempt(9),
        },
    ]
}

#[test]
fn no_bytes_make_it_panic() {
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for record in records() {
        checkpoint::append(&mut whole, &record).expect("small");
        let body = postcard::to_allocvec(&record).expect("small");
        bare.push(u8::try_from(body.len()).expect("small"));
        bare.extend(body);
    }
    for (number, sample) in [whole, bare].into_iter().enumerate() {
        log(&sample);
        for (turn, place) in noise(number as u64).take(1000).enumerate() {
            let mut damaged = sample.clone();
            let at = place as usize % damaged.len();
            damaged[at] ^= 1 << (turn % 8);
            log(&damaged);
            damaged[at] = (place >> 8) as u8;
            log(&damaged[..at]);
            damaged.splice(at..at, sample.iter().copied().skip(at / 2).take(turn % 40));
            log(&damaged);
        }
    }
}
