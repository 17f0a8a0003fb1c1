//! The allocator's numbers by role: quota, decline filters, shares.
//!
//! Called when all metrics are gathered, in the engine's turn: a view has no allocator. Names are Mesos's.

use masterd_core::{Master, amounts};
use nesos_shell::http::metrics::Values;

use crate::http::state::sum;

const ALLOCATOR: &str = "allocator/mesos";

/// Adds what the allocator knows.
pub(super) fn fill(master: &Master, values: &mut Values) {
    for quota in master.registry().quotas() {
        let kinds = [("guarantee", &quota.guarantees), ("limit", &quota.limits)];
        for (kind, amounts) in kinds {
            for (resource, amount) in amounts {
                let role = &quota.role;
                let name = format!("{ALLOCATOR}/quota/roles/{role}/resources/{resource}/{kind}");
                values.insert(name, amount.to_f64());
            }
        }
    }
    let active = master.active_filters() as f64;
    values.insert(format!("{ALLOCATOR}/offer_filters/active"), active);
    let filters = master.active_filters_of_roles();
    for (role, share) in master.role_shares() {
        values.insert(format!("{ALLOCATOR}/roles/{role}/shares/dominant"), share);
        let active = filters.get(role).copied().unwrap_or_default();
        let name = format!("{ALLOCATOR}/offer_filters/roles/{role}/active");
        values.insert(name, active as f64);
    }
}

/// What roles with quota hold or are offered, in all. From the books, which a view has too.
pub(super) fn given(master: &Master, values: &mut Values) {
    if master.registry().quotas().next().is_none() {
        return;
    }
    for (role, usage) in master.roles() {
        if master.registry().quota(&role).is_none() {
            continue;
        }
        let given = sum([&usage.allocated, &usage.offered]);
        for (resource, amount) in amounts(&given) {
            let name =
                format!("{ALLOCATOR}/quota/roles/{role}/resources/{resource}/offered_or_allocated");
            values.insert(name, amount.to_f64());
        }
    }
}
