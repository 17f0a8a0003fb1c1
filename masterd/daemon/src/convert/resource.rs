//! Resources and attributes between the public list form and the wire's bags.
//!
//! Called by the other conversions. Invariant: reservations, disks, revocable and shared resources are refused, because
//! the bag cannot hold them.

use nesos_api::v1;
use nesos_wire::resource::{Ranges, Resources, Scalar, Value};
use nesos_wire::task::{Attribute, AttributeValue};

/// How resources are shown to a framework; depends on its capabilities.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape<'a> {
    /// Role for `allocation_info`: frameworks with MULTI_ROLE.
    pub(crate) allocation: Option<&'a str>,
    /// The framework lacks RESERVATION_REFINEMENT: unreserved resources say so by `role: "*"`.
    pub(crate) with_role: bool,
}

/// A list of public resources to a bag. `Err` is a sentence.
pub(crate) fn bag(resources: &[v1::Resource]) -> Result<Resources, String> {
    let mut bag = Resources::new();
    for resource in resources {
        check_plain(resource)?;
        let value = value(resource)?;
        if let Some(have) = bag.get(&resource.name)
            && std::mem::discriminant(have) != std::mem::discriminant(&value)
        {
            return Err(format!(
                "resource '{}' stands there with two types",
                resource.name
            ));
        }
        bag.insert(&resource.name, value);
    }
    Ok(bag)
}

/// The role in the resources' `allocation_info`, if one is given. `Err`: two different ones.
pub(crate) fn allocated_role(resources: &[v1::Resource]) -> Result<Option<String>, String> {
    let mut roles = resources
        .iter()
        .filter_map(|r| r.allocation_info.as_ref()?.role.as_ref());
    let first = roles.next();
    match (first, roles.find(|role| Some(*role) != first)) {
        (Some(a), Some(b)) => Err(format!(
            "resources are allocated to two roles, '{a}' and '{b}'"
        )),
        _ => Ok(first.cloned()),
    }
}

/// A bag to the public list.
pub(crate) fn list(bag: &Resources, shape: &Shape<'_>) -> Vec<v1::Resource> {
    bag.iter()
        .map(|(name, value)| resource(name, value, shape))
        .collect()
}

/// Attributes to the public list.
pub(crate) fn attributes(attributes: &[Attribute]) -> Vec<v1::Attribute> {
    attributes.iter().map(attribute).collect()
}

/// A scalar that must be finite and not negative.
pub(crate) fn scalar(name: &str, value: f64) -> Result<Scalar, String> {
    match Scalar::from_f64(value) {
        Some(scalar) if scalar.0 >= 0 => Ok(scalar),
        _ => Err(format!(
            "resource '{name}': {value} is not a finite amount of zero or more"
        )),
    }
}

fn check_plain(resource: &v1::Resource) -> Result<(), String> {
    let reserved = !resource.reservations.is_empty()
        || resource.reservation.is_some()
        || resource.role.as_deref().is_some_and(|role| role != "*");
    let kind = match resource {
        _ if reserved => "reserved resources are",
        r if r.disk.is_some() => "disks with a source or persistence are",
        r if r.revocable.is_some() => "revocable resources are",
        r if r.shared.is_some() => "shared resources are",
        r if r.provider_id.is_some() => "resource providers are",
        _ => return Ok(()),
    };
    Err(format!(
        "resource '{}': {kind} not supported yet",
        resource.name
    ))
}

