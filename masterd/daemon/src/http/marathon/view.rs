//! How services and their tasks are shown.
//!
//! Pure functions of what was seen. Called by the handlers. Invariant: what was not asked for is not there.

use std::collections::BTreeMap;

use masterd_core::builtin::{Action, Deployment, Failure, ROLE};
use nesos_api::marathon::shown::{
    Counts, HealthCheckResult, Id, IpAddress, ShownApp, Stats, Task, TaskFailure, TaskStats,
    VersionInfo,
};
use nesos_api::marathon::{App, progress, time};
use nesos_api::{tasks, v1};
use nesos_shell::http::query::Query;
use nesos_wire::builtin::Owner;
use nesos_wire::task::TaskState;

use super::seen::{Seen, SeenService, SeenTask};

/// What is shown of an app beside its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Embed {
    pub(super) tasks: bool,
    pub(super) counts: bool,
    pub(super) deployments: bool,
    pub(super) last_failure: bool,
    pub(super) stats: bool,
    pub(super) readiness: bool,
}

impl Embed {
    /// What lists of apps show.
    pub(super) const LISTED: Self = Self {
        tasks: false,
        counts: true,
        deployments: true,
        last_failure: false,
        stats: false,
        readiness: false,
    };
    /// What a single app shows.
    pub(super) const SINGLE: Self = Self {
        tasks: true,
        last_failure: true,
        ..Self::LISTED
    };

    /// With what a request asks for, under each of the names that it has.
    pub(super) fn with(mut self, query: &Query) -> Self {
        for name in query.all("embed") {
            let name = name.strip_prefix("group.").unwrap_or(name);
            let name = name.strip_prefix("apps.").or(name.strip_prefix("app."));
            match name {
                Some("tasks") => self.tasks = true,
                Some("counts") => self.counts = true,
                Some("deployments") => self.deployments = true,
                Some("lastTaskFailure") => self.last_failure = true,
                Some("failures") => {
                    self = Self {
                        tasks: true,
                        last_failure: true,
                        ..self
                    }
                }
                Some("taskStats") => self.stats = true,
                Some("readiness") => self.readiness = true,
                _ => {}
            }
        }
        self
    }
}

/// An app with how it is; none if its definition cannot be read.
pub(super) fn app(service: &SeenService, embed: Embed, seen: &Seen) -> Option<ShownApp> {
    let definition = service.app()?;
    let current = service.current()?;
    let services = definition.service_ports();
    let of_it = |one: &&Deployment| one.actions.iter().any(|(id, _)| id == service.id());
    let deployments = seen.deployments.iter().filter(of_it);
    let ids = deployments.map(|one| Id { id: one.id.clone() });
    let tasks = service.tasks.iter();
    let tasks = tasks.map(|one| task(service, &services, one));
    let failure = service.last_failure.as_ref();
    Some(ShownApp {
        version_info: Some(VersionInfo {
            last_scaling_at: time::write(current.version),
            last_config_change_at: time::write(current.changed),
        }),
        counts: embed.counts.then(|| counts(service, |_| true)),
        deployments: embed.deployments.then(|| ids.collect()),
        tasks: embed.tasks.then(|| tasks.collect()),
        last_task_failure: failure
            .filter(|_| embed.last_failure)
            .map(|failure| shown_failure(service.id(), failure)),
        task_stats: embed.stats.then(|| stats(service, seen.wall)),
        readiness_check_results: embed.readiness.then_some([]),
        ..ShownApp::plain(definition, current.version)
    })
}

/// An app of which only the definition is known, as it is right after it was put.
pub(super) fn new_app(app: App, version: u64, deployment: &str) -> ShownApp {
    ShownApp {
        version_info: Some(VersionInfo {
            last_scaling_at: time::write(version),
            last_config_change_at: time::write(version),
        }),
        counts: Some(Counts::default()),
        deployments: Some(vec![Id {
            id: deployment.to_owned(),
        }]),
        tasks: Some(Vec::new()),
        ..ShownApp::plain(app, version)
    }
}

/// A task.
pub(super) fn task(service: &SeenService, service_ports: &[u16], seen: &SeenTask) -> Task {
    let instance = &seen.instance;
    let record = &instance.record;
    let id = record.task.to_string();
    let version = match &record.owner {
        Owner::Service { version, .. } => *version,
        Owner::Job { .. } => 0,
    };
    let health = &instance.health;
    let moment = |at: Option<u64>| at.map(time::write);
    let result = health.is_alive.map(|alive| HealthCheckResult {
        alive,
        consecutive_failures: health.consecutive_failures,
        first_success: moment(health.first_success),
        last_failure: moment(health.last_failure),
        last_success: moment(health.last_success),
        task_id: id.clone(),
        instance_id: id.clone(),
    });
    Task {
        id,
        app_id: service.id().to_owned(),
        host: record.host.clone(),
        ports: record.ports.clone(),
        service_ports: service_ports.to_vec(),
        ip_addresses: addresses(seen),
        local_volumes: [],
        slave_id: record.agent.to_string(),
        state: tasks::state(instance.state).name(),
        staged_at: time::write(record.staged),
        started_at: moment(instance.started),
        version: time::write(version),
        health_check_results: result.into_iter().collect(),
        region: seen.domain.as_ref().map(|domain| domain.region.clone()),
        zone: seen.domain.as_ref().map(|domain| domain.zone.clone()),
        role: ROLE.to_owned(),
    }
}

