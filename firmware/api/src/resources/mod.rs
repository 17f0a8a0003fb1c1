//! Resources and attributes between the public list form and the wire's bags.
//!
//! Both formats of reservations are read: `role` with `reservation`, and since Mesos 1.4 the `reservations` stack. Pure;
//! `allocation_info` is the caller's, a bag has none. Called by the daemons' conversions and flags. Invariant: what a bag
//! cannot hold is refused with a sentence that names the resource.

mod read;
mod show;

use nesos_wire::resource::{Entry, Resources, Scalar};
use nesos_wire::task::Attribute;

use crate::v1;

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReservationFormat {
    /// `reservations`, the stack: frameworks with RESERVATION_REFINEMENT.
    Stack,
    /// `role` and `reservation`: frameworks without it. What is refined has no such form and is written as a stack.
    Single,
    /// Both where possible: operators.
    #[default]
    Both,
}

/// How resources are shown; for a framework it depends on its capabilities.
#[derive(Debug, Clone, Default)]
pub struct Shape<'a> {
    /// Role for `allocation_info`: frameworks with MULTI_ROLE.
    pub allocation: Option<&'a str>,
    /// How reservations are written.
    pub format: ReservationFormat,
}

/// A list of public resources to a bag. `Err` is a sentence.
pub fn bag(resources: &[v1::Resource]) -> Result<Resources, String> {
    let mut bag = Resources::new();
    for resource in resources {
        let entry = read::entry(resource)?;
        let mut present = bag.entries().iter();
        if let Some(have) = present.find(|have| have.name() == entry.name())
            && std::mem::discriminant(have.value()) != std::mem::discriminant(entry.value())
        {
            return Err(read::fault(resource, "stands there with two types"));
        }
        if let Some(id) = volume_id(&entry)
            && bag.entries().iter().any(|have| volume_id(have) == Some(id))
        {
            return Err(read::fault(
                resource,
                &format!("has the persistence id '{}' twice", id.1),
            ));
        }
        bag.put(entry);
    }
    Ok(bag)
}

/// Role and id of a persistent volume that only one task can have: such ids are unique.
fn volume_id(entry: &Entry) -> Option<(Option<&str>, &str)> {
    let volume = entry.terms().volume().filter(|_| !entry.is_shared())?;
    Some((entry.owner(), volume.id.as_str()))
}

/// A JSON array of resources, as in `--resources` and in the forms of the older endpoints. `Err` is a sentence.
pub fn parse_list(text: &str) -> Result<Vec<v1::Resource>, String> {
    let items: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|e| format!("expected a JSON array of resources: {e}"))?;
    let read = |(at, item): (usize, &serde_json::Value)| {
        v1::Resource::from_json(item.to_string().as_bytes()).map_err(|e| format!("[{at}]: {e}"))
    };
    items.iter().enumerate().map(read).collect()
}

/// The role in the resources' `allocation_info`, if one is given. `Err`: two different ones.
pub fn allocated_role(resources: &[v1::Resource]) -> Result<Option<String>, String> {
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
pub fn list(bag: &Resources, shape: &Shape<'_>) -> Vec<v1::Resource> {
    bag.entries()
        .iter()
        .map(|entry| show::resource(entry, shape))
        .collect()
}

/// Attributes to the public list.
pub fn attributes(attributes: &[Attribute]) -> Vec<v1::Attribute> {
    attributes.iter().map(show::attribute).collect()
}

/// A scalar that must be finite and not negative.
pub fn scalar(name: &str, value: f64) -> Result<Scalar, String> {
    match Scalar::from_f64(value) {
        Some(scalar) if scalar.0 >= 0 => Ok(scalar),
        _ => Err(format!(
            "resource '{name}': {value} is not a finite amount of zero or more"
        )),
    }
}
