//! What the cluster has, and how much of it is in use or on offer; revocable resources by themselves.
//!
//! Called when all metrics are gathered. Names are Mesos's.

use masterd_core::Master;
use nesos_shell::http::metrics::Values;
use nesos_wire::resource::{Entry, Resources};

use crate::http::state::sum;

/// Adds them.
pub(super) fn fill(master: &Master, values: &mut Values) {
    let connected = || master.agents().filter(|agent| agent.is_connected());
    let total = sum(connected().map(|agent| &agent.resources));
    let mut used = Resources::new();
    connected().for_each(|agent| used.add(&master.used_resources(agent)));
    let offered = sum(master.offers().map(|offer| &offer.resources));
    let is_revocable = |entry: &Entry| entry.terms().is_revocable;
    for (kind, keep) in [("", false), ("revocable_", true)] {
        let only = |all: &Resources| all.filter(|entry| is_revocable(entry) == keep);
        shares(kind, &only(&total), &only(&used), values);
    }
    for name in NAMES {
        let amount = |all: &Resources| all.scalar(name).to_f64();
        let resource = format!("allocator/mesos/resources/{name}");
        let busy = amount(&used) + amount(&offered);
        values.insert(format!("{resource}/total"), amount(&total));
        values.insert(format!("{resource}/offered_or_allocated"), busy);
    }
}

/// Those that are always shown.
pub(in crate::http) const NAMES: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

fn shares(kind: &str, total: &Resources, used: &Resources, values: &mut Values) {
    for name in NAMES {
        let (all, taken) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
        let percent = if all > 0.0 { taken / all } else { 0.0 };
        let amounts = [("total", all), ("used", taken), ("percent", percent)];
        for (tail, amount) in amounts {
            values.insert(format!("master/{name}_{kind}{tail}"), amount);
        }
    }
}