/// Its own, or else those of its agent.
fn addresses(seen: &SeenTask) -> Vec<IpAddress> {
    let extra = v1::TaskStatus::from_protobuf(&seen.extra).unwrap_or_default();
    let networks = extra.container_status.into_iter();
    let networks = networks.flat_map(|status| status.network_infos);
    let own = networks.flat_map(|network| network.ip_addresses);
    let shown = |text: String| IpAddress {
        protocol: if text.contains(':') { "IPv6" } else { "IPv4" },
        ip_address: text,
    };
    let own: Vec<IpAddress> = own.filter_map(|one| one.ip_address).map(shown).collect();
    match own.is_empty() {
        true => seen.ip.iter().cloned().map(shown).collect(),
        false => own,
    }
}

/// How many of those tasks are in which state.
fn counts(service: &SeenService, wanted: impl Fn(&SeenTask) -> bool) -> Counts {
    let mut counts = Counts::default();
    for seen in service.tasks.iter().filter(|task| wanted(task)) {
        match seen.instance.state {
            TaskState::Staging | TaskState::Starting => counts.tasks_staged += 1,
            TaskState::Running => {
                counts.tasks_running += 1;
                match seen.instance.health.is_alive.filter(|_| service.is_checked) {
                    Some(true) => counts.tasks_healthy += 1,
                    Some(false) => counts.tasks_unhealthy += 1,
                    None => {}
                }
            }
            _ => {}
        }
    }
    counts
}

fn stats(service: &SeenService, wall: u64) -> BTreeMap<&'static str, TaskStats> {
    let changed = service.current().map_or(0, |current| current.changed);
    let scaled = service.current().map_or(0, |current| current.version);
    let is_latest = |task: &SeenTask| matches!(&task.instance.record.owner, Owner::Service { version, .. } if *version == changed);
    let mut stats = BTreeMap::new();
    let mut put = |name, wanted: &dyn Fn(&SeenTask) -> bool| {
        let wanted_tasks = service.tasks.iter().filter(|task| wanted(task));
        let started = wanted_tasks
            .clone()
            .filter_map(|task| task.instance.started);
        let seconds = started.map(|at| wall.saturating_sub(at) as f64 / 1000.0);
        if wanted_tasks.count() > 0 {
            let of = Stats::of(counts(service, wanted), seconds.collect());
            stats.insert(name, TaskStats { stats: of });
        }
    };
    put("startedAfterLastScaling", &|task| {
        task.instance.record.staged >= scaled
    });
    put("withLatestConfig", &is_latest);
    put("withOutdatedConfig", &|task| !is_latest(task));
    put("totalSummary", &|_| true);
    stats
}

fn shown_failure(id: &str, failure: &Failure) -> TaskFailure {
    TaskFailure {
        app_id: id.to_owned(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        task_id: failure.task.clone(),
        instance_id: failure.task.clone(),
        slave_id: failure.agent.clone(),
        state: tasks::state(failure.state).name(),
        timestamp: time::write(failure.at),
        version: time::write(failure.version),
    }
}

/// What a deployment does, in one step.
pub(super) fn actions(deployment: &Deployment) -> Vec<progress::Action> {
    let actions = deployment.actions.iter();
    let shown = |(app, action): &(String, Action)| progress::Action {
        action: match action {
            Action::Start => "StartApplication",
            Action::Scale => "ScaleApplication",
            Action::Restart => "RestartApplication",
            Action::Stop => "StopApplication",
        },
        app: app.clone(),
    };
    actions.map(shown).collect()
}

/// A deployment.
pub(super) fn deployment(deployment: &Deployment) -> progress::Deployment {
    let actions = actions(deployment);
    let current = actions.iter().map(|one| progress::CurrentAction {
        action: one.action,
        app: one.app.clone(),
        readiness_check_results: [],
    });
    progress::Deployment {
        id: deployment.id.clone(),
        version: time::write(deployment.version),
        affected_apps: actions.iter().map(|one| one.app.clone()).collect(),
        affected_pods: [],
        current_actions: current.collect(),
        steps: vec![progress::Step { actions }],
        current_step: 1,
        total_steps: 1,
    }
}

/// An app of which instances wait, if any do.
pub(super) fn queue_item(
    service: &SeenService,
    seen: &Seen,
    offers: bool,
) -> Option<progress::QueueItem> {
    let unused = service.unused_offers;
    let left = service.delay.unwrap_or(0);
    (service.waiting > 0).then_some(())?;
    Some(progress::QueueItem {
        count: service.waiting,
        delay: progress::Delay {
            time_left_seconds: left,
            overdue: left == 0,
        },
        since: time::write(service.waiting_since),
        processed_offers_summary: progress::OffersSummary {
            processed_offers_count: unused,
            unused_offers_count: unused,
            reject_summary_last_offers: [],
            reject_summary_launch_attempt: [],
        },
        last_unused_offers: offers.then_some([]),
        app: ShownApp {
            version_info: None,
            ..app(service, Embed::default(), seen)?
        },
    })
}

/// `/v2/tasks` as text: a line for each service port, with where its running tasks are.
pub(super) fn endpoints<'a>(services: impl Iterator<Item = &'a SeenService>) -> String {
    let mut text = String::new();
    for service in services {
        let Some(app) = service.app() else {
            continue;
        };
        let id = app.id.trim_start_matches('/').replace('/', "_");
        let running = service.tasks.iter().map(|task| &task.instance);
        let running = running.filter(|one| one.state == TaskState::Running);
        let ports = app.service_ports();
        if ports.is_empty() {
            let hosts = running.map(|one| format!("\t{}", one.record.host));
            text += &format!("{id}\t {}\n", hosts.collect::<String>());
            continue;
        }
        for (index, port) in ports.iter().enumerate() {
            let places = running.clone().filter_map(|one| {
                let port = one.record.ports.get(index)?;
                Some(format!("\t{}:{port}", one.record.host))
            });
            text += &format!("{id}\t{port}{}\n", places.collect::<String>());
        }
    }
    text
}
