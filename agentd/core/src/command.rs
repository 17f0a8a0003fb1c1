//! From a task to what the helper runs: program, argv and environment.
//!
//! Pure; called by the shell when the sandbox is ready. The agent's own environment is never inherited.

use std::collections::BTreeMap;

use nesos_wire::executor::{BesideSpec, ExecutorSpec, OutputLimits, TaskUser};
use nesos_wire::file_system::FileSystem;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::rights::Rights;
use nesos_wire::task::{Command, TaskSpec};
use nesos_wire::{AgentId, ContainerId};

/// Search path of tasks that bring none (Mesos: `os::host_default_path`).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longest pause of an executor between two attempts to subscribe again (Mesos's own).
const BACKOFF_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Where a container lives and how it is isolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The agent.
    pub agent: AgentId,
    /// `ip:port` of the agent's HTTP server.
    pub endpoint: String,
    /// The container.
    pub container: ContainerId,
    /// Absolute path of the sandbox.
    pub sandbox: String,
    /// User to run as, already looked up; none: the agent's own.
    pub user: Option<TaskUser>,
    /// `cgroup.procs` of the task's cgroup.
    pub cgroup_procs: Option<String>,
    /// The helper is PID 1 of a new PID namespace.
    pub pid_namespace: bool,
    /// It sees its cgroup as the root of all.
    pub cgroup_namespace: bool,
    /// What the task sees as its files, in a mount namespace of its own; none: the host's.
    pub file_system: Option<FileSystem>,
    /// Host name of the task's own UTS namespace.
    pub hostname: Option<String>,
    /// What the task is left with.
    pub rights: Rights,
    /// The unix socket of the executor API as the container sees it, if there is one.
    pub domain_socket: Option<String>,
    /// Lowest of its environment: what the agent was told to give everybody.
    pub base: Vec<(String, String)>,
    /// How long executors are told to wait for an agent that is away.
    pub recovery_timeout: std::time::Duration,
    /// How much of its output is kept; none: all of it.
    pub output: Option<OutputLimits>,
    /// Rows and columns of the window of its terminal; none: it is on none.
    pub terminal: Option<(u16, u16)>,
    /// From the isolators: below the task's own environment.
    pub environment: Vec<(String, String)>,
    /// Program and argv, if not the command's own: an image's.
    pub program: Option<(String, Vec<String>)>,
}

/// What the helper is told.
pub fn executor_spec(spec: &TaskSpec, place: Place) -> ExecutorSpec {
    let own = || program(&spec.command);
    let (program, arguments) = place.program.clone().unwrap_or_else(own);
    ExecutorSpec {
        program,
        arguments,
        environment: environment(spec, &place),
        sandbox: place.sandbox,
        user: place.user,
        cgroup_procs: place.cgroup_procs,
        pid_namespace: place.pid_namespace,
        cgroup_namespace: place.cgroup_namespace,
        file_system: place.file_system,
        hostname: place.hostname,
        rights: place.rights,
        kill_grace_ms: spec.kill_grace_ms,
        output: place.output,
        terminal: place.terminal,
    }
}

/// What the helper is told of a command beside its task, in the task's sandbox.
pub fn beside_spec(command: &Command, user: Option<TaskUser>) -> BesideSpec {
    let (program, arguments) = program(command);
    let own = command.environment.iter();
    BesideSpec {
        program,
        arguments,
        environment: own
            .filter(|(name, value)| is_valid(name, value))
            .cloned()
            .collect(),
        user,
        directory: String::new(),
    }
}

fn program(command: &Command) -> (String, Vec<String>) {
    if command.shell {
        let shell = ["sh", "-c", command.value.as_str()].map(String::from);
        ("/bin/sh".to_string(), shell.to_vec())
    } else if command.arguments.is_empty() {
        (command.value.clone(), vec![command.value.clone()])
    } else {
        (command.value.clone(), command.arguments.clone())
    }
}

