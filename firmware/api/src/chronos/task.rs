//! From a job's definition and a place to the task that runs there.
//!
//! Pure. Called for each run that is launched. Not the choice of the place. Invariant: a task says all that its definition
//! says; what tasks cannot say was refused with the definition, and the longest time is the scheduler's to watch.

use std::collections::BTreeMap;

use super::container::Container;
use super::job::Job;
use crate::v1;

/// The network of agents, by the name that both have for it.
const BRIDGE: &str = "mesos-bridge";

/// Where a run has its place, and with what.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The task's id, `ct:<due>:…`.
    pub task: &'a str,
    /// The agent's id.
    pub agent: &'a str,
    /// The agent's host name.
    pub host: &'a str,
    /// What it holds.
    pub resources: Vec<v1::Resource>,
    /// Which attempt it is, from 0.
    pub attempt: u32,
    /// Arguments of this run, beside those of the definition.
    pub arguments: Option<&'a str>,
}

impl Job {
    /// The task.
    #[must_use]
    pub fn task_info(&self, place: Place<'_>) -> v1::TaskInfo {
        v1::TaskInfo {
            name: format!("ChronosTask:{}", self.name),
            task_id: place.task.into(),
            agent_id: place.agent.into(),
            command: Some(self.command_info(&place)),
            container: self.container.as_ref().map(container).map(Box::new),
            resources: place.resources,
            ..v1::TaskInfo::default()
        }
    }

    fn command_info(&self, place: &Place<'_>) -> v1::CommandInfo {
        // Chronos's own rule, against what a URL may smuggle in.
        let more = place.arguments.unwrap_or_default().replace(';', "");
        let mut uris: Vec<v1::CommandInfoURI> = self.fetch.iter().map(uri).collect();
        let mut value = self.command.clone();
        if let Some(name) = program_of(&self.command) {
            uris.push(v1::CommandInfoURI {
                value: self.command.clone(),
                executable: Some(true),
                ..v1::CommandInfoURI::default()
            });
            value = format!("\"./{name}\"");
        }
        let mut arguments = Vec::new();
        if self.shell {
            if !more.trim().is_empty() {
                value = format!("{value} {}", more.trim());
            }
        } else {
            // The program's own name comes first, as for every program; an image has its own.
            arguments.extend(Some(value.clone()).filter(|value| !value.is_empty()));
            arguments.extend(self.arguments.iter().cloned());
            arguments.extend(more.split_whitespace().map(str::to_owned));
        }
        v1::CommandInfo {
            uris,
            environment: Some(self.environment(place)),
            shell: Some(self.shell),
            value: Some(value).filter(|value| !value.is_empty()),
            arguments,
            user: Some(self.run_as_user.clone()).filter(|user| !user.is_empty()),
        }
    }

    /// What is told by itself goes before what the definition says, as with Chronos.
    fn environment(&self, place: &Place<'_>) -> v1::Environment {
        let own = self.environment_variables.iter();
        let own = own.map(|variable| (variable.name.as_str(), variable.value.clone()));
        let mut all: BTreeMap<&str, String> = own.collect();
        let due = place.task.split(':').nth(1).unwrap_or_default();
        all.extend([
            ("mesos_task_id", place.task.to_owned()),
            ("MESOS_TASK_ID", place.task.to_owned()),
            ("CHRONOS_JOB_OWNER", self.owner.clone()),
            ("CHRONOS_JOB_NAME", self.name.clone()),
            ("HOST", place.host.to_owned()),
            ("CHRONOS_RESOURCE_MEM", format!("{:?}", self.mem)),
            ("CHRONOS_RESOURCE_CPU", format!("{:?}", self.cpus)),
            ("CHRONOS_RESOURCE_DISK", format!("{:?}", self.disk)),
            ("CHRONOS_JOB_RUN_TIME", due.to_owned()),
            ("CHRONOS_JOB_RUN_ATTEMPT", place.attempt.to_string()),
        ]);
        let variable = |(name, value): (&str, String)| v1::EnvironmentVariable {
            name: name.to_owned(),
            value: Some(value),
            ..v1::EnvironmentVariable::default()
        };
        v1::Environment {
            variables: all.into_iter().map(variable).collect(),
        }
    }
}

/// The name of the program that a command is the URL of, if it is one.
fn program_of(command: &str) -> Option<&str> {
    let schemes = ["http://", "https://", "ftp://", "ftps://"];
    let is_url = schemes.iter().any(|scheme| command.starts_with(scheme));
    let is_alone =
        !command.contains(char::is_whitespace) && !command.contains(['"', '$', '`', '\\']);
    let name = command.rsplit('/').next()?;
    (is_url && is_alone && !name.is_empty()).then_some(name)
}

fn uri(fetch: &super::Fetch) -> v1::CommandInfoURI {
    v1::CommandInfoURI {
        value: fetch.uri.clone(),
        executable: Some(fetch.executable),
        extract: Some(fetch.extract),
        cache: Some(fetch.cache),
        output_file: Some(fetch.output_file.clone()).filter(|name| !name.is_empty()),
    }
}

fn container(own: &Container) -> v1::ContainerInfo {
    let volume = |volume: &super::Volume| v1::Volume {
        mode: match volume.mode {
            "RO" => v1::VolumeMode::Ro,
            _ => v1::VolumeMode::Rw,
        },
        container_path: volume.container_path.clone(),
        host_path: volume.host_path.clone(),
        ..v1::Volume::default()
    };
    let image = v1::Image {
        r#type: v1::ImageType::Docker,
        docker: Some(v1::ImageDocker {
            name: own.image.clone(),
            ..v1::ImageDocker::default()
        }),
        cached: own.force_pull_image.then_some(false),
        ..v1::Image::default()
    };
    v1::ContainerInfo {
        r#type: v1::ContainerInfoType::Mesos,
        volumes: own.volumes.iter().map(volume).collect(),
        mesos: Some(v1::ContainerInfoMesosInfo { image: Some(image) }),
        network_infos: networks(own),
        ..v1::ContainerInfo::default()
    }
}

fn networks(own: &Container) -> Vec<v1::NetworkInfo> {
    let mut all: Vec<v1::NetworkInfo> = Vec::new();
    let named = |name: &str| v1::NetworkInfo {
        name: Some(name.to_owned()),
        ..v1::NetworkInfo::default()
    };
    match &own.network_name {
        Some(name) => all.push(named(name)),
        None if own.network == "BRIDGE" && own.network_infos.is_empty() => all.push(named(BRIDGE)),
        None => {}
    }
    for network in &own.network_infos {
        let labels = network.labels.iter().map(|label| v1::Label {
            key: label.key.clone(),
            value: Some(label.value.clone()),
        });
        let labels: Vec<v1::Label> = labels.collect();
        all.push(v1::NetworkInfo {
            labels: (!labels.is_empty()).then_some(v1::Labels { labels }),
            ..named(&network.name)
        });
    }
    all
}
