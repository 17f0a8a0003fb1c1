//! Marathon's definitions of apps: what the built-in scheduler goes by, and the tasks it launches.
//!
//! Called by the engine and by the handlers of `/v2`. Not the reading of JSON (`nesos_api::marathon`). Invariant: what the scheduler cannot keep
//! to is refused with the field's name.

use masterd_core::builtin::{
    Backoff, Constraint, Launch, Need, Pattern, PortNeed, Rule, ServiceFacts,
};
use nesos_api::marathon::app::{ANY_ROLE, App, KillSelection, Unreachable};
use nesos_api::marathon::{Place, task_info as app_task};
use nesos_api::v1;
use nesos_base::time::{Duration, seconds};
use nesos_wire::resource::Scalar;

use super::resource::{self, ReservationFormat, Shape};

/// Why a definition cannot be kept to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DefinitionError {
    /// It is none.
    #[error("{0}")]
    Unread(String),
    /// A field says what cannot be.
    #[error("{field}: {reason}")]
    Field {
        /// In JSON.
        field: &'static str,
        /// A sentence.
        reason: String,
    },
}

/// What the scheduler goes by, of a definition's JSON.
pub(crate) fn facts(definition: &[u8]) -> Result<ServiceFacts, DefinitionError> {
    app_facts(&read(definition)?)
}

/// What the scheduler goes by.
pub(crate) fn app_facts(app: &App) -> Result<ServiceFacts, DefinitionError> {
    let grace = app.task_kill_grace_period_seconds;
    let (inactive_after, expunge_after) = match app.unreachable_strategy {
        Unreachable::Disabled => (None, None),
        Unreachable::After { inactive, expunge } => (
            Some(Duration::from_secs(inactive)),
            Some(Duration::from_secs(expunge)),
        ),
    };
    Ok(ServiceFacts {
        instances: app.instances,
        need: need(app)?,
        depends_on: app.dependencies.iter().cloned().collect(),
        is_checked: !app.health_checks.is_empty(),
        min_healthy: app.upgrade_strategy.minimum_health_capacity,
        max_over: app.upgrade_strategy.maximum_over_capacity,
        backoff: Backoff {
            first: seconds(app.backoff_seconds),
            factor: app.backoff_factor,
            most: seconds(app.max_launch_delay_seconds),
        },
        kills_oldest: app.kill_selection == KillSelection::OldestFirst,
        kill_grace_ms: grace.map(|seconds| (seconds * 1000.0) as u32),
        inactive_after,
        expunge_after,
    })
}

/// The task of an instance.
pub(crate) fn task_info(launch: &Launch) -> Result<v1::TaskInfo, DefinitionError> {
    let app = read(&launch.definition)?;
    let place = Place {
        task: launch.task.as_str(),
        agent: launch.agent.as_str(),
        host: &launch.host,
        ports: &launch.ports,
        resources: resources(launch),
        version: launch.version,
    };
    Ok(app_task(&app, place))
}

/// A task of which nothing is known but where it was to run.
pub(crate) fn bare_task_info(launch: &Launch) -> v1::TaskInfo {
    v1::TaskInfo {
        task_id: launch.task.as_str().into(),
        agent_id: launch.agent.as_str().into(),
        name: launch.task.to_string(),
        resources: resources(launch),
        ..v1::TaskInfo::default()
    }
}

/// What it gets, as frameworks write it.
pub(crate) fn resources(launch: &Launch) -> Vec<v1::Resource> {
    let shape = Shape {
        allocation: None,
        format: ReservationFormat::Stack,
    };
    resource::list(&launch.resources, &shape)
}

/// The definition that is kept.
pub(crate) fn read(definition: &[u8]) -> Result<App, DefinitionError> {
    let app = App::from_json(definition, "/");
    app.map_err(|refusal| DefinitionError::Unread(refusal.answer().1))
}

fn need(app: &App) -> Result<Need, DefinitionError> {
    let amounts = [
        ("cpus", app.cpus),
        ("mem", app.mem),
        ("disk", app.disk),
        ("gpus", f64::from(app.gpus)),
    ];
    let mut scalars = Vec::new();
    for (name, amount) in amounts {
        let unfit = || DefinitionError::Field {
            field: name,
            reason: format!("{amount} is not an amount"),
        };
        let amount = Scalar::from_f64(amount).ok_or_else(unfit)?;
        if amount.0 > 0 {
            scalars.push((name.to_owned(), amount));
        }
    }
    let ports = app.host_ports().into_iter().map(|port| match port {
        0 => PortNeed::Any,
        port => PortNeed::Fixed(port),
    });
    let accepted = &app.accepted_resource_roles;
    let constraints = app.constraints.iter().map(|words| constraint(&words.0));
    Ok(Need {
        scalars,
        ports: ports.collect(),
        constraints: constraints.collect::<Result<_, _>>()?,
        takes_reserved: accepted.is_empty() || accepted.iter().any(|role| role != ANY_ROLE),
        takes_unreserved: accepted.is_empty() || accepted.iter().any(|role| role == ANY_ROLE),
    })
}