fn is_valid(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Precedence, high to low: the command's, the isolators', the agent's (mesos.md 7.6).
fn environment(spec: &TaskSpec, place: &Place) -> Vec<(String, String)> {
    let sandbox = match &place.file_system {
        Some(file_system) => &file_system.sandbox,
        None => &place.sandbox,
    };
    let checkpoint = if spec.checkpoint { "1" } else { "0" };
    let own = [
        ("MESOS_SANDBOX", sandbox.as_str()),
        ("MESOS_DIRECTORY", sandbox),
        ("MESOS_FRAMEWORK_ID", spec.key.framework.as_str()),
        ("MESOS_EXECUTOR_ID", spec.executor.as_str()),
        ("MESOS_SLAVE_ID", place.agent.as_str()),
        ("MESOS_CONTAINER_ID", place.container.as_str()),
        ("MESOS_AGENT_ENDPOINT", &place.endpoint),
        ("MESOS_ALLOCATION_ROLE", &spec.role),
        ("MESOS_CHECKPOINT", checkpoint),
    ];
    let more = of_kind(spec, place);
    // A container that is no framework's lacks most of them.
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    let mut merged = BTreeMap::from([("PATH", DEFAULT_PATH)]);
    let base = place.base.iter();
    merged.extend(base.map(|(name, value)| (name.as_str(), value.as_str())));
    merged.extend(own);
    merged.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    merged.extend(
        place
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    merged.extend(
        spec.command
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let valid = merged
        .into_iter()
        .filter(|(name, value)| is_valid(name, value));
    valid
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// What only tasks have, what only tasks of pods, and what only custom executors (mesos.md 2.5).
fn of_kind(spec: &TaskSpec, place: &Place) -> Vec<(&'static str, String)> {
    if spec.kind != ExecutorKind::Custom {
        let task = Some(("MESOS_TASK_ID", spec.key.task.to_string()));
        let mut more = Vec::from_iter(task.filter(|(_, task)| !task.is_empty()));
        if spec.kind == ExecutorKind::Default {
            let ip = place.endpoint.rsplit_once(':').map_or("", |(ip, _)| ip);
            more.push(("MESOS_CONTAINER_IP", ip.into()));
        }
        return more;
    }
    let grace = std::time::Duration::from_millis(spec.kill_grace_ms.into());
    let mut more = vec![
        ("MESOS_SLAVE_PID", format!("slave(1)@{}", place.endpoint)),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0".into()),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration_text(grace)),
        ("LIBPROCESS_PORT", "0".into()),
    ];
    if let Some(socket) = &place.domain_socket {
        more.push(("MESOS_DOMAIN_SOCKET", socket.clone()));
    }
    if spec.checkpoint {
        more.push((
            "MESOS_RECOVERY_TIMEOUT",
            duration_text(place.recovery_timeout),
        ));
        more.push(("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration_text(BACKOFF_MAX)));
    }
    more
}

/// A duration as Mesos writes it, in the largest unit that needs no fraction.
fn duration_text(duration: std::time::Duration) -> String {
    const UNITS: [(u128, &str); 5] = [
        (86_400_000, "days"),
        (3_600_000, "hrs"),
        (60_000, "mins"),
        (1000, "secs"),
        (1, "ms"),
    ];
    let millis = duration.as_millis();
    let fits = |(unit, _): &&(u128, &str)| millis >= *unit && millis.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => "0ns".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::spec;

    fn place() -> Place {
        Place {
            agent: AgentId::new("m-S1"),
            endpoint: "10.0.0.1:5051".into(),
            container: ContainerId::new("c"),
            sandbox: "/w/s".into(),
            user: None,
            cgroup_procs: None,
            pid_namespace: false,
            cgroup_namespace: false,
            file_system: None,
            hostname: None,
            rights: Rights::default(),
            domain_socket: Some("/run/a.sock".into()),
            base: [("PATH", "/base"), ("A", "base"), ("MESOS_SANDBOX", "base")]
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .to_vec(),
            recovery_timeout: std::time::Duration::from_secs(900),
            output: None,
            terminal: None,
            environment: vec![
                ("A".into(), "isolator".into()),
                ("B".into(), "isolator".into()),
            ],
            program: None,
        }
    }

    #[test]
    fn a_shell_command_runs_under_sh() {
        let mut task = spec("t", 1);
        task.command.shell = true;
        task.command.value = "echo $X".into();
        let made = executor_spec(&task, place());
        assert_eq!(made.program, "/bin/sh");
        assert_eq!(made.arguments, ["sh", "-c", "echo $X"]);
    }

    #[test]
    fn argv_is_taken_as_it_is() {
        let mut task = spec("t", 1);
        task.command.shell = false;
        task.command.value = "/bin/echo".into();
        assert_eq!(executor_spec(&task, place()).arguments, ["/bin/echo"]);
        task.command.arguments = vec!["echo".into(), "x y".into()];
        assert_eq!(executor_spec(&task, place()).arguments, ["echo", "x y"]);
    }

    #[test]
    fn a_custom_executor_gets_what_its_library_wants() {
        let mut task = spec("e", 1);
        task.kind = ExecutorKind::Custom;
        task.kill_grace_ms = 5000;
        let environment: BTreeMap<_, _> = executor_spec(&task, place())
            .environment
            .into_iter()
            .collect();
        assert_eq!(environment["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"], "5secs");
        assert_eq!(environment["MESOS_RECOVERY_TIMEOUT"], "15mins");
        assert_eq!(environment["MESOS_SLAVE_PID"], "slave(1)@10.0.0.1:5051");
        assert_eq!(environment["MESOS_DOMAIN_SOCKET"], "/run/a.sock");
        assert_eq!(environment["PATH"], "/base");
        assert!(!environment.contains_key("MESOS_TASK_ID"));
        task.kind = ExecutorKind::Default;
        let environment: BTreeMap<_, _> = executor_spec(&task, place())
            .environment
            .into_iter()
            .collect();
        assert_eq!(environment["MESOS_CONTAINER_IP"], "10.0.0.1");
        for (ms, text) in [
            (0, "0ns"),
            (1500, "1500ms"),
            (90_000, "90secs"),
            (7_200_000, "2hrs"),
        ] {
            assert_eq!(duration_text(std::time::Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn the_command_overrides_isolators_and_agent() {
        let mut task = spec("t", 1);
        let set = [
            ("A", "task"),
            ("PATH", "/x"),
            ("", "no"),
            ("X=Y", "no"),
            ("N", "a\0b"),
        ];
        task.command.environment = set
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .to_vec();
        let environment: BTreeMap<_, _> = executor_spec(&task, place())
            .environment
            .into_iter()
            .collect();
        assert_eq!(environment["A"], "task");
        assert_eq!(environment["B"], "isolator");
        assert_eq!(environment["PATH"], "/x");
        assert_eq!(environment["MESOS_SANDBOX"], "/w/s");
        assert!(
            !environment.contains_key("")
                && !environment.contains_key("X=Y")
                && !environment.contains_key("N")
        );
    }
}
