//! What a run is about beside its faults: whether there are quotas, weights, operations on resources, executors.
//!
//! Drawn once per seed. Runs without them are needed too: some rules can only be checked to the letter without quota.

use crate::rng::Rng;

/// What goes on in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Laws {
    /// Operators set quotas.
    pub(crate) has_quota: bool,
    /// Operators set weights.
    pub(crate) has_weights: bool,
    /// Frameworks and operators reserve resources and make volumes.
    pub(crate) has_operations: bool,
    /// Some boards are in another region than the master.
    pub(crate) has_domains: bool,
    /// Frameworks launch task groups with default executors, too.
    pub(crate) has_pods: bool,
    /// Frameworks bring executors of their own, too.
    pub(crate) has_programs: bool,
    /// Some boards have a GPU.
    pub(crate) has_gpus: bool,
    /// Some frameworks want large offers only, others any.
    pub(crate) has_floors: bool,
    /// Agents lend what their tasks leave unused.
    pub(crate) has_lending: bool,
}

impl Laws {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            has_quota: rng.chance(30),
            has_weights: rng.chance(30),
            has_operations: rng.chance(40),
            has_domains: rng.chance(25),
            has_pods: rng.chance(40),
            has_programs: rng.chance(40),
            has_gpus: rng.chance(25),
            has_floors: rng.chance(25),
            // Drawn aside, so that runs without it are what they were before there was any.
            has_lending: rng.clone().chance(25),
        }
    }
}
