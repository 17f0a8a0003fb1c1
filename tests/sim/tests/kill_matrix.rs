//! Every victim at every point of a task's life: no task is lost, no update is lost or repeated after its acknowledgement,
//! nothing runs on that nobody knows. What holds is checked by the simulation itself, after every step and in the end.
//!
//! `NESOS_KILL_ROUNDS=n`: that many rounds over all cells instead of one for each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_sim::{Hour, Victim, run_plot};

/// Seeds that are tried for a cell until its plot has been carried out: not in every run a task is killed.
const MOST_SEEDS: u64 = 20;

fn rounds() -> usize {
    let given = std::env::var("NESOS_KILL_ROUNDS").ok();
    given.map_or(25, |text| text.parse().expect("a number"))
}

#[test]
fn no_task_and_no_update_is_lost_whoever_is_killed() {
    let cells = Victim::ALL.map(|victim| Hour::ALL.map(|hour| (victim, hour)));
    let cells: Vec<(Victim, Hour)> = cells.into_iter().flatten().collect();
    for round in 0..rounds() {
        let (victim, hour) = cells[round % cells.len()];
        let first = (round / cells.len()) as u64 * MOST_SEEDS;
        let mut strikes = 0;
        for seed in first..first + MOST_SEEDS {
            let outcome = run_plot(seed, victim, hour, false);
            assert_eq!(outcome.failure, None, "{victim:?} {hour:?}, seed {seed}");
            strikes += outcome.strikes;
            if strikes > 0 {
                break;
            }
        }
        assert!(strikes > 0, "{victim:?} was never killed while {hour:?}");
    }
}