fn constraint(words: &[String]) -> Result<Constraint, DefinitionError> {
    let unfit = |reason: String| DefinitionError::Field {
        field: "constraints",
        reason,
    };
    let word = |at: usize| words.get(at).map(String::as_str);
    let value = word(2);
    let text = || value.unwrap_or_default().to_owned();
    let pattern = || Pattern::new(&text()).map_err(|error| unfit(error.to_string()));
    let number = || value.and_then(|value| value.parse().ok());
    let rule = match word(1) {
        Some("UNIQUE") => Rule::Unique,
        Some("CLUSTER") => {
            Rule::Cluster(value.filter(|value| !value.is_empty()).map(str::to_owned))
        }
        Some("GROUP_BY") => Rule::GroupBy(number()),
        Some("MAX_PER") => Rule::MaxPer(number().unwrap_or(1)),
        Some("IS") => Rule::Is(text()),
        Some("LIKE") => Rule::Like(pattern()?),
        Some("UNLIKE") => Rule::Unlike(pattern()?),
        other => return Err(unfit(format!("there is no operator {other:?}"))),
    };
    Ok(Constraint {
        field: word(0).unwrap_or_default().to_owned(),
        rule,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::builtin::Owner;
    use nesos_wire::resource_text;
    use nesos_wire::{AgentId, TaskId};

    const WEB: &str = r#"{
        "id": "/shop/web", "cmd": "serve", "cpus": 0.5, "mem": 64, "instances": 3,
        "constraints": [["hostname", "UNIQUE"], ["rack", "LIKE", "a|b"], ["rack", "MAX_PER", "2"]],
        "portDefinitions": [{"port": 0}, {"port": 0}],
        "dependencies": ["/db"], "backoffSeconds": 2, "taskKillGracePeriodSeconds": 1.5,
        "killSelection": "OLDEST_FIRST", "acceptedResourceRoles": ["*"],
        "unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 10}
    }"#;

    #[test]
    fn facts_say_what_the_definition_says() {
        let facts = facts(WEB.as_bytes()).unwrap();
        assert_eq!(facts.instances, 3);
        let need = &facts.need;
        let names: Vec<_> = need.scalars.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["cpus", "mem"]);
        assert_eq!(need.ports, [PortNeed::Any, PortNeed::Any]);
        let rules: Vec<_> = need.constraints.iter().map(|one| &one.rule).collect();
        assert!(matches!(
            rules[..],
            [Rule::Unique, Rule::Like(_), Rule::MaxPer(2)]
        ));
        assert!(need.takes_unreserved && !need.takes_reserved);
        assert!(facts.depends_on.contains("/db") && facts.kills_oldest && !facts.is_checked);
        assert_eq!(facts.kill_grace_ms, Some(1500));
        let waits = [facts.inactive_after, facts.expunge_after].map(|wait| wait.unwrap().as_secs());
        assert_eq!(waits, [5, 10]);
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let bad = WEB.replace("a|b", "(");
        let error = facts(bad.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("constraints: \"(\" is not a regular expression"),
            "{error}"
        );
        assert!(facts(b"{").is_err());
    }

    #[test]
    fn a_task_has_what_it_was_given() {
        let launch = Launch {
            task: TaskId::new("shop_web.1-0"),
            owner: Owner::Service {
                id: "/shop/web".into(),
                version: 7,
            },
            definition: WEB.as_bytes().to_vec(),
            version: 7,
            agent: AgentId::new("S0"),
            host: "pi-1".into(),
            resources: resource_text::parse("cpus:0.5;mem:64;ports:[31000-31001]").unwrap(),
            ports: vec![31001, 31000],
            arguments: None,
        };
        let info = task_info(&launch).unwrap();
        let environment = info.command.unwrap().environment.unwrap().variables;
        let value = |name: &str| {
            let found = environment.iter().find(|variable| variable.name == name);
            found.and_then(|variable| variable.value.clone())
        };
        assert_eq!(value("PORT1").as_deref(), Some("31000"));
        assert_eq!(value("MARATHON_APP_ID").as_deref(), Some("/shop/web"));
        let bag = resource::bag(&info.resources).unwrap();
        assert_eq!(bag, launch.resources);
    }
}
