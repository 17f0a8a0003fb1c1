//! `TaskInfo`: what is to be run, taken out of its protobuf.
//!
//! Called for each task of an ACCEPT. Invariant: a task that cannot be run as its framework means it is marked invalid
//! with a sentence, so that it gets TASK_ERROR; nothing in it is left out in silence.

use std::collections::BTreeMap;
use std::time::Duration;

use masterd_core::{LaunchTask, Operation};
use nesos_api::v1;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Command, Uri};
use nesos_wire::{AgentId, TaskId};

use super::check;
use super::executor::{self, Use};
use super::network;
use super::resource;

/// SIGTERM to SIGKILL when the framework says nothing (Mesos's default).
pub(crate) const DEFAULT_KILL_GRACE_MS: u32 = 3000;
/// Largest `TaskInfo` in protobuf bytes: it is checkpointed by the agent and comes back in each `Hello`.
pub(super) const MAX_TASK_INFO: usize = 256 * 1024;

/// What holds a task.
#[derive(Debug, Clone, Copy)]
enum Host<'a> {
    /// Nothing that its framework sees.
    Command,
    /// The executor that it names.
    Own,
    /// That of its group.
    Group(&'a v1::ExecutorInfo),
}

impl Host<'_> {
    /// A program of the framework, which is given the whole of the task and does with it what it can.
    fn is_custom(self) -> bool {
        match self {
            Host::Command => false,
            Host::Own => true,
            Host::Group(group) => group.r#type == Some(v1::ExecutorInfoType::Custom),
        }
    }
}

/// One task of a LAUNCH.
pub(crate) fn task(info: &v1::TaskInfo, framework: &str) -> LaunchTask {
    let Some(executor) = &info.executor else {
        return with_host(info, Host::Command);
    };
    let executor = executor::complete(executor, framework, Use::Task);
    let told = executor::executor(&executor, framework, Use::Task);
    // What its executor is told of the task says who that is.
    let info = v1::TaskInfo {
        executor: Some(Box::new(executor)),
        ..info.clone()
    };
    LaunchTask {
        executor: Some(Box::new(told)),
        ..with_host(&info, Host::Own)
    }
}

/// A LAUNCH_GROUP.
pub(crate) fn group(group: &v1::OfferOperationLaunchGroup, framework: &str) -> Operation {
    let executor = executor::complete(&group.executor, framework, Use::Group);
    let tasks = group.task_group.tasks.iter();
    Operation::LaunchGroup {
        tasks: tasks
            .map(|info| with_host(info, Host::Group(&group.executor)))
            .collect(),
        executor: Box::new(executor::executor(&executor, framework, Use::Group)),
    }
}

fn with_host(info: &v1::TaskInfo, host: Host<'_>) -> LaunchTask {
    let mut faults = Vec::new();
    let mut note = |fault: Result<(), String>| faults.extend(fault.err());
    note(
        TaskId::parse(&info.task_id.value)
            .map(drop)
            .map_err(|e| e.to_string()),
    );
    note(check_supported(info, host));
    note(check_kill_policy(info.kill_policy.as_ref()));
    let bytes = info.to_protobuf();
    note(if bytes.len() > MAX_TASK_INFO {
        Err(format!(
            "TaskInfo has {} bytes, at most {MAX_TASK_INFO} are allowed",
            bytes.len()
        ))
    } else {
        Ok(())
    });
    let resources = resource::bag(&info.resources).unwrap_or_else(|fault| {
        note(Err(fault));
        Resources::new()
    });
    let role = resource::allocated_role(&info.resources).unwrap_or_else(|fault| {
        note(Err(fault));
        None
    });
    let limits = limits(info).unwrap_or_else(|fault| {
        note(Err(fault));
        BTreeMap::new()
    });
    let checks = match host.is_custom() {
        true => None,
        false => check::checks(info).unwrap_or_else(|fault| {
            note(Err(fault));
            None
        }),
    };
    let command = info
        .command
        .as_ref()
        .map(|own| command(own, info.container.as_deref()))
        .unwrap_or(Ok(Command::default()))
        .unwrap_or_else(|fault| {
            note(Err(fault));
            Command::default()
        });
    LaunchTask {
        task: TaskId::new(info.task_id.value.as_str()),
        agent: AgentId::new(info.agent_id.value.as_str()),
        name: info.name.clone(),
        executor: None,
        role,
        resources,
        limits,
        command,
        kill_grace_ms: kill_grace(info.kill_policy.as_ref()).unwrap_or(DEFAULT_KILL_GRACE_MS),
        checks,
        info: bytes,
        invalid: (!faults.is_empty()).then(|| faults.join("; ")),
    }
}

