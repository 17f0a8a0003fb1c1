//! Definitions of apps: what clients may leave out, what they may not say, what is changed, and the tasks that come of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::app::{AppUpdate, NetworkMode};
use super::*;
use crate::v1;

fn app(text: &str) -> App {
    App::from_json(text.as_bytes(), "/").unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"))
}

/// What is wrong, by path.
fn faults(text: &str) -> BTreeMap<String, String> {
    match App::from_json(text.as_bytes(), "/") {
        Err(Refusal::Invalid(faults)) => faults
            .into_iter()
            .map(|fault| (fault.path, fault.errors.join("; ")))
            .collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn updated(app: &App, update: &str) -> Result<App, Refusal> {
    match AppUpdate::from_json(update.as_bytes())? {
        AppUpdate::Fields(fields) => app.updated(&fields),
        AppUpdate::Version(_) => panic!("{update} names fields"),
    }
}

#[test]
fn what_is_left_out_is_as_with_marathon() {
    let fields = Value::Object(app(r#"{"id":"a","cmd":"x","env":null}"#).to_fields());
    let expected = json!({
        "id": "/a", "cmd": "x", "cpus": 1.0, "mem": 128.0, "disk": 0.0, "gpus": 0, "instances": 1,
        "backoffSeconds": 1.0, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 300.0,
        "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0},
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "killSelection": "YOUNGEST_FIRST", "executor": "", "requirePorts": false, "role": "*",
        "constraints": [], "dependencies": [], "env": {}, "labels": {}, "fetch": [],
        "healthChecks": [], "networks": [{"mode": "host"}], "ports": [0],
        "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "default", "labels": {}}],
    });
    assert_eq!(fields, expected);
}

#[test]
fn a_definition_reads_back_as_itself() {
    for text in [
        r#"{"id":"a","cmd":"x"}"#,
        r#"{"id":"a","args":["x","y"],"ports":[]}"#,
        r#"{"id":"/g/a","cmd":"x","ports":[8080,0],"requirePorts":true,"uris":["http://h/f.tgz"],
            "constraints":[["hostname","UNIQUE"],["rack","GROUP_BY",3],["rack","LIKE","a|b"]],
            "unreachableStrategy":"disabled","killSelection":"OLDEST_FIRST","dependencies":["../b","c"],
            "taskKillGracePeriodSeconds":5,"user":"u","gpus":1,"cpus":0.25,"labels":{"K":"v"},
            "acceptedResourceRoles":["*"],"executor":"//cmd"}"#,
        r#"{"id":"a","cmd":"x","healthChecks":[{"protocol":"COMMAND","command":{"value":"true"}}]}"#,
        r#"{"id":"a","cmd":"x","healthChecks":[{"port":80,"path":"/h","ignoreHttp1xx":true,"ipProtocol":"IPv6"}]}"#,
        r#"{"id":"a","cmd":"x","healthChecks":[{"protocol":"MESOS_TCP","portIndex":0,"maxConsecutiveFailures":0}]}"#,
        r#"{"id":"a","container":{"type":"DOCKER","docker":{"image":"i","network":"BRIDGE","portMappings":[
            {"containerPort":80},{"containerPort":53,"hostPort":31000,"protocol":"udp,tcp","name":"dns"}]},
            "volumes":[{"containerPath":"/c","hostPath":"/h","mode":"RO"}]}}"#,
        r#"{"id":"a","networks":[{"mode":"container","name":"n"}],"container":{"docker":{"image":"i",
            "forcePullImage":true},"portMappings":[{"containerPort":80}]}}"#,
        r#"{"id":"a","cmd":"x","networks":[{"mode":"container/bridge"}],"container":{"type":"MESOS"}}"#,
    ] {
        let read = app(text);
        let again = App::from_value(&Value::Object(read.to_fields()), "/").unwrap();
        assert_eq!(again, read, "{text}");
    }
}

