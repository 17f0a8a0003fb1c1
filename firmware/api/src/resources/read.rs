//! From the public form of a resource to an entry of a bag.
//!
//! Called by the module above. Invariant: nothing is left out in silence; a fault names the resource.

use std::collections::BTreeSet;

use nesos_wire::resource::{Disk, DiskSource, Entry, Ranges, Reservation, Terms, Value, Volume};
use nesos_wire::role;

use super::scalar;
use crate::v1;

/// One, as scalars count.
const WHOLE: i64 = 1000;

pub(super) fn fault(resource: &v1::Resource, what: &str) -> String {
    format!("resource '{}' {what}", resource.name)
}

pub(super) fn entry(resource: &v1::Resource) -> Result<Entry, String> {
    if resource.name.is_empty() {
        return Err("a resource has no name".into());
    }
    if resource.provider_id.is_some() {
        return Err(fault(resource, "is of a resource provider; there are none"));
    }
    let terms = Terms {
        reservations: reservations(resource)?,
        disk: disk(resource)?,
        is_revocable: resource.revocable.is_some(),
        is_shared: resource.shared.is_some(),
    };
    if terms.is_shared && terms.volume().is_none() {
        return Err(fault(
            resource,
            "is shared, but only persistent volumes can be",
        ));
    }
    if terms.is_revocable && (!terms.reservations.is_empty() || terms.volume().is_some()) {
        return Err(fault(
            resource,
            "is revocable, so it can be neither reserved nor a volume",
        ));
    }
    Ok(Entry::new(&resource.name, terms, value(resource)?))
}

/// The stack, from either format.
fn reservations(resource: &v1::Resource) -> Result<Vec<Reservation>, String> {
    let role = resource.role.as_deref().unwrap_or(role::DEFAULT);
    let is_single = role != role::DEFAULT || resource.reservation.is_some();
    if is_single && !resource.reservations.is_empty() {
        return Err(fault(
            resource,
            "has role or reservation beside reservations, expected one of the two formats",
        ));
    }
    let stack = if is_single {
        let made = resource.reservation.as_ref();
        vec![Reservation {
            is_dynamic: made.is_some(),
            role: role.to_owned(),
            principal: made.and_then(|made| made.principal.clone()),
            labels: labels(made.and_then(|made| made.labels.as_ref())),
        }]
    } else {
        let one = |made: &v1::ResourceReservationInfo| Reservation {
            is_dynamic: made.r#type != Some(v1::ResourceReservationInfoType::Static),
            role: made.role.clone().unwrap_or_default(),
            principal: made.principal.clone(),
            labels: labels(made.labels.as_ref()),
        };
        resource.reservations.iter().map(one).collect()
    };
    if let Some(what) = broken_rule(&stack) {
        return Err(fault(resource, &what));
    }
    Ok(stack)
}

/// What is wrong with a stack of reservations.
fn broken_rule(stack: &[Reservation]) -> Option<String> {
    for (at, reservation) in stack.iter().enumerate() {
        let role = &reservation.role;
        if role == role::DEFAULT {
            return Some("is reserved to '*', which is nobody".into());
        }
        if let Err(e) = role::check(role) {
            return Some(format!("has a reservation that is not valid: {e}"));
        }
        if at > 0 && !reservation.is_dynamic {
            return Some("has a STATIC reservation that is not the first".into());
        }
        if at > 0 && !role::is_below(role, &stack[at - 1].role) {
            return Some(format!(
                "has a reservation to '{role}' within one to '{}', expected a role below that",
                stack[at - 1].role
            ));
        }
    }
    None
}

fn labels(labels: Option<&v1::Labels>) -> Vec<(String, Option<String>)> {
    let all = labels.into_iter().flat_map(|labels| &labels.labels);
    all.map(|label| (label.key.clone(), label.value.clone()))
        .collect()
}

fn disk(resource: &v1::Resource) -> Result<Option<Disk>, String> {
    let Some(info) = &resource.disk else {
        return Ok(None);
    };
    if resource.name != "disk" {
        return Err(fault(resource, "has disk information, but only 'disk' can"));
    }
    let disk = Disk {
        source: info
            .source
            .as_ref()
            .map(|source| disk_source(resource, source))
            .transpose()?,
        volume: volume(resource, info)?,
    };
    Ok((disk != Disk::default()).then_some(disk))
}

