//! Containers with user namespaces: whose ids are whose, over a restart, with all that looks into them, and what is refused. Needs
//! root; elsewhere nothing is tested. tests/qemu has the same on the boards' kernel.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;

use common::attach::Output;
use common::form::Form;
use common::http::get;
use common::image::{Image, Layer, pack};
use common::{Link, Master, run, shell, until};
use nesos_api::v1;
use nesos_sys::netlink::Netlink;
use nesos_sys::user_namespace::{IdMap, check};
use nesos_wire::check::{Check, CheckStatus, Checks, Probe};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::operation::{OperationKind, OperationSpec};
use nesos_wire::task::{Command, Reason, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{Attempt, ContainerId, ExecutorId, Uuid, resource_text};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

const ISOLATION: &str = "--isolation=filesystem/linux,namespaces/pid,namespaces/uts,namespaces/user,network/bridge,linux/capabilities,\
    volume/host_path,docker/runtime";
/// The first of the default range.
const FIRST: u32 = 1_879_048_192;
const COUNT: u32 = 65_536;
/// Tells the first id, and stays.
const STAY: &str = "while read inside outside count; do echo $outside > mark; done < /proc/self/uid_map; exec sleep 1000";

/// Runs the test where its agentd has a network of its own to work in.
fn possibly(test: impl Future<Output = ()> + Send) {
    let ids = IdMap {
        first: FIRST,
        count: COUNT,
    };
    let folder = tempfile::tempdir().unwrap();
    if let Err(error) = check(ids, folder.path()) {
        eprintln!("{error}: nothing tested");
        return;
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Netlink::open().unwrap().link_up(1).unwrap();
            run(test);
        });
    });
}

async fn master() -> Master {
    Master::new().await.with_flag(ISOLATION.into())
}

async fn agent(master: &mut Master) -> (Link, u16) {
    master.start_agent();
    let (link, hello) = master.link().await;
    (link, hello.port)
}

/// A task with more of a `TaskInfo`.
fn task(name: &str, text: &str, container: Value) -> TaskSpec {
    let mut all = json!({"name": name, "task_id": {"value": name}, "agent_id": {"value": "a"}, "container": container});
    all["container"]["type"] = "MESOS".into();
    let info = v1::TaskInfo::from_json(all.to_string().as_bytes()).unwrap();
    TaskSpec {
        info: info.to_protobuf(),
        ..shell(name, text)
    }
}

fn network() -> Value {
    json!({"network_infos": [{"name": "mesos-bridge"}]})
}

async fn runs(link: &mut Link, spec: TaskSpec) -> TaskStatus {
    link.launch(spec).await;
    let (_, update) = link.until(TaskState::Running).await;
    update.status
}

async fn says(link: &mut Link, spec: TaskSpec) -> String {
    let name = spec.key.task.to_string();
    link.launch(spec).await;
    link.until(TaskState::Finished).await;
    link.text(&name, "stdout").await
}

async fn refusal(link: &mut Link, spec: TaskSpec) -> String {
    link.launch(spec).await;
    let (_, update) = link.until(TaskState::Failed).await;
    let status = update.status;
    assert_eq!(status.reason, Some(Reason::ContainerLaunchFailed));
    status.message
}

async fn kill(link: &mut Link, task: &str) {
    let key = common::key(task);
    let grace_ms = Some(0);
    link.send(&MasterToAgent::Kill { key, grace_ms }).await;
    link.until(TaskState::Killed).await;
}

/// The number that the task has written.
async fn first_of(folder: &Path) -> u32 {
    let mark = folder.join("mark");
    let read = || fs::read_to_string(&mark).ok()?.trim().parse().ok();
    until("its ids", read).await
}

