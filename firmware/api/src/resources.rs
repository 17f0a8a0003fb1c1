//! Resources and attributes between the public list form and the wire's bags.
//!
//! Both formats of reservations are read: `role` with `reservation`, and since Mesos 1.4 the `reservations` stack. Pure;
//! `allocation_info` is the caller's, a bag has none. Called by the daemons' conversions and flags. Invariant: what a bag
//! cannot hold is refused with a sentence that names the resource.

use nesos_wire::resource::{
    Disk, DiskSource, Entry, Ranges, Reservation, Resources, Scalar, Terms, Value, Volume,
};
use nesos_wire::role;
use nesos_wire::task::{Attribute, AttributeValue};

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
        let entry = entry(resource)?;
        let mut present = bag.entries().iter();
        if let Some(have) = present.find(|have| have.name() == entry.name())
            && std::mem::discriminant(have.value()) != std::mem::discriminant(entry.value())
        {
            return Err(fault(resource, "stands there with two types"));
        }
        bag.put(entry);
    }
    Ok(bag)
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
        .map(|entry| resource(entry, shape))
        .collect()
}

/// Attributes to the public list.
pub fn attributes(attributes: &[Attribute]) -> Vec<v1::Attribute> {
    attributes.iter().map(attribute).collect()
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

fn fault(resource: &v1::Resource, what: &str) -> String {
    format!("resource '{}' {what}", resource.name)
}

fn entry(resource: &v1::Resource) -> Result<Entry, String> {
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
    let name = &resource.name;
    match resource.r#type {
        v1::ValueType::Scalar => {
            let amount = resource
                .scalar
                .as_ref()
                .ok_or_else(|| fault(resource, "lacks its scalar"))?;
            Ok(Value::Scalar(scalar(name, amount.value)?))
        }
        v1::ValueType::Ranges => {
            let ranges = resource
                .ranges
                .as_ref()
                .ok_or_else(|| fault(resource, "lacks its ranges"))?;
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
                .ok_or_else(|| fault(resource, "lacks its set"))?;
            Ok(Value::Set(set.item.iter().cloned().collect()))
        }
        v1::ValueType::Text => Err(fault(resource, "is text, which a resource cannot be")),
    }
}

fn resource(entry: &Entry, shape: &Shape<'_>) -> v1::Resource {
    let name = entry.name();
    let mut resource = match entry.value() {
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
    let terms = entry.terms();
    show_reservations(&mut resource, &terms.reservations, shape.format);
    resource.disk = terms.disk.as_ref().map(|disk| Box::new(disk_info(disk)));
    resource.revocable = terms.is_revocable.then(v1::ResourceRevocableInfo::default);
    resource.shared = terms.is_shared.then(v1::ResourceSharedInfo::default);
    resource.allocation_info = shape.allocation.map(|role| v1::ResourceAllocationInfo {
        role: Some(role.into()),
    });
    resource
}

fn show_reservations(
    resource: &mut v1::Resource,
    stack: &[Reservation],
    format: ReservationFormat,
) {
    let has_single = stack.len() <= 1;
    if format != ReservationFormat::Stack && has_single {
        let only = stack.first();
        let role = only.map_or(role::DEFAULT, |only| only.role.as_str());
        resource.role = Some(role.to_owned());
        resource.reservation =
            only.filter(|only| only.is_dynamic)
                .map(|only| v1::ResourceReservationInfo {
                    principal: only.principal.clone(),
                    labels: shown_labels(&only.labels),
                    ..v1::ResourceReservationInfo::default()
                });
    }
    if format != ReservationFormat::Single || !has_single {
        resource.reservations = stack.iter().map(reservation_info).collect();
    }
}

fn reservation_info(reservation: &Reservation) -> v1::ResourceReservationInfo {
    let kind = if reservation.is_dynamic {
        v1::ResourceReservationInfoType::Dynamic
    } else {
        v1::ResourceReservationInfoType::Static
    };
    v1::ResourceReservationInfo {
        r#type: Some(kind),
        role: Some(reservation.role.clone()),
        principal: reservation.principal.clone(),
        labels: shown_labels(&reservation.labels),
    }
}

fn shown_labels(labels: &[(String, Option<String>)]) -> Option<v1::Labels> {
    let label = |(key, value): &(String, Option<String>)| v1::Label {
        key: key.clone(),
        value: value.clone(),
    };
    (!labels.is_empty()).then(|| v1::Labels {
        labels: labels.iter().map(label).collect(),
    })
}

fn disk_info(disk: &Disk) -> v1::ResourceDiskInfo {
    let source = |source: &DiskSource| match source {
        DiskSource::Path(root) => v1::ResourceDiskInfoSource {
            r#type: v1::ResourceDiskInfoSourceType::Path,
            path: Some(v1::ResourceDiskInfoSourcePath { root: root.clone() }),
            ..v1::ResourceDiskInfoSource::default()
        },
        DiskSource::Mount(root) => v1::ResourceDiskInfoSource {
            r#type: v1::ResourceDiskInfoSourceType::Mount,
            mount: Some(v1::ResourceDiskInfoSourceMount { root: root.clone() }),
            ..v1::ResourceDiskInfoSource::default()
        },
    };
    let mode = |volume: &Volume| {
        if volume.is_read_only {
            v1::VolumeMode::Ro
        } else {
            v1::VolumeMode::Rw
        }
    };
    v1::ResourceDiskInfo {
        persistence: disk
            .volume
            .as_ref()
            .map(|volume| v1::ResourceDiskInfoPersistence {
                id: volume.id.clone(),
                principal: volume.principal.clone(),
            }),
        volume: disk.volume.as_ref().map(|volume| {
            Box::new(v1::Volume {
                container_path: volume.container_path.clone(),
                mode: mode(volume),
                ..v1::Volume::default()
            })
        }),
        source: disk.source.as_ref().map(source),
    }
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
