//! From JSON to an app's definition: Marathon's defaults, and the rules that span several fields.
//!
//! Called by [`App`]. Invariant: all faults of a definition are told at once.

use serde_json::Value;

use super::app::{ANY_ROLE, App, KillSelection};
use super::container::Container;
use super::fields::{Faults, Node, Object, Refusal};
use super::health::HealthCheck;
use super::id;
use super::parts::{
    Constraint, Fetch, MAX_SECONDS, Network, NetworkMode, PortDefinition, PortMapping, Protocol,
    Unreachable, UpgradeStrategy,
};

/// Most instances of an app: one on each of ten thousand boards.
const MAX_INSTANCES: u64 = 10_000;
/// Most ports of an instance; agents offer a thousand.
const MAX_PORTS: usize = 100;
/// Largest amount of anything; far more than a board has, and exact in thousandths.
const MAX_AMOUNT: f64 = 1e9;
/// The delay after a failure grows up to this, as in Marathon 1.8.
const MAX_DELAY: f64 = 300.0;

/// Reads a definition.
pub(super) fn app(value: &Value, base: &str) -> Result<App, Refusal> {
    let faults = Faults::default();
    let root = Node {
        value,
        path: String::new(),
        faults: &faults,
    };
    let Some(object) = root.object() else {
        return Err(Refusal::of("/", "error.expected.jsobject"));
    };
    let app = definition(&object, base);
    check(&object, &app);
    faults.unless_any(app)
}

fn definition(object: &Object<'_>, base: &str) -> App {
    let seconds = |name: &str, default| object.number(name, 0.0..=MAX_SECONDS as f64, default);
    let amount = |name: &str, default| object.number(name, 0.0..=MAX_AMOUNT, default);
    let whole = |name: &str, most: u64, default: u32| {
        let number = object.whole(name, 0..=most);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.unwrap_or(default)
    };
    let id = path(object, base);
    let parent = id::parent(&id).to_owned();
    let mut container = object.object("container").map(|own| Container::read(&own));
    let networks = networks(object, container.as_ref());
    let is_host = networks
        .iter()
        .all(|network| network.mode == NetworkMode::Host);
    let port_definitions = if is_host {
        port_definitions(object)
    } else {
        Vec::new()
    };
    if let Some(container) = &mut container {
        mapped(container, &networks);
    }
    App {
        accepted_resource_roles: object.texts("acceptedResourceRoles").unwrap_or_default(),
        args: object.texts("args").unwrap_or_default(),
        backoff_factor: object.number("backoffFactor", 1.0..=1e6, 1.15),
        backoff_seconds: seconds("backoffSeconds", 1.0),
        cmd: object.text("cmd").filter(|line| !line.is_empty()),
        constraints: object
            .list("constraints", Constraint::read)
            .unwrap_or_default(),
        container,
        cpus: amount("cpus", 1.0),
        dependencies: dependencies(object, &parent),
        disk: amount("disk", 0.0),
        env: environment(object),
        executor: object.text("executor").unwrap_or_default(),
        fetch: fetch(object),
        gpus: whole("gpus", u64::from(u16::MAX), 0),
        health_checks: object
            .list("healthChecks", HealthCheck::read)
            .unwrap_or_default(),
        instances: whole("instances", MAX_INSTANCES, 1),
        kill_selection: match object.word("killSelection", &["YOUNGEST_FIRST", "OLDEST_FIRST"]) {
            Some("OLDEST_FIRST") => KillSelection::OldestFirst,
            _ => KillSelection::YoungestFirst,
        },
        labels: object.map("labels").unwrap_or_default(),
        max_launch_delay_seconds: seconds("maxLaunchDelaySeconds", MAX_DELAY),
        mem: amount("mem", 128.0),
        networks,
        ports: port_definitions.iter().map(|port| port.port).collect(),
        port_definitions,
        require_ports: object.flag("requirePorts").unwrap_or(false),
        role: object.text("role").unwrap_or_else(|| ANY_ROLE.into()),
        task_kill_grace_period_seconds: object
            .get("taskKillGracePeriodSeconds")
            .map(|_| seconds("taskKillGracePeriodSeconds", 0.0)),
        unreachable_strategy: Unreachable::read(object.get("unreachableStrategy")),
        upgrade_strategy: UpgradeStrategy::read(object.object("upgradeStrategy")),
        user: object.text("user"),
        id,
    }
}

