//! Every victim at every point of a task's life: no task is lost, no update is lost or repeated after its acknowledgement,
//! nothing is left of what has ended, and nothing runs that nobody knows. All that is checked by the simulation itself,
//! after every step and in the end.
//!
//! Both tests print which cells of {agentd, the task's helper, the task, masterd, the board} x {fetching, starting, running,
//! killing, a status unacknowledged} were hit, and how often. `NESOS_KILL_ROUNDS=n`: that many random rounds. `NESOS_KILL_SEED=k`: only that one, with its trace
//! printed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nesos_sim::{Hour, Victim, run_plot};

/// Seeds that are tried for a cell until its plot has been carried out: not in every run a task is killed.
const MOST_SEEDS: u64 = 20;
/// Rounds in which anybody is killed at any point, several times each.
const ROUNDS: u64 = 200;

type Cells = BTreeMap<(Victim, Hour), usize>;

fn cells() -> impl Iterator<Item = (Victim, Hour)> {
    let cells = Victim::ALL.map(|victim| Hour::ALL.map(|hour| (victim, hour)));
    cells.into_iter().flatten()
}

/// The matrix, printed; then what of it was not hit.
fn report(hits: &Cells) -> Vec<(Victim, Hour)> {
    let heads = Hour::ALL.map(|hour| format!("{:>15}", format!("{hour:?}")));
    println!("{:>8}{}", "", heads.concat());
    for victim in Victim::ALL {
        let row = Hour::ALL.map(|hour| hits.get(&(victim, hour)).copied().unwrap_or(0));
        let row = row.map(|count| format!("{count:>15}"));
        println!("{:>8}{}", format!("{victim:?}"), row.concat());
    }
    cells().filter(|cell| !hits.contains_key(cell)).collect()
}

/// Hands each number below `count` to `work`, on all processors.
fn for_each(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

#[test]
fn nothing_is_lost_in_any_cell_of_the_kill_matrix() {
    let hits = Mutex::new(Cells::new());
    let all: Vec<_> = cells().collect();
    for_each(all.len() as u64, |number| {
        let cell = all[number as usize];
        for seed in 0..MOST_SEEDS {
            let outcome = run_plot(seed, Some(cell), false);
            assert_eq!(outcome.failure, None, "{cell:?}, seed {seed}");
            if !outcome.strikes.is_empty() {
                hits.lock().unwrap().insert(cell, outcome.strikes.len());
                return;
            }
        }
    });
    let missed = report(&hits.into_inner().unwrap());
    assert!(missed.is_empty(), "never hit: {missed:?}");
}

#[test]
fn nothing_is_lost_in_random_rounds_of_the_kill_matrix() {
    let number = |name: &str| {
        let given = std::env::var(name).ok();
        given.map(|text| text.parse::<u64>().expect("a number"))
    };
    if let Some(seed) = number("NESOS_KILL_SEED") {
        let outcome = run_plot(seed, None, true);
        return assert_eq!(outcome.failure, None, "seed {seed}");
    }
    let rounds = number("NESOS_KILL_ROUNDS").unwrap_or(ROUNDS);
    let hits = Mutex::new(Cells::new());
    for_each(rounds, |number| {
        // Not the seeds of the other test.
        let seed = MOST_SEEDS + number;
        let outcome = run_plot(seed, None, false);
        assert_eq!(outcome.failure, None, "seed {seed}");
        let mut hits = hits.lock().unwrap();
        for cell in outcome.strikes {
            *hits.entry(cell).or_default() += 1;
        }
    });
    let missed = report(&hits.into_inner().unwrap());
    assert!(
        missed.is_empty() || rounds < ROUNDS,
        "never hit: {missed:?}"
    );
}