#[test]
fn each_has_its_own_ids_also_after_agentd_was_killed() {
    possibly(async {
        let range = format!("--userns_range={}-{}", 100_000_000, 100_000_000 + 2 * COUNT);
        let mut master = master().await.with_flag(range);
        let (mut link, _) = agent(&mut master).await;
        runs(&mut link, shell("a", STAY)).await;
        runs(&mut link, shell("b", STAY)).await;
        assert_eq!(first_of(&master.sandbox("a")).await, 100_000_000);
        assert_eq!(first_of(&master.sandbox("b")).await, 100_000_000 + COUNT);
        // On disk it is the host's root who wrote that.
        let mark = fs::metadata(master.sandbox("a").join("mark")).unwrap();
        assert_eq!((mark.uid(), mark.gid()), (0, 0));
        master.kill_agent();
        let (mut link, _) = agent(&mut master).await;
        let message = refusal(&mut link, shell("c", STAY)).await;
        let says = "all 2 ranges of ids of the agent's user namespaces are in use";
        assert!(message.contains(says), "{message}");
        kill(&mut link, "a").await;
        runs(&mut link, shell("d", STAY)).await;
        assert_eq!(first_of(&master.sandbox("d")).await, 100_000_000);
    });
}

#[test]
fn a_range_that_cannot_be_is_named_at_the_start() {
    possibly(async {
        let flag = "--userns_range=1000-200000";
        let mut master = master().await.with_flag(flag.into());
        master.start_agent();
        assert!(!master.agent_ends().await.success());
        let log = master.log();
        let says =
            "--userns_range: '1000-200000' is no range of ids FIRST-LAST with 65536 at least";
        assert!(log.contains(says), "{log}");
        let alone = Master::new().await;
        let mut alone = alone.with_flag("--isolation=namespaces/user".into());
        alone.start_agent();
        assert!(!alone.agent_ends().await.success());
        let log = alone.log();
        assert!(
            log.contains("namespaces/user needs filesystem/linux"),
            "{log}"
        );
    });
}

#[test]
fn its_network_is_its_own_and_the_hosts_is_not() {
    possibly(async {
        let mut master = master().await;
        let (mut link, _) = agent(&mut master).await;
        // Who has NET_RAW and the network may open this socket: 17, 3 and 768 are AF_PACKET, SOCK_RAW and ETH_P_ALL.
        let look = "python3 -c 'import socket; socket.socket(17, 3, 768); print(1)' 2>/dev/null || echo 0; grep ^CapEff /proc/self/status";
        let told = says(&mut link, task("own", look, network())).await;
        // The usual capabilities, within its namespace.
        assert_eq!(told, "1\nCapEff:\t00000000a00425fb\n");
        let told = says(&mut link, task("host", look, json!({}))).await;
        assert_eq!(told, "0\nCapEff:\t00000000a00425fb\n");
    });
}

/// An executor whose tasks share a network.
fn pod() -> FrameworkExecutor {
    let container = v1::ContainerInfo::from_json(
        json!({"type": "MESOS", "network_infos": [{"name": "mesos-bridge"}]})
            .to_string()
            .as_bytes(),
    );
    let info = v1::ExecutorInfo {
        executor_id: "p".into(),
        container: Some(Box::new(container.unwrap())),
        ..v1::ExecutorInfo::default()
    };
    FrameworkExecutor {
        info: info.to_protobuf(),
        ..common::pod()
    }
}

async fn launch_in_pod(link: &mut Link, attempt: u64, name: &str) {
    let text = format!("readlink /proc/self/ns/user > user; {STAY}");
    let task = TaskSpec {
        attempt: Attempt(attempt),
        executor: ExecutorId::new("p"),
        kind: ExecutorKind::Default,
        ..shell(name, &text)
    };
    let message = MasterToAgent::LaunchExecutor {
        executor: Box::new(pod()),
        start: attempt == 1,
        tasks: vec![task],
        group: true,
    };
    link.send(&message).await;
    link.until(TaskState::Running).await;
}

