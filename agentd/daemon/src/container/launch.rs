//! From a task's spec to a running helper: sandbox, files, cgroup, spawn.
//!
//! Called by `life`. Invariant: after an error no process of the container exists.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use agentd_core::command::{Place, executor_spec};
use agentd_core::fetch;
use nesos_api::v1;
use nesos_shell::flags::Values;
use nesos_sys::container::fork_server::Order;
use nesos_sys::user::{Credentials, UserError};
use nesos_wire::executor::TaskUser;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId, frame};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Context;
use super::helper::Helper;
use super::isolators::{Pod, Refusal, Setup, Wish};
use super::nursery::NurseryError;
use super::terminal;
use crate::fetcher::client::Client;
use crate::fetcher::helper::Helper as FetchHelper;
use crate::fetcher::{self, Target};
use crate::http::domain;
use crate::images::{ImageError, Means, Provisioned};
use crate::output::SizeError;
use crate::{sandbox, volumes};

/// Why a task does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error("the task's user: {0}")]
    User(#[from] UserError),
    #[error(
        "the framework's user: {0}; on hosts without it start agentd with --unknown_framework_user=self"
    )]
    FrameworkUser(UserError),
    #[error("the image's user: {0}")]
    ImageUser(String),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Plan(#[from] fetch::FetchError),
    #[error(transparent)]
    Fetch(#[from] fetcher::FetchFailure),
    #[error(transparent)]
    Cgroup(#[from] nesos_sys::cgroup::CgroupError),
    #[error("the task's command: {0}")]
    Frame(#[from] frame::FrameError),
    #[error("cannot create {path}: {source}")]
    Directory { path: String, source: io::Error },
    #[error("cannot prepare {what} of the executor helper: {source}")]
    Files {
        what: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Output(#[from] SizeError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the executor helper: {0}")]
    Nursery(#[from] NurseryError),
}

/// What is launched, and for which agent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) spec: TaskSpec,
    pub(super) agent: AgentId,
    pub(super) home: Home,
    /// `ip:port` of the agent.
    pub(super) endpoint: String,
}

/// Where a container's files are, and whose it is.
#[derive(Debug)]
pub(super) enum Home {
    /// A run of its executor's.
    Run,
    /// Inside the run of its pod, whose container this is.
    Pod(Box<Pod>),
    /// It is an operator's.
    Own {
        sandbox: PathBuf,
        /// The sandbox of the container that it is in.
        around: Option<PathBuf>,
        /// It shares what the container that it is in may use.
        is_inside: bool,
    },
}

impl Home {
    /// Makes the sandbox; it, and that of the container around it.
    fn make(
        &self,
        work_dir: &Path,
        agent: &AgentId,
        spec: &TaskSpec,
        container: &ContainerId,
        owner: Option<&Credentials>,
    ) -> Result<(PathBuf, Option<PathBuf>), sandbox::SandboxError> {
        Ok(match self {
            Home::Run => {
                let own = sandbox::make(work_dir, agent, spec, container, owner)?;
                (own, None)
            }
            Home::Pod(pod) => {
                let pod = &pod.container;
                let own = sandbox::make_inside(work_dir, agent, spec, container, pod, owner)?;
                let around = sandbox::of_container(work_dir, agent, spec, pod, None);
                (own, around)
            }
            Home::Own {
                sandbox, around, ..
            } => (sandbox::make_own(sandbox, owner)?, around.clone()),
        })
    }

    fn is_inside(&self) -> bool {
        matches!(
            self,
            Home::Own {
                is_inside: true,
                ..
            }
        )
    }
}

/// Starts the helper. Dropping the future before it is done leaves files, but no process.
pub(super) async fn launch(
    context: &Context,
    container: &ContainerId,
    request: Request,
) -> Result<Helper, LaunchError> {
    let started = start(context, container, &request).await;
    // While the helper is on its way. People look into the sandbox of what has failed, too.
    publish(context, container, &request);
    started
}

async fn start(
    context: &Context,
    container: &ContainerId,
    request: &Request,
) -> Result<Helper, LaunchError> {
    let Request {
        spec,
        agent,
        home,
        endpoint,
    } = request;
    let settings = &context.settings;
    let mut credentials = user_of(context, spec)?;
    let plan = fetch::plan(&spec.command.uris)?;
    let (work_dir, owner) = (&settings.work_dir, credentials.as_ref());
    let (sandbox, around) = home.make(work_dir, agent, spec, container, owner)?;
    let mut wish = Wish::new(spec, container, &sandbox, around.as_deref());
    let (image, volumes) = provide(context, container, &wish, &mut credentials).await?;
    let owner = credentials.as_ref();
    (wish.user, wish.image, wish.image_volumes) = (owner, image.as_ref(), &volumes);
    wish.pod = match home {
        Home::Pod(pod) => Some(pod),
        _ => None,
    };
    let mut setup = context.isolators.prepare(&wish)?;
    let terminal = wish.container.tty_info.as_ref().map(terminal::window);
    // An executor finds volumes that come later by links; so does a task that sees the host's files.
    if setup.file_system.is_none() || spec.kind == ExecutorKind::Custom {
        volumes::link(work_dir, &spec.resources, &sandbox, owner)?;
    }
    let user = owner.map(|user| TaskUser {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
    });
    if !plan.is_empty() {
        // It may take long, and can be watched.
        publish(context, container, request);
        let target = target(context, spec, &sandbox, credentials);
        fetcher::fetch_all(&plan, &target, &context.cache).await?;
    }
    let group =
        context
            .isolators
            .make_group(container, spec, setup.limits.as_ref(), home.is_inside())?;
    let domain_socket = settings.domain_socket.as_deref();
    let domain_socket = domain_socket.filter(|_| spec.kind == ExecutorKind::Custom);
    let place = Place {
        domain_socket: domain_socket.map(|path| domain::show(path, &mut setup.file_system)),
        base: settings.environment.clone(),
        agent: agent.clone(),
        endpoint: endpoint.clone(),
        container: container.clone(),
        sandbox: sandbox.display().to_string(),
        user,
        cgroup_procs: group.map(|group| group.procs_file().display().to_string()),
        pid_namespace: setup.namespaces.pid,
        cgroup_namespace: setup.cgroup_namespace,
        file_system: setup.file_system.clone(),
        hostname: setup.hostname.clone(),
        rights: setup.rights.clone(),
        output: settings.output.of(&spec.command)?,
        terminal,
        recovery_timeout: settings.recovery_timeout,
        environment: setup.environment.clone(),
        program: setup.program.clone(),
    };
    let spec = frame::encode(&executor_spec(spec, place))?;
    start_helper(context, &context.run_directory(container), &setup, &spec)
}

fn target(context: &Context, spec: &TaskSpec, sandbox: &Path, user: Option<Credentials>) -> Target {
    let settings = &context.settings;
    Target {
        sandbox: sandbox.to_owned(),
        helper: FetchHelper {
            program: settings.fetcher.program.clone(),
            user,
        },
        client: client(context),
        disk: disk_of(spec),
    }
}

fn client(context: &Context) -> Client {
    let settings = &context.settings;
    Client {
        stall_timeout: settings.stall_timeout,
        authorities: settings.authorities.clone(),
        proxy: settings.proxy.clone(),
        unix: context.clocks.unix(),
    }
}

/// Makes the sandbox the one that is found as the latest. A task runs without that, too.
fn publish(context: &Context, container: &ContainerId, request: &Request) {
    let newest = match &request.home {
        Home::Run => container,
        Home::Pod(pod) => &pod.container,
        Home::Own { .. } => return,
    };
    let work_dir = &context.settings.work_dir;
    if let Err(error) = sandbox::publish(work_dir, &request.agent, &request.spec, newest) {
        tracing::warn!("container {container}: {error}");
    }
}

/// The images that are asked for: its own, and those of its volumes. Where neither the task nor its framework names a user of
/// this machine, that of its own is taken.
async fn provide(
    context: &Context,
    container: &ContainerId,
    wish: &Wish<'_>,
    user: &mut Option<Credentials>,
) -> Result<(Option<Provisioned>, Vec<Provisioned>), LaunchError> {
    // Without the isolator nothing is pulled, and the isolators say what is missing.
    let is_docker = |image: &&v1::Image| image.r#type == v1::ImageType::Docker;
    let own = wish.image_wanted().filter(is_docker);
    let own = own.filter(|_| context.isolators.has("docker/runtime"));
    let volumes = wish.volume_images().filter(is_docker);
    let volumes = volumes.filter(|_| context.isolators.has("volume/image"));
    let wanted: Vec<_> = own.into_iter().chain(volumes).collect();
    let (Some(images), false) = (&context.images, wanted.is_empty()) else {
        return Ok((None, Vec::new()));
    };
    let client = client(context);
    let means = Means {
        user: user.as_ref(),
        client: &client,
        cache: &context.cache,
    };
    let mut volumes = images.provide(container, &wanted, means).await?;
    let image = own.map(|_| volumes.remove(0));
    if let Some(image) = &image
        && user.is_none()
        && may_switch(&context.settings.flags)
    {
        *user = image.user().map_err(LaunchError::ImageUser)?;
        if let Some(user) = user {
            sandbox::give(wish.sandbox, user)?;
        }
    }
    Ok((image, volumes))
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
    let credentials = user_of(context, spec)?;
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

/// All it needs it is born with: its spec as standard input, a connection to here as standard output. So the launch touches
/// the disk for the sandbox only, and waits for no socket.
fn start_helper(
    context: &Context,
    directory: &Path,
    setup: &Setup,
    spec: &[u8],
) -> Result<Helper, LaunchError> {
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .map_err(|source| LaunchError::Directory {
            path: directory.display().to_string(),
            source,
        })?;
    let files = |what| move |source| LaunchError::Files { what, source };
    for (name, text) in &setup.notes {
        fs::write(directory.join(name), text).map_err(files("the notes"))?;
    }
    let input = in_memory(spec).map_err(files("the spec"))?;
    let words = in_memory(b"").map_err(files("standard error"))?;
    let error = words.try_clone().map_err(files("standard error"))?;
    let (here, there) = UnixStream::pair().map_err(files("the connection"))?;
    let cgroup = context
        .isolators
        .cgroups()
        .map(|cgroups| cgroups.executors().directory())
        .transpose()?;
    let order = Order {
        word: directory,
        namespaces: setup.namespaces,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        stdio: [input.as_fd(), there.as_fd(), error.as_fd()],
        network: setup.network.as_deref().map(AsFd::as_fd),
    };
    let spawned = context.nursery.begin(&order)?;
    Ok(Helper::started(directory.into(), spawned, here, words))
}

/// A file without a name that holds `bytes` and is read from its beginning.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let file = File::from(memfd_create("nesos-executor", MFdFlags::MFD_CLOEXEC)?);
    file.write_all_at(bytes, 0)?;
    Ok(file)
}

fn may_switch(flags: &Values) -> bool {
    flags.is_on("switch_user") && nix::unistd::geteuid().is_root()
}

/// The user the task runs as: the command's, else its framework's, as Mesos. Only root can switch;
/// others run everything as themselves.
fn user_of(context: &Context, spec: &TaskSpec) -> Result<Option<Credentials>, LaunchError> {
    let (flags, accounts) = (&context.settings.flags, &context.accounts);
    if !may_switch(flags) {
        return Ok(None);
    }
    if let Some(name) = spec.command.user.as_ref().filter(|name| !name.is_empty()) {
        return Ok(Some(accounts.lookup(name)?));
    }
    // Written by a master of ours; a damaged one names nobody.
    let framework = v1::FrameworkInfo::from_protobuf(&spec.framework_info).unwrap_or_default();
    let name = framework.user;
    if name.is_empty() {
        return Ok(None);
    }
    match accounts.lookup(&name) {
        Ok(credentials) => Ok(Some(credentials)),
        Err(UserError::Unknown { .. })
            if flags.text_or_empty("unknown_framework_user") == "self" =>
        {
            Ok(None)
        }
        Err(error) => Err(LaunchError::FrameworkUser(error)),
    }
}
