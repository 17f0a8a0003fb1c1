//! What containers use: `/monitor/statistics`, `/containers`, and a part of GET_CONTAINERS.
//!
//! Called by `http`. Usage is the cgroup's, or that of the task's processes without one (Mesos's posix isolators).

use nesos_api::legacy;
use nesos_api::operator::statistics::ResourceStatistics;
use nesos_api::v1;
use nesos_wire::ContainerId;
use nesos_wire::resource::Resources;

use super::executors::listed;
use super::{Life, View, id_of};

const MB: f64 = 1_048_576.0;

impl View {
    /// `/monitor/statistics`
    pub(crate) fn statistics(&self) -> Vec<legacy::Container> {
        let short = |row| legacy::Container {
            container_id: None,
            status: None,
            ..row
        };
        self.containers(None).into_iter().map(short).collect()
    }

    /// `/containers?container_id=`
    pub(crate) fn containers(&self, wanted: Option<&str>) -> Vec<legacy::Container> {
        let held = self.held();
        let is_wanted = |held: &&Held| match wanted {
            Some(id) => held.container.as_str() == id,
            // Mesos shows those inside others only to who asks for them.
            None => held.parent.is_none(),
        };
        let rows = held.iter().filter(is_wanted).map(|held| legacy::Container {
            framework_id: held.framework.clone(),
            executor_id: held.executor.clone(),
            executor_name: held.executor_name.clone(),
            source: held.source.clone(),
            statistics: Some(self.statistics_of(held)),
            container_id: Some(held.container.to_string()),
            status: Some(self.container_status(held)),
        });
        rows.collect()
    }

    /// All containers that exist.
    pub(super) fn held(&self) -> Vec<Held> {
        let agent = self.agent.borrow();
        let mut held = Vec::new();
        for run in listed(&agent, &id_of(&agent)) {
            let is_present = run
                .spec
                .is_none_or(|spec| agent.executor(&spec.key).is_some());
            let Some(container) = run.container.filter(|_| !run.is_over && is_present) else {
                continue;
            };
            let one =
                |container: &ContainerId, parent: Option<&ContainerId>, limits: Resources| Held {
                    framework: run.key.framework.to_string(),
                    executor: run.key.executor.to_string(),
                    executor_name: run.name(),
                    source: run.source(),
                    container: container.clone(),
                    parent: parent.cloned(),
                    limits,
                };
            let is_brought = run.spec.is_some();
            let is_alive =
                |task: &&super::Shown<'_>| matches!(task.life, Life::Queued | Life::Launched);
            if is_brought || run.tasks.iter().any(|task| is_alive(&task)) {
                held.push(one(container, None, run.resources()));
            }
            let inside = run
                .tasks
                .iter()
                .filter(is_alive)
                .filter(|task| task.parent.is_some());
            held.extend(inside.filter_map(|task| {
                Some(one(
                    task.container?,
                    task.parent,
                    task.spec.resources.clone(),
                ))
            }));
        }
        held
    }

    pub(super) fn container_status(&self, held: &Held) -> v1::ContainerStatus {
        let address = v1::NetworkInfoIPAddress {
            ip_address: Some(self.ip()),
            ..v1::NetworkInfoIPAddress::default()
        };
        v1::ContainerStatus {
            container_id: Some(held.container_id()),
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: vec![address],
                ..v1::NetworkInfo::default()
            }],
            executor_pid: self.containers.borrow().executor_pid(&held.container),
            ..v1::ContainerStatus::default()
        }
    }

    pub(super) fn statistics_of(&self, held: &Held) -> ResourceStatistics {
        let mut statistics = ResourceStatistics {
            timestamp: self.clocks.unix(),
            cpus_limit: Some(held.limits.scalar("cpus").to_f64()),
            mem_limit_bytes: Some((held.limits.scalar("mem").to_f64() * MB) as u64),
            ..ResourceStatistics::default()
        };
        if let Some(usage) = self.containers.borrow().usage(&held.container) {
            let seconds = |micros: u64| Some(micros as f64 / 1e6);
            statistics.cpus_user_time_secs = seconds(usage.cpu_user_us);
            statistics.cpus_system_time_secs = seconds(usage.cpu_system_us);
            statistics.cpus_throttled_time_secs = seconds(usage.cpu_throttled_us);
            statistics.mem_rss_bytes = Some(usage.memory);
            statistics.mem_total_bytes = Some(usage.memory);
            statistics.processes = Some(u32::try_from(usage.pids).unwrap_or(u32::MAX));
        }
        statistics
    }
}

/// A container that exists.
pub(super) struct Held {
    pub(super) framework: String,
    pub(super) executor: String,
    pub(super) executor_name: String,
    source: String,
    container: ContainerId,
    pub(super) parent: Option<ContainerId>,
    limits: Resources,
}

impl Held {
    pub(super) fn container_id(&self) -> v1::ContainerID {
        v1::ContainerID {
            parent: self
                .parent
                .as_ref()
                .map(|parent| Box::new(parent.as_str().into())),
            ..self.container.as_str().into()
        }
    }
}
