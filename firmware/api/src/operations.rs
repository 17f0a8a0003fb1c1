//! Operations on resources from the wire's form to the public one.
//!
//! Called by both daemons wherever they show operations.

use nesos_wire::AgentId;
use nesos_wire::operation::{OperationReport, OperationState, OperationStatus};

use crate::message::Bytes;
use crate::operator::common::Operation;
use crate::v1;

/// An operation as operators see it.
pub fn shown(agent: &AgentId, report: &OperationReport) -> Operation {
    let spec = &report.spec;
    let latest = v1::OperationStatus {
        operation_id: spec.id.as_deref().map(Into::into),
        agent_id: Some(agent.as_str().into()),
        ..status(&report.status)
    };
    Operation {
        framework_id: spec.framework.as_ref().map(|id| id.as_str().into()),
        agent_id: Some(agent.as_str().into()),
        // Written by this master or one before it; a damaged one leaves the display poorer, nothing else.
        info: v1::OfferOperation::from_protobuf(&spec.info).unwrap_or_default(),
        latest_status: latest.clone(),
        statuses: vec![latest],
        uuid: uuid(&spec.uuid),
    }
}

/// One status, without what only the operation knows.
pub fn status(status: &OperationStatus) -> v1::OperationStatus {
    v1::OperationStatus {
        state: state(status.state),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        uuid: status.uuid.as_ref().map(uuid),
        ..v1::OperationStatus::default()
    }
}

fn uuid(uuid: &nesos_wire::Uuid) -> v1::UUID {
    v1::UUID {
        value: Bytes(uuid.0.to_vec()),
    }
}

fn state(state: OperationState) -> v1::OperationState {
    match state {
        OperationState::Pending => v1::OperationState::Pending,
        OperationState::Finished => v1::OperationState::Finished,
        OperationState::Failed => v1::OperationState::Failed,
        OperationState::Error => v1::OperationState::Error,
        OperationState::Dropped => v1::OperationState::Dropped,
        OperationState::Unreachable => v1::OperationState::Unreachable,
        OperationState::GoneByOperator => v1::OperationState::GoneByOperator,
        OperationState::Recovering => v1::OperationState::Recovering,
        OperationState::Unknown => v1::OperationState::Unknown,
    }
}
