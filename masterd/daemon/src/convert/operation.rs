//! Operations on resources: their protobuf to the core's changes, and what became of them back.
//!
//! Called for each operation of an ACCEPT, for operators' calls, and by whoever shows operations. Invariant: what the core
//! cannot carry out is refused with a sentence that names the operation.

use masterd_core::{Change, Convert, OperationUpdate};
use nesos_api::operations::status as shown_status;
use nesos_api::v1::{self, OfferOperationType as Type};
use nesos_wire::resource::Resources;

pub(crate) use nesos_api::operations::shown;

use super::resource::{self, ReservationFormat, Shape};

/// Largest operation in protobuf bytes: the agent checkpoints it, and it comes back in each `Hello`.
const MAX_OPERATION: usize = 64 * 1024;

/// One operation of an ACCEPT.
pub(crate) fn convert(operation: &v1::OfferOperation) -> Convert {
    let info = operation.to_protobuf();
    let checked = check_framework(operation)
        .and_then(|()| check_size(&info))
        .and_then(|()| Ok((change(operation)?, role(operation)?)));
    let (change, role, invalid) = match checked {
        Ok((change, role)) => (change, role, None),
        Err(sentence) => (
            Change::Unreserve(Resources::new()),
            None,
            Some(format!("{}: {sentence}", kind(operation))),
        ),
    };
    Convert {
        id: operation.id.as_ref().map(|id| id.value.clone()),
        role,
        change,
        info: if invalid.is_some() { Vec::new() } else { info },
        invalid,
    }
}

/// What an operation of one of the six kinds wants. `Err` is a sentence.
pub(crate) fn change(operation: &v1::OfferOperation) -> Result<Change, String> {
    let missing = |member: &str| format!("{member} is missing");
    let bag = |resources: &[v1::Resource]| resource::bag(resources);
    let one = |resource: &v1::Resource| resource::bag(std::slice::from_ref(resource));
    match kind(operation) {
        Type::Reserve => {
            let member = operation.reserve.as_ref();
            let reserve = member.ok_or_else(|| missing("reserve"))?;
            Ok(Change::Reserve {
                source: bag(&reserve.source)?,
                resources: bag(&reserve.resources)?,
            })
        }
        Type::Unreserve => {
            let member = operation.unreserve.as_ref();
            let unreserve = member.ok_or_else(|| missing("unreserve"))?;
            Ok(Change::Unreserve(bag(&unreserve.resources)?))
        }
        Type::Create => {
            let member = operation.create.as_ref();
            let create = member.ok_or_else(|| missing("create"))?;
            Ok(Change::Create(bag(&create.volumes)?))
        }
        Type::Destroy => {
            let member = operation.destroy.as_ref();
            let destroy = member.ok_or_else(|| missing("destroy"))?;
            Ok(Change::Destroy(bag(&destroy.volumes)?))
        }
        Type::GrowVolume => {
            let member = operation.grow_volume.as_deref();
            let grow = member.ok_or_else(|| missing("grow_volume"))?;
            Ok(Change::Grow {
                volume: one(&grow.volume)?,
                addition: one(&grow.addition)?,
            })
        }
        Type::ShrinkVolume => {
            let member = operation.shrink_volume.as_deref();
            let shrink = member.ok_or_else(|| missing("shrink_volume"))?;
            Ok(Change::Shrink {
                volume: one(&shrink.volume)?,
                subtract: resource::scalar("subtract", shrink.subtract.value)?,
            })
        }
        other => Err(format!("{other} is of storage plugins; there are none")),
    }
}

/// Whether an operation is one of those that change resources (or pretends to be one of a storage plugin).
pub(crate) fn is_change(operation: &v1::OfferOperation) -> bool {
    !matches!(
        kind(operation),
        Type::Unknown | Type::Launch | Type::LaunchGroup
    )
}

/// What a framework is told.
pub(crate) fn status(update: &OperationUpdate, format: ReservationFormat) -> v1::OperationStatus {
    let shape = Shape {
        allocation: None,
        format,
    };
    v1::OperationStatus {
        operation_id: Some(update.id.as_str().into()),
        agent_id: update.agent.as_ref().map(|agent| agent.as_str().into()),
        converted_resources: resource::list(&update.converted, &shape),
        ..shown_status(&update.status)
    }
}

fn kind(operation: &v1::OfferOperation) -> Type {
    operation.r#type.unwrap_or_default()
}

/// What frameworks may not do, though operators may.
fn check_framework(operation: &v1::OfferOperation) -> Result<(), String> {
    let source = operation.reserve.as_ref().map(|reserve| &reserve.source);
    if source.is_some_and(|source| !source.is_empty()) {
        return Err("source can only be set by operators".to_owned());
    }
    Ok(())
}

fn check_size(info: &[u8]) -> Result<(), String> {
    if info.len() > MAX_OPERATION {
        return Err(format!(
            "it has {} bytes, at most {MAX_OPERATION} are allowed",
            info.len()
        ));
    }
    Ok(())
}

/// The role in the `allocation_info` of everything that the operation names.
fn role(operation: &v1::OfferOperation) -> Result<Option<String>, String> {
    let mut all: Vec<v1::Resource> = Vec::new();
    let lists = [
        operation.reserve.as_ref().map(|member| &member.resources),
        operation.unreserve.as_ref().map(|member| &member.resources),
        operation.create.as_ref().map(|member| &member.volumes),
        operation.destroy.as_ref().map(|member| &member.volumes),
    ];
    all.extend(lists.into_iter().flatten().flatten().cloned());
    if let Some(grow) = &operation.grow_volume {
        all.extend([grow.volume.clone(), grow.addition.clone()]);
    }
    all.extend(
        operation
            .shrink_volume
            .as_ref()
            .map(|shrink| shrink.volume.clone()),
    );
    resource::allocated_role(&all)
}
