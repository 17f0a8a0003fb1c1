//! What of a `TaskInfo` is taken over, and what makes it invalid.
#![allow(clippy::unwrap_used)]
use super::*;

fn info(rest: &str) -> v1::TaskInfo {
    let text =
        format!(r#"{{"name":"t","task_id":{{"value":"t1"}},"agent_id":{{"value":"a"}}{rest}}}"#);
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
        "container":{"type":"MESOS","hostname":"h","network_infos":[{"name":"n","port_mappings":[{"host_port":31000,"container_port":80}]}],
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
    let network =
        r#","command":{"value":"x"},"container":{"type":"MESOS","network_infos":[{"name":""}]}"#;
    assert!(why(network).contains("'NetworkInfo.name'"));
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
    let volume = |image: &str| {
        let volume = format!(r#"{{"container_path":"x","mode":"RO","image":{image}}}"#);
        let container = format!(r#"{{"type":"MESOS","volumes":[{volume}]}}"#);
        command_task(&info(&format!(
            r#","command":{{"value":"x"}},"container":{container}"#
        )))
        .invalid
    };
    assert_eq!(volume(busybox), None);
    assert!(volume(appc).unwrap().contains("APPC"));
    let terminal = r#","command":{"value":"x"},"container":{"type":"MESOS","tty_info":{}}"#;
    assert_eq!(command_task(&info(terminal)).invalid, None);
    let health = why(r#","command":{"value":"x"},"health_check":{}"#);
    assert_eq!(
        health,
        "Task uses invalid health check: HealthCheck must specify 'type'"
    );
    let docker =
        r#","command":{"value":"x"},"container":{"type":"DOCKER","docker":{"image":"busybox"}}"#;
    assert!(why(docker).contains("Docker"));
    assert!(why(r#","command":{"value":"x"},"limits":{"disk":{"value":1}}"#).contains("'disk'"));
    let mut odd = info(r#","command":{"value":"x"}"#);
    odd.task_id = "a/b".into();
    assert!(command_task(&odd).invalid.unwrap().contains('/'));
}
