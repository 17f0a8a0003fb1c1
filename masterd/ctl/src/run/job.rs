//! What `nesos run` asks for, as Mesos messages.
//!
//! Called by the scheduler half of `run`. Invariant: the task id is new each time.

use nesos_api::v1::{
    CommandInfo, CommandInfoURI, ContainerInfo, ContainerInfoMesosInfo, ContainerInfoType,
    Environment, EnvironmentVariable, FrameworkInfo, FrameworkInfoCapability,
    FrameworkInfoCapabilityType, HealthCheck, HealthCheckType, Image, ImageDocker, ImageType,
    Offer, Resource, TTYInfo, TTYInfoWindowSize, TaskID, TaskInfo, ValueScalar, ValueType,
};

use nesos_shell::clock::Clock;

use super::RunError;
use crate::args::RunArgs;
use crate::cluster::is_called;

/// How long the master keeps the task when this process is gone without a word. Seconds; also how long a lost master is
/// looked for.
pub(super) const FAILOVER_SECONDS: u64 = 120;
/// Longest name: it becomes part of a task id, of which Mesos allows 255 bytes.
const MAX_NAME: usize = 100;

/// One task to be.
#[derive(Debug)]
pub(super) struct Job {
    /// Id of the task.
    pub(super) task_id: String,
    /// CPUs.
    pub(super) cpus: f64,
    /// MiB.
    pub(super) mem: f64,
    /// On this node only.
    pub(super) on: Option<String>,
    name: String,
    command: CommandInfo,
    image: Option<String>,
    /// Rows and columns of its terminal.
    terminal: Option<(u32, u32)>,
    health_check: Option<Box<HealthCheck>>,
}

impl Job {
    /// From the command line.
    pub(super) fn new(args: &RunArgs) -> Result<Self, RunError> {
        let name = match &args.name {
            Some(name)
                if name.is_empty()
                    || name.len() > MAX_NAME
                    || name.contains(['/', '\\'])
                    || name.contains(char::is_control) =>
            {
                return Err(RunError::Job(format!(
                    "--name: expected 1 to {MAX_NAME} characters without slashes"
                )));
            }
            Some(name) => name.clone(),
            None => default_name(args.command.first().or(args.image.as_ref())),
        };
        Ok(Self {
            task_id: format!("{name}.{}", unique()),
            cpus: args.cpus,
            mem: args.mem,
            on: args.on.clone(),
            name,
            command: command_info(args),
            image: args.image.clone(),
            terminal: args.tty.then(window),
            health_check: args.health.as_deref().map(health_check),
        })
    }

    /// The framework that runs it.
    pub(super) fn framework(&self) -> FrameworkInfo {
        let capability = |kind| FrameworkInfoCapability { r#type: Some(kind) };
        FrameworkInfo {
            user: String::new(),
            name: format!("nesos run {}", self.name),
            checkpoint: Some(true),
            failover_timeout: Some(FAILOVER_SECONDS as f64),
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .ok()
                .map(|name| name.trim().to_owned()),
            roles: vec!["*".to_owned()],
            capabilities: vec![
                capability(FrameworkInfoCapabilityType::MultiRole),
                capability(FrameworkInfoCapabilityType::PartitionAware),
                capability(FrameworkInfoCapabilityType::TaskKillingState),
            ],
            ..FrameworkInfo::default()
        }
    }

    /// The task on `offer`, if it fits there.
    pub(super) fn task_on(&self, offer: &Offer) -> Option<TaskInfo> {
        if self
            .on
            .as_ref()
            .is_some_and(|node| !is_called(&offer.hostname, node) && *node != offer.agent_id.value)
        {
            return None;
        }
        let resources = vec![
            take(offer, "cpus", self.cpus)?,
            take(offer, "mem", self.mem)?,
        ];
        Some(TaskInfo {
            name: self.name.clone(),
            task_id: TaskID {
                value: self.task_id.clone(),
            },
            agent_id: offer.agent_id.clone(),
            resources,
            command: Some(self.command.clone()),
            container: self.container_info().map(Box::new),
            health_check: self.health_check.clone(),
            ..TaskInfo::default()
        })
    }

    /// Without wishes none.
    fn container_info(&self) -> Option<ContainerInfo> {
        let image = self.image.as_deref().map(|name| Image {
            r#type: ImageType::Docker,
            docker: Some(ImageDocker {
                name: name.to_owned(),
                ..ImageDocker::default()
            }),
            ..Image::default()
        });
        let tty_info = self.terminal.map(|(rows, columns)| TTYInfo {
            window_size: Some(TTYInfoWindowSize { rows, columns }),
        });
        (image.is_some() || tty_info.is_some()).then(|| ContainerInfo {
            r#type: ContainerInfoType::Mesos,
            mesos: image.map(|image| ContainerInfoMesosInfo { image: Some(image) }),
            tty_info,
            ..ContainerInfo::default()
        })
    }
}

/// What kind of terminal it is on, as this one is who will look at it.
fn term(args: &RunArgs) -> Option<EnvironmentVariable> {
    let is_said = args.env.iter().any(|(name, _)| name == "TERM");
    (args.tty && !is_said).then(|| EnvironmentVariable {
        name: "TERM".into(),
        value: Some(std::env::var("TERM").unwrap_or_else(|_| "dumb".into())),
        ..EnvironmentVariable::default()
    })
}

/// Of this terminal, or of one that nobody sees yet.
fn window() -> (u32, u32) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()))
}

