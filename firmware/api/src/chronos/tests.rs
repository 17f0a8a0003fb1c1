//! Tests of definitions of jobs: defaults, round trips, refusals, and the task that is made of them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(definition: &Value) -> Job {
    Job::from_json(definition.to_string().as_bytes()).unwrap()
}

fn place(task: &'static str) -> Place<'static> {
    Place {
        task,
        agent: "a",
        host: "pi-1",
        resources: Vec::new(),
        attempt: 1,
        arguments: None,
    }
}

fn full() -> Value {
    json!({
        "name": "dockerjob", "command": "sleep", "shell": false, "arguments": ["10"], "executor": "",
        "executorFlags": "f", "taskInfoData": "d", "retries": 5, "owner": "a@b", "ownerName": "A",
        "description": "x", "cpus": "0.5", "mem": 512, "disk": 10.5, "disabled": true, "softError": true,
        "dataProcessingJobType": true, "highPriority": true, "runAsUser": "nobody", "concurrent": true,
        "maxCompletionTime": 60, "epsilon": "PT15M", "async": false,
        "fetch": [{"uri": "http://x/y", "executable": true, "cache": true, "extract": false, "output_file": "z"}],
        "environmentVariables": [{"name": "A", "value": "1"}, {"name": "HOST", "value": "mine"}],
        "constraints": [["rack", "EQUALS", "a"], ["os", "LIKE", "l.*"], ["os", "UNLIKE", "w.*"]],
        "container": {"type": "docker", "image": "ubuntu", "network": "BRIDGE", "forcePullImage": "true",
            "volumes": [{"containerPath": "/log", "hostPath": "/logs", "mode": "ro"}, {"containerPath": "tmp"}]},
        "schedule": "R/2014-09-25T17:22:00Z/PT2M", "scheduleTimeZone": "UTC",
        "successCount": 7, "errorCount": 3, "errorsSinceLastSuccess": 1,
        "lastSuccess": "2014-03-08T16:57:17.507Z", "lastError": ""
    })
}

#[test]
fn a_short_definition_gets_chronoss_defaults() {
    let job = read(&json!({"name": "a", "command": "true", "parents": ["p", "q", "p"]}));
    assert_eq!((job.cpus, job.mem, job.disk), (0.1, 128.0, 256.0));
    assert_eq!(
        (job.retries, job.shell, job.epsilon.as_str()),
        (2, true, "PT60S")
    );
    assert_eq!(job.parents.as_ref().unwrap().len(), 2);
    let shown = job.shown(&Past::default(), None, true);
    for (key, value) in [
        ("successCount", json!(0)),
        ("lastSuccess", json!("")),
        ("disabled", json!(true)),
        ("parents", json!(["p", "q"])),
        ("uris", json!([])),
        ("executor", json!("")),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown.get("schedule").is_none() && shown.get("container").is_none());
    let by_time = json!({"name": "a", "command": "true", "parents": [], "schedule": "R//P1D"});
    assert_eq!(read(&by_time).parents, None);
    let by_nothing = json!({"name": "a", "command": "true", "parents": []});
    assert_eq!(read(&by_nothing).parents, Some(Default::default()));
}

#[test]
fn what_is_written_reads_back_as_itself() {
    for definition in [
        full(),
        json!({"name": "a", "command": "true", "uris": ["http://x/y"]}),
    ] {
        let job = read(&definition);
        let kept = Job::from_json(&job.to_json()).unwrap();
        let past = job.past.clone();
        assert_eq!(
            kept,
            Job {
                past: Past::default(),
                ..job.clone()
            }
        );
        // What is shown can be sent back, counters included.
        let shown = job.shown(&past, job.schedule.clone(), job.disabled);
        assert_eq!(read(&shown), job, "{shown}");
    }
    assert_eq!(read(&full()).past.success_count, 7);
}

/// A whole definition with one field changed is refused with these words.
fn check(cases: &[(&str, Value, &str)]) {
    for (field, value, expected) in cases {
        let mut definition = full();
        definition[*field] = value.clone();
        let error = Job::from_json(definition.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_refused_names_the_field() {
    check(&[
        ("name", json!(7), "name: expected a text, not 7"),
        ("name", json!(" "), "name: expected a name, not \" \""),
        (
            "command",
            json!(["x"]),
            "command: expected a text, not [\"x\"]",
        ),
        (
            "cpus",
            json!(-1),
            "cpus: expected a number from 0 to a thousand millions, not -1",
        ),
        (
            "mem",
            json!("much"),
            "mem: expected a number from 0 to a thousand millions, not \"much\"",
        ),
        (
            "retries",
            json!(1.5),
            "retries: expected a whole number from 0, not 1.5",
        ),
        (
            "disabled",
            json!(3),
            "disabled: expected true or false, not 3",
        ),
    ]);
}

#[test]
fn what_there_is_not_names_the_field() {
    check(&[
        (
            "executor",
            json!("x"),
            "executor: executors of one's own are not supported for jobs",
        ),
        ("parents", json!("p"), "parents: expected a list, not \"p\""),
        ("parents", json!([1]), "parents[0]: expected a text, not 1"),
        (
            "fetch",
            json!([{}]),
            "fetch[0].uri: expected a URI, and there is nothing",
        ),
        (
            "uris",
            json!(["http://other"]),
            "uris: a job has either uris or fetch",
        ),
        (
            "environmentVariables",
            json!([{"name": "A=B"}]),
            "environmentVariables[0].name: a variable's name",
        ),
        (
            "constraints",
            json!([["a", "IS", "b"]]),
            "constraints[0]: expected a list of an attribute",
        ),
        (
            "container",
            json!({"type": "DOCKER"}),
            "container.image: expected the name of an image",
        ),
        (
            "container",
            json!({"type": "APPC", "image": "x"}),
            "container.type: expected DOCKER or MESOS",
        ),
        (
            "container",
            json!({"image": "x", "parameters": [{}]}),
            "container.parameters: there is no Docker",
        ),
        (
            "container",
            json!({"image": "x", "volumes": [{"containerPath": "/x", "external": {}}]}),
            "container.volumes[0].external: there are no drivers",
        ),
        (
            "arguments",
            json!(vec!["x"; 101]),
            "arguments: more than 100",
        ),
    ]);
}

#[test]
fn what_is_no_definition_says_so() {
    for (text, expected) in [
        ("{", "the definition is no JSON"),
        (
            r#"{"name": "a", "command": " "}"#,
            "command: it must say what is to be run",
        ),
        ("[]", "the definition: expected an object, not []"),
        (
            r#"{"command": "x"}"#,
            "name: expected a name, and there is nothing",
        ),
        (
            r#"{"name": "a", "command": "x", "schedule": "R//P1D", "parents": ["p"]}"#,
            "parents: a job has",
        ),
    ] {
        let error = Job::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_task_says_what_its_definition_says() {
    let info = read(&full()).task_info(place("ct:1400000000000:1:dockerjob:x"));
    assert_eq!(info.name, "ChronosTask:dockerjob");
    let command = info.command.unwrap();
    assert_eq!(command.shell, Some(false));
    assert_eq!(command.value.as_deref(), Some("sleep"));
    assert_eq!(command.arguments, ["sleep", "10"]);
    assert_eq!(command.user.as_deref(), Some("nobody"));
    assert_eq!(command.uris[0].output_file.as_deref(), Some("z"));
    let variables = command.environment.unwrap().variables;
    let value = |name: &str| {
        let variable = variables.iter().find(|variable| variable.name == name);
        variable
            .and_then(|variable| variable.value.as_deref())
            .unwrap_or("none")
    };
    for (name, expected) in [
        ("A", "1"),
        ("HOST", "pi-1"),
        ("mesos_task_id", "ct:1400000000000:1:dockerjob:x"),
        ("CHRONOS_JOB_NAME", "dockerjob"),
        ("CHRONOS_JOB_OWNER", "a@b"),
        ("CHRONOS_RESOURCE_CPU", "0.5"),
        ("CHRONOS_RESOURCE_MEM", "512.0"),
        ("CHRONOS_RESOURCE_DISK", "10.5"),
        ("CHRONOS_JOB_RUN_TIME", "1400000000000"),
        ("CHRONOS_JOB_RUN_ATTEMPT", "1"),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    let container = info.container.unwrap();
    assert_eq!(container.r#type, crate::v1::ContainerInfoType::Mesos);
    let image = container.mesos.unwrap().image.unwrap();
    assert_eq!(
        (image.docker.unwrap().name.as_str(), image.cached),
        ("ubuntu", Some(false))
    );
    assert_eq!(
        container.network_infos[0].name.as_deref(),
        Some("mesos-bridge")
    );
    assert_eq!(container.volumes[0].mode, crate::v1::VolumeMode::Ro);
    assert_eq!(container.volumes[1].host_path, None);
}

#[test]
fn arguments_of_a_run_come_last() {
    let command = |definition: Value, arguments| {
        let place = Place {
            arguments: Some(arguments),
            ..place("ct:1:0:a:")
        };
        read(&definition).task_info(place).command.unwrap()
    };
    let shell = command(
        json!({"name": "a", "command": "ls", "arguments": ["x"]}),
        "-l; rm",
    );
    assert_eq!(
        (shell.value.as_deref(), shell.arguments.len()),
        (Some("ls -l rm"), 0)
    );
    let plain = command(
        json!({"name": "a", "command": "ls", "shell": false, "arguments": ["-l"]}),
        "-a b",
    );
    assert_eq!(plain.arguments, ["ls", "-l", "-a", "b"]);
    let url = command(json!({"name": "a", "command": "http://x/y/run.sh"}), "-v");
    assert_eq!(url.value.as_deref(), Some("\"./run.sh\" -v"));
    assert_eq!(url.uris[0].executable, Some(true));
}

proptest! {
    #[test]
    fn no_definition_is_too_strange(text in "\\PC*", value in "[0-9a-zA-Z\\[\\]{}\",:.-]*", field in 0_usize..33) {
        let _ = Job::from_json(text.as_bytes());
        let full = full();
        let name = full.as_object().unwrap().keys().nth(field);
        let mut changed = full.clone();
        if let Some(name) = name {
            changed[name] = serde_json::from_str(&value).unwrap_or(Value::String(value));
        }
        if let Ok(job) = Job::from_json(changed.to_string().as_bytes()) {
            let kept = Job::from_json(&job.to_json()).unwrap();
            prop_assert_eq!(kept.to_json(), job.to_json());
            let _ = job.task_info(place("ct:1:0:a:"));
        }
    }
}
