//! Task states, statuses and whole tasks from the wire's form to the public one.
//!
//! Called for UPDATE events and by everything that shows state.

use nesos_api::message::Bytes;
use nesos_api::v1;
use nesos_wire::task::{Reason, Source, TaskState, TaskStatus};
use nesos_wire::{TaskId, resource::Scalar};

use super::resource::{self, Shape};

/// A state's public name.
pub(crate) fn state(state: TaskState) -> v1::TaskState {
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

/// A status's public form.
pub(crate) fn status(task: &TaskId, status: &TaskStatus) -> v1::TaskStatus {
    let container = status.container.as_ref().map(|container| {
        Box::new(v1::ContainerStatus {
            container_id: Some(container.as_str().into()),
            ..v1::ContainerStatus::default()
        })
    });
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
        container_status: container,
        unreachable_time: status.unreachable_time.map(|at| v1::TimeInfo {
            nanoseconds: (at * 1e9) as i64,
        }),
        ..v1::TaskStatus::default()
    }
}

/// A task as the operator API shows it. What the framework said in its `TaskInfo` is taken from there.
pub(crate) fn task(task: &masterd_core::Task) -> v1::Task {
    let spec = &task.spec;
    // Written by this master or one before it; a damaged one leaves the display poorer, nothing else.
    let info = v1::TaskInfo::from_protobuf(&spec.info).unwrap_or_default();
    let has_executor = info.executor.is_some();
    let limit = |amount: &Option<Scalar>| v1::ValueScalar {
        value: amount.map_or(f64::INFINITY, Scalar::to_f64),
    };
    v1::Task {
        name: spec.name.clone(),
        task_id: spec.key.task.as_str().into(),
        framework_id: spec.key.framework.as_str().into(),
        executor_id: has_executor.then(|| spec.executor.as_str().into()),
        agent_id: task.agent.as_str().into(),
        state: state(task.latest),
        resources: resource::list(
            &spec.resources,
            &Shape {
                allocation: Some(&spec.role),
                ..Shape::default()
            },
        ),
        statuses: task
            .statuses
            .iter()
            .map(|s| status(&spec.key.task, s))
            .collect(),
        status_update_state: Some(state(task.state)),
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

fn source(source: Source) -> v1::TaskStatusSource {
    match source {
        Source::Master => v1::TaskStatusSource::Master,
        Source::Agent => v1::TaskStatusSource::Agent,
        Source::Executor => v1::TaskStatusSource::Executor,
    }
}

fn reason(reason: Reason) -> v1::TaskStatusReason {
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
    }
}
