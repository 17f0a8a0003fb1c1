//! What clients are shown of apps, their tasks and groups.
//!
//! Data only; who asks for what, and what there is, is the caller's. Invariant: each key is one that Marathon has.

use std::collections::BTreeMap;

use serde::Serialize;

use super::app::App;
use super::time;

/// Something's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Id {
    /// The id.
    pub id: String,
}

/// What a change answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// When it was asked for.
    pub version: String,
    /// The deployment that carries it out.
    pub deployment_id: String,
}

/// An app with how it is. What is `None` was not asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownApp {
    /// Its definition.
    #[serde(flatten)]
    pub app: App,
    /// The definition's version.
    pub version: String,
    /// What changed when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
    /// How many of its tasks are in which state.
    #[serde(flatten)]
    pub counts: Option<Counts>,
    /// Deployments that change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<Id>>,
    /// Its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Task>>,
    /// Its last task that failed, if any did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_task_failure: Option<TaskFailure>,
    /// Its tasks in numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_stats: Option<BTreeMap<&'static str, TaskStats>>,
    /// None, ever: there are no readiness checks here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_check_results: Option<[(); 0]>,
}

/// What changed when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// The number of instances.
    pub last_scaling_at: String,
    /// Anything else.
    pub last_config_change_at: String,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Launched and not yet running.
    pub tasks_staged: u32,
    /// Running.
    pub tasks_running: u32,
    /// Found healthy.
    pub tasks_healthy: u32,
    /// Found not healthy.
    pub tasks_unhealthy: u32,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its app's path.
    pub app_id: String,
    /// Its agent's host name.
    pub host: String,
    /// Its host ports.
    pub ports: Vec<u16>,
    /// Its app's service ports.
    pub service_ports: Vec<u16>,
    /// Its addresses.
    pub ip_addresses: Vec<IpAddress>,
    /// None, ever: apps have no volumes that outlive their instances.
    pub local_volumes: [(); 0],
    /// Its agent's id.
    pub slave_id: String,
    /// `TASK_...`
    pub state: &'static str,
    /// When it was launched.
    pub staged_at: String,
    /// When it was first running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// The definition that it was made by.
    pub version: String,
    /// What its health checks found.
    pub health_check_results: Vec<HealthCheckResult>,
    /// Its agent's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its agent's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// For whom it holds its resources.
    pub role: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: &'static str,
}

/// What health checks of a task found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    /// The newest finding.
    pub alive: bool,
    /// Findings against it since the last one for it.
    pub consecutive_failures: u32,
    /// First finding for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_success: Option<String>,
    /// Newest finding against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Newest finding for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// The task.
    pub task_id: String,
    /// The same: an instance is one task.
    pub instance_id: String,
}

/// A task that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// Its app's path.
    pub app_id: String,
    /// Its agent's host name.
    pub host: String,
    /// Why, in a sentence.
    pub message: String,
    /// Its id.
    pub task_id: String,
    /// The same: an instance is one task.
    pub instance_id: String,
    /// Its agent's id.
    pub slave_id: String,
    /// `TASK_...`
    pub state: &'static str,
    /// When it ended.
    pub timestamp: String,
    /// The definition that it was made by.
    pub version: String,
}

/// Tasks in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskStats {
    /// The numbers.
    pub stats: Stats,
}

/// The numbers of some tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// How many are in which state.
    pub counts: StateCounts,
    /// For how long those that run have been running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_time: Option<LifeTime>,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    /// Launched and not yet running.
    pub staged: u32,
    /// Running.
    pub running: u32,
    /// Found healthy.
    pub healthy: u32,
    /// Found not healthy.
    pub unhealthy: u32,
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LifeTime {
    /// On average.
    pub average_seconds: f64,
    /// Of the one in the middle.
    pub median_seconds: f64,
}

/// A group: the apps whose paths begin with its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Its path.
    pub id: String,
    /// The newest of its apps' versions.
    pub version: String,
    /// Its own apps.
    pub apps: Vec<ShownApp>,
    /// Groups in it.
    pub groups: Vec<Group>,
    /// None of its own: they are its apps'.
    pub dependencies: Vec<String>,
    /// None, ever.
    pub pods: [(); 0],
}