#[test]
fn tasks_of_a_pod_share_a_namespace_also_with_those_that_come_after_a_restart() {
    possibly(async {
        let mut master = master().await;
        let (mut link, _) = agent(&mut master).await;
        launch_in_pod(&mut link, 1, "a").await;
        master.kill_agent();
        let (mut link, _) = agent(&mut master).await;
        launch_in_pod(&mut link, 2, "b").await;
        runs(&mut link, shell("other", STAY)).await;
        let tasks = master.sandbox("p").join("tasks");
        let mut namespaces = Vec::new();
        for task in ["a", "b"] {
            assert_eq!(first_of(&tasks.join(task)).await, FIRST, "{task}");
            namespaces.push(fs::read_to_string(tasks.join(task).join("user")).unwrap());
        }
        assert_eq!(namespaces[0], namespaces[1]);
        assert_eq!(first_of(&master.sandbox("other")).await, FIRST + COUNT);
    });
}

#[test]
fn checks_and_people_look_in_from_inside() {
    possibly(async {
        let mut master = master().await;
        let (mut link, port) = agent(&mut master).await;
        // It is root here, in the task's namespace, and may write where the task may.
        let text = "test $(id -u) = 0 && cmp /proc/self/uid_map map && touch checked";
        let container = checked(&mut link, text).await;
        let mark = fs::metadata(master.sandbox("t").join("checked")).unwrap();
        assert_eq!(mark.uid(), 0);
        let parent = json!({"value": container.as_str()});
        for tty in [false, true] {
            look_in(port, &parent, tty).await;
        }
        // A container inside has the ids of the one around it.
        let id = json!({"value": "in", "parent": parent});
        let command = json!({"value": "cat /proc/self/uid_map > map; exec sleep 1000"});
        let launch = json!({"container_id": id, "command": command});
        let call = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": launch});
        let answer = Form::Json.operate(port, &call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let own = master.sandbox("t").canonicalize().unwrap();
        let inner = own.with_file_name(format!("{container}.in")).join("map");
        let whole = |map: &String| map.ends_with('\n');
        let map = || fs::read_to_string(&inner).ok().filter(whole);
        let map = until("its map", map).await;
        assert_eq!(map, fs::read_to_string(own.join("map")).unwrap());
        let path = format!("/files/read?path={}/map&offset=0", own.display());
        let shown = get(port, &path).await.text();
        assert!(shown.contains(&FIRST.to_string()), "{shown}");
    });
}

/// A task `t` whose check has succeeded; its container.
async fn checked(link: &mut Link, text: &str) -> ContainerId {
    let probe = Probe::Command(Box::new(Command {
        shell: true,
        value: text.into(),
        ..Command::default()
    }));
    let check = Some(Check {
        probe,
        delay_ms: 0,
        interval_ms: 100,
        timeout_ms: 20_000,
    });
    let checks = Checks {
        health: None,
        check,
    };
    let stay = format!("cat /proc/self/uid_map > map; chmod 600 map; {STAY}");
    link.launch(TaskSpec {
        checks: Some(Box::new(checks)),
        ..shell("t", &stay)
    })
    .await;
    loop {
        let AgentToMaster::Update(update) = link.next().await.unwrap() else {
            continue;
        };
        link.acknowledge(&update).await;
        if update.status.check == Some(CheckStatus::Command(Some(0))) {
            return update.status.container.unwrap();
        }
        assert!(!update.status.state.is_terminal(), "{update:?}");
    }
}

/// A session is root inside too, can open what it writes to, and has no power over the helper.
async fn look_in(port: u16, parent: &Value, tty: bool) {
    let look = "cmp /proc/self/uid_map map && id -u; echo again > /dev/stdout; (kill -0 1) 2>/dev/null || echo apart";
    let id = json!({"value": format!("s{tty}"), "parent": parent});
    let mut launch = json!({"container_id": id, "command": {"value": look}});
    if tty {
        launch["container"] = json!({"type": "MESOS", "tty_info": {}});
    }
    let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": launch});
    let mut output = Output::open(Form::Json, port, &call).await;
    output.until(None).await;
    let told = output.out.replace('\r', "");
    assert_eq!(told, "0\nagain\napart\n", "{}", output.err);
}

#[test]
fn images_and_volumes_are_its_own() {
    possibly(async {
        let folder = tempfile::tempdir().unwrap();
        let look = "read a < /etc/own; echo $a; echo new > /etc/own; echo x > /new; \
            while read n v rest; do [ $n = Uid: ] && echo $v; done < /proc/self/status; echo kept > $MESOS_SANDBOX/kept/x; exit 0";
        let image = Image {
            layers: vec![Layer::shell().file("etc/own", "own\n")],
            config: json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": [look]}),
        };
        image.archive(&folder.path().join("saved"));
        let archive = folder.path().join("image.tar");
        pack(&folder.path().join("saved"), &archive);
        let mut master = master().await.with_resources("cpus:4;mem:512;disk:64");
        let (mut link, _) = agent(&mut master).await;
        let volume = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 16.0},
            "reservations": [{"type": "DYNAMIC", "role": "r"}],
            "disk": {"persistence": {"id": "v1"}, "volume": {"mode": "RW", "container_path": "kept"}}});
        let volume = v1::Resource::from_json(volume.to_string().as_bytes()).unwrap();
        let volume = nesos_api::resources::bag(&[volume]).unwrap();
        let create = OperationSpec {
            uuid: Uuid([1; 16]),
            framework: None,
            id: None,
            kind: OperationKind::Create,
            consumed: resource_text::parse("disk:16").unwrap(),
            converted: volume.clone(),
            info: Vec::new(),
        };
        link.send(&MasterToAgent::Apply(create)).await;
        let image =
            json!({"image": {"type": "DOCKER", "docker": {"name": archive.display().to_string()}}});
        let mut spec = task("t", "", json!({"mesos": image}));
        spec.command.shell = false;
        spec.resources = volume;
        assert_eq!(says(&mut link, spec).await, "own\n0\n");
        let kept = fs::metadata(master.work_dir().join("volumes/roles/r/v1/x")).unwrap();
        assert_eq!((kept.uid(), kept.gid()), (0, 0));
    });
}