/// A kill policy's grace period in milliseconds.
pub(crate) fn kill_grace(policy: Option<&v1::KillPolicy>) -> Option<u32> {
    policy?.grace_period.as_ref().map(grace_ms)
}

/// A period in milliseconds.
pub(super) fn grace_ms(period: &v1::DurationInfo) -> u32 {
    u32::try_from(Duration::from(period).as_millis()).unwrap_or(u32::MAX)
}

/// Mesos refuses a negative one with the task; a KILL with one means at once.
fn check_kill_policy(policy: Option<&v1::KillPolicy>) -> Result<(), String> {
    let period = policy.and_then(|policy| policy.grace_period.as_ref());
    match period {
        Some(period) if period.nanoseconds < 0 => {
            Err("Task's 'kill_policy.grace_period' must be non-negative".into())
        }
        _ => Ok(()),
    }
}

fn check_supported(info: &v1::TaskInfo, host: Host<'_>) -> Result<(), String> {
    match host {
        Host::Command | Host::Own if info.executor.is_some() == info.command.is_some() => {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                    .into(),
            );
        }
        Host::Group(group) => check_grouped(info, group)?,
        _ => {}
    }
    if host.is_custom() {
        return Ok(());
    }
    if let Some(time) = &info.max_completion_time {
        if time.nanoseconds < 0 {
            return Err("Task's 'max_completion_time' must be non-negative".into());
        }
        return Err("max_completion_time is not supported yet".into());
    }
    match info.container.as_deref() {
        Some(container) => check_container(container),
        None => Ok(()),
    }
}

fn check_grouped(info: &v1::TaskInfo, group: &v1::ExecutorInfo) -> Result<(), String> {
    if info.executor.as_deref().is_some_and(|own| own != group) {
        return Err("The 'ExecutorInfo' of the task differs from that of its task group".into());
    }
    if group.r#type == Some(v1::ExecutorInfoType::Default) && info.command.is_none() {
        return Err("The task has no command for its 'DEFAULT' executor to run".into());
    }
    if !info.limits.is_empty() {
        return Err(
            "Resource limits in a task group need 'share_cgroups' to be false, which is not supported yet"
                .into(),
        );
    }
    network::check_grouped(info)
}

/// What no agent gives. Whether one gives the rest is its isolators' to say, and its launch then fails with a sentence.
pub(super) fn check_container(container: &v1::ContainerInfo) -> Result<(), String> {
    use v1::VolumeSourceType as Source;
    let is_of = |volume: &v1::Volume, kind| {
        let source = volume.source.as_ref();
        source.is_some_and(|source| source.r#type == Some(kind))
    };
    let volumes = &container.volumes;
    image_of(container).map_or(Ok(()), check_image)?;
    let images = volumes.iter().filter_map(|volume| volume.image.as_ref());
    images.into_iter().try_for_each(check_image)?;
    let asked = match container {
        c if c.r#type == v1::ContainerInfoType::Docker || c.docker.is_some() => {
            "Docker containers are"
        }
        _ if volumes.iter().any(|v| is_of(v, Source::DockerVolume)) => "Docker volumes are",
        _ if volumes.iter().any(|v| is_of(v, Source::CsiVolume)) => "CSI volumes are",
        c => return network::check(c),
    };
    Err(format!("{asked} not supported yet"))
}

