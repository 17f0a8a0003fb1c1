//! The executor API's own types to and from what the core speaks.
//!
//! Called by the loop for events and by `http::executor` for calls. Invariant: what comes from an executor is checked as
//! Mesos checks it, and a refusal names the field.

use agentd_core::{ExecutorCall, ExecutorEvent};
use nesos_api::executor::{
    Call, CallSubscribe, CallType, Event, EventAcknowledged, EventKill, EventLaunch,
    EventLaunchGroup, EventMessage, EventSubscribed, EventType,
};
use nesos_api::message::Bytes;
use nesos_api::{tasks, v1};
use nesos_wire::task::{Source, TaskSpec, TaskStatus};
use nesos_wire::{TaskId, Uuid};

/// An event in its public form. `agent` is asked for by some.
pub(crate) fn event(event: ExecutorEvent, agent: impl Fn() -> v1::AgentInfo) -> Event {
    let mut out = Event::default();
    out.r#type = Some(match event {
        ExecutorEvent::Subscribed {
            executor,
            container,
        } => {
            // Written by a master of ours; damaged ones leave what the key says.
            let info = v1::ExecutorInfo::from_protobuf(&executor.info).unwrap_or_default();
            let framework =
                v1::FrameworkInfo::from_protobuf(&executor.framework_info).unwrap_or_default();
            let framework_id = Some(executor.key.framework.as_str().into());
            out.subscribed = Some(EventSubscribed {
                executor_info: v1::ExecutorInfo {
                    executor_id: executor.key.executor.as_str().into(),
                    framework_id: framework_id.clone(),
                    ..info
                },
                framework_info: v1::FrameworkInfo {
                    id: framework_id,
                    ..framework
                },
                agent_info: agent(),
                container_id: Some(container.as_str().into()),
            });
            EventType::Subscribed
        }
        ExecutorEvent::Launch { task } => {
            let task = task_info(&task, &agent());
            out.launch = Some(EventLaunch { task });
            EventType::Launch
        }
        ExecutorEvent::LaunchGroup { tasks } => {
            let agent = agent();
            let tasks = tasks.iter().map(|task| task_info(task, &agent)).collect();
            let task_group = v1::TaskGroupInfo { tasks };
            out.launch_group = Some(EventLaunchGroup { task_group });
            EventType::LaunchGroup
        }
        ExecutorEvent::Kill { task, grace_ms } => {
            let policy = |ms: u32| v1::KillPolicy {
                grace_period: Some(v1::DurationInfo {
                    nanoseconds: i64::from(ms) * 1_000_000,
                }),
            };
            out.kill = Some(EventKill {
                task_id: task.as_str().into(),
                kill_policy: grace_ms.map(policy),
            });
            EventType::Kill
        }
        ExecutorEvent::Acknowledged { task, uuid } => {
            out.acknowledged = Some(EventAcknowledged {
                task_id: task.as_str().into(),
                uuid: Bytes(uuid.0.to_vec()),
            });
            EventType::Acknowledged
        }
        ExecutorEvent::Message { data } => {
            out.message = Some(EventMessage { data: Bytes(data) });
            EventType::Message
        }
        ExecutorEvent::Shutdown => EventType::Shutdown,
        ExecutorEvent::Heartbeat => EventType::Heartbeat,
    });
    out
}

/// Says in an executor's statuses which network its tasks have, unless it says so itself.
pub(crate) fn add_network(call: &mut Call, network: &v1::NetworkInfo) {
    let update = call.update.iter_mut();
    let update = update.map(|update| &mut update.status);
    let again = call.subscribe.iter_mut();
    let again = again.flat_map(|subscribe| &mut subscribe.unacknowledged_updates);
    for status in update.chain(again.map(|update| &mut update.status)) {
        let container = status.container_status.get_or_insert_default();
        if container.network_infos.is_empty() {
            container.network_infos.push(network.clone());
        }
    }
}

