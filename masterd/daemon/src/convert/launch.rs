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
    Ok(())
}

/// What no agent gives. Whether one gives the rest is its isolators' to say, and its launch then fails with a sentence.
pub(super) fn check_container(container: &v1::ContainerInfo) -> Result<(), String> {
    use v1::VolumeSourceType as Source;
    let is_of = |volume: &v1::Volume, kind| {
        let source = volume.source.as_ref();
        source.is_some_and(|source| source.r#type == Some(kind))
    };
    let volumes = &container.volumes;
    let network =
        |network: &v1::NetworkInfo| network.name.is_some() || !network.port_mappings.is_empty();
    image_of(container).map_or(Ok(()), check_image)?;
    let asked = match container {
        c if c.r#type == v1::ContainerInfoType::Docker || c.docker.is_some() => {
            "Docker containers are"
        }
        _ if volumes.iter().any(|volume| volume.image.is_some()) => "images as volumes are",
        _ if volumes.iter().any(|v| is_of(v, Source::DockerVolume)) => "Docker volumes are",
        _ if volumes.iter().any(|v| is_of(v, Source::CsiVolume)) => "CSI volumes are",
        // Without a name it is the host's network, as in Mesos.
        c if c.network_infos.iter().any(network) => "container networks are",
        c if c.tty_info.is_some() => "terminals are",
        _ => return Ok(()),
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn info(rest: &str) -> v1::TaskInfo {
        let text = format!(
            r#"{{"name":"t","task_id":{{"value":"t1"}},"agent_id":{{"value":"a"}}{rest}}}"#
        );
        v1::TaskInfo::from_json(text.as_bytes()).unwrap()
    }

    fn command_task(info: &v1::TaskInfo) -> LaunchTask {
        task(info, "f")
    }

    #[test]
    fn a_task_with_an_executor_converts() {
        let executor = r#","executor":{"executor_id":{"value":"e"},"command":{"value":"./run"}}"#;
        // What only its executor understands is passed on to it.
        let rest =
            format!(r#"{executor},"max_completion_time":{{"nanoseconds":1}},"health_check":{{}}"#);
        let launch = task(&info(&rest), "f");
        assert_eq!(launch.invalid, None);
        let told = launch.executor.unwrap();
        assert_eq!((told.invalid, told.executor.as_str()), (None, "e"));
        let told = v1::TaskInfo::from_protobuf(&launch.info).unwrap();
        assert_eq!(told.executor.unwrap().framework_id, Some("f".into()));
        let both = format!(r#"{executor},"command":{{"value":"x"}}"#);
        let invalid = task(&info(&both), "f").invalid.unwrap();
        assert!(invalid.contains("CommandInfo or ExecutorInfo"));
    }

    #[test]
    fn a_group_converts_and_says_what_is_wrong_with_its_tasks() {
        let read = |kind: &str, task: &str| {
            let task = format!(
                r#"{{"name":"t","task_id":{{"value":"t1"}},"agent_id":{{"value":"a"}}{task}}}"#
            );
            let text = format!(
                r#"{{"executor":{{"executor_id":{{"value":"e"}},"type":"{kind}"}},"task_group":{{"tasks":[{task}]}}}}"#
            );
            let read = v1::OfferOperationLaunchGroup::from_json(text.as_bytes()).unwrap();
            let Operation::LaunchGroup { mut tasks, .. } = group(&read, "f") else {
                panic!("not a group")
            };
            tasks.remove(0).invalid
        };
        let command = r#","command":{"value":"x"}"#;
        assert_eq!(read("DEFAULT", command), None);
        assert_eq!(read("CUSTOM", ""), None);
        let same =
            format!(r#"{command},"executor":{{"executor_id":{{"value":"e"}},"type":"DEFAULT"}}"#);
        assert_eq!(read("DEFAULT", &same), None);
        let other = format!(r#"{command},"executor":{{"executor_id":{{"value":"o"}}}}"#);
        assert!(read("DEFAULT", &other).unwrap().contains("differs"));
        assert!(read("DEFAULT", "").unwrap().contains("no command"));
        let limits = format!(r#"{command},"limits":{{"mem":{{"value":64}}}}"#);
        assert!(read("DEFAULT", &limits).unwrap().contains("share_cgroups"));
    }

    #[test]
    fn a_shell_task_converts() {
        let launch = command_task(&info(
            r#","command":{"value":"sleep 1","environment":{"variables":[{"name":"A","value":"b"}]}},
               "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}}],
               "limits":{"cpus":{"value":"Infinity"}},"kill_policy":{"grace_period":{"nanoseconds":1500000000}}"#,
        ));
        assert_eq!(launch.invalid, None);
        assert!(launch.command.shell);
        assert_eq!(
            launch.command.environment,
            [("A".to_string(), "b".to_string())]
        );
        assert_eq!(
            (launch.kill_grace_ms, launch.limits.get("cpus")),
            (1500, Some(&None))
        );
    }

    #[test]
    fn what_agents_isolators_give_is_passed_on() {
        let asked = r#","command":{"value":"x","environment":{"variables":[
                {"name":"S","type":"SECRET","secret":{"type":"VALUE","value":{"data":"aGk="}}}]}},
            "container":{"type":"MESOS","hostname":"h","network_infos":[{}],
                "volumes":[{"mode":"RO","container_path":"e","host_path":"/etc"}],
                "linux_info":{"effective_capabilities":{"capabilities":["KILL"]},"seccomp":{"unconfined":true}},
                "rlimit_info":{"rlimits":[{"type":"RLMT_CORE","hard":0,"soft":0}]}}"#;
        let asked = info(asked);
        let launch = command_task(&asked);
        assert_eq!(launch.invalid, None);
        assert_eq!(launch.info, asked.to_protobuf());
        assert!(launch.command.environment.is_empty(), "{launch:?}");
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        let why = |rest: &str| command_task(&info(rest)).invalid.unwrap();
        assert!(why("").contains("CommandInfo or ExecutorInfo"));
        assert!(why(r#","command":{}"#).contains("no value"));
        let grace = r#","command":{"value":"x"},"kill_policy":{"grace_period":{"nanoseconds":-1}}"#;
        assert!(why(grace).contains("'kill_policy.grace_period' must be non-negative"));
        let environment = r#","command":{"value":"x","environment":{"variables":[{"name":"BAD","value":"a\u0000b"}]}}"#;
        assert!(why(environment).contains("'BAD' contains a NUL"));
        assert!(why(r#","command":{"value":"a\u0000b"}"#).contains("contains a NUL"));
        let secret = |rest: &str| {
            why(&format!(
                r#","command":{{"value":"x","environment":{{"variables":[{{"name":"S",{rest}}}]}}}}"#
            ))
        };
        assert!(secret(r#""type":"SECRET""#).contains("must have a secret"));
        assert!(secret(r#""secret":{"type":"VALUE"}"#).contains("'VALUE' must not"));
        assert!(secret(r#""type":"SECRET","value":"v","secret":{}"#).contains("not have a value"));
        let network = r#","command":{"value":"x"},"container":{"type":"MESOS","network_infos":[{"name":"n"}]}"#;
        assert!(why(network).contains("container networks"));
        let image = |command: &str, image: &str| {
            let container = format!(r#"{{"type":"MESOS","mesos":{{"image":{image}}}}}"#);
            command_task(&info(&format!(
                r#","command":{command},"container":{container}"#
            )))
            .invalid
        };
        let (none, busybox) = (
            r#"{"shell":false}"#,
            r#"{"type":"DOCKER","docker":{"name":"busybox"}}"#,
        );
        assert_eq!(image(none, busybox), None);
        assert!(image("{}", busybox).unwrap().contains("no value"));
        let appc = r#"{"type":"APPC","appc":{"name":"x"}}"#;
        assert!(image(none, appc).unwrap().contains("APPC"));
        assert!(
            image(none, r#"{"type":"DOCKER"}"#)
                .unwrap()
                .contains("docker.name")
        );
        let terminal = r#","command":{"value":"x"},"container":{"type":"MESOS","tty_info":{}}"#;
        assert!(why(terminal).contains("terminals"));
        let health = why(r#","command":{"value":"x"},"health_check":{}"#);
        assert_eq!(
            health,
            "Task uses invalid health check: HealthCheck must specify 'type'"
        );
        let docker = r#","command":{"value":"x"},"container":{"type":"DOCKER","docker":{"image":"busybox"}}"#;
        assert!(why(docker).contains("Docker"));
        assert!(
            why(r#","command":{"value":"x"},"limits":{"disk":{"value":1}}"#).contains("'disk'")
        );
        let mut odd = info(r#","command":{"value":"x"}"#);
        odd.task_id = "a/b".into();
        assert!(command_task(&odd).invalid.unwrap().contains('/'));
    }
}