#[test]
fn what_only_the_host_has_is_refused_with_a_sentence() {
    possibly(async {
        let host = tempfile::tempdir().unwrap();
        let (own, open) = (host.path().join("own"), host.path().join("open"));
        for (folder, mode) in [(&own, 0o755), (&open, 0o777)] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(host.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let volume = |folder: &Path, mode: &str| json!({"volumes": [{"mode": mode, "container_path": "v", "host_path": folder.display().to_string()}]});
        let capability = |name: &str| json!({"linux_info": {"effective_capabilities": {"capabilities": [name]}}});
        let mut of_network = capability("NET_RAW");
        let all = json!({"capabilities": ["NET_RAW", "MKNOD", "CHOWN"]});
        let flag = format!("--bounding_capabilities={all}");
        let mut master = master().await.with_flag(flag);
        let (mut link, _) = agent(&mut master).await;
        let cases = [
            (volume(&own, "RW"), "files of the host are nobody's"),
            (capability("MKNOD"), "nobody has LINUX_IMMUTABLE, MKNOD"),
            (of_network.clone(), "for a network of its own only"),
        ];
        for (number, (container, sentence)) in cases.into_iter().enumerate() {
            let name = format!("t{number}");
            let message = refusal(&mut link, task(&name, "true", container)).await;
            assert!(message.contains(sentence), "{message}");
        }
        // What goes.
        let text = "ls -d v; (: > v/x) 2>/dev/null || echo refused";
        let told = says(&mut link, task("ro", text, volume(&own, "RO"))).await;
        assert_eq!(told, "v\nrefused\n");
        let told = says(
            &mut link,
            task("rw", "echo x > v/x; cat v/x", volume(&open, "RW")),
        )
        .await;
        assert_eq!(told, "x\n");
        let first = fs::metadata(open.join("x")).unwrap().uid();
        assert!(
            first >= FIRST && (first - FIRST).is_multiple_of(COUNT),
            "{first}"
        );
        of_network["network_infos"] = network()["network_infos"].clone();
        says(&mut link, task("net", "true", of_network)).await;
    });
}
