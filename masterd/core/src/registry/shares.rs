//! The registry's part about roles: quota and weights.
//!
//! Not the rules about them (`quota` and `weights` check what operators want). Called by the registry. Invariant: no quota
//! that says nothing is kept; a weight of 1 that an operator set is, so that it is shown.

use std::collections::BTreeMap;

use nesos_wire::command::{QuotaRecord, WeightRecord};

use super::{Change, Record, Registry, delete, put};

/// Most roles with quota. Some 200 bytes each in memory and on disk; Mesos's largest benchmark has 3000.
pub const MAX_QUOTAS: usize = 10_000;
/// Most roles with a weight; 100 bytes each.
pub const MAX_WEIGHTS: usize = 10_000;
/// Longest name in bytes of a role with quota or weight: it is part of a database key.
pub const MAX_ROLE: usize = 200;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Shares {
    quotas: BTreeMap<String, QuotaRecord>,
    weights: BTreeMap<String, f64>,
}

impl Shares {
    pub(super) fn set_quota(&mut self, quota: &QuotaRecord) -> Change {
        if quota.is_default() {
            self.quotas.remove(&quota.role);
            return delete(format!("quota/{}", quota.role));
        }
        self.quotas.insert(quota.role.clone(), quota.clone());
        put_quota(quota)
    }

    pub(super) fn set_weight(&mut self, weight: &WeightRecord) -> Change {
        self.weights.insert(weight.role.clone(), weight.weight);
        put_weight(weight)
    }

    /// What was written for what is kept.
    pub(super) fn rows(&self) -> impl Iterator<Item = Change> {
        let quotas = self.quotas.values().map(put_quota);
        let weights = self.weights.iter().map(|(role, weight)| {
            put_weight(&WeightRecord {
                role: role.clone(),
                weight: *weight,
            })
        });
        quotas.chain(weights)
    }
}

fn put_quota(quota: &QuotaRecord) -> Change {
    put(
        format!("quota/{}", quota.role),
        &Record::Quota(quota.clone()),
    )
}

fn put_weight(weight: &WeightRecord) -> Change {
    put(
        format!("weight/{}", weight.role),
        &Record::Weight(weight.clone()),
    )
}

impl Registry {
    /// The roles with quota, by name.
    pub fn quotas(&self) -> impl Iterator<Item = &QuotaRecord> {
        self.shares.quotas.values()
    }

    /// A role's quota.
    pub fn quota(&self, role: &str) -> Option<&QuotaRecord> {
        self.shares.quotas.get(role)
    }

    /// The roles that operators gave a weight, by name.
    pub fn weights(&self) -> impl Iterator<Item = (&str, f64)> {
        let weights = self.shares.weights.iter();
        weights.map(|(role, weight)| (role.as_str(), *weight))
    }

    /// The weight that operators gave a role.
    pub fn weight(&self, role: &str) -> Option<f64> {
        self.shares.weights.get(role).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nesos_wire::command::Command;
    use nesos_wire::resource::Scalar;

    use super::*;

    fn quota(role: &str, cpus: i64) -> QuotaRecord {
        QuotaRecord {
            role: role.into(),
            guarantees: BTreeMap::new(),
            limits: BTreeMap::from([("cpus".to_owned(), Scalar(cpus))]),
        }
    }

    #[test]
    fn quota_and_weights_load_again_and_empty_quota_is_forgotten() {
        let mut registry = Registry::default();
        let mut database = BTreeMap::new();
        let none = QuotaRecord {
            role: "a".into(),
            guarantees: BTreeMap::from([("cpus".to_owned(), Scalar(0))]),
            limits: BTreeMap::new(),
        };
        let weight = WeightRecord {
            role: "a/b".into(),
            weight: 2.5,
        };
        for command in [
            Command::SetQuotas(vec![quota("a", 1000), quota("b", 2000)]),
            Command::SetWeights(vec![weight]),
            Command::SetQuotas(vec![none, quota("b", 3000)]),
        ] {
            for change in registry.apply(&command) {
                match change.value {
                    Some(value) => database.insert(change.key, value),
                    None => database.remove(&change.key),
                };
            }
        }
        let records = database.iter().map(|(key, value)| (key.as_str(), &**value));
        let loaded = Registry::load(records).unwrap();
        assert_eq!(loaded, registry);
        let quotas: Vec<_> = loaded.quotas().cloned().collect();
        assert_eq!(quotas, [quota("b", 3000)]);
        assert_eq!((loaded.quota("a"), loaded.weight("a/b")), (None, Some(2.5)));
    }
}