impl ShownApp {
    /// Of a definition only what it says itself.
    #[must_use]
    pub fn plain(app: App, version: u64) -> Self {
        Self {
            app,
            version: time::write(version),
            version_info: None,
            counts: None,
            deployments: None,
            tasks: None,
            last_task_failure: None,
            task_stats: None,
            readiness_check_results: None,
        }
    }
}

impl From<Counts> for StateCounts {
    fn from(counts: Counts) -> Self {
        Self {
            staged: counts.tasks_staged,
            running: counts.tasks_running,
            healthy: counts.tasks_healthy,
            unhealthy: counts.tasks_unhealthy,
        }
    }
}

impl Stats {
    /// Of tasks of which those that run have been running for so many seconds.
    #[must_use]
    pub fn of(counts: Counts, mut seconds: Vec<f64>) -> Self {
        seconds.sort_unstable_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied();
        let life_time = median.map(|median_seconds| LifeTime {
            average_seconds: seconds.iter().sum::<f64>() / seconds.len() as f64,
            median_seconds,
        });
        Self {
            counts: counts.into(),
            life_time,
        }
    }
}

impl Group {
    /// The group of this path, of all apps in it, by path, each with its version.
    #[must_use]
    pub fn of(id: &str, apps: Vec<(u64, ShownApp)>) -> Self {
        let newest = apps.iter().map(|(version, _)| *version).max();
        let mut own = Vec::new();
        let mut inner: BTreeMap<String, Vec<(u64, ShownApp)>> = BTreeMap::new();
        let prefix = id.trim_end_matches('/').len() + 1;
        for (version, shown) in apps {
            let rest = shown.app.id.get(prefix..).unwrap_or_default();
            match rest.split_once('/') {
                None => own.push(shown),
                Some((segment, _)) => {
                    let path = format!("{}/{segment}", id.trim_end_matches('/'));
                    inner.entry(path).or_default().push((version, shown));
                }
            }
        }
        let groups = inner.into_iter().map(|(id, apps)| Self::of(&id, apps));
        Self {
            id: id.to_owned(),
            version: time::write(newest.unwrap_or(0)),
            apps: own,
            groups: groups.collect(),
            dependencies: Vec::new(),
            pods: [],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(id: &str) -> ShownApp {
        let text = format!(r#"{{"id":"{id}","cmd":"x"}}"#);
        ShownApp::plain(App::from_json(text.as_bytes(), "/").unwrap(), 5)
    }

    #[test]
    fn groups_are_made_of_paths() {
        let apps = ["/a", "/g/b", "/g/h/c", "/g/h/d"];
        let apps = apps.iter().zip([1, 2, 9, 3]);
        let apps = apps.map(|(id, version)| (version, shown(id))).collect();
        let root = Group::of("/", apps);
        let ids = |group: &Group| -> Vec<String> {
            group
                .apps
                .iter()
                .map(|shown| shown.app.id.clone())
                .collect()
        };
        let inner = &root.groups[0];
        let innermost = &inner.groups[0];
        let told = (ids(&root), ids(inner), ids(innermost));
        let [a, b, c, d] = ["/a", "/g/b", "/g/h/c", "/g/h/d"].map(String::from);
        assert_eq!(told, (vec![a], vec![b], vec![c, d]));
        assert_eq!((&*inner.id, &*innermost.id), ("/g", "/g/h"));
        assert_eq!(root.version, time::write(9));
    }

    #[test]
    fn what_was_not_asked_for_is_not_there() {
        let text = serde_json::to_value(shown("/a")).unwrap();
        for key in [
            "tasks",
            "tasksRunning",
            "deployments",
            "versionInfo",
            "taskStats",
        ] {
            assert_eq!(text.get(key), None, "{key}");
        }
        let counts = Some(Counts::default());
        let counted = ShownApp {
            counts,
            ..shown("/a")
        };
        let text = serde_json::to_value(counted).unwrap();
        assert_eq!(text["tasksRunning"], 0);
    }

    #[test]
    fn life_times_are_summed_up() {
        let stats = Stats::of(Counts::default(), vec![3.0, 1.0, 8.0]);
        let expected = LifeTime {
            average_seconds: 4.0,
            median_seconds: 3.0,
        };
        assert_eq!(stats.life_time, Some(expected));
        assert_eq!(Stats::of(Counts::default(), Vec::new()).life_time, None);
    }
}
