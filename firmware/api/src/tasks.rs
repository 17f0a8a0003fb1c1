//! Task states, statuses and whole tasks from the wire's form to the public one.
//!
//! Called by masterd for UPDATE events, and by both daemons wherever they show tasks.

use nesos_wire::check::CheckStatus;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Scalar;
use nesos_wire::task::{Reason, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{AgentId, TaskId};

use crate::message::Bytes;
use crate::resources::{self, Shape};
use crate::v1;

/// A state's public name.
pub fn state(state: TaskState) -> v1::TaskState {
    match state {
        TaskState::Starting => v1::TaskState::Starting,
        TaskState::Running => v1::TaskState::Running,
        TaskState::Finished => v1::TaskState::Finished,
        TaskState::Failed => v1::TaskState::Failed,
        TaskState::Killed => v1::TaskState::Killed,
        TaskState::Lost => v1::TaskState::Lost,
        TaskState::Staging => v1::TaskState::Staging,
        TaskState::Error => v1::TaskState::Error,
        TaskState::Killing => v1::TaskState::Killing,
        TaskState::Dropped => v1::TaskState::Dropped,
        TaskState::Unreachable => v1::TaskState::Unreachable,
        TaskState::Gone => v1::TaskState::Gone,
        TaskState::GoneByOperator => v1::TaskState::GoneByOperator,
        TaskState::Unknown => v1::TaskState::Unknown,
    }
}

/// A state from its public name.
pub fn wire_state(state: v1::TaskState) -> TaskState {
    match state {
        v1::TaskState::Starting => TaskState::Starting,
        v1::TaskState::Running => TaskState::Running,
        v1::TaskState::Finished => TaskState::Finished,
        v1::TaskState::Failed => TaskState::Failed,
        v1::TaskState::Killed => TaskState::Killed,
        v1::TaskState::Lost => TaskState::Lost,
        v1::TaskState::Staging => TaskState::Staging,
        v1::TaskState::Error => TaskState::Error,
        v1::TaskState::Killing => TaskState::Killing,
        v1::TaskState::Dropped => TaskState::Dropped,
        v1::TaskState::Unreachable => TaskState::Unreachable,
        v1::TaskState::Gone => TaskState::Gone,
        v1::TaskState::GoneByOperator => TaskState::GoneByOperator,
        v1::TaskState::Unknown => TaskState::Unknown,
    }
}

/// A container's public id: inside another one it is written `OUTER.INNER`, as Mesos prints it.
pub fn container_id(text: &str) -> v1::ContainerID {
    match text.rsplit_once('.') {
        Some((outer, inner)) => v1::ContainerID {
            parent: Some(Box::new(container_id(outer))),
            ..inner.into()
        },
        None => text.into(),
    }
}

/// A status's public form.
pub fn status(task: &TaskId, status: &TaskStatus) -> v1::TaskStatus {
    // Written by an agent of ours; a damaged one leaves the status poorer, nothing else.
    let extra = match status.extra.as_slice() {
        [] => v1::TaskStatus::default(),
        bytes => v1::TaskStatus::from_protobuf(bytes).unwrap_or_default(),
    };
    let container = match &status.container {
        None => extra.container_status,
        Some(container) => {
            let mut shown = extra.container_status.unwrap_or_default();
            shown.container_id = Some(container_id(container.as_str()));
            Some(shown)
        }
    };
    v1::TaskStatus {
        task_id: task.as_str().into(),
        state: state(status.state),
        message: (!status.message.is_empty()).then(|| status.message.clone()),
        source: Some(source(status.source)),
        reason: status.reason.map(reason),
        data: (!status.data.is_empty()).then(|| Bytes(status.data.clone())),
        agent_id: status.agent.as_ref().map(|id| id.as_str().into()),
        executor_id: status.executor.as_ref().map(|id| id.as_str().into()),
        timestamp: Some(status.timestamp),
        uuid: status.uuid.map(|uuid| Bytes(uuid.0.to_vec())),
        healthy: status.healthy,
        check_status: extra.check_status.or(status.check.map(check_status)),
        labels: extra.labels,
        container_status: container,
        limitation: extra.limitation,
        unreachable_time: status.unreachable_time.map(|at| v1::TimeInfo {
            nanoseconds: (at * 1e9) as i64,
        }),
    }
}

fn check_status(found: CheckStatus) -> v1::CheckStatusInfo {
    let empty = v1::CheckStatusInfo::default();
    match found {
        CheckStatus::Command(exit_code) => v1::CheckStatusInfo {
            r#type: Some(v1::CheckInfoType::Command),
            command: Some(v1::CheckStatusInfoCommand { exit_code }),
            ..empty
        },
        CheckStatus::Http(status_code) => v1::CheckStatusInfo {
            r#type: Some(v1::CheckInfoType::Http),
            http: Some(v1::CheckStatusInfoHttp { status_code }),
            ..empty
        },
        CheckStatus::Tcp(succeeded) => v1::CheckStatusInfo {
            r#type: Some(v1::CheckInfoType::Tcp),
            tcp: Some(v1::CheckStatusInfoTcp { succeeded }),
            ..empty
        },
    }
}

/// A task as the operator APIs show it. What the framework said in its `TaskInfo` is taken from there.
pub fn task<'a>(
    spec: &TaskSpec,
    agent: &AgentId,
    latest: TaskState,
    statuses: impl IntoIterator<Item = &'a TaskStatus>,
) -> v1::Task {
    // Written by a master of ours; a damaged one leaves the display poorer, nothing else.
    let info = v1::TaskInfo::from_protobuf(&spec.info).unwrap_or_default();
    let has_executor = spec.kind != ExecutorKind::Command;
    let limit = |amount: &Option<Scalar>| v1::ValueScalar {
        value: amount.map_or(f64::INFINITY, Scalar::to_f64),
    };
    let shape = Shape {
        allocation: Some(&spec.role),
        ..Shape::default()
    };
    v1::Task {
        name: spec.name.clone(),
        task_id: spec.key.task.as_str().into(),
        framework_id: spec.key.framework.as_str().into(),
        executor_id: has_executor.then(|| spec.executor.as_str().into()),
        agent_id: agent.as_str().into(),
        state: state(latest),
        resources: resources::list(&spec.resources, &shape),
        statuses: statuses
            .into_iter()
            .map(|s| status(&spec.key.task, s))
            .collect(),
        labels: info.labels,
        discovery: info.discovery,
        container: info.container,
        health_check: info.health_check,
        kill_policy: info.kill_policy,
        user: spec.command.user.clone(),
        limits: spec
            .limits
            .iter()
            .map(|(name, amount)| (name.clone(), limit(amount)))
            .collect(),
        ..v1::Task::default()
    }
}

