//! Words of a script as the core's types.
//!
//! Used by the driver beside it. Panics on a word that is none: scripts are part of the tests.

use std::collections::BTreeMap;

use masterd_core::constraints::{Constraint, Constraints, Pattern, Predicate, Selector};
use masterd_core::{FrameworkUpdate, LaunchTask};
use nesos_wire::command::FrameworkFacts;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::{Command, TaskState};
use nesos_wire::{AgentId, TaskId, resource_text};

use super::executors;

/// What a framework says of itself: `roles=a,b suppress=a caps=X timeout=1 principal=p user=u min=cpus:1
/// only=attribute:pattern`.
pub(crate) fn framework(name: &str, options: &[&str]) -> FrameworkUpdate {
    let mut update = FrameworkUpdate {
        facts: FrameworkFacts {
            name: name.into(),
            user: "root".into(),
            roles: vec!["*".into()],
            principal: None,
            failover_timeout: 0.0,
            checkpoint: false,
            capabilities: Vec::new(),
        },
        info: Vec::new(),
        suppressed_roles: Vec::new(),
        min_allocatable: BTreeMap::new(),
        constraints: Default::default(),
    };
    let facts = &mut update.facts;
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    for option in options {
        match option.split_once('=').expect("option=value") {
            ("roles", value) => facts.roles = list(value),
            ("caps", value) => facts.capabilities = list(value),
            ("suppress", value) => update.suppressed_roles = list(value),
            ("timeout", value) => facts.failover_timeout = value.parse().unwrap(),
            ("principal", value) => facts.principal = Some(value.into()),
            ("user", value) => facts.user = value.into(),
            ("min", value) => {
                let least = match value {
                    "" => Vec::new(),
                    value => vec![resource_text::parse(value).unwrap()],
                };
                let roles = facts.roles.iter();
                update.min_allocatable = roles.map(|role| (role.clone(), least.clone())).collect();
            }
            ("only", value) => update.constraints = only(&facts.roles, value),
            _ => panic!("unknown option {option}"),
        }
    }
    if facts.roles.len() > 1 {
        facts.capabilities.push("MULTI_ROLE".into());
    }
    update
}

/// `attribute:pattern`, for all roles; `!attribute` must not be there.
fn only(roles: &[String], value: &str) -> Constraints {
    let (name, predicate) = match (value.split_once(':'), value.strip_prefix('!')) {
        (Some((name, text)), _) => (name, Predicate::TextMatches(Pattern::new(text).unwrap())),
        (None, Some(name)) => (name, Predicate::NotExists),
        (None, None) => panic!("only=attribute:pattern or only=!attribute"),
    };
    let constraint = Constraint {
        selector: Selector::Attribute(name.into()),
        predicate,
    };
    let groups = |role: &String| (role.clone(), vec![vec![constraint.clone()]]);
    Constraints::new(roles.iter().map(groups).collect(), Vec::new()).unwrap()
}

/// `id=resources` or `id~executor=resources`, a task for `agent`.
pub(crate) fn task(word: &str, agent: &AgentId) -> LaunchTask {
    let (id, resources) = word.split_once('=').expect("task=resources");
    let (id, executor) = match id.split_once('~') {
        Some((id, executor)) => (
            id,
            Some(executors::executor(executor, ExecutorKind::Custom)),
        ),
        None => (id, None),
    };
    LaunchTask {
        task: TaskId::new(id),
        agent: agent.clone(),
        name: id.into(),
        executor: executor.map(Box::new),
        role: None,
        resources: resource_text::parse(resources).unwrap(),
        limits: BTreeMap::new(),
        command: Command::default(),
        kill_grace_ms: 3000,
        checks: None,
        info: Vec::new(),
        invalid: None,
    }
}

/// A task's state as agents send it.
pub(crate) fn state(word: &str) -> TaskState {
    match word {
        "STARTING" => TaskState::Starting,
        "RUNNING" => TaskState::Running,
        "FINISHED" => TaskState::Finished,
        "FAILED" => TaskState::Failed,
        "KILLED" => TaskState::Killed,
        _ => panic!("unknown state {word}"),
    }
}
