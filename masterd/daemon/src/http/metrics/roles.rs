//! The allocator's numbers by role: quota, decline filters, shares.
//!
//! Called when all metrics are gathered, in the engine's turn: a view has no allocator. Names are Mesos's.

use masterd_core::Master;
use nesos_shell::http::metrics::Values;

const ALLOCATOR: &str = "allocator/mesos";

/// Adds them.
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
