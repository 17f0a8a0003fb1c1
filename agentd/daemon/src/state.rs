//! What the agent's HTTP endpoints show: `/state`, `/metrics/snapshot`, `/monitor/statistics`, in Mesos's shapes.
//!
//! Read-only views of the core; called by `http`. Invariant: no secret flag is shown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use agentd_core::{Agent, LinkView, TaskView};
use nesos_wire::resource::{Resources, Value as ResourceValue};
use nesos_wire::resource_text::value_text;
use nesos_wire::task::{AttributeValue, TaskState};
use serde_json::{Map, Value, json};

use crate::clock::Clocks;
use crate::container::Containerizer;
use crate::sandbox;
use crate::settings::Settings;

/// Flags whose values are secrets.
const SECRET: [&str; 1] = ["join_token"];
/// What `/version` says besides the version: where the API comes from.
const MESOS_API: &str = "1.11.0";

/// Everything the views look at.
pub(crate) struct View {
    settings: Rc<Settings>,
    agent: Rc<RefCell<Agent>>,
    containers: Rc<RefCell<Containerizer>>,
    clocks: Rc<Clocks>,
    port: u16,
    start_time: f64,
}

impl View {
    pub(crate) fn new(
        settings: Rc<Settings>,
        agent: Rc<RefCell<Agent>>,
        containers: Rc<RefCell<Containerizer>>,
        clocks: Rc<Clocks>,
        port: u16,
    ) -> Self {
        let start_time = clocks.unix();
        Self {
            settings,
            agent,
            containers,
            clocks,
            port,
            start_time,
        }
    }

    pub(crate) fn version(&self) -> Value {
        json!({ "version": MESOS_API, "nesos_version": env!("CARGO_PKG_VERSION") })
    }

    pub(crate) fn flags(&self) -> Value {
        let shown = self
            .settings
            .flags
            .all()
            .filter(|(name, _)| !SECRET.contains(name));
        json!({ "flags": shown.map(|(name, value)| (name.to_string(), value.into())).collect::<Map<_, _>>() })
    }

    /// Mesos's agent `/state`, the fields that tools read.
    pub(crate) fn state(&self) -> Value {
        let agent = self.agent.borrow();
        let config = agent.config();
        let ip = self.settings.advertised_ip();
        let ip = if ip.is_empty() { "127.0.0.1" } else { &ip };
        let resources = legacy_resources(&agent.resources());
        let mut frameworks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for view in agent.tasks() {
            frameworks
                .entry(view.spec.key.framework.as_str())
                .or_default()
                .push(self.executor(&agent, &view));
        }
        let frameworks: Vec<Value> =
            frameworks.into_iter().map(|(id, executors)| json!({ "id": id, "executors": executors, "completed_executors": [] })).collect();
        json!({
            "version": MESOS_API,
            "id": agent.id().map(ToString::to_string).unwrap_or_default(),
            "pid": format!("slave(1)@{ip}:{}", self.port),
            "node": config.node.as_str(),
            "registered": agent.link() == LinkView::Live,
            "hostname": config.hostname,
            "start_time": self.start_time,
            "capabilities": ["MULTI_ROLE", "TASK_RESOURCE_LIMITS"],
            "resources": resources,
            "unreserved_resources": resources,
            "reserved_resources": {},
            "used_resources": legacy_resources(&agent.used()),
            "attributes": config.attributes.iter().map(|a| (a.name.clone(), attribute(&a.value))).collect::<Map<_, _>>(),
            "flags": self.flags()["flags"],
            "frameworks": frameworks,
            "completed_frameworks": [],
        })
    }

    /// Flat numbers under Mesos's names.
    pub(crate) fn metrics(&self) -> Value {
        let agent = self.agent.borrow();
        let (total, used) = (&agent.config().resources, agent.used());
        let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
        for name in ["cpus", "mem", "disk", "gpus"] {
            let (total, used) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
            metrics.insert(format!("slave/{name}_total"), total);
            metrics.insert(format!("slave/{name}_used"), used);
            metrics.insert(
                format!("slave/{name}_percent"),
                if total > 0.0 { used / total } else { 0.0 },
            );
        }
        let count =
            |wanted: TaskState| agent.tasks().filter(|view| view.latest == wanted).count() as f64;
        for (name, state) in [
            ("staging", TaskState::Staging),
            ("starting", TaskState::Starting),
            ("running", TaskState::Running),
            ("killing", TaskState::Killing),
        ] {
            metrics.insert(format!("slave/tasks_{name}"), count(state));
        }
        let active = agent.tasks().filter(|view| view.phase.is_active()).count() as f64;
        metrics.insert("slave/executors_running".into(), active);
        metrics.insert(
            "slave/registered".into(),
            f64::from(u8::from(agent.link() == LinkView::Live)),
        );
        metrics.insert(
            "slave/uptime_secs".into(),
            (self.clocks.unix() - self.start_time).max(0.0),
        );
        metrics.insert(
            "system/cpus_total".into(),
            f64::from(nesos_sys::machine::cpus()),
        );
        metrics.insert(
            "system/mem_total_bytes".into(),
            nesos_sys::machine::memory().unwrap_or(0) as f64,
        );
        metrics.insert(
            "system/mem_free_bytes".into(),
            nesos_sys::machine::memory_available().unwrap_or(0) as f64,
        );
        json!(metrics)
    }

