//! From an app's definition and a place to the task that runs there.
//!
//! Pure. Called for each instance that is launched. Not the choice of the place. Invariant: a task says all that its
//! definition says; what tasks cannot say was refused with the definition.

use std::collections::BTreeMap;
use std::time::Duration;

use super::app::{App, Container, HealthCheck, InstancePort, NetworkMode, Volume};
use super::{id, time};
use crate::v1;

/// The network of agents, by the name that both have for it.
const BRIDGE: &str = "mesos-bridge";
/// Longest label that is in the environment too, as with Marathon.
const MAX_LABEL: usize = 512;

/// Where an instance runs, and with what.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The task's id.
    pub task: &'a str,
    /// The agent's id.
    pub agent: &'a str,
    /// The agent's host name.
    pub host: &'a str,
    /// The host ports, in the order of [`App::host_ports`].
    pub ports: &'a [u16],
    /// What it holds, its ports among it.
    pub resources: Vec<v1::Resource>,
    /// The definition's version, milliseconds since 1970.
    pub version: u64,
}

/// A port of an instance that has a place.
#[derive(Debug, Clone, Copy)]
struct Placed<'a> {
    of: InstancePort<'a>,
    /// On the host, if there.
    host: Option<u16>,
    /// Where the program listens.
    inner: u16,
}

impl Placed<'_> {
    /// By which others reach it.
    fn outer(&self) -> u16 {
        self.host.unwrap_or(self.inner)
    }
}

/// The task.
#[must_use]
pub fn task_info(app: &App, place: Place<'_>) -> v1::TaskInfo {
    let ports = placed(app, place.ports);
    let name = id::host_name(&app.id);
    let seconds = app.task_kill_grace_period_seconds;
    let grace = seconds.map(|seconds| v1::KillPolicy {
        grace_period: Some(Duration::from_secs_f64(seconds).into()),
    });
    v1::TaskInfo {
        task_id: place.task.into(),
        agent_id: place.agent.into(),
        command: Some(command(app, &place, &ports)),
        container: container(app, &ports).map(Box::new),
        health_check: app
            .health_checks
            .first()
            .map(|check| Box::new(health_check(check, &ports))),
        kill_policy: grace,
        labels: labels(&app.labels),
        discovery: Some(Box::new(discovery(&name, &ports))),
        resources: place.resources,
        name,
        ..v1::TaskInfo::default()
    }
}

fn placed<'a>(app: &'a App, hosts: &[u16]) -> Vec<Placed<'a>> {
    let mut hosts = hosts.iter().copied();
    let ports = app.instance_ports().into_iter();
    let placed = ports.map(|of| {
        let host = of.host.and_then(|_| hosts.next());
        let own = of.container.filter(|port| *port != 0);
        Placed {
            of,
            host,
            inner: own.or(host).unwrap_or_default(),
        }
    });
    placed.collect()
}

fn command(app: &App, place: &Place<'_>, ports: &[Placed<'_>]) -> v1::CommandInfo {
    let image = app.container.as_ref().and_then(|own| own.docker.as_ref());
    let uris = app.fetch.iter().map(|fetch| v1::CommandInfoURI {
        value: fetch.uri.clone(),
        executable: Some(fetch.executable),
        extract: Some(fetch.extract),
        cache: Some(fetch.cache),
        output_file: fetch.dest_path.clone(),
    });
    let is_line = app.cmd.is_some();
    // An image has a program of its own, to which the arguments go.
    let program = app.args.first().filter(|_| image.is_none());
    v1::CommandInfo {
        uris: uris.collect(),
        environment: Some(environment(app, place, ports)),
        shell: Some(is_line),
        value: app.cmd.as_ref().or(program).cloned(),
        arguments: app.args.clone(),
        user: app.user.clone(),
    }
}

