//! The allocator under criterion: `cargo bench -p masterd-core`. The table beside Mesos's figures is printed by
//! `cargo xtask bench allocator`.

mod shapes;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

/// As in masterd.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn decline_offers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("DeclineOffers");
    group.sample_size(10);
    for (agents, frameworks) in [(1_000, 100), (10_000, 1_000)] {
        let mut allocator = shapes::cluster(agents, frameworks);
        let mut offers = allocator.allocate();
        let id = BenchmarkId::from_parameter(format!("{agents}x{frameworks}"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                // Once everybody has declined everything, it begins anew.
                if offers.is_empty() {
                    allocator = shapes::cluster(agents, frameworks);
                }
                shapes::give_back(&mut allocator, std::mem::take(&mut offers));
                offers = allocator.allocate();
            });
        });
    }
}

fn quota(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("LargeAndSmallQuota");
    group.sample_size(10);
    group.bench_function("300", |bencher| {
        bencher.iter_batched_ref(
            || shapes::quota(300),
            |allocator| black_box(allocator.allocate()),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, decline_offers, quota);
criterion_main!(benches);
