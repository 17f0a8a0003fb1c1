//! LAUNCH_CONTAINER and LAUNCH_NESTED_CONTAINER: operators' own containers, alone or inside a running one.
//!
//! Called by `operator` when a call has passed its checks; `sessions` asks here for those that are to be waited for or ended.
//! Invariants: the access rule is asked first; who hears 200 has a container whose program runs and that the next agentd
//! will know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use agentd_core::{ExecutorPhase, Phase, limitation_status};
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use nesos_api::operator::agent as api;
use nesos_api::operator::agent::{Call, CallType};
use nesos_api::{resources, v1};
use nesos_shell::http::Refusal;
use nesos_wire::executor::Outcome;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Command, TaskSpec, TaskState};
use nesos_wire::{Attempt, ContainerId, ExecutorId, FrameworkId, TaskId, TaskKey};

use super::Context;
use super::answer::{self, Body};
use super::operator::member;
use super::sessions::asked::{text, whole_command};
use super::sessions::exit_status;
use crate::container::own::{Own, State, Wanted};
use crate::sandbox;

/// Longest id with all that are around it (Mesos: it names files).
const MAX_TEXT: usize = 242;
/// What the containerizer calls one of its own groups.
const RESERVED: &str = crate::container::EXECUTORS;
/// SIGTERM to SIGKILL where nobody says otherwise, milliseconds (Mesos's).
const KILL_GRACE_MS: u32 = 3000;

/// What one of the two calls asks for.
pub(super) fn asked(
    kind: CallType,
    call: &Call,
) -> Result<Option<api::CallLaunchContainer>, Refusal> {
    Ok(match kind {
        CallType::LaunchContainer => {
            Some(member(call.launch_container.clone(), "launch_container")?)
        }
        CallType::LaunchNestedContainer => {
            let name = "launch_nested_container";
            let launch = member(call.launch_nested_container.clone(), name)?;
            if launch.container_id.parent.is_none() {
                let sentence = "Expecting 'container_id.parent' to be present";
                return Err(Refusal::bad(sentence));
            }
            Some(api::CallLaunchContainer {
                container_id: launch.container_id,
                command: launch.command,
                container: launch.container,
                ..Default::default()
            })
        }
        _ => None,
    })
}

/// Launches it, and answers when its program runs.
pub(super) async fn launch(
    context: &Context,
    headers: &HeaderMap,
    launch: api::CallLaunchContainer,
) -> Result<Response<Body>, Refusal> {
    context.may_write(headers)?;
    let id = &launch.container_id;
    check_id(id)?;
    let around = match &id.parent {
        Some(parent) => Some(around(context, parent)?),
        None => None,
    };
    if find(context, id).is_some() || context.app.sessions.get(&text(id)).is_some() {
        return Ok(answer::accepted());
    }
    let wanted = wanted(context, &launch, around).map_err(Refusal::bad)?;
    let view = &context.app.view;
    let agent = view.agent().id().cloned().unwrap_or_default();
    let begun = view
        .containerizer()
        .launch_own(wanted, agent, view.endpoint());
    let fail = |why: &dyn std::fmt::Display| {
        Refusal::bad(format!("Failed to launch container {}: {why}", text(id)))
    };
    let own = begun.map_err(|error| fail(&error))?;
    context.control.set_lasting();
    match own.after(&[State::Launching]).await {
        State::Failed(why) => Err(fail(&why)),
        _ => Ok(answer::empty()),
    }
}

/// The operators' container with this id.
pub(super) fn find(context: &Context, id: &v1::ContainerID) -> Option<Rc<Own>> {
    by_text(context, &text(id))
}

/// The same, by its id as a text; a task of a pod may be named with its pod or without.
pub(super) fn by_text(context: &Context, id: &str) -> Option<Rc<Own>> {
    let all = context.app.view.containerizer().all_own();
    let is_meant = |own: &&Rc<Own>| own.wanted.container.as_str() == id || text(&own.id()) == id;
    all.iter().find(is_meant).cloned()
}

