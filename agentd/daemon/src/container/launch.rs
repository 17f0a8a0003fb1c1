//! From a task's spec to a running helper: sandbox, files, cgroup, spawn.
//!
//! Called by `life`. Invariant: after an error no process of the container exists.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use agentd_core::command::{Place, executor_spec};
use agentd_core::fetch;
use nesos_api::v1;
use nesos_shell::flags::Values;
use nesos_sys::container::{SpawnPlan, spawn};
use nesos_sys::user::{self, Credentials, UserError};
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId, frame};
use tokio::net::unix::pipe;

use super::Context;
use super::helper::Helper;
use super::isolator::Setup;
use crate::fetcher::client::Client;
use crate::fetcher::helper::Helper as FetchHelper;
use crate::fetcher::{self, Target};
use crate::{sandbox, volumes};

/// Why a task does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error("the task's user: {0}")]
    User(#[from] user::UserError),
    #[error(
        "the framework's user: {0}; on hosts without it start agentd with --unknown_framework_user=self"
    )]
    FrameworkUser(user::UserError),
    #[error(transparent)]
    Plan(#[from] fetch::FetchError),
    #[error(transparent)]
    Fetch(#[from] fetcher::FetchFailure),
    #[error(transparent)]
    Cgroup(#[from] nesos_sys::cgroup::CgroupError),
    #[error("the task's command: {0}")]
    Frame(#[from] frame::FrameError),
    #[error("cannot write {path}: {source}")]
    Write {
        path: String,
        source: std::io::Error,
    },
    #[error("make a pipe: {0}")]
    Pipe(std::io::Error),
    #[error("the executor helper: {0}")]
    Spawn(#[from] nesos_sys::container::SpawnError),
}

/// What is launched, and for which agent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) spec: TaskSpec,
    pub(super) agent: AgentId,
    /// The container around it, if it is of a pod.
    pub(super) parent: Option<ContainerId>,
    /// `ip:port` of the agent.
    pub(super) endpoint: String,
}

/// Starts the helper. Dropping the future before it is done leaves files, but no process.
pub(super) async fn launch(
    context: &Context,
    container: &ContainerId,
    request: Request,
) -> Result<Helper, LaunchError> {
    let Request {
        spec,
        agent,
        parent,
        endpoint,
    } = request;
    let settings = &context.settings;
    let (user, credentials) = user_of(&spec, &settings.flags)?;
    let plan = fetch::plan(&spec.command.uris)?;
    let (work_dir, owner) = (&settings.work_dir, credentials.as_ref());
    let sandbox = match &parent {
        Some(parent) => sandbox::make_inside(work_dir, &agent, &spec, container, parent, owner)?,
        None => sandbox::make(work_dir, &agent, &spec, container, owner)?,
    };
    volumes::link(
        &settings.work_dir,
        &spec.resources,
        &sandbox,
        credentials.as_ref(),
    )?;
    let target = Target {
        sandbox: sandbox.clone(),
        helper: FetchHelper {
            program: settings.fetcher.program.clone(),
            user: credentials,
        },
        client: Client {
            stall_timeout: settings.stall_timeout,
            authorities: settings.authorities.clone(),
            unix: context.clocks.unix(),
        },
        disk: disk_of(&spec),
    };
    fetcher::fetch_all(&plan, &target, &context.cache).await?;
    let setup = context.isolators.prepare(&spec);
    let cgroup_procs = match (context.isolators.cgroups(), &setup.limits) {
        (Some(cgroups), Some(limits)) => Some(cgroups.create(container, limits)?.procs_file()),
        _ => None,
    };
    let place = Place {
        agent,
        endpoint,
        container: container.clone(),
        sandbox: sandbox.display().to_string(),
        user,
        cgroup_procs: cgroup_procs.map(|path| path.display().to_string()),
        pid_namespace: setup.namespaces.pid,
        mount_namespace: setup.namespaces.mount,
        recovery_timeout: settings.recovery_timeout,
        environment: setup.environment.clone(),
    };
    let directory = context.run_directory(container);
    write_spec(&directory, &frame::encode(&executor_spec(&spec, place))?)?;
    start_helper(context, directory.as_path(), &setup)
}

/// The task's share of the disk, bytes; none: it was given none, and may write as Mesos lets it.
fn disk_of(spec: &TaskSpec) -> Option<u64> {
    let disk = spec.resources.scalar("disk").to_f64();
    (disk > 0.0).then_some((disk * 1024.0 * 1024.0) as u64)
}

/// Links volumes that have come with later tasks of an executor.
pub(super) fn add_volumes(
    context: &Context,
    container: &ContainerId,
    spec: &TaskSpec,
    agent: &AgentId,
) -> Result<(), LaunchError> {
    let settings = &context.settings;
    let (_, credentials) = user_of(spec, &settings.flags)?;
    match sandbox::of_container(&settings.work_dir, agent, spec, container, None) {
        Some(sandbox) if sandbox.is_dir() => Ok(volumes::link(
            &settings.work_dir,
            &spec.resources,
            &sandbox,
            credentials.as_ref(),
        )?),
        _ => Ok(()),
    }
}

fn write_spec(directory: &Path, bytes: &[u8]) -> Result<(), LaunchError> {
    let fail = |path: &Path, source| LaunchError::Write {
        path: path.display().to_string(),
        source,
    };
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .map_err(|e| fail(directory, e))?;
    let path = directory.join("spec");
    // Not synchronised: after a loss of power nobody starts a task from it.
    fs::write(&path, bytes).map_err(|e| fail(&path, e))
}

fn start_helper(context: &Context, directory: &Path, setup: &Setup) -> Result<Helper, LaunchError> {
    let path = directory.join("log");
    let log = File::create(&path).map_err(|source| LaunchError::Write {
        path: path.display().to_string(),
        source,
    })?;
    let cgroup = context
        .isolators
        .cgroups()
        .map(|cgroups| cgroups.executors().directory())
        .transpose()?;
    let arguments = vec!["nesos-executor".into(), directory.display().to_string()];
    // Ends when the helper's socket is there.
    let (opened, opening) = std::io::pipe().map_err(LaunchError::Pipe)?;
    let plan = SpawnPlan {
        directory: directory.into(),
        namespaces: setup.namespaces,
        cgroup,
        stdout: Some(opening.into()),
        stderr: Some(log.into()),
        ..SpawnPlan::new(context.settings.executor.display().to_string(), arguments)
    };
    let spawned = spawn(&plan)?;
    let opened = pipe::Receiver::from_owned_fd(opened.into()).map_err(LaunchError::Pipe)?;
    Ok(Helper::started(directory.into(), spawned.pidfd, opened))
}

/// The user the task runs as, by name and looked up: the command's, else its framework's, as Mesos. Only root can switch;
/// others run everything as themselves.
fn user_of(
    spec: &TaskSpec,
    flags: &Values,
) -> Result<(Option<String>, Option<Credentials>), LaunchError> {
    if !flags.is_on("switch_user") || !nix::unistd::geteuid().is_root() {
        return Ok((None, None));
    }
    if let Some(name) = spec.command.user.as_ref().filter(|name| !name.is_empty()) {
        return Ok((Some(name.clone()), Some(user::lookup(name)?)));
    }
    // Written by a master of ours; a damaged one names nobody.
    let framework = v1::FrameworkInfo::from_protobuf(&spec.framework_info).unwrap_or_default();
    let name = framework.user;
    if name.is_empty() {
        return Ok((None, None));
    }
    match user::lookup(&name) {
        Ok(credentials) => Ok((Some(name), Some(credentials))),
        Err(UserError::Unknown { .. })
            if flags.text_or_empty("unknown_framework_user") == "self" =>
        {
            Ok((None, None))
        }
        Err(error) => Err(LaunchError::FrameworkUser(error)),
    }
}
