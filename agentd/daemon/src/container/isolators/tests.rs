//! Tests of how isolators are chosen and of what they make of a task.
#![allow(clippy::unwrap_used)]

use super::list::chosen;
use super::*;
use nesos_wire::file_system::{MountSource, SharedMemory};

fn task(container: &str) -> TaskSpec {
    let key = nesos_wire::TaskKey {
        framework: nesos_wire::FrameworkId::new("f"),
        task: nesos_wire::TaskId::new("t"),
    };
    let text = format!(
        r#"{{"name":"n","task_id":{{"value":"t"}},"agent_id":{{"value":"a"}},"command":{{"value":"true"}},
            "container":{container}}}"#
    );
    let info = v1::TaskInfo::from_json(text.as_bytes()).unwrap();
    TaskSpec {
        info: info.to_protobuf(),
        ..crate::container::tests::spec(&key)
    }
}

/// Those that need no settings.
fn simple() -> Vec<Box<dyn Isolator>> {
    vec![
        Box::new(cgroups::Memory),
        Box::new(files::HostPath),
        Box::new(files::SandboxPath),
        Box::new(files::Secret),
        Box::new(namespaces::Pid),
        Box::new(namespaces::Ipc),
        Box::new(namespaces::Uts),
        Box::new(rights::Capabilities::of(None, None).unwrap()),
        Box::new(rights::NoNewPrivileges),
        Box::new(rights::Seccomp),
        Box::new(rights::ResourceLimits),
    ]
}

fn setup(container: &str) -> Result<Setup, String> {
    let spec = task(container);
    let container = ContainerId::new("c");
    let wish = Wish::new(&spec, &container, Path::new("/w/s"), None);
    let mut setup = Setup {
        file_system: Some(FileSystem::host("/w/s", Vec::new(), Vec::new())),
        ..Setup::default()
    };
    let list = simple();
    asked::check(&wish, |name| list.iter().any(|i| i.name() == name)).map_err(|e| e.to_string())?;
    for isolator in list {
        let prepared = isolator.prepare(&wish, &mut setup);
        prepared.map_err(|error| error.to_string())?;
    }
    Ok(setup)
}

#[test]
fn names_are_checked_and_ordered() {
    let names = |text: &str| text.split(',').map(String::from).collect::<Vec<_>>();
    let unknown = chosen(&names("cgroups/mem,cgroups/magic"), simple()).unwrap_err();
    let text = unknown.to_string();
    assert!(
        text.contains("no isolator 'cgroups/magic'")
            && text.contains("posix/cpu")
            && text.contains("namespaces/uts"),
        "{text}"
    );
    let list = chosen(
        &names("namespaces/uts,posix/cpu,cgroups/mem,cgroups/mem"),
        simple(),
    )
    .unwrap();
    let found: Vec<_> = list.iter().map(|isolator| isolator.name()).collect();
    assert_eq!(found, ["cgroups/mem", "namespaces/uts"]);
    let needs = chosen(&names("namespaces/pid"), simple()).unwrap_err();
    assert!(
        needs.to_string().contains("needs filesystem/linux"),
        "{needs}"
    );
}

