//! From an entry of a bag to the public form of a resource.
//!
//! Called by the module above. Invariant: what is shown is read back as the same entry.

use nesos_wire::resource::{Disk, DiskSource, Entry, Reservation, Value, Volume};
use nesos_wire::role;
use nesos_wire::task::{Attribute, AttributeValue};

use super::{ReservationFormat, Shape};
use crate::v1;

pub(super) fn resource(entry: &Entry, shape: &Shape<'_>) -> v1::Resource {
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

pub(super) fn attribute(attribute: &Attribute) -> v1::Attribute {
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