/// The public form of who made a status.
pub fn source(source: Source) -> v1::TaskStatusSource {
    match source {
        Source::Master => v1::TaskStatusSource::Master,
        Source::Agent => v1::TaskStatusSource::Agent,
        Source::Executor => v1::TaskStatusSource::Executor,
    }
}

/// The public form of why a status has its state.
pub fn reason(reason: Reason) -> v1::TaskStatusReason {
    use v1::TaskStatusReason as R;
    match reason {
        Reason::CommandExecutorFailed => R::CommandExecutorFailed,
        Reason::ContainerLaunchFailed => R::ContainerLaunchFailed,
        Reason::ContainerLimitation => R::ContainerLimitation,
        Reason::ContainerLimitationDisk => R::ContainerLimitationDisk,
        Reason::ContainerLimitationMemory => R::ContainerLimitationMemory,
        Reason::ExecutorTerminated => R::ExecutorTerminated,
        Reason::FrameworkRemoved => R::FrameworkRemoved,
        Reason::InvalidOffers => R::InvalidOffers,
        Reason::Reconciliation => R::Reconciliation,
        Reason::AgentDisconnected => R::AgentDisconnected,
        Reason::AgentRemoved => R::AgentRemoved,
        Reason::AgentReregistered => R::AgentReregistered,
        Reason::AgentRestarted => R::AgentRestarted,
        Reason::AgentUnknown => R::AgentUnknown,
        Reason::TaskInvalid => R::TaskInvalid,
        Reason::TaskKilledDuringLaunch => R::TaskKilledDuringLaunch,
        Reason::TaskUnauthorized => R::TaskUnauthorized,
        Reason::TaskUnknown => R::TaskUnknown,
        Reason::ResourcesUnknown => R::ResourcesUnknown,
        Reason::AgentRemovedByOperator => R::AgentRemovedByOperator,
        Reason::AgentDraining => R::AgentDraining,
        Reason::TaskGroupInvalid => R::TaskGroupInvalid,
        Reason::TaskGroupUnauthorized => R::TaskGroupUnauthorized,
        Reason::ExecutorRegistrationTimeout => R::ExecutorRegistrationTimeout,
        Reason::ExecutorReregistrationTimeout => R::ExecutorReregistrationTimeout,
        Reason::ExecutorUnregistered => R::ExecutorUnregistered,
        Reason::ContainerPreempted => R::ContainerPreempted,
        Reason::ContainerUpdateFailed => R::ContainerUpdateFailed,
        Reason::GcError => R::GcError,
        Reason::IoSwitchboardExited => R::IoSwitchboardExited,
        Reason::MaxCompletionTimeReached => R::MaxCompletionTimeReached,
        Reason::TaskCheckStatusUpdated => R::TaskCheckStatusUpdated,
        Reason::TaskHealthCheckStatusUpdated => R::TaskHealthCheckStatusUpdated,
        Reason::InvalidFrameworkId => R::InvalidFrameworkid,
        Reason::MasterDisconnected => R::MasterDisconnected,
    }
}