/// What a call means, if it is one that the core hears of.
pub(crate) fn call(kind: CallType, call: Call, unix: f64) -> Result<Option<ExecutorCall>, String> {
    Ok(match kind {
        CallType::Subscribe => {
            let subscribe = member(call.subscribe, "subscribe")?;
            // The stream is opened when all else is right.
            Some(subscription(subscribe, &call.executor_id, unix)?)
        }
        CallType::Update => {
            let update = member(call.update, "update")?;
            let (task, status) = status(update.status, &call.executor_id, unix)?;
            Some(ExecutorCall::Update {
                task,
                status: Box::new(status),
            })
        }
        CallType::Message => {
            let data = member(call.message, "message")?.data.0;
            Some(ExecutorCall::Message { data })
        }
        CallType::Heartbeat | CallType::Unknown => None,
    })
}

fn subscription(
    subscribe: CallSubscribe,
    executor: &v1::ExecutorID,
    unix: f64,
) -> Result<ExecutorCall, String> {
    let updates = subscribe.unacknowledged_updates.into_iter();
    let updates = updates.map(|update| status(update.status, executor, unix));
    let tasks = subscribe.unacknowledged_tasks.iter();
    Ok(ExecutorCall::Subscribe {
        stream: 0,
        tasks: tasks
            .map(|task| TaskId::new(task.task_id.value.as_str()))
            .collect(),
        updates: updates.collect::<Result<_, _>>()?,
    })
}

/// The checks of Mesos's `validation::executor::call::validate`.
fn status(
    status: v1::TaskStatus,
    executor: &v1::ExecutorID,
    unix: f64,
) -> Result<(TaskId, TaskStatus), String> {
    let uuid = status
        .uuid
        .as_ref()
        .ok_or("Expecting 'uuid' to be present")?;
    let uuid = <[u8; 16]>::try_from(uuid.0.as_slice()).map_err(|_| {
        format!(
            "'update.status.uuid': expected 16 bytes, found {}",
            uuid.0.len()
        )
    })?;
    if let Some(other) = status
        .executor_id
        .as_ref()
        .filter(|other| *other != executor)
    {
        return Err(format!(
            "ExecutorID in Call: {} does not match ExecutorID in TaskStatus: {}",
            executor.value, other.value
        ));
    }
    if status.source != Some(v1::TaskStatusSource::Executor) {
        return Err("'update.status.source': expected SOURCE_EXECUTOR".into());
    }
    if status.state == v1::TaskState::Staging {
        return Err("'update.status.state': TASK_STAGING is not for executors".into());
    }
    check_status(status.check_status.as_ref())?;
    let extra = v1::TaskStatus {
        task_id: status.task_id.clone(),
        state: status.state,
        check_status: status.check_status,
        labels: status.labels,
        container_status: status.container_status,
        limitation: status.limitation,
        ..v1::TaskStatus::default()
    };
    let has_extra = extra.check_status.is_some()
        || extra.labels.is_some()
        || extra.container_status.is_some()
        || extra.limitation.is_some();
    let converted = TaskStatus {
        state: tasks::wire_state(status.state),
        source: Source::Executor,
        reason: status.reason.map(tasks::wire_reason),
        message: status.message.unwrap_or_default(),
        timestamp: status.timestamp.unwrap_or(unix),
        uuid: Some(Uuid(uuid)),
        agent: None,
        executor: None,
        container: None,
        healthy: status.healthy,
        check: None,
        data: status.data.map(|data| data.0).unwrap_or_default(),
        unreachable_time: None,
        extra: if has_extra {
            extra.to_protobuf()
        } else {
            Vec::new()
        },
    };
    Ok((TaskId::new(status.task_id.value.as_str()), converted))
}

fn check_status(check: Option<&v1::CheckStatusInfo>) -> Result<(), String> {
    let Some(check) = check else { return Ok(()) };
    let fail = |what: &str| Err(format!("'update.status.check_status': {what}"));
    match check.r#type {
        None | Some(v1::CheckInfoType::Unknown) => fail("expected a type"),
        Some(v1::CheckInfoType::Command) if check.command.is_none() => {
            fail("expected 'command' to be set for its type")
        }
        Some(v1::CheckInfoType::Http) if check.http.is_none() => {
            fail("expected 'http' to be set for its type")
        }
        Some(v1::CheckInfoType::Tcp) if check.tcp.is_none() => {
            fail("expected 'tcp' to be set for its type")
        }
        Some(_) => Ok(()),
    }
}

