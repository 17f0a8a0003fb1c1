//! Whether an agent suits an instance: the rules about host names, attributes, regions and zones.
//!
//! Not whether it has room (`fit`). Called by `placing`. A rule about how instances are spread looks at those of the same
//! service that were made by the same definition, as Marathon's does: others will be replaced anyway.

use std::collections::BTreeMap;

use nesos_wire::domain::Domain;
use nesos_wire::task::{Attribute, AttributeValue};

use super::need::{Constraint, Rule};
use crate::state::Agent;

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) hostname: &'a str,
    pub(super) attributes: &'a [Attribute],
    pub(super) domain: Option<&'a Domain>,
}

impl<'a> Place<'a> {
    pub(super) fn of(agent: &'a Agent) -> Self {
        Self {
            hostname: &agent.hostname,
            attributes: &agent.attributes,
            domain: agent.domain.as_ref(),
        }
    }

    fn value(&self, field: &str) -> Option<String> {
        match field {
            "hostname" | "@hostname" => Some(self.hostname.to_owned()),
            "@region" => self.domain.map(|domain| domain.region.clone()),
            "@zone" => self.domain.map(|domain| domain.zone.clone()),
            name => {
                let mut all = self.attributes.iter();
                let attribute = all.find(|attribute| attribute.name == name)?;
                Some(text(&attribute.value))
            }
        }
    }
}

/// Whether an instance may go to `here`, others being at `others`.
pub(super) fn allow(constraints: &[Constraint], here: Place<'_>, others: &[Place<'_>]) -> bool {
    constraints.iter().all(|constraint| {
        let field = &constraint.field;
        let value = here.value(field);
        match (&constraint.rule, value) {
            (Rule::Unlike(pattern), value) => value.is_none_or(|value| !pattern.matches(&value)),
            (_, None) => false,
            (Rule::Is(wanted), Some(value)) => value == *wanted,
            (Rule::Like(pattern), Some(value)) => pattern.matches(&value),
            (Rule::Cluster(Some(wanted)), Some(value)) => value == *wanted,
            (spread, Some(value)) => {
                let elsewhere = others.iter().filter_map(|other| other.value(field));
                spreads_well(spread, &value, elsewhere)
            }
        }
    })
}

fn spreads_well(rule: &Rule, value: &str, others: impl Iterator<Item = String>) -> bool {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for other in others {
        *counts.entry(other).or_default() += 1;
    }
    let here = counts.get(value).copied().unwrap_or(0);
    match rule {
        Rule::Unique => here == 0,
        Rule::MaxPer(most) => here < *most,
        Rule::Cluster(_) => counts.is_empty() || here > 0,
        Rule::GroupBy(groups) => {
            let has_unseen = groups.is_some_and(|groups| counts.len() < groups as usize);
            let least = counts.values().copied().min().unwrap_or(0);
            let least = if has_unseen { 0 } else { least };
            here <= least
        }
        Rule::Is(_) | Rule::Like(_) | Rule::Unlike(_) => true,
    }
}

/// As Mesos prints attributes.
fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Scalar(scalar) => scalar.to_f64().to_string(),
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Ranges(ranges) => {
            let ranges = ranges.iter();
            let ranges = ranges.map(|range| format!("{}-{}", range.start(), range.end()));
            format!("[{}]", ranges.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::need::Pattern;
    use super::*;

    fn attribute(rack: &str) -> Vec<Attribute> {
        vec![Attribute {
            name: "rack".into(),
            value: AttributeValue::Text(rack.into()),
        }]
    }

    /// Whether an instance may go to `rack`, others being in `others`; an empty name is an agent without the attribute.
    fn may(rule: Rule, rack: &str, others: &[&str]) -> bool {
        let place = |attributes: &'static [Attribute]| Place {
            hostname: "h",
            attributes,
            domain: None,
        };
        let of = |rack: &str| -> &'static [Attribute] {
            let attributes = if rack.is_empty() {
                Vec::new()
            } else {
                attribute(rack)
            };
            attributes.leak()
        };
        let constraint = Constraint {
            field: "rack".into(),
            rule,
        };
        let others: Vec<_> = others.iter().map(|rack| place(of(rack))).collect();
        allow(&[constraint], place(of(rack)), &others)
    }

    #[test]
    fn rules_hold() {
        let pattern = |text| Pattern::new(text).unwrap();
        let cases = [
            (Rule::Unique, "a", &["b"][..], true),
            (Rule::Unique, "a", &["a"], false),
            (Rule::Unique, "", &[], false),
            (Rule::Cluster(None), "a", &[], true),
            (Rule::Cluster(None), "a", &["a"], true),
            (Rule::Cluster(None), "b", &["a"], false),
            (Rule::Cluster(Some("a".into())), "a", &["b"], true),
            (Rule::Cluster(Some("a".into())), "b", &[], false),
            (Rule::MaxPer(2), "a", &["a"], true),
            (Rule::MaxPer(2), "a", &["a", "a"], false),
            (Rule::GroupBy(None), "a", &["a"], true),
            (Rule::GroupBy(None), "a", &["a", "a", "b"], false),
            (Rule::GroupBy(None), "b", &["a", "a", "b"], true),
            (Rule::GroupBy(Some(2)), "a", &["a"], false),
            (Rule::GroupBy(Some(2)), "b", &["a"], true),
            (Rule::Is("a".into()), "a", &[], true),
            (Rule::Is("a".into()), "b", &[], false),
            (Rule::Like(pattern("a|b")), "b", &[], true),
            (Rule::Like(pattern("a|b")), "ab", &[], false),
            (Rule::Like(pattern("a.*")), "", &[], false),
            (Rule::Unlike(pattern("a.*")), "abc", &[], false),
            (Rule::Unlike(pattern("a.*")), "b", &[], true),
            (Rule::Unlike(pattern("a.*")), "", &[], true),
        ];
        for (rule, rack, others, expected) in cases {
            let told = format!("{rule:?} {rack:?} {others:?}");
            assert_eq!(may(rule, rack, others), expected, "{told}");
        }
    }

    #[test]
    fn fields_are_read_as_they_are_named() {
        let domain = Domain::parse("garden/shed").unwrap();
        let place = Place {
            hostname: "pi-1",
            attributes: &[],
            domain: Some(&domain),
        };
        let values = ["hostname", "@region", "@zone", "rack"].map(|field| place.value(field));
        let expected = [Some("pi-1"), Some("garden"), Some("shed"), None];
        assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
    }
}