/// How it ends.
pub(super) async fn ended(own: &Own) -> api::ResponseWaitContainer {
    let mut answer = api::ResponseWaitContainer::default();
    match own.after(&[State::Launching, State::Running]).await {
        State::Ended(finish) => {
            answer.exit_status = Some(exit_status(&finish.record.outcome));
            if let Some(limitation) = finish.limitation {
                let (reason, message) = limitation_status(limitation);
                answer.state = Some(nesos_api::tasks::state(TaskState::Failed));
                answer.reason = Some(nesos_api::tasks::reason(reason));
                answer.message = Some(message);
            }
        }
        State::Failed(why) => {
            answer.exit_status = Some(exit_status(&Outcome::NotStarted(String::new())));
            answer.message = Some(why);
        }
        // Mesos has no status either when it cannot know it.
        _ => answer.message = Some("Its exit status is not known".into()),
    }
    answer
}

fn check_id(id: &v1::ContainerID) -> Result<(), Refusal> {
    let bad = |why: String| Err(Refusal::bad(format!("container_id.value: {why}")));
    if let Err(error) = ContainerId::parse(&id.value) {
        return bad(error.to_string());
    }
    if id.value.contains('.') {
        return bad(
            "a period is forbidden: it separates a container from what is around it".into(),
        );
    }
    if id.parent.is_none() && id.value == RESERVED {
        return bad(format!("'{RESERVED}' is reserved"));
    }
    match text(id).len() {
        long if long > MAX_TEXT => bad(format!(
            "with all that are around it has {long} bytes, at most {MAX_TEXT} are allowed"
        )),
        _ => Ok(()),
    }
}

/// A running container, and what one inside it takes from it.
pub(super) struct Around {
    pub(super) container: ContainerId,
    sandbox: PathBuf,
    /// Where sandboxes of those inside lie: beside its own, as what is in that one is its task's business.
    folder: PathBuf,
    spec: TaskSpec,
}

pub(super) fn around(context: &Context, parent: &v1::ContainerID) -> Result<Around, Refusal> {
    let id = text(parent);
    if let Some(own) = by_text(context, &id)
        && own.state() == State::Running
    {
        let sandbox = own.wanted.sandbox.clone();
        return Ok(Around {
            container: own.wanted.container.clone(),
            folder: sandbox.parent().unwrap_or(&sandbox).into(),
            sandbox,
            spec: own.wanted.spec.clone(),
        });
    }
    of_framework(context, &id).ok_or_else(|| {
        let sentence = format!("No task runs in the parent container {id}");
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    })
}

/// The container of a task, or of an executor that is a process.
fn of_framework(context: &Context, id: &str) -> Option<Around> {
    let view = &context.app.view;
    let (agent, work_dir) = (view.agent(), &view.settings.work_dir);
    let of_agent = agent.id()?;
    let executor = agent.executors().find(|view| {
        let is_there = !matches!(view.phase, ExecutorPhase::Terminating { .. });
        let is_process = view.spec.kind == ExecutorKind::Custom;
        is_there && is_process && view.container.as_str() == id
    });
    let task = agent.tasks().find(|view| {
        let of_pod = |pod, own| format!("{pod}.{own}") == id;
        let is_meant = view.container.is_some_and(|own| {
            own.as_str() == id || view.parent.is_some_and(|pod| of_pod(pod, own))
        });
        is_meant && view.phase == Phase::Running
    });
    let (container, pod, spec) = match (executor, task) {
        (Some(view), _) => (view.container, None, of_executor(view.spec)),
        (None, Some(view)) => (view.container?, view.parent, view.spec.clone()),
        (None, None) => return None,
    };
    let runs = sandbox::runs(
        work_dir,
        of_agent.as_str(),
        &spec.key.framework,
        spec.executor.as_str(),
    );
    Some(Around {
        sandbox: sandbox::of_container(work_dir, of_agent, &spec, container, pod)?,
        folder: runs.ok()?,
        container: container.clone(),
        spec,
    })
}

fn of_executor(executor: &FrameworkExecutor) -> TaskSpec {
    TaskSpec {
        executor: executor.key.executor.clone(),
        role: executor.role.clone(),
        framework_info: executor.framework_info.clone(),
        command: executor.command.clone(),
        ..nobodys(executor.key.framework.clone())
    }
}

