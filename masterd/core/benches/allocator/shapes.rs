//! The clusters of Mesos's own allocator benchmarks. Shared by the criterion benchmark and by the printed table.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use masterd_core::allocator::{Allocation, Allocator, Quota, Settings, Subscription};
use nesos_base::time::Instant;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::resource_text::parse;
use nesos_wire::{AgentId, FrameworkId};

/// Every offer is declined for ever.
pub(crate) fn give_back(allocator: &mut Allocator, offers: Vec<Allocation>) {
    for offer in offers {
        let until = Instant::from_secs(365 * 24 * 3600);
        allocator.give_back(offer.holder(), &offer.resources);
        allocator.refuse(offer.holder(), offer.resources.clone(), until);
    }
}

/// Mesos's shape: cpus:24;mem:4096;disk:4096;ports, of which 16 cpus, 2014 MB, 1024 MB and 16 port ranges are in use.
pub(crate) fn cluster(agents: usize, frameworks: usize) -> Allocator {
    let mut allocator = with_frameworks(frameworks);
    let (total, used) = board();
    for at in 0..agents {
        allocator.add_agent(&agent(at), total.clone());
        allocator.allocated(&framework(at % frameworks), "*", &agent(at), &used);
        // As the master does for each agent that registers.
        allocator.share_memory(&agent(at));
    }
    allocator
}

/// No agents yet; all frameworks in one role.
pub(crate) fn with_frameworks(frameworks: usize) -> Allocator {
    let mut allocator = empty();
    for at in 0..frameworks {
        let subscription = Subscription {
            roles: BTreeSet::from(["*".to_owned()]),
            active: true,
            ..Subscription::default()
        };
        allocator.put_framework(&framework(at), subscription);
    }
    allocator
}

/// What an agent has, and what of it is in use.
pub(crate) fn board() -> (Resources, Resources) {
    let ranges: Vec<String> = (0..16)
        .map(|at| format!("{}-{}", 31_000 + at * 60, 31_010 + at * 60))
        .collect();
    let used = format!("cpus:16;mem:2014;disk:1024;ports:[{}]", ranges.join(","));
    let total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]").unwrap();
    (total, parse(&used).unwrap())
}

pub(crate) fn agent(at: usize) -> AgentId {
    AgentId::new(format!("m-S{at}"))
}

pub(crate) fn framework(at: usize) -> FrameworkId {
    FrameworkId::new(format!("m-{at:04}"))
}

fn empty() -> Allocator {
    Allocator::new(&Settings {
        min_allocatable: vec![parse("cpus:0.01").unwrap(), parse("mem:32").unwrap()],
        filter_gpu_resources: true,
        fair_sharing_excluded: Vec::new(),
    })
}

/// As `LargeAndSmallQuota`: one framework per role, five roles with little quota to one with much, as many agents as
/// roles, `cpus:2;mem:2048;disk:2048` each. All quota together is half of the cluster, so that every agent has something
/// left that nobody may have.
pub(crate) fn quota(roles: usize) -> Allocator {
    let mut allocator = empty();
    for at in 0..roles {
        let role = format!("r{at:04}");
        let is_large = at % 6 == 5;
        let (guaranteed, large) = (500, 3_500);
        let cpus = if is_large { large } else { guaranteed };
        let amounts: BTreeMap<String, Scalar> = [("cpus", 1), ("mem", 1024), ("disk", 1024)]
            .map(|(name, per_cpu)| (name.to_owned(), Scalar(cpus * per_cpu)))
            .into();
        let quota = Quota {
            guarantees: amounts.clone(),
            limits: amounts,
        };
        allocator.set_quota(&role, quota);
        let subscription = Subscription {
            roles: BTreeSet::from([role]),
            active: true,
            ..Subscription::default()
        };
        allocator.put_framework(&framework(at), subscription);
    }
    let total = parse("cpus:2;mem:2048;disk:2048").unwrap();
    for at in 0..roles {
        allocator.add_agent(&AgentId::new(format!("m-S{at}")), total.clone());
    }
    allocator
}