/// A reason from its public name.
pub fn wire_reason(reason: v1::TaskStatusReason) -> Reason {
    use v1::TaskStatusReason as R;
    match reason {
        R::CommandExecutorFailed => Reason::CommandExecutorFailed,
        R::ContainerLaunchFailed => Reason::ContainerLaunchFailed,
        R::ContainerLimitation => Reason::ContainerLimitation,
        R::ContainerLimitationDisk => Reason::ContainerLimitationDisk,
        R::ContainerLimitationMemory => Reason::ContainerLimitationMemory,
        R::ExecutorTerminated => Reason::ExecutorTerminated,
        R::FrameworkRemoved => Reason::FrameworkRemoved,
        R::InvalidOffers => Reason::InvalidOffers,
        R::Reconciliation => Reason::Reconciliation,
        R::AgentDisconnected => Reason::AgentDisconnected,
        R::AgentRemoved => Reason::AgentRemoved,
        R::AgentReregistered => Reason::AgentReregistered,
        R::AgentRestarted => Reason::AgentRestarted,
        R::AgentUnknown => Reason::AgentUnknown,
        R::TaskInvalid => Reason::TaskInvalid,
        R::TaskKilledDuringLaunch => Reason::TaskKilledDuringLaunch,
        R::TaskUnauthorized => Reason::TaskUnauthorized,
        R::TaskUnknown => Reason::TaskUnknown,
        R::ResourcesUnknown => Reason::ResourcesUnknown,
        R::AgentRemovedByOperator => Reason::AgentRemovedByOperator,
        R::AgentDraining => Reason::AgentDraining,
        R::TaskGroupInvalid => Reason::TaskGroupInvalid,
        R::TaskGroupUnauthorized => Reason::TaskGroupUnauthorized,
        R::ExecutorRegistrationTimeout => Reason::ExecutorRegistrationTimeout,
        R::ExecutorReregistrationTimeout => Reason::ExecutorReregistrationTimeout,
        R::ExecutorUnregistered => Reason::ExecutorUnregistered,
        R::ContainerPreempted => Reason::ContainerPreempted,
        R::ContainerUpdateFailed => Reason::ContainerUpdateFailed,
        R::GcError => Reason::GcError,
        R::IoSwitchboardExited => Reason::IoSwitchboardExited,
        R::MaxCompletionTimeReached => Reason::MaxCompletionTimeReached,
        R::TaskCheckStatusUpdated => Reason::TaskCheckStatusUpdated,
        R::TaskHealthCheckStatusUpdated => Reason::TaskHealthCheckStatusUpdated,
        R::InvalidFrameworkid => Reason::InvalidFrameworkId,
        R::MasterDisconnected => Reason::MasterDisconnected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_inside_another_says_so() {
        let plain = container_id("a");
        assert_eq!((plain.value.as_str(), plain.parent), ("a", None));
        let inner = container_id("a.b");
        let outer = inner.parent.map(|outer| outer.value);
        assert_eq!((inner.value.as_str(), outer.as_deref()), ("b", Some("a")));
    }
}