#[test]
fn older_forms_say_the_same() {
    let bridge = app(
        r#"{"id":"a","container":{"docker":{"image":"i","network":"BRIDGE","portMappings":[{"containerPort":80}]}}}"#,
    );
    let newer = app(
        r#"{"id":"a","container":{"docker":{"image":"i"},"portMappings":[{"containerPort":80,"hostPort":0}]},
            "networks":[{"mode":"container/bridge"}]}"#,
    );
    assert_eq!(bridge, newer);
    assert_eq!(bridge.network_mode(), NetworkMode::Bridge);
    assert_eq!(
        (bridge.host_ports(), bridge.service_ports()),
        (vec![0], vec![0])
    );
    let uris = app(r#"{"id":"a","cmd":"x","uris":["http://h/f"]}"#);
    assert_eq!(
        uris,
        app(r#"{"id":"a","cmd":"x","fetch":[{"uri":"http://h/f"}]}"#)
    );
}

#[test]
fn all_faults_are_told_by_their_paths() {
    let found = faults(
        r#"{"id":"A","cpus":"1","mem":-1,"instances":1.5,"env":{"S":{"secret":"s"}},"labels":[],
            "healthChecks":[{"protocol":"FTP"},{"portIndex":7}],"constraints":[["h","NEAR"],["h"]],
            "upgradeStrategy":{"minimumHealthCapacity":2},"portDefinitions":[{"port":70000}],
            "killSelection":"ANY","residency":{},"secrets":{"s":{}},"role":"web","backoffFactor":0.5}"#,
    );
    for (path, says) in [
        ("/id", "regular expression"),
        ("/cpus", "error.expected.jsnumber"),
        ("/mem", "must be from 0 to 1000000000, it is -1"),
        (
            "/instances",
            "must be a whole number from 0 to 10000, it is 1.5",
        ),
        ("/env/S", "secrets are not kept"),
        ("/labels", "error.expected.jsobject"),
        ("/healthChecks(0)/protocol", "must be one of HTTP, HTTPS"),
        ("/healthChecks(1)/portIndex", "one of 1 ports"),
        ("/healthChecks", "one check at most"),
        ("/constraints(0)", "it is NEAR"),
        ("/constraints(1)", "must have a field"),
        ("/upgradeStrategy/minimumHealthCapacity", "from 0 to 1"),
        ("/portDefinitions(0)/port", "from 0 to 65535"),
        ("/killSelection", "YOUNGEST_FIRST, OLDEST_FIRST"),
        ("/residency", "not supported"),
        ("/secrets", "not kept here"),
        ("/role", "must be *"),
        ("/backoffFactor", "must be from 1"),
        ("/", "either contain one of 'cmd' or 'args'"),
    ] {
        let told = found
            .get(path)
            .unwrap_or_else(|| panic!("{path} in {found:#?}"));
        assert!(told.contains(says), "{path}: {told}");
    }
}