fn path(object: &Object<'_>, base: &str) -> String {
    let Some(text) = object.needed_text("id") else {
        return "/".into();
    };
    let path = id::resolve(&text, base).unwrap_or_else(|fault| {
        object.fault("id", fault);
        "/x".into()
    });
    if path == "/" {
        object.fault("id", "must name an app, not the root group");
    }
    path
}

fn dependencies(object: &Object<'_>, parent: &str) -> Vec<String> {
    let names = object.list("dependencies", |node| {
        let path = id::resolve(&node.text()?, parent);
        path.map_err(|fault| node.fault(fault)).ok()
    });
    names.unwrap_or_default()
}

fn environment(object: &Object<'_>) -> std::collections::BTreeMap<String, String> {
    let variables = object.object("env");
    if let Some(variables) = &variables {
        for name in variables.names() {
            if name.is_empty() || name.contains(['=', '\0']) {
                variables.fault(name, "cannot be the name of an environment variable");
            }
            let value = variables.get(name);
            if value.is_some_and(|value| value.value.is_object()) {
                variables.fault(name, "is not supported: secrets are not kept here");
            }
        }
    }
    object.map("env").unwrap_or_default()
}

fn fetch(object: &Object<'_>) -> Vec<Fetch> {
    let uris = object.texts("uris").unwrap_or_default();
    let named = object.list("fetch", Fetch::read);
    match named {
        Some(named) if !named.is_empty() => named,
        _ => uris.into_iter().map(Fetch::of).collect(),
    }
}

/// The networks that are named, or what was said in older ways.
fn networks(object: &Object<'_>, container: Option<&Container>) -> Vec<Network> {
    let named = object.list("networks", Network::read).unwrap_or_default();
    if named.len() > 1 {
        object.fault("networks", "an instance is in one network only");
    }
    if !named.is_empty() {
        return named;
    }
    let docker = object
        .object("container")
        .and_then(|own| own.object("docker"));
    let modes = &["HOST", "BRIDGE", "USER", "NONE"];
    let mode = match docker
        .as_ref()
        .and_then(|docker| docker.word("network", modes))
    {
        Some("BRIDGE") => NetworkMode::Bridge,
        Some("USER" | "NONE") => {
            object.fault("networks", "must name the network of the container");
            NetworkMode::Host
        }
        _ if container.is_some_and(|own| !own.port_mappings.is_empty()) => NetworkMode::Bridge,
        _ => NetworkMode::Host,
    };
    vec![Network::of(mode)]
}

fn port_definitions(object: &Object<'_>) -> Vec<PortDefinition> {
    let ports = object.list("ports", |node| {
        let port = node
            .value
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        if port.is_none() {
            node.fault("must be a whole number from 0 to 65535");
        }
        port
    });
    match (object.list("portDefinitions", PortDefinition::read), ports) {
        (Some(definitions), _) => definitions,
        (None, Some(ports)) => {
            let ports = ports.into_iter();
            ports.map(|port| PortDefinition::of(port, None)).collect()
        }
        (None, None) => vec![PortDefinition::of(0, Some("default"))],
    }
}

/// On a bridge a mapping that says nothing of the host has a port there; on the host's network nothing is mapped.
fn mapped(container: &mut Container, networks: &[Network]) {
    let mode = networks.first().map(|network| network.mode);
    match mode {
        Some(NetworkMode::Bridge) => {
            if container.port_mappings.is_empty() {
                container.port_mappings.push(PortMapping {
                    container_port: 0,
                    host_port: Some(0),
                    service_port: 0,
                    protocol: Protocol::Tcp,
                    name: Some("default".into()),
                    labels: Default::default(),
                });
            }
            for mapping in &mut container.port_mappings {
                mapping.host_port.get_or_insert(0);
            }
        }
        Some(NetworkMode::Container) => {}
        _ => container.port_mappings.clear(),
    }
}

