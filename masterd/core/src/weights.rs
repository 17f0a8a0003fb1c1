//! Weights: how much a role counts next to its siblings.
//!
//! Not what a weight does (`allocator`). Called by `order` and by the master's start. Invariant: the allocator's weights
//! are the registry's.

use std::collections::BTreeSet;

use nesos_wire::OfferId;
use nesos_wire::command::{Command, WeightRecord};
use nesos_wire::role;

use crate::master::Master;
use crate::ready::Answer;
use crate::registry::{MAX_ROLE, MAX_WEIGHTS};

impl Master {
    /// Sets these weights, all or none. If a framework is in one of the roles or below, all offers are taken back, so that
    /// the new weights decide about them.
    pub(crate) fn update_weights(&mut self, mut weights: Vec<WeightRecord>) -> Answer {
        if let Err(sentence) = self.check_weights(&weights) {
            return Answer::Invalid(sentence);
        }
        weights.retain(|new| self.registry.weight(&new.role) != Some(new.weight));
        if weights.is_empty() {
            return Answer::Done;
        }
        self.put_weights(weights.clone());
        let concerns = |role: &String| {
            let mut changed = weights.iter().map(|weight| weight.role.as_str());
            changed.any(|changed| changed == role || role::is_below(role, changed))
        };
        let mut roles = self
            .frameworks
            .values()
            .flat_map(|framework| &framework.facts.roles);
        let is_concerned = roles.any(concerns);
        drop(roles);
        if is_concerned {
            let offers: Vec<OfferId> = self.offers.keys().cloned().collect();
            offers.iter().for_each(|offer| self.rescind(offer));
        }
        Answer::Done
    }

    /// The registry's weights; those of the configuration if it has none.
    pub(crate) fn recover_weights(&mut self) {
        let known = self.registry.weights().map(|(role, weight)| WeightRecord {
            role: role.to_owned(),
            weight,
        });
        let known: Vec<WeightRecord> = known.collect();
        for WeightRecord { role, weight } in &known {
            self.allocator.set_weight(role, *weight);
        }
        if known.is_empty() && !self.config.weights.is_empty() {
            let weights = self.config.weights.iter();
            let weights = weights.map(|(role, weight)| WeightRecord {
                role: role.clone(),
                weight: *weight,
            });
            let weights = weights.collect();
            self.put_weights(weights);
        }
    }

    fn put_weights(&mut self, weights: Vec<WeightRecord>) {
        for WeightRecord { role, weight } in &weights {
            self.allocator.set_weight(role, *weight);
        }
        self.propose(Command::SetWeights(weights));
    }

    fn check_weights(&self, weights: &[WeightRecord]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for WeightRecord { role, weight } in weights {
            let invalid = |why: &str| Err(format!("Invalid 'WeightInfo.role' '{role}': {why}"));
            check_weight(role, *weight)?;
            if !self.is_configured(role) {
                return invalid("it is not present in the master's --roles");
            }
            if !seen.insert(role) {
                return invalid("it stands twice in the request");
            }
        }
        let is_new = |weight: &&WeightRecord| self.registry.weight(&weight.role).is_none();
        let (known, new) = (
            self.registry.weights().count(),
            weights.iter().filter(is_new).count(),
        );
        if known + new > MAX_WEIGHTS {
            return Err(format!(
                "Invalid 'weight_infos': {known} roles have weights, and no more than {MAX_WEIGHTS} may"
            ));
        }
        Ok(())
    }
}

/// Whether a role can have this weight; a sentence that names the field if not.
pub fn check_weight(role: &str, weight: f64) -> Result<(), String> {
    role::check(role).map_err(|error| format!("Invalid 'WeightInfo.role': {error}"))?;
    if role.len() > MAX_ROLE {
        return Err(format!(
            "Invalid 'WeightInfo.role' '{role}': the name is longer than {MAX_ROLE} bytes"
        ));
    }
    if !(weight > 0.0 && weight.is_finite()) {
        return Err(format!(
            "Invalid 'WeightInfo.weight' of role '{role}': it must be above 0, not {weight}"
        ));
    }
    Ok(())
}