/// What there is of a container in which nothing is a framework's.
pub(crate) fn nobodys(framework: FrameworkId) -> TaskSpec {
    TaskSpec {
        key: TaskKey {
            framework,
            task: TaskId::default(),
        },
        attempt: Attempt(0),
        name: String::new(),
        executor: ExecutorId::default(),
        kind: ExecutorKind::Command,
        role: String::new(),
        resources: Resources::new(),
        limits: BTreeMap::new(),
        command: Command::default(),
        kill_grace_ms: KILL_GRACE_MS,
        partition_aware: false,
        task_killing: false,
        checkpoint: true,
        checks: None,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

fn wanted(
    context: &Context,
    launch: &api::CallLaunchContainer,
    around: Option<Around>,
) -> Result<Wanted, String> {
    let id = &launch.container_id;
    let container = launch.container.clone();
    let has_image = check_container(container.as_ref())?;
    let mut command = whole_command(launch.command.as_ref(), has_image)?;
    let (resources, limits) = shares(launch, around.is_some())?;
    // The isolators read the rest from there.
    let info = v1::TaskInfo {
        container: container.map(Box::new),
        command: launch.command.clone(),
        ..v1::TaskInfo::default()
    };
    let base = match &around {
        Some(around) => around.spec.clone(),
        None => nobodys(FrameworkId::default()),
    };
    command.user = command.user.or(base.command.user);
    let spec = TaskSpec {
        name: id.value.clone(),
        kind: ExecutorKind::Command,
        resources,
        limits,
        command,
        checks: None,
        info: info.to_protobuf(),
        ..base
    };
    Ok(match around {
        Some(around) => {
            let own = ContainerId::new(format!("{}.{}", around.container, id.value));
            let sandbox = around.folder.join(own.as_str());
            let parent = Some((around.container, around.sandbox));
            Wanted::new(own, parent, id, spec, sandbox)
        }
        None => {
            let own = ContainerId::new(id.value.as_str());
            let folder = sandbox::standalone(&context.app.view.settings.work_dir);
            let sandbox = folder.join(own.as_str());
            Wanted::new(own, None, id, spec, sandbox)
        }
    })
}

/// Whether it has an image.
fn check_container(container: Option<&v1::ContainerInfo>) -> Result<bool, String> {
    let Some(container) = container else {
        return Ok(false);
    };
    let what = match container {
        c if c.r#type != v1::ContainerInfoType::Mesos => "types other than MESOS are",
        c if c.docker.is_some() => "'docker' is",
        c => return Ok(c.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some())),
    };
    Err(format!("container: {what} not supported"))
}

type Limits = BTreeMap<String, Option<Scalar>>;

/// What it may use; one inside another shares what that one may.
fn shares(
    launch: &api::CallLaunchContainer,
    is_inside: bool,
) -> Result<(Resources, Limits), String> {
    let resources = resources::bag(&launch.resources)?;
    if is_inside && !(resources.is_empty() && launch.limits.is_empty()) {
        return Err("'resources' and 'limits' are for containers of their own: one inside another shares what that one may use".into());
    }
    if let Some(entry) = resources.entries().iter().find(|entry| !entry.is_plain()) {
        return Err(format!(
            "resources: {} is reserved, a volume, shared or revocable, expected none of it",
            entry.name()
        ));
    }
    let mut limits = BTreeMap::new();
    for name in ["cpus", "mem"] {
        if resources.get(name).is_none() {
            limits.insert(name.to_string(), None);
        }
    }
    for (name, limit) in &launch.limits {
        let scalar = match limit.value {
            _ if name != "cpus" && name != "mem" => {
                return Err(format!(
                    "limits: '{name}' cannot be limited, only cpus and mem"
                ));
            }
            f64::INFINITY => None,
            value if value > 0.0 => Some(exact(name, value)?),
            value => {
                return Err(format!("limits: {name} must be above 0, found {value}"));
            }
        };
        limits.insert(name.clone(), scalar);
    }
    Ok((resources, limits))
}

fn exact(name: &str, value: f64) -> Result<Scalar, String> {
    Scalar::from_f64(value).ok_or_else(|| format!("limits: {name} is too large: {value}"))
}