fn check(object: &Object<'_>, app: &App) {
    check_command(object, app);
    check_absent(object);
    check_ports(object, app);
    if !matches!(app.executor.as_str(), "" | "//cmd") {
        object.fault(
            "executor",
            "must be \"\" or //cmd: apps have no executors of their own",
        );
    }
    if app.role != ANY_ROLE {
        object.fault(
            "role",
            format!("must be {ANY_ROLE}, the role of the built-in scheduler"),
        );
    }
    let is_role = |role: &String| role == ANY_ROLE;
    if !app.accepted_resource_roles.iter().all(is_role) {
        let sentence = format!("must be [\"{ANY_ROLE}\"], the role of the built-in scheduler");
        object.fault("acceptedResourceRoles", sentence);
    }
    if app.network_mode() != NetworkMode::Host && app.container.is_none() {
        object.fault("container", "is needed on networks other than the host's");
    }
    if app.health_checks.len() > 1 {
        object.fault(
            "healthChecks",
            "must have one check at most: agents look after one",
        );
    }
    let ports = app.instance_ports().len();
    for (index, check) in app.health_checks.iter().enumerate() {
        let port = check.port_index.map(|port| port as usize);
        if port.is_some_and(|port| port >= ports) {
            let field = format!("healthChecks({index})/portIndex");
            object.fault(&field, format!("must name one of {ports} ports"));
        }
    }
    if let Some(name) = app.dependencies.iter().find(|name| **name == app.id) {
        object.fault("dependencies", format!("{name} cannot depend on itself"));
    }
}

fn check_command(object: &Object<'_>, app: &App) {
    let image = app.container.as_ref().and_then(|own| own.docker.as_ref());
    if app.cmd.is_some() && !app.args.is_empty() {
        object.fault(
            "cmd",
            "AppDefinition must either contain one of 'cmd' or 'args', not both",
        );
    }
    if app.cmd.is_none() && app.args.is_empty() && image.is_none() {
        object.fault(
            "",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        );
    }
}

/// What is empty with most clients.
fn check_absent(object: &Object<'_>) {
    for (name, sentence) in [
        (
            "residency",
            "is not supported: apps have no volumes that outlive their instances",
        ),
        ("ipAddress", "is not supported: 'networks' name the network"),
    ] {
        if object.has(name) {
            object.fault(name, sentence);
        }
    }
    for (name, sentence) in [
        (
            "readinessChecks",
            "are not supported: 'healthChecks' tell when an instance is ready",
        ),
        (
            "storeUrls",
            "are not supported: 'fetch' names what is needed",
        ),
    ] {
        if object.list(name, Some).is_some_and(|list| !list.is_empty()) {
            object.fault(name, sentence);
        }
    }
    let secrets = object.object("secrets");
    if secrets.is_some_and(|secrets| secrets.names().next().is_some()) {
        object.fault("secrets", "are not supported: they are not kept here");
    }
}

fn check_ports(object: &Object<'_>, app: &App) {
    let ports = app.instance_ports();
    let field = match app.network_mode() {
        NetworkMode::Host => "portDefinitions",
        _ => "container/portMappings",
    };
    if ports.len() > MAX_PORTS {
        object.fault(field, format!("must be {MAX_PORTS} at most"));
    }
    let mut services: Vec<u16> = ports.iter().map(|port| port.service).collect();
    let mut hosts: Vec<u16> = ports.iter().filter_map(|port| port.host).collect();
    let mut names: Vec<_> = ports.iter().filter_map(|port| port.name).collect();
    for list in [&mut services, &mut hosts] {
        list.retain(|port| *port != 0);
        list.sort_unstable();
    }
    names.sort_unstable();
    let is_twice = |list: &[u16]| list.windows(2).any(|pair| pair.first() == pair.last());
    if is_twice(&services) || is_twice(&hosts) {
        object.fault(field, "Ports must be unique.");
    }
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        object.fault(field, "Port names must be unique.");
    }
}