fn environment(app: &App, place: &Place<'_>, ports: &[Placed<'_>]) -> v1::Environment {
    let mut all = BTreeMap::new();
    let mut put = |name: String, value: String| drop(all.insert(name, value));
    let image = app.container.as_ref().and_then(|own| own.docker.as_ref());
    for (name, value) in [
        ("MARATHON_APP_ID", app.id.clone()),
        ("MARATHON_APP_VERSION", time::write(place.version)),
        ("MARATHON_APP_RESOURCE_CPUS", format!("{:?}", app.cpus)),
        ("MARATHON_APP_RESOURCE_MEM", format!("{:?}", app.mem)),
        ("MARATHON_APP_RESOURCE_DISK", format!("{:?}", app.disk)),
        ("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string()),
        ("MESOS_TASK_ID", place.task.to_owned()),
        ("HOST", place.host.to_owned()),
    ] {
        put(name.to_owned(), value);
    }
    if let Some(image) = image {
        put("MARATHON_APP_DOCKER_IMAGE".into(), image.image.clone());
    }
    let short = |(name, value): &(&String, &String)| name.len() + value.len() <= MAX_LABEL;
    let labels = app.labels.iter().filter(short);
    let labels: Vec<(String, &String)> = labels.map(|(k, v)| (variable(k), v)).collect();
    let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    put("MARATHON_APP_LABELS".into(), names.join(" "));
    for (name, value) in &labels {
        put(format!("MARATHON_APP_LABEL_{name}"), (*value).clone());
    }
    for (index, port) in ports.iter().enumerate() {
        let told = port.outer().to_string();
        if index == 0 {
            put("PORT".into(), told.clone());
        }
        put(format!("PORT{index}"), told.clone());
        let by = port.of.container.unwrap_or(port.of.service);
        if by != 0 {
            put(format!("PORT_{by}"), told.clone());
        }
        if let Some(name) = port.of.name {
            put(format!("PORT_{}", variable(name)), told);
        }
    }
    let list: Vec<String> = ports.iter().map(|port| port.outer().to_string()).collect();
    if !list.is_empty() {
        put("PORTS".into(), list.join(","));
    }
    // What the definition says goes before what is told by itself.
    all.extend(app.env.clone());
    let variable = |(name, value)| v1::EnvironmentVariable {
        name,
        value: Some(value),
        ..Default::default()
    };
    v1::Environment {
        variables: all.into_iter().map(variable).collect(),
    }
}

/// What may be part of a variable's name.
fn variable(text: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    text.chars().map(letter).collect()
}

fn container(app: &App, ports: &[Placed<'_>]) -> Option<v1::ContainerInfo> {
    let own: &Container = app.container.as_ref()?;
    let volume = |volume: &Volume| v1::Volume {
        mode: match volume.mode {
            "RO" => v1::VolumeMode::Ro,
            _ => v1::VolumeMode::Rw,
        },
        container_path: volume.container_path.clone(),
        host_path: Some(volume.host_path.clone()),
        ..Default::default()
    };
    let image = own.docker.as_ref().map(|docker| v1::Image {
        r#type: v1::ImageType::Docker,
        docker: Some(v1::ImageDocker {
            name: docker.image.clone(),
            ..Default::default()
        }),
        cached: docker.force_pull_image.then_some(false),
        ..Default::default()
    });
    Some(v1::ContainerInfo {
        r#type: v1::ContainerInfoType::Mesos,
        volumes: own.volumes.iter().map(volume).collect(),
        mesos: image.map(|image| v1::ContainerInfoMesosInfo { image: Some(image) }),
        network_infos: network(app, ports).into_iter().collect(),
        ..Default::default()
    })
}

fn network(app: &App, ports: &[Placed<'_>]) -> Option<v1::NetworkInfo> {
    let named = app.networks.first()?;
    let name = match named.mode {
        NetworkMode::Host => return None,
        NetworkMode::Bridge => BRIDGE.to_owned(),
        NetworkMode::Container => named.name.clone()?,
    };
    let mapped = ports.iter().filter_map(|port| Some((port, port.host?)));
    let mappings = mapped.flat_map(|(port, host)| {
        let protocols = port.of.protocol.names().iter();
        protocols.map(move |protocol| v1::NetworkInfoPortMapping {
            host_port: host.into(),
            container_port: port.inner.into(),
            protocol: Some((*protocol).to_owned()),
        })
    });
    Some(v1::NetworkInfo {
        name: Some(name),
        port_mappings: mappings.collect(),
        ..Default::default()
    })
}

fn health_check(check: &HealthCheck, ports: &[Placed<'_>]) -> v1::HealthCheck {
    let named = check.port_index.and_then(|index| ports.get(index as usize));
    let port = check
        .port
        .or(named.map(|port| port.inner))
        .unwrap_or_default();
    let protocol = match check.ip_protocol {
        Some("IPv6") => Some(v1::NetworkInfoProtocol::IPv6),
        _ => None,
    };
    let failures = check.max_consecutive_failures;
    let mut told = v1::HealthCheck {
        delay_seconds: Some(check.delay_seconds),
        interval_seconds: Some(check.interval_seconds),
        timeout_seconds: Some(check.timeout_seconds),
        // Marathon's 0 is never.
        consecutive_failures: Some(if failures == 0 { u32::MAX } else { failures }),
        grace_period_seconds: Some(check.grace_period_seconds),
        ..Default::default()
    };
    if let Some(line) = &check.command {
        told.r#type = Some(v1::HealthCheckType::Command);
        told.command = Some(v1::CommandInfo {
            value: Some(line.value.clone()),
            ..Default::default()
        });
    } else if check.protocol.contains("TCP") {
        told.r#type = Some(v1::HealthCheckType::Tcp);
        told.tcp = Some(v1::HealthCheckTCPCheckInfo {
            protocol,
            port: port.into(),
        });
    } else {
        let is_secret = check.protocol.ends_with("HTTPS");
        told.r#type = Some(v1::HealthCheckType::Http);
        told.http = Some(v1::HealthCheckHTTPCheckInfo {
            protocol,
            scheme: Some(if is_secret { "https" } else { "http" }.into()),
            port: port.into(),
            path: Some(check.path.clone().unwrap_or_else(|| "/".into())),
            ..Default::default()
        });
    }
    told
}

fn discovery(name: &str, ports: &[Placed<'_>]) -> v1::DiscoveryInfo {
    let ports = ports.iter().flat_map(|port| {
        let protocols = port.of.protocol.names().iter();
        protocols.map(|protocol| v1::Port {
            number: port.outer().into(),
            name: port.of.name.map(str::to_owned),
            protocol: Some((*protocol).to_owned()),
            labels: labels(port.of.labels),
            ..Default::default()
        })
    });
    v1::DiscoveryInfo {
        visibility: v1::DiscoveryInfoVisibility::Framework,
        name: Some(name.to_owned()),
        ports: Some(v1::Ports {
            ports: ports.collect(),
        }),
        ..Default::default()
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Option<v1::Labels> {
    let label = |(key, value): (&String, &String)| v1::Label {
        key: key.clone(),
        value: Some(value.clone()),
    };
    let labels: Vec<_> = labels.iter().map(label).collect();
    (!labels.is_empty()).then_some(v1::Labels { labels })
}
