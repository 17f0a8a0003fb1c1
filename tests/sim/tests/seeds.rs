//! Runs the simulation over many seeds.
//!
//! `NESOS_SIM_SEEDS=n`: that many instead of 120. `NESOS_SIM_FROM=k`: from this one on. `NESOS_SIM_SEED=k`: only that one,
//! with its trace printed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nesos_sim::{Mixed, Outcome};

/// After this many a thread looks no further: they usually have one cause.
const MAX_FAILURES: usize = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

/// Runs a seed twice; the failure, if there is one, or what happened.
fn run_twice(seed: u64) -> Result<Outcome, String> {
    let first = nesos_sim::run(seed, false);
    if let Some(failure) = first.failure {
        return Err(format!(
            "seed {seed} (NESOS_SIM_SEED={seed} prints its trace): {failure}"
        ));
    }
    let second = nesos_sim::run(seed, false);
    if first.trace != second.trace || first.steps != second.steps {
        return Err(format!(
            "seed {seed} ran differently the second time: {} and {} steps",
            first.steps, second.steps
        ));
    }
    Ok(first)
}

#[test]
fn every_seed_keeps_its_promises() {
    if let Some(seed) = number("NESOS_SIM_SEED") {
        let outcome = nesos_sim::run(seed, true);
        println!("{outcome:?}");
        assert_eq!(outcome.failure, None);
        return;
    }
    let seeds = number("NESOS_SIM_SEEDS").unwrap_or(120);
    let first = number("NESOS_SIM_FROM").unwrap_or(0);
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut failures = Vec::new();
        let (mut launches, mut mixed) = (0, Mixed::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || failures.len() >= MAX_FAILURES {
                return (failures, launches, mixed);
            }
            match run_twice(seed) {
                Ok(outcome) => {
                    launches += outcome.launches;
                    mixed.later_agents += outcome.mixed.later_agents;
                    mixed.earlier_agents += outcome.mixed.earlier_agents;
                }
                Err(failure) => failures.push(failure),
            }
        }
    };
    let results: Vec<(Vec<String>, usize, Mixed)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    let launches: usize = results.iter().map(|(_, launches, _)| launches).sum();
    let later: usize = results.iter().map(|(.., mixed)| mixed.later_agents).sum();
    let earlier: usize = results.iter().map(|(.., mixed)| mixed.earlier_agents).sum();
    let failures: Vec<&String> = results.iter().flat_map(|(failures, ..)| failures).collect();
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds failed:\n{failures:#?}",
        failures.len()
    );
    assert!(
        seeds < 20 || launches as u64 > seeds,
        "only {launches} launches in {seeds} seeds"
    );
    assert!(
        seeds < 20 || (later as u64 > seeds && earlier as u64 > seeds),
        "agents met an earlier master {later} times and a later one {earlier} times in {seeds} seeds"
    );
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, each run twice, {launches} launches, {later} greetings of later agents and {earlier} of earlier ones, {:.1} seeds/s",
        seeds as f64 / seconds
    );
}