    /// Usage of every container that has a cgroup.
    pub(crate) fn statistics(&self) -> Value {
        let agent = self.agent.borrow();
        let containers = self.containers.borrow();
        let rows = agent.tasks().filter_map(|view| {
            let usage = containers.usage(view.container?)?;
            let seconds = |micros: u64| micros as f64 / 1e6;
            Some(json!({
                "executor_id": view.spec.executor.as_str(),
                "executor_name": view.spec.name,
                "framework_id": view.spec.key.framework.as_str(),
                "source": view.spec.key.task.as_str(),
                "statistics": {
                    "timestamp": self.clocks.unix(),
                    "cpus_limit": view.spec.resources.scalar("cpus").to_f64(),
                    "cpus_user_time_secs": seconds(usage.cpu_user_us),
                    "cpus_system_time_secs": seconds(usage.cpu_system_us),
                    "cpus_throttled_time_secs": seconds(usage.cpu_throttled_us),
                    "mem_limit_bytes": view.spec.resources.scalar("mem").to_f64() * 1_048_576.0,
                    "mem_rss_bytes": usage.memory,
                    "mem_total_bytes": usage.memory,
                    "processes": usage.pids,
                },
            }))
        });
        Value::Array(rows.collect())
    }

    fn executor(&self, agent: &Agent, view: &TaskView<'_>) -> Value {
        let spec = view.spec;
        let directory = view.container.zip(agent.id()).and_then(|(container, id)| {
            sandbox::of_container(&self.settings.work_dir, id, spec, container)
                .map(|path| path.display().to_string())
        });
        let task = json!({
            "id": spec.key.task.as_str(),
            "name": spec.name,
            "framework_id": spec.key.framework.as_str(),
            "executor_id": "",
            "slave_id": agent.id().map(ToString::to_string).unwrap_or_default(),
            "state": state_name(view.latest),
            "resources": legacy_resources(&spec.resources),
            "role": spec.role,
            "statuses": view.status.map(|status| json!([{ "state": state_name(status.state), "timestamp": status.timestamp }])).unwrap_or(json!([])),
        });
        json!({
            "id": spec.executor.as_str(),
            "name": format!("Command Executor (Task: {})", spec.key.task),
            "source": spec.key.task.as_str(),
            "container": view.container.map(|container| container.as_str()).unwrap_or_default(),
            "directory": directory.unwrap_or_default(),
            "resources": legacy_resources(&spec.resources),
            "tasks": [task],
            "queued_tasks": [],
            "completed_tasks": [],
        })
    }
}

/// The four scalars always, ranges and sets as text.
fn legacy_resources(resources: &Resources) -> Value {
    let mut object = Map::new();
    for name in ["cpus", "disk", "gpus", "mem"] {
        object.insert(name.into(), number(resources.scalar(name).to_f64()));
    }
    for (name, value) in resources.iter() {
        let value = match value {
            ResourceValue::Scalar(_) => number(resources.scalar(name).to_f64()),
            other => value_text(other).into(),
        };
        object.insert(name.into(), value);
    }
    Value::Object(object)
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Scalar(scalar) => number(scalar.to_f64()),
        AttributeValue::Ranges(ranges) => value_text(&ResourceValue::Ranges(ranges.clone())).into(),
        AttributeValue::Text(text) => text.clone().into(),
    }
}

/// Whole numbers without `.0`, as Mesos prints them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Starting => "TASK_STARTING",
        TaskState::Running => "TASK_RUNNING",
        TaskState::Finished => "TASK_FINISHED",
        TaskState::Failed => "TASK_FAILED",
        TaskState::Killed => "TASK_KILLED",
        TaskState::Lost => "TASK_LOST",
        TaskState::Staging => "TASK_STAGING",
        TaskState::Error => "TASK_ERROR",
        TaskState::Killing => "TASK_KILLING",
        TaskState::Dropped => "TASK_DROPPED",
        TaskState::Unreachable => "TASK_UNREACHABLE",
        TaskState::Gone => "TASK_GONE",
        TaskState::GoneByOperator => "TASK_GONE_BY_OPERATOR",
        TaskState::Unknown => "TASK_UNKNOWN",
    }
}