/// `amount` of the resource `name` out of `offer`, if so much of it is there for anybody.
fn take(offer: &Offer, name: &str, amount: f64) -> Option<Resource> {
    offer.resources.iter().find_map(|resource| {
        let plain = resource.name == name
            && resource.reservations.is_empty()
            && resource.reservation.is_none()
            && resource.role.as_deref().is_none_or(|role| role == "*")
            && resource.revocable.is_none();
        let offered = resource.scalar.as_ref()?.value;
        (plain && offered + 1e-9 >= amount).then(|| Resource {
            name: name.to_owned(),
            r#type: ValueType::Scalar,
            scalar: Some(ValueScalar { value: amount }),
            allocation_info: resource.allocation_info.clone(),
            ..Resource::default()
        })
    })
}

fn health_check(text: &str) -> Box<HealthCheck> {
    Box::new(HealthCheck {
        r#type: Some(HealthCheckType::Command),
        command: Some(CommandInfo {
            value: Some(text.to_owned()),
            ..CommandInfo::default()
        }),
        ..HealthCheck::default()
    })
}

fn command_info(args: &RunArgs) -> CommandInfo {
    let shell = args.command.len() == 1;
    let variables: Vec<EnvironmentVariable> = args
        .env
        .iter()
        .map(|(name, value)| EnvironmentVariable {
            name: name.clone(),
            value: Some(value.clone()),
            ..EnvironmentVariable::default()
        })
        .chain(term(args))
        .collect();
    CommandInfo {
        uris: args
            .uri
            .iter()
            .map(|uri| CommandInfoURI {
                value: uri.clone(),
                ..CommandInfoURI::default()
            })
            .collect(),
        environment: (!variables.is_empty()).then_some(Environment { variables }),
        shell: Some(shell),
        value: args.command.first().cloned(),
        arguments: if shell {
            Vec::new()
        } else {
            args.command.clone()
        },
        ..CommandInfo::default()
    }
}

/// The program's name without its folder, or the image's, reduced to what looks well in an id.
fn default_name(command: Option<&String>) -> String {
    let program = command
        .and_then(|text| text.split_whitespace().next())
        .unwrap_or_default();
    let base = program.rsplit('/').next().unwrap_or_default();
    let kept: String = base
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(32)
        .collect();
    let kept = kept.trim_matches('.');
    if kept.is_empty() {
        "task".to_owned()
    } else {
        kept.to_owned()
    }
}