#[test]
fn what_cannot_run_here_is_refused() {
    for (rest, path) in [
        (r#""cmd":"x","args":["y"]"#, "/cmd"),
        (r#""cmd":"x","executor":"/bin/e""#, "/executor"),
        (r#""cmd":"x","readinessChecks":[{}]"#, "/readinessChecks"),
        (r#""cmd":"x","ipAddress":{}"#, "/ipAddress"),
        (
            r#""cmd":"x","acceptedResourceRoles":["web"]"#,
            "/acceptedResourceRoles",
        ),
        (
            r#""cmd":"x","networks":[{"mode":"container"}]"#,
            "/networks(0)/name",
        ),
        (
            r#""cmd":"x","networks":[{"mode":"container/bridge"}]"#,
            "/container",
        ),
        (
            r#""cmd":"x","networks":[{"mode":"host"},{"mode":"host"}]"#,
            "/networks",
        ),
        (r#""cmd":"x","dependencies":["a"]"#, "/dependencies"),
        (r#""cmd":"x","ports":[80,80]"#, "/portDefinitions"),
        (r#""cmd":"x","env":{"A=":"b"}"#, "/env/A="),
        (
            r#""cmd":"x","container":{"type":"DOCKER"}"#,
            "/container/docker",
        ),
        (
            r#""container":{"docker":{"image":"i","privileged":true}}"#,
            "/container/docker/privileged",
        ),
        (
            r#""container":{"docker":{"image":"i","parameters":[{}]}}"#,
            "/container/docker/parameters",
        ),
        (
            r#""container":{"docker":{"image":"i","network":"USER"}}"#,
            "/networks",
        ),
        (
            r#""cmd":"x","container":{"volumes":[{"containerPath":"d","persistent":{"size":1}}]}"#,
            "/container/volumes(0)/persistent",
        ),
        (
            r#""cmd":"x","container":{"volumes":[{"containerPath":"d"}]}"#,
            "/container/volumes(0)/hostPath",
        ),
        (
            r#""cmd":"x","healthChecks":[{"protocol":"COMMAND"}]"#,
            "/healthChecks(0)/command",
        ),
        (
            r#""cmd":"x","unreachableStrategy":{"inactiveAfterSeconds":9}"#,
            "/unreachableStrategy/expungeAfterSeconds",
        ),
        (
            r#""cmd":"x","constraints":[["h","MAX_PER","x"]]"#,
            "/constraints(0)",
        ),
        (
            r#""cmd":"x","constraints":[["h","LIKE"]]"#,
            "/constraints(0)",
        ),
    ] {
        let found = faults(&format!(r#"{{"id":"a",{rest}}}"#));
        assert!(found.contains_key(path), "{rest}: {found:?}");
    }
}

#[test]
fn refusals_are_answered_as_by_marathon() {
    let refused = App::from_json(b"{", "/").unwrap_err();
    assert_eq!(refused.answer().0, 400);
    assert!(refused.answer().1.contains(r#""message":"Invalid JSON""#));
    let refused = App::from_json(br#"{"id":"a","cmd":"x","cpus":"1"}"#, "/").unwrap_err();
    let expected = r#"{"details":[{"errors":["error.expected.jsnumber"],"path":"/cpus"}],"message":"Object is not valid"}"#;
    assert_eq!(refused.answer(), (422, expected.to_owned()));
}

#[test]
fn an_update_changes_what_it_names() {
    let before = app(r#"{"id":"/g/a","cmd":"x","ports":[10000],"env":{"A":"b"},"instances":3}"#);
    let scaled = updated(&before, r#"{"instances":5,"cmd":null}"#).unwrap();
    assert!(!before.needs_replacement_by(&scaled) && scaled.instances == 5);
    let other = updated(
        &before,
        r#"{"args":["y"],"env":{"C":"d"},"ports":[80],"id":"/g/a"}"#,
    )
    .unwrap();
    assert!(before.needs_replacement_by(&other));
    assert_eq!(
        (other.cmd.as_deref(), other.args.len(), other.instances),
        (None, 1, 3)
    );
    assert_eq!((other.env.len(), other.service_ports()), (1, vec![80]));
    assert_eq!(updated(&before, r#"{"id":"a"}"#).unwrap(), before);
    for (update, path) in [
        (r#"{"id":"/b"}"#, "/id"),
        (r#"{"cpus":-1}"#, "/cpus"),
        (r#"{"version":"x"}"#, "/version"),
        (
            r#"{"version":"2026-01-31T12:00:00.000Z","cmd":"x"}"#,
            "/version",
        ),
        ("[]", "/"),
    ] {
        match updated(&before, update) {
            Err(Refusal::Invalid(faults)) => assert_eq!(faults[0].path, path, "{update}"),
            other => panic!("{update}: {other:?}"),
        }
    }
    let back = AppUpdate::from_json(br#"{"version":"1970-01-01T00:00:01.000Z","id":"/g/a"}"#);
    assert_eq!(back, Ok(AppUpdate::Version(1000)));
}

/// The task of an app on ports 31000 and so on.
fn task(text: &str) -> v1::TaskInfo {
    let app = app(text);
    let ports: Vec<u16> = (31_000..).take(app.host_ports().len()).collect();
    let place = Place {
        task: "a.1",
        agent: "s1",
        host: "board-1",
        ports: &ports,
        resources: vec![v1::Resource::scalar("cpus", 0.5)],
        version: 1000,
    };
    task_info(&app, place)
}

fn environment(task: &v1::TaskInfo) -> BTreeMap<String, String> {
    let command = task.command.as_ref().unwrap();
    let variables = &command.environment.as_ref().unwrap().variables;
    let pairs = variables.iter();
    pairs
        .map(|one| (one.name.clone(), one.value.clone().unwrap()))
        .collect()
}

#[test]
fn a_task_is_told_where_it_is() {
    let task = task(
        r#"{"id":"/g/a","cmd":"x","cpus":0.5,"env":{"HOST":"mine","E":"f"},"labels":{"my-key":"v"},"user":"u",
            "portDefinitions":[{"port":8080,"name":"web-ui","labels":{"V":"1"}},{"port":0,"protocol":"udp,tcp"}],
            "taskKillGracePeriodSeconds":1.5,"fetch":[{"uri":"u","extract":false,"destPath":"d"}]}"#,
    );
    let told = environment(&task);
    for (name, value) in [
        ("MARATHON_APP_ID", "/g/a"),
        ("MARATHON_APP_VERSION", "1970-01-01T00:00:01.000Z"),
        ("MARATHON_APP_RESOURCE_CPUS", "0.5"),
        ("MARATHON_APP_RESOURCE_MEM", "128.0"),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_LABELS", "MY_KEY"),
        ("MARATHON_APP_LABEL_MY_KEY", "v"),
        ("MESOS_TASK_ID", "a.1"),
        ("HOST", "mine"),
        ("E", "f"),
        ("PORT", "31000"),
        ("PORT0", "31000"),
        ("PORT1", "31001"),
        ("PORTS", "31000,31001"),
        ("PORT_8080", "31000"),
        ("PORT_WEB_UI", "31000"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(
        (&*task.name, &*task.task_id.value, &*task.agent_id.value),
        ("a.g", "a.1", "s1")
    );
    let command = task.command.as_ref().unwrap();
    assert_eq!(
        (command.shell, command.value.as_deref()),
        (Some(true), Some("x"))
    );
    assert_eq!(
        (command.user.as_deref(), command.uris[0].extract),
        (Some("u"), Some(false))
    );
    let grace = task
        .kill_policy
        .as_ref()
        .unwrap()
        .grace_period
        .as_ref()
        .unwrap();
    assert_eq!(grace.nanoseconds, 1_500_000_000);
    let ports = &task
        .discovery
        .as_ref()
        .unwrap()
        .ports
        .as_ref()
        .unwrap()
        .ports;
    let numbers: Vec<_> = ports
        .iter()
        .map(|port| (port.number, port.protocol.as_deref().unwrap()))
        .collect();
    assert_eq!(numbers, [(31_000, "tcp"), (31_001, "udp"), (31_001, "tcp")]);
    assert_eq!(task.labels.unwrap().labels[0].key, "my-key");
    assert_eq!(task.resources[0].name, "cpus");
}

#[test]
fn programs_and_their_arguments() {
    let command = |text| task(text).command.unwrap();
    let own = command(r#"{"id":"a","args":["prog","x"]}"#);
    assert_eq!(
        (own.shell, own.value.as_deref()),
        (Some(false), Some("prog"))
    );
    assert_eq!(own.arguments, ["prog", "x"]);
    let image = command(r#"{"id":"a","args":["x"],"container":{"docker":{"image":"i"}}}"#);
    assert_eq!(
        (image.shell, image.value, image.arguments),
        (Some(false), None, vec!["x".to_owned()])
    );
    let all = command(r#"{"id":"a","container":{"docker":{"image":"i"}}}"#);
    assert_eq!((all.value, all.arguments.len()), (None, 0));
}

#[test]
fn images_volumes_and_mapped_ports() {
    let task = task(
        r#"{"id":"a","cmd":"x","container":{"type":"DOCKER","docker":{"image":"i","forcePullImage":true},
            "volumes":[{"containerPath":"/c","hostPath":"/h","mode":"RO"}],
            "portMappings":[{"containerPort":80,"hostPort":0},{"containerPort":0},{"containerPort":53,"protocol":"udp"}]},
            "networks":[{"mode":"container/bridge"}],"healthChecks":[{"protocol":"MESOS_HTTP","portIndex":0}]}"#,
    );
    let container = task.container.as_ref().unwrap();
    assert_eq!(container.r#type, v1::ContainerInfoType::Mesos);
    let image = container.mesos.as_ref().unwrap().image.as_ref().unwrap();
    assert_eq!(
        (image.cached, &*image.docker.as_ref().unwrap().name),
        (Some(false), "i")
    );
    assert_eq!(container.volumes[0].mode, v1::VolumeMode::Ro);
    let network = &container.network_infos[0];
    assert_eq!(network.name.as_deref(), Some("mesos-bridge"));
    let mapped = network.port_mappings.iter();
    let mapped: Vec<_> = mapped
        .map(|one| (one.host_port, one.container_port))
        .collect();
    assert_eq!(mapped, [(31_000, 80), (31_001, 31_001), (31_002, 53)]);
    let told = environment(&task);
    assert_eq!(
        (&*told["PORT_80"], &*told["MARATHON_APP_DOCKER_IMAGE"]),
        ("31000", "i")
    );
    // The agent looks from inside.
    assert_eq!(task.health_check.unwrap().http.unwrap().port, 80);
}

#[test]
fn ports_of_a_network_need_none_of_the_host() {
    let text = r#"{"id":"a","cmd":"x","networks":[{"mode":"container","name":"n"}],
        "container":{"portMappings":[{"containerPort":80}]}}"#;
    assert_eq!(app(text).host_ports(), Vec::<u16>::new());
    let task = task(text);
    assert_eq!(environment(&task)["PORT0"], "80");
    let network = &task.container.as_ref().unwrap().network_infos[0];
    assert_eq!(
        (network.name.as_deref(), network.port_mappings.len()),
        (Some("n"), 0)
    );
}

#[test]
fn checks_are_their_agents() {
    let check = |check: &str| {
        let text = format!(r#"{{"id":"a","cmd":"x","healthChecks":[{check}]}}"#);
        *task(&text).health_check.unwrap()
    };
    let page =
        check(r#"{"protocol":"HTTPS","path":"/h","intervalSeconds":2,"maxConsecutiveFailures":0}"#);
    let http = page.http.clone().unwrap();
    assert_eq!(
        (http.port, http.path.as_deref(), http.scheme.as_deref()),
        (31_000, Some("/h"), Some("https"))
    );
    assert_eq!(
        (page.delay_seconds, page.interval_seconds),
        (Some(0.0), Some(2.0))
    );
    assert_eq!(
        (page.consecutive_failures, page.grace_period_seconds),
        (Some(u32::MAX), Some(300.0))
    );
    let line = check(r#"{"protocol":"COMMAND","command":{"value":"true"}}"#);
    assert_eq!(line.command.unwrap().value.as_deref(), Some("true"));
    assert_eq!(
        (line.r#type, line.delay_seconds),
        (Some(v1::HealthCheckType::Command), Some(15.0))
    );
    let port = check(r#"{"protocol":"TCP","port":99,"ipProtocol":"IPv6"}"#)
        .tcp
        .unwrap();
    assert_eq!(
        (port.port, port.protocol),
        (99, Some(v1::NetworkInfoProtocol::IPv6))
    );
}
