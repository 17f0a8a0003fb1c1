//! A task as `/state` shows it, straight from the books: there may be a hundred thousand of them in one answer.
//!
//! The shape is `nesos_api::legacy::Task`'s, without its copies; a test holds the two together. Called by `pieces`.

use std::collections::BTreeMap;

use masterd_core::Task;
use nesos_api::legacy;
use nesos_api::v1;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Resources, Scalar, Value};
use nesos_wire::task::TaskStatus;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::convert::resource::{self, Shape};
use crate::convert::status;

/// A task.
#[derive(Debug, serde::Serialize)]
pub(super) struct ShownTask<'a> {
    id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    executor_id: &'a str,
    slave_id: &'a str,
    state: &'static str,
    resources: ShownResources<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<&'a str, f64>,
    role: &'a str,
    statuses: Vec<ShownStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<v1::Label>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Box<v1::DiscoveryInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Box<v1::ContainerInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<Box<v1::HealthCheck>>,
}

#[derive(Debug, serde::Serialize)]
struct ShownStatus {
    state: &'static str,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_status: Option<ShownContainer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

#[derive(Debug, serde::Serialize)]
struct ShownContainer {
    container_id: ShownId,
}

#[derive(Debug, serde::Serialize)]
struct ShownId {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ShownOuter>,
}

#[derive(Debug, serde::Serialize)]
struct ShownOuter {
    value: String,
}

impl ShownId {
    /// `OUTER.INNER` is a container inside another one.
    fn of(text: &str) -> Self {
        match text.split_once('.') {
            Some((outer, value)) => Self {
                value: value.to_owned(),
                parent: Some(ShownOuter {
                    value: outer.to_owned(),
                }),
            },
            None => Self {
                value: text.to_owned(),
                parent: None,
            },
        }
    }
}

/// A bag by name, with zeros for the four that are always there.
#[derive(Debug)]
struct ShownResources<'a>(&'a Resources);

impl<'a> From<&'a Task> for ShownTask<'a> {
    fn from(task: &'a Task) -> Self {
        let spec = &task.spec;
        // Written by this master or one before it; a damaged one leaves the display poorer, nothing else.
        let extras = v1::TaskInfoExtras::from_protobuf(&task.info()).unwrap_or_default();
        let limit = |amount: &Option<Scalar>| amount.map_or(f64::INFINITY, Scalar::to_f64);
        let limits = spec.limits.iter();
        Self {
            id: spec.key.task.as_str(),
            name: &spec.name,
            framework_id: spec.key.framework.as_str(),
            executor_id: match spec.kind {
                ExecutorKind::Command => "",
                _ => spec.executor.as_str(),
            },
            slave_id: task.agent.as_str(),
            state: status::state(task.latest).name(),
            resources: ShownResources(&spec.resources),
            limits: limits
                .map(|(name, amount)| (name.as_str(), limit(amount)))
                .collect(),
            role: if spec.resources.is_empty() {
                ""
            } else {
                &spec.role
            },
            statuses: task.statuses().into_iter().map(ShownStatus::from).collect(),
            user: spec.user.as_deref(),
            labels: extras.labels.map(|labels| labels.labels),
            discovery: extras.discovery,
            container: extras.container,
            health_check: extras.health_check,
        }
    }
}

impl From<TaskStatus> for ShownStatus {
    fn from(known: TaskStatus) -> Self {
        Self {
            state: status::state(known.state).name(),
            timestamp: known.timestamp,
            container_status: known.container.map(|id| ShownContainer {
                container_id: ShownId::of(id.as_str()),
            }),
            healthy: known.healthy,
        }
    }
}

impl Serialize for ShownResources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.entries();
        let is_simple = |value: &Value| matches!(value, Value::Scalar(_));
        if !entries.iter().all(|e| e.is_plain() && is_simple(e.value())) {
            let list = resource::list(self.0, &Shape::default());
            let all: legacy::Resources = list.iter().collect();
            return all.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        let mut always = ["cpus", "disk", "gpus", "mem"].into_iter().peekable();
        for entry in entries {
            while let Some(name) = always.next_if(|name| *name < entry.name()) {
                map.serialize_entry(name, &0.0)?;
            }
            always.next_if_eq(&entry.name());
            map.serialize_entry(entry.name(), &entry.scalar().to_f64())?;
        }
        for name in always {
            map.serialize_entry(name, &0.0)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use masterd_core::{Patterns, Task};
    use nesos_wire::task::{Command, Source, TaskSpec, TaskState};
    use nesos_wire::{AgentId, Attempt, ContainerId, ExecutorId, FrameworkId, TaskId, TaskKey};
    use nesos_wire::{Uuid, resource_text};

    use super::*;

    fn task(info: &str, resources: &str) -> Task {
        let known = |state, container: Option<&str>| TaskStatus {
            state,
            source: Source::Executor,
            reason: None,
            message: "m".into(),
            timestamp: 1.25,
            uuid: Some(Uuid([7; 16])),
            agent: Some(AgentId::new("a")),
            executor: None,
            container: container.map(ContainerId::new),
            healthy: container.map(|_| true),
            check: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        };
        let kind = match info.contains("executor") {
            true => ExecutorKind::Custom,
            false => ExecutorKind::Command,
        };
        let info = v1::TaskInfo::from_json(info.as_bytes()).unwrap();
        let spec = TaskSpec {
            key: TaskKey {
                framework: FrameworkId::new("f"),
                task: TaskId::new("t\"1"),
            },
            attempt: Attempt(1),
            name: "web \u{e4}\n".into(),
            executor: ExecutorId::new("e"),
            kind,
            role: "lab".into(),
            resources: resource_text::parse(resources).unwrap(),
            limits: [
                ("cpus".to_owned(), None),
                ("mem".to_owned(), Some(Scalar(5))),
            ]
            .into(),
            command: Command {
                user: Some("nobody".into()),
                ..Command::default()
            },
            kill_grace_ms: 1,
            partition_aware: false,
            task_killing: false,
            checkpoint: false,
            checks: None,
            info: info.to_protobuf(),
            framework_info: Vec::new(),
        };
        let mut task = Task::new(spec, AgentId::new("a"), &mut Patterns::default());
        task.record(known(TaskState::Starting, None));
        task.record(known(TaskState::Running, Some("c")));
        (task.state, task.latest) = (TaskState::Starting, TaskState::Running);
        task
    }

    #[test]
    fn it_is_the_legacy_shape() {
        let plain = r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}}"#;
        let full = r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},
            "executor":{"executor_id":{"value":"e"}},"labels":{"labels":[{"key":"k"}]},
            "container":{"type":"MESOS","hostname":"h"},"health_check":{"grace_period_seconds":1.5},
            "discovery":{"visibility":"CLUSTER","name":"d"},"command":{"value":"x"}}"#;
        for info in [plain, full] {
            for resources in [
                "",
                "cpus:1.5",
                "gpus:1;ink:2;mem:3",
                "zinc:1",
                "a:1;disk:5",
                "cpus:1;cpus(db):2",
                "mem:1;ports:[5-6,8-9]",
            ] {
                let task = task(info, resources);
                let expected = legacy::Task::from(&status::task(&task));
                let expected = serde_json::to_string(&expected).unwrap();
                let shown = serde_json::to_string(&ShownTask::from(&task)).unwrap();
                assert_eq!(shown, expected);
            }
        }
    }
}