#[test]
fn volumes_are_described() {
    let volumes = r#"{"type":"MESOS","volumes":[
        {"mode":"RO","container_path":"a","host_path":"/etc"},
        {"mode":"RW","container_path":"b","source":{"type":"HOST_PATH","host_path":{"path":"/srv"}}},
        {"mode":"RW","container_path":"/c","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"x"}}},
        {"mode":"RW","container_path":"d","host_path":"own"},
        {"mode":"RO","container_path":"e","source":{"type":"SECRET","secret":{"type":"VALUE","value":{"data":"aGk="}}}}]}"#;
    let files = setup(volumes).unwrap().file_system.unwrap();
    let found: Vec<_> = files
        .mounts
        .iter()
        .map(|m| (m.target.as_str(), m.is_read_only, &m.source))
        .collect();
    let inside = |path: &str| MountSource::Inside {
        directory: "/w/s".into(),
        path: path.into(),
    };
    assert_eq!(
        found,
        [
            ("a", true, &MountSource::Host("/etc".into())),
            ("b", false, &MountSource::Host("/srv".into())),
            ("d", false, &inside("own")),
            ("/c", false, &inside("x")),
            ("e", true, &MountSource::Secret(b"hi".to_vec())),
        ]
    );
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let volume = |rest: &str| {
        let text = format!(r#"{{"type":"MESOS","volumes":[{{"mode":"RW",{rest}}}]}}"#);
        setup(&text).unwrap_err()
    };
    for (rest, words) in [
        (
            r#""container_path":"../x","host_path":"/etc""#,
            "'../x' is no path",
        ),
        (r#""container_path":"","host_path":"/etc""#, "'' is no path"),
        (
            r#""container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"a/../../b"}}"#,
            "is no path",
        ),
        (
            r#""container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"/b"}}"#,
            "is absolute",
        ),
        (
            r#""container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"PARENT","path":"b"}}"#,
            "tasks of a group",
        ),
        (
            r#""container_path":"x","source":{"type":"SECRET","secret":{"type":"REFERENCE","reference":{"name":"n"}}}"#,
            "type VALUE",
        ),
        (
            r#""container_path":"x","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"n"}}"#,
            "docker/volume",
        ),
    ] {
        let error = volume(rest);
        assert!(error.contains(words), "{rest}: {error}");
    }
    let name = setup(r#"{"type":"MESOS","hostname":"a b"}"#).unwrap_err();
    assert!(name.contains("no host name"), "{name}");
    let both = r#"{"type":"MESOS","linux_info":{"ipc_mode":"SHARE_PARENT","shm_size":3}}"#;
    assert!(setup(both).unwrap_err().contains("shm_size"));
    let shared = r#"{"type":"MESOS","linux_info":{"share_pid_namespace":true}}"#;
    assert!(setup(shared).unwrap_err().contains("share_pid_namespace"));
}

#[test]
fn ipc_and_names_are_set_up() {
    let own = setup(
        r#"{"type":"MESOS","hostname":"h-1","linux_info":{"ipc_mode":"PRIVATE","shm_size":3}}"#,
    )
    .unwrap();
    assert_eq!(own.hostname.as_deref(), Some("h-1"));
    assert!(own.namespaces.ipc && own.namespaces.pid);
    let shm = |setup: &Setup| setup.file_system.as_ref().unwrap().shared_memory;
    assert_eq!(shm(&own), SharedMemory::Own { megabytes: Some(3) });
    let shared = setup(r#"{"type":"MESOS","linux_info":{"ipc_mode":"SHARE_PARENT"}}"#).unwrap();
    assert!(!shared.namespaces.ipc);
    assert_eq!(shm(&shared), SharedMemory::Host);
}

#[test]
fn capabilities_are_those_asked_for_and_never_more_than_allowed() {
    let rights = |linux: &str| {
        let text = format!(r#"{{"type":"MESOS","linux_info":{{{linux}}}}}"#);
        setup(&text).map(|setup| (setup.rights.bounding, setup.rights.effective))
    };
    let (kill, chown) = (1 << 5, 1);
    let all = rights::DEFAULT_BOUNDING;
    assert!(
        all & kill != 0 && all & (1 << 21) == 0,
        "KILL, not SYS_ADMIN"
    );
    assert_eq!(rights(""), Ok((Some(all), None)));
    let asked = r#""effective_capabilities":{"capabilities":["KILL","CHOWN"]}"#;
    assert_eq!(rights(asked), Ok((Some(kill | chown), Some(kill | chown))));
    let old = r#""capability_info":{"capabilities":["KILL"]}"#;
    assert_eq!(rights(old), Ok((Some(kill), Some(kill))));
    let bounded = r#""bounding_capabilities":{"capabilities":["KILL","CHOWN"]}"#;
    assert_eq!(rights(bounded), Ok((Some(kill | chown), None)));
    let both = format!("{bounded},{old}");
    assert_eq!(rights(&both), Ok((Some(kill | chown), Some(kill))));
    for refused in [
        r#""effective_capabilities":{"capabilities":["SYS_ADMIN"]}"#.to_owned(),
        r#""bounding_capabilities":{"capabilities":["SYS_ADMIN"]}"#.to_owned(),
        r#""bounding_capabilities":{"capabilities":["KILL"]},"effective_capabilities":{"capabilities":["CHOWN"]}"#.to_owned(),
        format!("{old},{asked}"),
    ] {
        let error = rights(&refused).unwrap_err();
        assert!(error.contains("capabilities"), "{refused}: {error}");
    }
}

#[test]
fn operators_say_which_capabilities_there_are() {
    let of = |effective, bounding| rights::Capabilities::of(effective, bounding).map(|c| c.rule());
    let text = r#"{"capabilities":["SYS_ADMIN","KILL"]}"#;
    assert_eq!(of(None, Some(text)).unwrap(), (None, 1 << 21 | 1 << 5));
    assert_eq!(
        of(Some(text), Some(text)).unwrap(),
        (Some(1 << 21 | 1 << 5), 1 << 21 | 1 << 5)
    );
    let beyond = of(Some(text), None).unwrap_err().to_string();
    assert!(beyond.contains("--effective_capabilities"), "{beyond}");
    assert!(of(Some("KILL"), None).is_err());
}

#[test]
fn programs_are_confined_unless_they_ask_not_to_be() {
    let plain = setup(r#"{"type":"MESOS"}"#).unwrap().rights;
    assert!(plain.no_new_privileges && plain.is_filtered);
    let free = setup(r#"{"type":"MESOS","linux_info":{"seccomp":{"unconfined":true}}}"#)
        .unwrap()
        .rights;
    assert!(free.no_new_privileges && !free.is_filtered);
    let named =
        setup(r#"{"type":"MESOS","linux_info":{"seccomp":{"profile_name":"mine"}}}"#).unwrap_err();
    assert!(named.contains("'mine'"), "{named}");
}

#[test]
fn rlimits_are_linuxs() {
    let limits = |rlimits: &str| {
        let text = format!(r#"{{"type":"MESOS","rlimit_info":{{"rlimits":[{rlimits}]}}}}"#);
        setup(&text).map(|setup| setup.rights.limits)
    };
    let found =
        limits(r#"{"type":"RLMT_NOFILE","hard":64,"soft":32},{"type":"RLMT_CORE"}"#).unwrap();
    let found: Vec<_> = found.iter().map(|l| (l.resource, l.soft, l.hard)).collect();
    assert_eq!(found, [(7, 32, 64), (4, u64::MAX, u64::MAX)]);
    for wrong in [
        r#"{"type":"RLMT_NOFILE","hard":64}"#,
        r#"{"type":"RLMT_NOFILE","hard":6,"soft":7}"#,
        r#"{"hard":6,"soft":5}"#,
        r#"{"type":"RLMT_CPU"},{"type":"RLMT_CPU"}"#,
    ] {
        assert!(limits(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_images_configuration_is_applied_and_images_need_their_isolator() {
    let asks = |kind: &str| {
        format!(
            r#"{{"type":"MESOS","mesos":{{"image":{{"type":"{kind}","docker":{{"name":"x"}}}}}}}}"#
        )
    };
    for (kind, isolator) in [("DOCKER", "docker/runtime"), ("APPC", "appc/runtime")] {
        let refusal = setup(&asks(kind)).unwrap_err();
        assert!(refusal.contains(&format!("needs {isolator}")), "{refusal}");
    }
    let volume = r#"{"type":"MESOS","volumes":[{"mode":"RO","container_path":"x","image":{"type":"DOCKER","docker":{"name":"x"}}}]}"#;
    let refusal = setup(volume).unwrap_err();
    assert!(refusal.contains("needs volume/image"), "{refusal}");
    let refusal = setup(&volume.replace("DOCKER", "APPC")).unwrap_err();
    assert!(refusal.contains("needs volume/image"), "{refusal}");
    let digest = format!("sha256:{}", "0".repeat(64));
    let config = format!(
        r#"{{"config":{{"Env":["A=b"],"Cmd":["/run","x"],"WorkingDir":"/w"}},"rootfs":{{"diff_ids":["{digest}"]}}}}"#
    );
    let image = Provisioned {
        config: agentd_core::image::Config::parse(config.as_bytes()).unwrap(),
        layers: Vec::new(),
        upper: "/u".into(),
        work: "/k".into(),
        sandbox: "/mnt/mesos/sandbox".into(),
    };
    let prepare = |change: fn(&mut TaskSpec)| {
        let mut spec = task(&asks("DOCKER"));
        change(&mut spec);
        let container = ContainerId::new("c");
        let mut wish = Wish::new(&spec, &container, Path::new("/w/s"), None);
        wish.image = Some(&image);
        let mut setup = Setup {
            file_system: Some(FileSystem::host(
                "/mnt/mesos/sandbox",
                Vec::new(),
                Vec::new(),
            )),
            ..Setup::default()
        };
        let prepared = image::DockerRuntime.prepare(&wish, &mut setup);
        prepared.map(|()| setup).map_err(|error| error.to_string())
    };
    let made = prepare(|spec| {
        spec.command.shell = false;
        spec.command.value.clear();
    });
    let made = made.unwrap();
    let (program, argv) = made.program.unwrap();
    assert_eq!(
        (program.as_str(), argv),
        ("/run", vec!["/run".to_string(), "x".into()])
    );
    assert_eq!(made.environment, [("A".to_string(), "b".to_string())]);
    assert_eq!(made.file_system.unwrap().directory.as_deref(), Some("/w"));
    let refusal = prepare(|spec| {
        spec.command.shell = true;
        spec.command.value.clear();
    });
    assert!(refusal.unwrap_err().contains("without a text"));
}
