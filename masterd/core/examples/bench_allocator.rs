//! Times the allocator in the shapes of Mesos's own benchmarks and prints a table. Run by `cargo xtask bench allocator`.
//!
//! One core, release build, no master around it: as Mesos's `HierarchicalAllocator_BENCHMARK_Test`, which times a batch
//! from its trigger to the last offer callback. A round here is what such a batch covers: the declines of the round before
//! (each with a filter that outlasts the test), then the allocation. Not compared with a Mesos run on this machine: the
//! figures beside ours are the published ones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::time::Instant as Clock;

use masterd_core::allocator::{Allocation, Allocator, Settings, Subscription};
use nesos_base::time::Instant;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text::parse;
use nesos_wire::{AgentId, FrameworkId};

/// As in masterd.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

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
    let (p50, p99) = freed(1_000, 100);
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

fn give_back(allocator: &mut Allocator, offers: Vec<Allocation>) {
    for offer in offers {
        let until = Instant::from_secs(365 * 24 * 3600);
        allocator.give_back(offer.holder(), &offer.resources);
        allocator.refuse(offer.holder(), offer.resources.clone(), until);
    }
}

/// Mesos's shape: cpus:24;mem:4096;disk:4096;ports, of which 16 cpus, 2014 MB, 1024 MB and 16 port ranges are in use.
fn cluster(agents: usize, frameworks: usize) -> Allocator {
    let mut allocator = Allocator::new(&Settings {
        min_allocatable: vec![parse("cpus:0.01").unwrap(), parse("mem:32").unwrap()],
        filter_gpu_resources: true,
        fair_sharing_excluded: Vec::new(),
    });
    for at in 0..frameworks {
        let subscription = Subscription {
            roles: BTreeSet::from(["*".to_owned()]),
            active: true,
            ..Subscription::default()
        };
        allocator.put_framework(&framework(at), subscription);
    }
    let total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]").unwrap();
    let ranges: Vec<String> = (0..16)
        .map(|at| format!("{}-{}", 31_000 + at * 60, 31_010 + at * 60))
        .collect();
    let used = format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ranges.join(","));
    let used: Resources = parse(&used).unwrap();
    for at in 0..agents {
        let id = AgentId::new(format!("m-S{at}"));
        allocator.add_agent(&id, total.clone());
        allocator.allocated(&framework(at % frameworks), "*", &id, &used);
    }
    allocator
}

fn framework(at: usize) -> FrameworkId {
    FrameworkId::new(format!("m-{at:04}"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
