//! What containers use: `/monitor/statistics`, `/containers`, and a part of GET_CONTAINERS.
//!
//! Called by `http`. Usage is the cgroup's, or that of the task's processes without one (Mesos's posix isolators).

use nesos_api::legacy;
use nesos_api::operator::statistics::ResourceStatistics;
use nesos_api::v1;
use nesos_wire::ContainerId;
use nesos_wire::task::TaskSpec;

use super::{View, executor_name};

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
        let agent = self.agent.borrow();
        let rows = agent.tasks().filter_map(|view| {
            let container = view.container.filter(|_| view.phase.is_active())?;
            let is_wanted = wanted.is_none_or(|id| container.as_str() == id);
            is_wanted.then(|| legacy::Container {
                framework_id: view.spec.key.framework.to_string(),
                executor_id: view.spec.executor.to_string(),
                executor_name: executor_name(view.spec),
                source: view.spec.key.task.to_string(),
                statistics: Some(self.statistics_of(view.spec, container)),
                container_id: Some(container.to_string()),
                status: Some(self.container_status(container)),
            })
        });
        rows.collect()
    }

    pub(super) fn container_status(&self, container: &ContainerId) -> v1::ContainerStatus {
        let address = v1::NetworkInfoIPAddress {
            ip_address: Some(self.ip()),
            ..v1::NetworkInfoIPAddress::default()
        };
        v1::ContainerStatus {
            container_id: Some(container.as_str().into()),
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: vec![address],
                ..v1::NetworkInfo::default()
            }],
            executor_pid: self.containers.borrow().executor_pid(container),
            ..v1::ContainerStatus::default()
        }
    }

    pub(super) fn statistics_of(
        &self,
        spec: &TaskSpec,
        container: &ContainerId,
    ) -> ResourceStatistics {
        let mut statistics = ResourceStatistics {
            timestamp: self.clocks.unix(),
            cpus_limit: Some(spec.resources.scalar("cpus").to_f64()),
            mem_limit_bytes: Some((spec.resources.scalar("mem").to_f64() * MB) as u64),
            ..ResourceStatistics::default()
        };
        if let Some(usage) = self.containers.borrow().usage(container) {
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