/// Whether it is there is the agent's to find out.
fn check_image(image: &v1::Image) -> Result<(), String> {
    let name = image.docker.as_ref().map(|docker| docker.name.as_str());
    match (image.r#type, name) {
        (v1::ImageType::Appc, _) => {
            Err("Images of type APPC are not supported, only those of type DOCKER".into())
        }
        (v1::ImageType::Docker, None | Some("")) => {
            Err("An image of type DOCKER must have 'docker.name'".into())
        }
        (v1::ImageType::Docker, Some(_)) => Ok(()),
    }
}

pub(super) fn image_of(container: &v1::ContainerInfo) -> Option<&v1::Image> {
    container.mesos.as_ref()?.image.as_ref()
}

/// With an image in its container, a command may leave it to the image what is run.
pub(super) fn command(
    info: &v1::CommandInfo,
    container: Option<&v1::ContainerInfo>,
) -> Result<Command, String> {
    let mut environment = Vec::new();
    for variable in info
        .environment
        .iter()
        .flat_map(|environment| &environment.variables)
    {
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            return Err(format!(
                "'{}' cannot be the name of an environment variable",
                variable.name
            ));
        }
        if is_secret(variable)? {
            // The agent's environment_secret reads it from the TaskInfo.
            continue;
        }
        let value = variable.value.clone();
        let value = value
            .ok_or_else(|| format!("environment variable '{}' has no value", variable.name))?;
        if value.contains('\0') {
            return Err(format!(
                "the value of environment variable '{}' contains a NUL",
                variable.name
            ));
        }
        environment.push((variable.name.clone(), value));
    }
    let value = info.value.clone().unwrap_or_default();
    let has_image = container.and_then(image_of).is_some();
    if value.is_empty() && (info.shell() || !has_image) {
        return Err("the command has no value".into());
    }
    if value.contains('\0') || info.arguments.iter().any(|one| one.contains('\0')) {
        return Err("the command or one of its arguments contains a NUL".into());
    }
    let uris = info.uris.iter().map(|uri| Uri {
        value: uri.value.clone(),
        executable: uri.executable.unwrap_or(false),
        extract: uri.extract(),
        cache: uri.cache.unwrap_or(false),
        output_file: uri.output_file.clone(),
    });
    Ok(Command {
        shell: info.shell(),
        value,
        arguments: info.arguments.clone(),
        environment,
        uris: uris.collect(),
        user: info.user.clone(),
    })
}

/// Whether a variable is a secret; Mesos's sentences for one that is half of both.
fn is_secret(variable: &v1::EnvironmentVariable) -> Result<bool, String> {
    let fail = |rest: &str| Err(format!("Environment variable '{}' {rest}", variable.name));
    let (has_secret, has_value) = (variable.secret.is_some(), variable.value.is_some());
    match variable.r#type() {
        v1::EnvironmentVariableType::Secret if !has_secret => {
            fail("of type 'SECRET' must have a secret set")
        }
        v1::EnvironmentVariableType::Secret if has_value => {
            fail("of type 'SECRET' must not have a value set")
        }
        v1::EnvironmentVariableType::Secret => Ok(true),
        _ if has_secret => fail("of type 'VALUE' must not have a secret set"),
        _ => Ok(false),
    }
}

fn limits(info: &v1::TaskInfo) -> Result<BTreeMap<String, Option<Scalar>>, String> {
    let mut limits = BTreeMap::new();
    for (name, limit) in &info.limits {
        if name != "cpus" && name != "mem" {
            return Err(format!("limit '{name}': only cpus and mem can be limited"));
        }
        let amount = if limit.value == f64::INFINITY {
            None
        } else {
            Some(resource::scalar(name, limit.value)?)
        };
        limits.insert(name.clone(), amount);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests;
