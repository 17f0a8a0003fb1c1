//! What containers use: `/monitor/statistics`, `/containers`, and a part of GET_CONTAINERS.
//!
//! Called by `http`. Usage is the cgroup's, or that of the task's processes without one (Mesos's posix isolators).

use nesos_api::legacy;
use nesos_api::operator::statistics as api;
use nesos_api::operator::statistics::{CgroupInfoBlkioOperation as Operation, ResourceStatistics};
use nesos_api::v1;
use nesos_sys::cgroup::statistics::{Device, Pressure, Statistics};
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
        self.status_of(held.container_id(), &held.container)
    }

    pub(super) fn status_of(
        &self,
        id: v1::ContainerID,
        container: &ContainerId,
    ) -> v1::ContainerStatus {
        let of_host = || v1::NetworkInfo {
            ip_addresses: vec![v1::NetworkInfoIPAddress {
                ip_address: Some(self.ip()),
                ..v1::NetworkInfoIPAddress::default()
            }],
            ..v1::NetworkInfo::default()
        };
        let own = self.containers.borrow().network(container);
        v1::ContainerStatus {
            container_id: Some(id),
            network_infos: vec![own.unwrap_or_else(of_host)],
            executor_pid: self.containers.borrow().executor_pid(container),
            ..v1::ContainerStatus::default()
        }
    }

    pub(super) fn statistics_of(&self, held: &Held) -> ResourceStatistics {
        self.measured(&held.container, Some(&held.limits))
    }

    /// What a container uses, and what it may.
    pub(super) fn measured(
        &self,
        container: &ContainerId,
        limits: Option<&Resources>,
    ) -> ResourceStatistics {
        let limit = |name| limits.map(|limits| limits.scalar(name).to_f64());
        let mut statistics = ResourceStatistics {
            timestamp: self.clocks.unix(),
            cpus_limit: limit("cpus"),
            mem_limit_bytes: limit("mem").map(|mb| (mb * MB) as u64),
            ..ResourceStatistics::default()
        };
        if let Some((limit, used)) = self.containers.borrow().disk(container) {
            statistics.disk_limit_bytes = Some(limit);
            statistics.disk_used_bytes = used;
        }
        if let Some(usage) = self.containers.borrow().usage(container) {
            let seconds = |micros: u64| Some(micros as f64 / 1e6);
            statistics.cpus_user_time_secs = seconds(usage.cpu_user_us);
            statistics.cpus_system_time_secs = seconds(usage.cpu_system_us);
            statistics.cpus_throttled_time_secs = seconds(usage.cpu_throttled_us);
            statistics.mem_rss_bytes = Some(usage.memory);
            statistics.mem_total_bytes = Some(usage.memory);
            let count = Some(u32::try_from(usage.pids).unwrap_or(u32::MAX));
            match self.containers.borrow().statistics(container) {
                Some(more) => {
                    // A cgroup counts threads.
                    statistics.threads = count;
                    more_of_cgroup(&mut statistics, &more);
                }
                None => statistics.processes = count,
            }
        }
        statistics
    }
}

fn more_of_cgroup(statistics: &mut ResourceStatistics, more: &Statistics) {
    let count = |number: u64| Some(u32::try_from(number).unwrap_or(u32::MAX));
    statistics.processes = count(more.processes);
    statistics.cpus_nr_periods = count(more.periods);
    statistics.cpus_nr_throttled = count(more.throttled_periods);
    // As Mesos with cgroups v2: what belongs to no file is what the container cannot do without.
    statistics.mem_rss_bytes = Some(more.anonymous);
    statistics.mem_anon_bytes = Some(more.anonymous);
    statistics.mem_file_bytes = Some(more.files);
    statistics.mem_cache_bytes = Some(more.files);
    statistics.mem_mapped_file_bytes = Some(more.mapped);
    statistics.mem_unevictable_bytes = Some(more.unevictable);
    statistics.mem_kmem_usage_bytes = Some(more.kernel);
    statistics.mem_swap_bytes = Some(more.swap);
    if !more.devices.is_empty() {
        statistics.blkio_statistics = Some(api::CgroupInfoBlkioStatistics {
            throttling: more.devices.iter().map(traffic).collect(),
            ..Default::default()
        });
    }
    if more.cpu.is_some() || more.memory.is_some() || more.io.is_some() {
        statistics.pressure = Some(api::ResourceStatisticsPressure {
            cpu: more.cpu.map(pressure),
            memory: more.memory.map(pressure),
            io: more.io.map(pressure),
        });
    }
}

fn traffic(device: &Device) -> api::CgroupInfoBlkioThrottlingStatistics {
    let values = |read: u64, written: u64| {
        let value = |op, value| api::CgroupInfoBlkioValue {
            op: Some(op),
            value: Some(value),
        };
        let total = value(Operation::Total, read.saturating_add(written));
        vec![
            value(Operation::Read, read),
            value(Operation::Write, written),
            total,
        ]
    };
    api::CgroupInfoBlkioThrottlingStatistics {
        device: Some(api::DeviceNumber {
            major_number: device.major,
            minor_number: device.minor,
        }),
        io_serviced: values(device.reads, device.writes),
        io_service_bytes: values(device.read_bytes, device.written_bytes),
    }
}

fn pressure(of: Pressure) -> api::ResourceStatisticsPressureOf {
    let seconds = |micros: u64| micros as f64 / 1e6;
    api::ResourceStatisticsPressureOf {
        some_avg10: of.some.last_10,
        some_avg60: of.some.last_60,
        some_avg300: of.some.last_300,
        some_total_secs: seconds(of.some.total_us),
        full_avg10: of.full.last_10,
        full_avg60: of.full.last_60,
        full_avg300: of.full.last_300,
        full_total_secs: seconds(of.full.total_us),
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

#[cfg(test)]
mod tests {
    use super::*;
    use nesos_sys::cgroup::statistics::Waiting;

    #[test]
    fn what_a_cgroup_tells_has_mesoss_names() {
        let mut statistics = ResourceStatistics::default();
        more_of_cgroup(
            &mut statistics,
            &Statistics {
                processes: 2,
                anonymous: 4096,
                devices: vec![Device {
                    major: 179,
                    minor: 0,
                    read_bytes: 10,
                    written_bytes: 20,
                    reads: 1,
                    writes: 2,
                }],
                io: Some(Pressure {
                    some: Waiting {
                        last_10: 1.5,
                        total_us: 2_000_000,
                        ..Waiting::default()
                    },
                    full: Waiting::default(),
                }),
                ..Statistics::default()
            },
        );
        let json: serde_json::Value =
            serde_json::from_slice(&statistics.to_json()).unwrap_or_default();
        assert_eq!(
            (&json["processes"], &json["mem_anon_bytes"]),
            (&2.into(), &4096.into())
        );
        let device = &json["blkio_statistics"]["throttling"][0];
        assert_eq!(device["device"]["major_number"], 179);
        let bytes = serde_json::json!([
            {"op": "READ", "value": 10}, {"op": "WRITE", "value": 20}, {"op": "TOTAL", "value": 30}]);
        assert_eq!(device["io_service_bytes"], bytes);
        let io = &json["pressure"]["io"];
        assert_eq!(
            (&io["some_avg10"], &io["some_total_secs"]),
            (&1.5.into(), &2.0.into())
        );
        assert!(json["pressure"]["cpu"].is_null());
        let protobuf = ResourceStatistics::from_protobuf(&statistics.to_protobuf());
        assert_eq!(protobuf.ok(), Some(statistics));
    }
}
