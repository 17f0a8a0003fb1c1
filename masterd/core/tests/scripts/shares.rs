//! Commands of scripts about roles: quota, weights, and what the master says of both.
//!
//! Used by the driver beside it.

use std::collections::BTreeMap;

use masterd_core::{Amounts, Order, amounts};
use nesos_wire::command::{QuotaRecord, WeightRecord};
use nesos_wire::resource_text;

use super::Script;

impl Script {
    /// Says whether the words are of these.
    pub(crate) fn run_shares(&mut self, words: &[&str]) -> bool {
        match words {
            ["quota", rest @ ..] => {
                let force = rest.contains(&"force");
                let rest: Vec<&str> = rest.iter().copied().filter(|w| *w != "force").collect();
                let quotas = rest.split(|word| *word == "and").map(quota).collect();
                self.order(Order::UpdateQuota(quotas, force));
            }
            ["set-quota", role, amounts, rest @ ..] => {
                let bound = |key| format!("{key}={amounts}");
                let (guarantees, limits) = (bound("guarantees"), bound("limits"));
                let quota = quota(&[role, &guarantees, &limits]);
                self.order(Order::SetQuota(quota, rest == ["force"]));
            }
            ["remove-quota", role] => self.order(Order::RemoveQuota((*role).to_owned())),
            ["weights", rest @ ..] => {
                let weights = rest.iter().map(|word| {
                    let (role, weight) = word.split_once('=').expect("role=weight");
                    WeightRecord {
                        role: role.into(),
                        weight: weight.parse().expect("a number"),
                    }
                });
                let weights = weights.collect();
                self.order(Order::UpdateWeights(weights));
            }
            ["configured-weights", role, weight] => {
                self.weights = BTreeMap::from([((*role).to_owned(), weight.parse().unwrap())]);
                self.restart();
            }
            ["roles"] => self.show_roles(),
            _ => return false,
        }
        true
    }

    fn show_roles(&mut self) {
        let text = |amounts: &Amounts| {
            let scalar = |(name, amount): (&String, &nesos_wire::resource::Scalar)| {
                format!("{name}:{}", amount.to_f64())
            };
            let all: Vec<String> = amounts.iter().map(scalar).collect();
            all.join(";")
        };
        let lines: Vec<String> = self
            .master
            .roles()
            .iter()
            .map(|(role, usage)| {
                format!(
                    "{role} weight {} frameworks {} allocated [{}] offered [{}] reserved [{}] consumed [{}]",
                    self.master.weight(role),
                    usage.frameworks.len(),
                    text(&amounts(&usage.allocated)),
                    text(&amounts(&usage.offered)),
                    text(&amounts(&usage.reserved)),
                    text(&usage.consumed()),
                )
            })
            .collect();
        lines.iter().for_each(|line| self.say(line));
    }
}

/// `ROLE guarantees=cpus:1;mem:2 limits=cpus:3`.
fn quota(words: &[&str]) -> QuotaRecord {
    let mut quota = QuotaRecord {
        role: words.first().copied().unwrap_or_default().to_owned(),
        ..QuotaRecord::default()
    };
    for word in &words[1..] {
        let (key, value) = word.split_once('=').expect("guarantees= or limits=");
        let parsed = resource_text::parse(value).expect("amounts");
        // An amount of zero is no resource, but it is a limit.
        let zeros = value.split(';').filter_map(|part| part.strip_suffix(":0"));
        let zeros = zeros.map(|name| (name.to_owned(), Default::default()));
        let all = amounts(&parsed).into_iter().chain(zeros).collect();
        match key {
            "guarantees" => quota.guarantees = all,
            "limits" => quota.limits = all,
            _ => panic!("unknown word {word}"),
        }
    }
    quota
}