/// Differs between runs on one machine (process id) and over time (microseconds); task ids need no more.
fn unique() -> String {
    let micros = (Clock::wall() * 1e6) as u64;
    format!(
        "{:08x}{:04x}",
        micros & 0xffff_ffff,
        std::process::id() & 0xffff
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn job(words: &[&str]) -> Job {
        let words = ["nesos", "run"].iter().chain(words);
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!()
        };
        Job::new(&args).unwrap()
    }

    fn offer(cpus: f64, mem: f64) -> Offer {
        let scalar = |name: &str, value| Resource {
            name: name.to_owned(),
            scalar: Some(ValueScalar { value }),
            ..Resource::default()
        };
        let mut offer = Offer {
            hostname: "board-2".to_owned(),
            ..Offer::default()
        };
        offer.agent_id.value = "S1".to_owned();
        offer.resources = vec![scalar("cpus", cpus), scalar("mem", mem)];
        offer
    }

    #[test]
    fn an_image_may_say_what_is_run() {
        let image = |job: &Job| {
            let task = job.task_on(&offer(1.0, 64.0)).unwrap();
            let image = task.container?.mesos?.image?;
            Some(image.docker?.name)
        };
        let plain = job(&["--image", "h.example/a/tool:1"]);
        assert_eq!(image(&plain).as_deref(), Some("h.example/a/tool:1"));
        assert_eq!(
            (plain.command.shell, &plain.command.value),
            (Some(false), &None)
        );
        assert_eq!(plain.name, "tool1");
        let own = job(&["--image", "tool", "--", "ls", "/"]);
        assert_eq!(own.command.arguments, ["ls", "/"]);
        assert_eq!(
            (own.name.as_str(), image(&own).as_deref()),
            ("ls", Some("tool"))
        );
        assert_eq!(image(&job(&["--", "ls"])), None);
    }

    #[test]
    fn a_terminal_is_asked_for_with_and_without_an_image() {
        let container = |job: &Job| job.task_on(&offer(1.0, 64.0)).unwrap().container;
        let plain = job(&["--tty", "--", "sh"]);
        let asked = container(&plain).unwrap();
        assert!(asked.tty_info.unwrap().window_size.is_some());
        assert_eq!(asked.mesos, None);
        let variables = plain.command.environment.unwrap().variables;
        assert_eq!((variables.len(), variables[0].name.as_str()), (1, "TERM"));
        let both = job(&["-t", "--env", "TERM=vt100", "--image", "tool"]);
        let asked = container(&both).unwrap();
        assert!(asked.tty_info.is_some() && asked.mesos.is_some());
        let variables = both.command.environment.unwrap().variables;
        assert_eq!(variables[0].value.as_deref(), Some("vt100"));
        assert_eq!(variables.len(), 1);
        assert_eq!(container(&job(&["--", "ls"])), None);
    }

    #[test]
    fn one_word_is_shell_text_and_several_are_argv() {
        let shell = job(&["--", "echo $X | wc"]);
        assert_eq!(
            (shell.command.shell, shell.command.arguments.len()),
            (Some(true), 0)
        );
        assert_eq!(shell.name, "echo");
        let argv = job(&["--", "/bin/ls", "-l"]);
        assert_eq!(argv.command.value.as_deref(), Some("/bin/ls"));
        assert_eq!(argv.command.arguments, ["/bin/ls", "-l"]);
        assert_eq!(
            (argv.command.shell, argv.name.as_str()),
            (Some(false), "ls")
        );
    }

    #[test]
    fn an_offer_fits_by_amount_and_node() {
        let job1 = job(&["--cpus", "1", "--mem", "64", "--", "x"]);
        assert!(job1.task_on(&offer(1.0, 64.0)).is_some());
        assert!(job1.task_on(&offer(0.9, 64.0)).is_none());
        assert!(job1.task_on(&offer(1.0, 63.0)).is_none());
        assert!(
            job(&["--on", "board-2", "--", "x"])
                .task_on(&offer(1.0, 64.0))
                .is_some()
        );
        assert!(
            job(&["--on", "S1", "--", "x"])
                .task_on(&offer(1.0, 64.0))
                .is_some()
        );
        assert!(
            job(&["--on", "board-3", "--", "x"])
                .task_on(&offer(1.0, 64.0))
                .is_none()
        );
    }

    #[test]
    fn reserved_resources_are_left_alone() {
        let mut reserved = offer(4.0, 512.0);
        reserved.resources[0].role = Some("web".to_owned());
        assert!(job(&["--", "x"]).task_on(&reserved).is_none());
    }
}