/// What the framework said of the task.
fn task_info(spec: &TaskSpec, agent: &v1::AgentInfo) -> v1::TaskInfo {
    let info = v1::TaskInfo::from_protobuf(&spec.info).unwrap_or_default();
    v1::TaskInfo {
        name: spec.name.clone(),
        task_id: spec.key.task.as_str().into(),
        agent_id: agent.id.clone().unwrap_or_default(),
        ..info
    }
}

fn member<T>(member: Option<T>, name: &str) -> Result<T, String> {
    member.ok_or_else(|| format!("Expecting '{name}' to be present"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(change: impl FnOnce(&mut v1::TaskStatus)) -> Result<Option<ExecutorCall>, String> {
        let mut status = v1::TaskStatus {
            task_id: "t".into(),
            state: v1::TaskState::Running,
            source: Some(v1::TaskStatusSource::Executor),
            uuid: Some(Bytes(vec![7; 16])),
            ..v1::TaskStatus::default()
        };
        change(&mut status);
        let made = Call {
            executor_id: "e".into(),
            update: Some(nesos_api::executor::CallUpdate { status }),
            ..Call::default()
        };
        call(CallType::Update, made, 5.0)
    }

    #[test]
    fn what_is_wrong_with_a_status_is_named() {
        let why = |change: fn(&mut v1::TaskStatus)| update(change).expect_err("refused");
        assert!(why(|status| status.uuid = None).contains("'uuid'"));
        assert!(why(|status| status.uuid = Some(Bytes(vec![1]))).contains("16 bytes, found 1"));
        assert!(why(|status| status.source = None).contains("SOURCE_EXECUTOR"));
        assert!(why(|status| status.state = v1::TaskState::Staging).contains("TASK_STAGING"));
        assert!(why(|status| status.executor_id = Some("x".into())).contains("does not match"));
        assert!(
            why(|status| status.check_status = Some(v1::CheckStatusInfo::default()))
                .contains("check_status")
        );
    }

    #[test]
    fn a_network_is_told_in_each_status_that_tells_none() {
        let network = |name: &str| v1::NetworkInfo {
            name: Some(name.into()),
            ..v1::NetworkInfo::default()
        };
        let update = |infos: Vec<v1::NetworkInfo>| {
            let container = v1::ContainerStatus {
                network_infos: infos,
                executor_pid: Some(7),
                ..v1::ContainerStatus::default()
            };
            nesos_api::executor::CallUpdate {
                status: v1::TaskStatus {
                    container_status: Some(Box::new(container)),
                    ..v1::TaskStatus::default()
                },
            }
        };
        let mut call = Call {
            update: Some(update(vec![])),
            subscribe: Some(CallSubscribe {
                unacknowledged_updates: vec![update(vec![network("own")]), update(vec![])],
                ..CallSubscribe::default()
            }),
            ..Call::default()
        };
        add_network(&mut call, &network("agent's"));
        let told = |update: &nesos_api::executor::CallUpdate| {
            let container = update.status.container_status.clone().expect("is told");
            assert_eq!(container.executor_pid, Some(7));
            container.network_infos
        };
        let again = call.subscribe.expect("as before").unacknowledged_updates;
        assert_eq!(told(&call.update.expect("as before")), [network("agent's")]);
        assert_eq!(told(&again[0]), [network("own")]);
        assert_eq!(told(&again[1]), [network("agent's")]);
    }

    #[test]
    fn what_is_told_of_a_task_comes_through() {
        let labels = v1::Labels {
            labels: vec![v1::Label {
                key: "k".into(),
                value: None,
            }],
        };
        let made = update(|status| {
            status.labels = Some(labels.clone());
            status.healthy = Some(false);
            status.data = Some(Bytes(b"d".to_vec()));
            status.reason = Some(v1::TaskStatusReason::MaxCompletionTimeReached);
        });
        let Ok(Some(ExecutorCall::Update { task, status })) = made else {
            panic!("an update: {made:?}");
        };
        assert_eq!(status.timestamp, 5.0);
        let shown = tasks::status(&task, &status);
        assert_eq!((shown.labels, shown.healthy), (Some(labels), Some(false)));
        assert_eq!(
            shown.reason,
            Some(v1::TaskStatusReason::MaxCompletionTimeReached)
        );
        assert_eq!(shown.data, Some(Bytes(b"d".to_vec())));
    }
}
