//! Times the allocator in the shapes of Mesos's own benchmarks and prints a table. Run by `cargo xtask bench allocator`.
//!
//! One core, release build, no master around it: as Mesos's `HierarchicalAllocator_BENCHMARK_Test`, which times a batch
//! from its trigger to the last offer callback. A round here is what such a batch covers: the declines of the round before
//! (each with a filter that outlasts the test), then the allocation. Not compared with a Mesos run on this machine: the
//! figures beside ours are the published ones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../benches/allocator/shapes.rs"]
mod shapes;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Instant as Clock;

use shapes::{agent, board, cluster, framework, give_back, quota, with_frameworks};

/// As in masterd.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [(usize, usize); 4] = [(1_000, 100), (5_000, 500), (10_000, 1_000), (20_000, 2_000)];
/// Mesos 1.8, allocation cycle of the same size in milliseconds (read off its published chart).
const MESOS: [f64; 4] = [50.0, 400.0, 1_060.0, 3_800.0];
const ROUNDS: usize = 15;

fn main() {
    println!(
        "{:<16} {:>7} {:>10} {:>10} {:>12} {:>8}",
        "shape", "agents", "frameworks", "ms/round", "Mesos 1.8 ms", "ratio"
    );
    for ((agents, frameworks), mesos) in SIZES.into_iter().zip(MESOS) {
        line(
            "DeclineOffers",
            agents,
            frameworks,
            decline(agents, frameworks),
            Some(mesos),
        );
    }
    for (agents, frameworks) in SIZES {
        line(
            "SuppressOffers",
            agents,
            frameworks,
            suppress(agents, frameworks),
            None,
        );
    }
    let (first, idle) = quotas(3_000);
    line("Quota, first", 3_000, 3_000, first, Some(15_500.0));
    line("Quota, idle", 3_000, 3_000, idle, Some(13_800.0));
    let (add, remove) = sorter(50_000, 1_000);
    line("Sorter, add", 50_000, 1_000, add, Some(185.0));
    line("Sorter, remove", 50_000, 1_000, remove, Some(12_200.0));
    let (p50, p99) = freed(1_000, 100);
    for (agents, frameworks) in [SIZES[2], SIZES[3]] {
        line("Floor", agents, frameworks, floor(agents, frameworks), None);
    }
    println!(
        "freed resource to next offer, 1000 agents, 100 frameworks: p50 {p50:.1} us, p99 {p99:.1} us"
    );
}

fn line(shape: &str, agents: usize, frameworks: usize, ms: f64, mesos: Option<f64>) {
    let (figure, ratio) = mesos.map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |mesos| (format!("{mesos:.0}"), format!("{:.0}x", mesos / ms)),
    );
    println!("{shape:<16} {agents:>7} {frameworks:>10} {ms:>10.2} {figure:>12} {ratio:>8}");
}

/// Every framework declines everything for ever; each round offers to others.
fn decline(agents: usize, frameworks: usize) -> f64 {
    let mut allocator = cluster(agents, frameworks);
    let mut offers = allocator.allocate();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Clock::now();
        give_back(&mut allocator, offers);
        offers = allocator.allocate();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(offers.len(), agents, "everything is offered on");
    }
    median(times)
}

/// Five allocations, one more fifth of the frameworks suppressed before each but the first.
fn suppress(agents: usize, frameworks: usize) -> f64 {
    let mut allocator = cluster(agents, frameworks);
    let mut offers = allocator.allocate();
    let mut times = Vec::new();
    let roles = BTreeSet::from(["*".to_owned()]);
    for fifth in 0..4 {
        for at in fifth * frameworks / 5..(fifth + 1) * frameworks / 5 {
            allocator.suppress(&framework(at), &roles);
        }
        let begin = Clock::now();
        for offer in offers {
            allocator.give_back(offer.holder(), &offer.resources);
        }
        offers = allocator.allocate();
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(offers.len(), agents, "everything is offered on");
    }
    median(times)
}

/// The run that gives every role what it is guaranteed, and one over all agents that has nothing left to give.
fn quotas(roles: usize) -> (f64, f64) {
    let (mut first, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut allocator = quota(roles);
        let begin = Clock::now();
        let offers = allocator.allocate();
        first.push(begin.elapsed().as_secs_f64() * 1e3);
        assert!(offers.len() >= roles, "every role gets something");
        allocator.set_weight("another", 2.0);
        let begin = Clock::now();
        assert_eq!(allocator.allocate().len(), 0, "all are at their limits");
        idle.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    (median(first), median(idle))
}

/// Agents come one after the other; then what is in use of each is free again. Mesos's figures are of its sorter alone,
/// ours of the whole allocator.
fn sorter(agents: usize, frameworks: usize) -> (f64, f64) {
    let mut allocator = with_frameworks(frameworks);
    let (total, used) = board();
    let names: Vec<_> = (0..agents).map(agent).collect();
    let clients: Vec<_> = (0..frameworks).map(framework).collect();
    let begin = Clock::now();
    for id in &names {
        allocator.add_agent(id, total.clone());
    }
    let add = begin.elapsed().as_secs_f64() * 1e3;
    for (id, client) in names.iter().zip(clients.iter().cycle()) {
        allocator.allocated(client, "*", id, &used);
    }
    let begin = Clock::now();
    for (id, client) in names.iter().zip(clients.iter().cycle()) {
        allocator.recover(client, "*", id, &used);
    }
    let remove = begin.elapsed().as_secs_f64() * 1e3;
    assert!(
        allocator.dominant_share("*", &clients[0]) == 0.0,
        "all is free"
    );
    (add, remove)
}

/// One agent's resources come free; the time until they are offered to somebody else. Microseconds, p50 and p99.
fn freed(agents: usize, frameworks: usize) -> (f64, f64) {
    let mut allocator = cluster(agents, frameworks);
    let mut offers = allocator.allocate();
    let mut times = Vec::new();
    for step in 0..10_000 {
        let at = step % offers.len();
        let offer = offers.swap_remove(at);
        let begin = Clock::now();
        allocator.give_back(offer.holder(), &offer.resources);
        let next = allocator.allocate();
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        assert_eq!(next.len(), 1);
        offers.extend(next);
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// The arithmetic of fairness and nothing else: each agent's four amounts go to the least share of a heap. It says what this
/// machine is worth at the moment; the ratio of a round to it changes less than both do.
fn floor(agents: usize, frameworks: usize) -> f64 {
    const FREE: [u64; 4] = [8_000, 2_082_000, 3_072_000, 825];
    let total = FREE.map(|free| free * agents as u64);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut held = vec![[0u64; FREE.len()]; frameworks];
        let mut heap: BinaryHeap<_> = (0..frameworks).map(|at| Reverse((0u64, at))).collect();
        let begin = Clock::now();
        for _ in 0..agents {
            let Some(mut least) = heap.peek_mut() else {
                break;
            };
            let Reverse((share, at)) = &mut *least;
            for (held, free) in held[*at].iter_mut().zip(FREE) {
                *held += free;
            }
            let shares = held[*at].iter().zip(total);
            *share = shares
                .map(|(held, total)| (held << 32) / total)
                .max()
                .unwrap();
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        assert!(std::hint::black_box(held).iter().all(|held| held[0] > 0));
    }
    median(times)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