fn disk_source(
    resource: &v1::Resource,
    source: &v1::ResourceDiskInfoSource,
) -> Result<DiskSource, String> {
    if source.id.is_some() || source.profile.is_some() || source.vendor.is_some() {
        return Err(fault(
            resource,
            "has a disk source of a storage plugin; there are none",
        ));
    }
    match source.r#type {
        v1::ResourceDiskInfoSourceType::Path => Ok(DiskSource::Path(
            source.path.as_ref().and_then(|path| path.root.clone()),
        )),
        v1::ResourceDiskInfoSourceType::Mount => Ok(DiskSource::Mount(
            source.mount.as_ref().and_then(|mount| mount.root.clone()),
        )),
        _ => Err(fault(
            resource,
            "has a disk source that is neither PATH nor MOUNT",
        )),
    }
}

fn volume(resource: &v1::Resource, info: &v1::ResourceDiskInfo) -> Result<Option<Volume>, String> {
    let Some(persistence) = &info.persistence else {
        return match &info.volume {
            Some(_) => Err(fault(resource, "has a volume without persistence")),
            None => Ok(None),
        };
    };
    let shown = info
        .volume
        .as_ref()
        .ok_or_else(|| fault(resource, "has persistence without a volume"))?;
    if shown.host_path.is_some() || shown.source.is_some() || shown.image.is_some() {
        return Err(fault(
            resource,
            "is a persistent volume, so its volume can have no host_path, source or image",
        ));
    }
    Ok(Some(Volume {
        id: persistence.id.clone(),
        principal: persistence.principal.clone(),
        container_path: shown.container_path.clone(),
        is_read_only: shown.mode == v1::VolumeMode::Ro,
    }))
}

fn value(resource: &v1::Resource) -> Result<Value, String> {
    let lacks = |what: &str| fault(resource, &format!("lacks its {what}"));
    match resource.r#type {
        v1::ValueType::Scalar => {
            let amount = resource.scalar.as_ref().ok_or_else(|| lacks("scalar"))?;
            let amount = scalar(&resource.name, amount.value)?;
            if resource.name == "gpus" && amount.0 % WHOLE != 0 {
                return Err(fault(resource, "must be a whole number"));
            }
            Ok(Value::Scalar(amount))
        }
        v1::ValueType::Ranges => {
            let given = resource.ranges.as_ref().ok_or_else(|| lacks("ranges"))?;
            ranges(resource, &given.range)
        }
        v1::ValueType::Set => {
            let given = resource.set.as_ref().ok_or_else(|| lacks("set"))?;
            let mut items = BTreeSet::new();
            match given
                .item
                .iter()
                .find(|item| !items.insert((*item).clone()))
            {
                Some(item) => Err(fault(resource, &format!("has the item '{item}' twice"))),
                None => Ok(Value::Set(items)),
            }
        }
        v1::ValueType::Text => Err(fault(resource, "is text, which a resource cannot be")),
    }
}

/// Ranges that are apart; in any order.
fn ranges(resource: &v1::Resource, given: &[v1::ValueRange]) -> Result<Value, String> {
    let name = &resource.name;
    let mut sorted: Vec<(u64, u64)> = given.iter().map(|one| (one.begin, one.end)).collect();
    if let Some((begin, end)) = sorted.iter().find(|(begin, end)| begin > end) {
        return Err(format!(
            "resource '{name}': range {begin}-{end} is upside down"
        ));
    }
    sorted.sort_unstable();
    if let Some([a, b]) = sorted.array_windows().find(|[a, b]| a.1 >= b.0) {
        return Err(format!(
            "resource '{name}': ranges {}-{} and {}-{} overlap",
            a.0, a.1, b.0, b.1
        ));
    }
    let all = sorted.into_iter().map(|(begin, end)| begin..=end);
    Ok(Value::Ranges(Ranges::new(all)))
}
