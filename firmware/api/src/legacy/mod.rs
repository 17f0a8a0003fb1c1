//! The shapes of Mesos's older JSON endpoints: `/state`, `/state-summary`, `/slaves`, `/frameworks`, `/tasks`, `/roles`,
//! `/version`, `/flags`.
//!
//! Only shapes and the conversions from v1 messages; the daemons fill them and serve them with `serde_json`. Tools read
//! these by name, agents are "slaves" here. Invariant: a field without `skip_serializing_if` is always present.
//! `/metrics/snapshot` needs no type: it is a `BTreeMap<String, f64>`.

mod agent;
mod state;
mod task;

pub use agent::*;
pub use state::*;
pub use task::*;

use crate::v1;
use serde::Serialize;
use std::collections::BTreeMap;

/// A number, or text for ranges and sets: what resources and attributes are shown as.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// An amount.
    Number(f64),
    /// Text, ranges as `[31000-32000, 33000-33001]`, a set as `{a, b}`.
    Text(String),
}

/// Resources by name; `cpus`, `gpus`, `mem` and `disk` are always there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resources(pub BTreeMap<String, Value>);

/// Attributes of an agent by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attributes(pub BTreeMap<String, Value>);

impl Default for Resources {
    fn default() -> Self {
        Self(
            ["cpus", "gpus", "mem", "disk"]
                .map(|name| (name.to_owned(), Value::Number(0.0)))
                .into(),
        )
    }
}

impl<'a> FromIterator<&'a v1::Resource> for Resources {
    /// Sums up resources of the same name, whatever their role; revocable ones are counted apart, as `cpus_revocable`.
    fn from_iter<I: IntoIterator<Item = &'a v1::Resource>>(resources: I) -> Self {
        let mut scalars =
            BTreeMap::from(["cpus", "gpus", "mem", "disk"].map(|name| (name.to_owned(), 0.0)));
        let mut ranges: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        let mut sets: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for resource in resources {
            let suffix = if resource.revocable.is_some() {
                "_revocable"
            } else {
                ""
            };
            let name = format!("{}{suffix}", resource.name);
            if let Some(scalar) = &resource.scalar {
                *scalars.entry(name).or_insert(0.0) += scalar.value;
            } else if let Some(new) = &resource.ranges {
                ranges
                    .entry(name)
                    .or_default()
                    .extend(new.range.iter().map(|range| (range.begin, range.end)));
            } else if let Some(new) = &resource.set {
                sets.entry(name)
                    .or_default()
                    .extend(new.item.iter().map(String::as_str));
            }
        }
        let mut all: BTreeMap<String, Value> = scalars
            .into_iter()
            .map(|(name, value)| (name, Value::Number(value)))
            .collect();
        all.extend(
            ranges
                .into_iter()
                .map(|(name, ranges)| (name, Value::Text(ranges_text(ranges)))),
        );
        all.extend(
            sets.into_iter()
                .map(|(name, items)| (name, Value::Text(set_text(items)))),
        );
        Self(all)
    }
}

impl<'a> FromIterator<&'a v1::Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = &'a v1::Attribute>>(attributes: I) -> Self {
        let value = |attribute: &v1::Attribute| match (
            &attribute.scalar,
            &attribute.ranges,
            &attribute.set,
        ) {
            (Some(scalar), ..) => Value::Number(scalar.value),
            (_, Some(ranges), _) => Value::Text(ranges_text(
                ranges
                    .range
                    .iter()
                    .map(|range| (range.begin, range.end))
                    .collect(),
            )),
            (.., Some(set)) => Value::Text(set_text(set.item.iter().map(String::as_str).collect())),
            _ => Value::Text(
                attribute
                    .text
                    .as_ref()
                    .map(|text| text.value.clone())
                    .unwrap_or_default(),
            ),
        };
        Self(
            attributes
                .into_iter()
                .map(|attribute| (attribute.name.clone(), value(attribute)))
                .collect(),
        )
    }
}

/// `[1-2, 5-9]`, sorted, touching ranges joined.
fn ranges_text(mut ranges: Vec<(u64, u64)>) -> String {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (begin, end) in ranges {
        match joined.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => joined.push((begin, end)),
        }
    }
    let texts: Vec<String> = joined
        .iter()
        .map(|(begin, end)| format!("{begin}-{end}"))
        .collect();
    format!("[{}]", texts.join(", "))
}

/// `{a, b}`, sorted, without doubles.
fn set_text(mut items: Vec<&str>) -> String {
    items.sort_unstable();
    items.dedup();
    format!("{{{}}}", items.join(", "))
}

/// The capabilities' names, as the legacy endpoints list them.
#[must_use]
pub fn capability_names(info: &v1::FrameworkInfo) -> Vec<&'static str> {
    info.capabilities
        .iter()
        .map(|capability| capability.r#type.unwrap_or_default().name())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn resources_are_summed_and_always_have_the_four_scalars() {
        let resources = [
            v1::Resource::scalar("cpus", 1.5),
            v1::Resource::scalar("cpus", 0.5),
            v1::Resource {
                revocable: Some(v1::ResourceRevocableInfo {}),
                ..v1::Resource::scalar("cpus", 3.0)
            },
            v1::Resource::ranges("ports", [(31003, 31005), (31000, 31001), (31002, 31002)]),
        ];
        let text = serde_json::to_string(&resources.iter().collect::<Resources>()).unwrap();
        assert_eq!(
            text,
            r#"{"cpus":2.0,"cpus_revocable":3.0,"disk":0.0,"gpus":0.0,"mem":0.0,"ports":"[31000-31005]"}"#
        );
        assert_eq!(
            serde_json::to_string(&Resources::default()).unwrap(),
            r#"{"cpus":0.0,"disk":0.0,"gpus":0.0,"mem":0.0}"#
        );
    }

    #[test]
    fn a_task_has_the_keys_that_tools_read() {
        let task = v1::Task {
            name: "web".into(),
            task_id: "t1".into(),
            framework_id: "f".into(),
            agent_id: "a".into(),
            state: v1::TaskState::Running,
            resources: vec![v1::Resource {
                allocation_info: Some(v1::ResourceAllocationInfo {
                    role: Some("lab".into()),
                }),
                ..v1::Resource::scalar("cpus", 0.1)
            }],
            statuses: vec![v1::TaskStatus {
                task_id: "t1".into(),
                state: v1::TaskState::Running,
                timestamp: Some(1.5),
                container_status: Some(Box::new(v1::ContainerStatus {
                    network_infos: vec![v1::NetworkInfo {
                        ip_addresses: vec![v1::NetworkInfoIPAddress {
                            ip_address: Some("10.0.0.7".into()),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    ..Default::default()
                })),
                ..Default::default()
            }],
            labels: Some(v1::Labels {
                labels: vec![v1::Label {
                    key: "k".into(),
                    value: None,
                }],
            }),
            ..Default::default()
        };
        let text = serde_json::to_string(&Task::from(&task)).unwrap();
        assert_eq!(
            text,
            r#"{"id":"t1","name":"web","framework_id":"f","executor_id":"","slave_id":"a","state":"TASK_RUNNING","resources":{"cpus":0.1,"disk":0.0,"gpus":0.0,"mem":0.0},"role":"lab","statuses":[{"state":"TASK_RUNNING","timestamp":1.5,"container_status":{"network_infos":[{"ip_addresses":[{"protocol":"IPv4","ip_address":"10.0.0.7"}]}]}}],"labels":[{"key":"k"}]}"#
        );
    }
}