fn value(resource: &v1::Resource) -> Result<Value, String> {
    let name = &resource.name;
    if name.is_empty() {
        return Err("a resource has no name".into());
    }
    match resource.r#type {
        v1::ValueType::Scalar => {
            let amount = resource
                .scalar
                .as_ref()
                .ok_or_else(|| format!("resource '{name}' lacks its scalar"))?;
            Ok(Value::Scalar(scalar(name, amount.value)?))
        }
        v1::ValueType::Ranges => {
            let ranges = resource
                .ranges
                .as_ref()
                .ok_or_else(|| format!("resource '{name}' lacks its ranges"))?;
            if let Some(bad) = ranges.range.iter().find(|range| range.begin > range.end) {
                return Err(format!(
                    "resource '{name}': range {}-{} is upside down",
                    bad.begin, bad.end
                ));
            }
            Ok(Value::Ranges(Ranges::new(
                ranges.range.iter().map(|range| range.begin..=range.end),
            )))
        }
        v1::ValueType::Set => {
            let set = resource
                .set
                .as_ref()
                .ok_or_else(|| format!("resource '{name}' lacks its set"))?;
            Ok(Value::Set(set.item.iter().cloned().collect()))
        }
        v1::ValueType::Text => Err(format!("resource '{name}': a resource cannot be text")),
    }
}

fn resource(name: &str, value: &Value, shape: &Shape<'_>) -> v1::Resource {
    let mut resource = match value {
        Value::Scalar(scalar) => v1::Resource::scalar(name, scalar.to_f64()),
        Value::Ranges(ranges) => v1::Resource::ranges(
            name,
            ranges.iter().map(std::ops::RangeInclusive::into_inner),
        ),
        Value::Set(set) => v1::Resource {
            name: name.into(),
            r#type: v1::ValueType::Set,
            set: Some(v1::ValueSet {
                item: set.iter().cloned().collect(),
            }),
            ..v1::Resource::default()
        },
    };
    resource.role = shape.with_role.then(|| "*".into());
    resource.allocation_info = shape.allocation.map(|role| v1::ResourceAllocationInfo {
        role: Some(role.into()),
    });
    resource
}

fn attribute(attribute: &Attribute) -> v1::Attribute {
    let mut out = v1::Attribute {
        name: attribute.name.clone(),
        ..v1::Attribute::default()
    };
    match &attribute.value {
        AttributeValue::Scalar(scalar) => {
            out.r#type = v1::ValueType::Scalar;
            out.scalar = Some(v1::ValueScalar {
                value: scalar.to_f64(),
            });
        }
        AttributeValue::Ranges(ranges) => {
            out.r#type = v1::ValueType::Ranges;
            let range = ranges
                .iter()
                .map(|r| v1::ValueRange {
                    begin: *r.start(),
                    end: *r.end(),
                })
                .collect();
            out.ranges = Some(v1::ValueRanges { range });
        }
        AttributeValue::Text(text) => {
            out.r#type = v1::ValueType::Text;
            out.text = Some(v1::ValueText {
                value: text.clone(),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_and_bags_convert_both_ways() {
        let list_in = [
            v1::Resource::scalar("cpus", 0.1),
            v1::Resource::ranges("ports", [(5, 9), (1, 4)]),
        ];
        let bag = bag(&list_in).unwrap();
        let shape = Shape {
            allocation: Some("lab"),
            with_role: true,
        };
        let list_out = list(&bag, &shape);
        assert_eq!(list_out[0].scalar.as_ref().unwrap().value, 0.1);
        assert_eq!(list_out[1].ranges.as_ref().unwrap().range.len(), 1);
        assert_eq!(allocated_role(&list_out).unwrap().as_deref(), Some("lab"));
        assert_eq!(list_out[0].role.as_deref(), Some("*"));
    }

    #[test]
    fn what_a_bag_cannot_hold_is_refused() {
        let mut reserved = v1::Resource::scalar("cpus", 1.0);
        reserved.role = Some("db".into());
        assert!(bag(&[reserved]).unwrap_err().contains("reserved"));
        assert!(bag(&[v1::Resource::scalar("cpus", -1.0)]).is_err());
        assert!(bag(&[v1::Resource::scalar("cpus", f64::NAN)]).is_err());
        assert!(
            bag(&[v1::Resource::ranges("ports", [(9, 5)])])
                .unwrap_err()
                .contains("upside down")
        );
    }
}
