//! Samples of operations on resources, with every term that a resource can be held under.
//!
//! Called by `samples`. Invariant: each field is set.

use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::operation::{
    OperationKind, OperationReport, OperationSpec, OperationState, OperationStatus,
};
use nesos_wire::resource::{Disk, DiskSource, Entry, Reservation, Scalar, Terms, Value, Volume};
use nesos_wire::{FrameworkId, Uuid, resource_text};

use crate::{Sample, sample};

pub(crate) fn messages() -> Vec<Sample> {
    vec![
        sample(
            "AgentToMaster::OperationUpdate",
            AgentToMaster::OperationUpdate(report()),
        ),
        sample("MasterToAgent::Apply", MasterToAgent::Apply(spec())),
        sample(
            "MasterToAgent::AcknowledgeOperation",
            MasterToAgent::AcknowledgeOperation {
                uuid: Uuid([8; 16]),
            },
        ),
    ]
}

fn spec() -> OperationSpec {
    OperationSpec {
        uuid: Uuid([7; 16]),
        framework: Some(FrameworkId::new("m-0000")),
        id: Some("op".into()),
        kind: OperationKind::Create,
        consumed: resource_text::parse("disk:64").expect("valid"),
        converted: [volume()].into_iter().collect(),
        info: vec![1, 2],
    }
}

pub(crate) fn report() -> OperationReport {
    OperationReport {
        spec: spec(),
        status: OperationStatus {
            state: OperationState::Finished,
            message: "m".into(),
            uuid: Some(Uuid([8; 16])),
        },
    }
}

fn volume() -> Entry {
    let terms = Terms {
        reservations: vec![
            Reservation::fixed("a"),
            Reservation::dynamic("a/b", Some("p")),
        ],
        disk: Some(Disk {
            source: Some(DiskSource::Path(Some("/d".into()))),
            volume: Some(Volume {
                id: "v".into(),
                principal: Some("p".into()),
                container_path: "data".into(),
                is_read_only: true,
            }),
        }),
        is_revocable: false,
        is_shared: true,
    };
    Entry::new("disk", terms, Value::Scalar(Scalar(64_000)))
}
