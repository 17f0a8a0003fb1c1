//! Containers with a network of their own, on a "host" that is a network namespace of the test. Needs root; elsewhere nothing is
//! tested. tests/qemu has the same on the boards' kernel.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::executor::{Executor, Form, custom, given};
use common::http::get;
use common::{Link, Master, run, shell, until};
use nesos_api::executor::EventType;
use nesos_api::v1;
use nesos_sys::netlink::Netlink;
use nesos_sys::netns;
use nesos_wire::Attempt;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::{Reason, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{ContainerId, ExecutorId};
use nix::sched::{CloneFlags, setns, unshare};

const SLEEP: &str = "exec sleep 1000";
const ISOLATION: &str =
    "--isolation=filesystem/linux,namespaces/pid,namespaces/uts,network/bridge,linux/capabilities";

/// Runs the test where its agentd has a network of its own to work in.
fn on_a_host(test: impl Future<Output = ()> + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if !nix::unistd::geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
                eprintln!("no network namespaces here: nothing tested");
                return;
            }
            Netlink::open().unwrap().link_up(1).unwrap();
            run(test);
        });
    });
}

async fn master() -> Master {
    Master::new()
        .await
        .with_resources("cpus:4;mem:512;ports:[31000-31010]")
        .with_flag(ISOLATION.into())
}

fn network(rest: &str) -> v1::ContainerInfo {
    let text = format!(
        r#"{{"type":"MESOS","network_infos":[{{"name":"mesos-bridge","labels":{{"labels":[{{"key":"k"}}]}}{rest}}}]}}"#
    );
    v1::ContainerInfo::from_json(text.as_bytes()).unwrap()
}

/// A task with this container.
fn contained(name: &str, text: &str, container: v1::ContainerInfo) -> TaskSpec {
    let info = v1::TaskInfo {
        name: name.into(),
        task_id: name.into(),
        agent_id: "a".into(),
        container: Some(Box::new(container)),
        ..v1::TaskInfo::default()
    };
    TaskSpec {
        info: info.to_protobuf(),
        ..shell(name, text)
    }
}

fn mapped(host: u16) -> v1::ContainerInfo {
    network(&format!(
        r#","port_mappings":[{{"host_port":{host},"container_port":80}}]"#
    ))
}

/// What a status says of its container's network.
fn network_of(status: &TaskStatus) -> v1::NetworkInfo {
    let extra = v1::TaskStatus::from_protobuf(&status.extra).unwrap();
    extra.container_status.unwrap().network_infos.remove(0)
}

fn address_of(status: &TaskStatus) -> String {
    let mut network = network_of(status);
    network.ip_addresses.remove(0).ip_address.unwrap()
}

async fn runs(link: &mut Link, spec: TaskSpec) -> TaskStatus {
    link.launch(spec).await;
    let (_, update) = link.until(TaskState::Running).await;
    update.status
}

/// Answers on port 80 inside the container of this helper, for ever.
fn serve(helper: u32, name: &'static str) {
    let namespace = netns::of_process(helper).unwrap();
    let inside = thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        TcpListener::bind("0.0.0.0:80").unwrap()
    });
    let listener = inside.join().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(name.as_bytes());
        }
    });
}

fn ask(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

async fn helper_of(port: u16, container: &ContainerId) -> u32 {
    let all = get(port, "/containers").await.json();
    let all = all.as_array().unwrap().iter();
    let mut of = all.filter(|one| one["container_id"] == container.as_str());
    let pid = of.next().unwrap()["status"]["executor_pid"].as_u64();
    pid.unwrap() as u32
}

/// Devices on the bridge; of this thread's namespace, unlike /sys.
fn pairs() -> usize {
    let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    devices
        .lines()
        .filter(|line| line.trim().starts_with("nv"))
        .count()
}

/// As task `a` has written it to its output.
async fn sees_what_is_its_own(master: &Master, status: &TaskStatus) {
    let text = until("what it sees", || {
        let text = std::fs::read_to_string(master.sandbox("a").join("stdout")).ok()?;
        text.ends_with("end\n").then_some(text)
    })
    .await;
    let name = status.container.clone().unwrap();
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n10.87.0.2 {name}\n");
    assert!(
        text.starts_with(&format!("{name}\n{hosts}eth0\nlo\n")),
        "{text}"
    );
    assert!(
        text.contains("eth0\n") && !text.contains("nesos0"),
        "{text}"
    );
    assert!(text.ends_with("10.87.0.2\nend\n"), "{text}");
}

#[test]
fn a_task_has_an_address_a_port_and_names_over_a_restart() {
    on_a_host(async {
        let mut master = master().await;
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let look = "hostname; cat /etc/hosts; ls /sys/class/net; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; echo $MESOS_CONTAINER_IP; echo end; exec sleep 1000";
        let a = runs(&mut link, contained("a", look, mapped(31000))).await;
        let b = runs(&mut link, contained("b", SLEEP, mapped(31001))).await;
        assert_eq!(
            (address_of(&a), address_of(&b)),
            ("10.87.0.2".into(), "10.87.0.3".into())
        );
        let shown = network_of(&a);
        assert_eq!(shown.name.as_deref(), Some("mesos-bridge"));
        assert_eq!(shown.labels.unwrap().labels[0].key, "k");
        assert_eq!(shown.port_mappings[0].host_port, 31000);
        sees_what_is_its_own(&master, &a).await;

        for (status, name) in [(&a, "a"), (&b, "b")] {
            serve(
                helper_of(hello.port, status.container.as_ref().unwrap()).await,
                name,
            );
        }
        let both = || (ask("10.87.0.1:31000"), ask("10.87.0.1:31001"));
        let expected = || (Some("a".to_owned()), Some("b".to_owned()));
        assert_eq!(both(), expected());
        assert_eq!(ask("10.87.0.2:80").as_deref(), Some("a"));

        master.kill_agent();
        assert_eq!(both(), expected());
        master.start_agent();
        let (mut link, hello) = master.link().await;
        assert_eq!(both(), expected());
        let shown = get(hello.port, "/containers").await.json();
        let text = shown.to_string();
        assert!(
            text.contains("10.87.0.2") && text.contains("10.87.0.3"),
            "{text}"
        );
        // What is taken stays taken.
        link.launch(contained("c", SLEEP, mapped(31000))).await;
        let (_, refused) = link.until(TaskState::Failed).await;
        let message = refused.status.message;
        assert!(
            message.contains("tcp:31000:80 of the host is mapped to another"),
            "{message}"
        );

        link.send(&MasterToAgent::Kill {
            key: common::key("a"),
            grace_ms: None,
        })
        .await;
        let (_, ended) = link.until(TaskState::Killed).await;
        assert_eq!(address_of(&ended.status), "10.87.0.2");
        assert_eq!(both().0, None);
        let d = runs(&mut link, contained("d", SLEEP, mapped(31000))).await;
        assert_eq!(address_of(&d), "10.87.0.4", "an address rests");
    });
}

#[test]
fn what_this_agent_does_not_give_is_refused_with_a_sentence() {
    on_a_host(async {
        let mut master = master().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut other = network("");
        other.network_infos[0].name = Some("other".into());
        let cases = [
            (
                other,
                "this agent has no network 'other', only 'mesos-bridge'",
            ),
            (
                mapped(5051),
                "only ports that the agent offers can be mapped",
            ),
        ];
        for (index, (container, says)) in cases.into_iter().enumerate() {
            link.launch(contained(&format!("t{index}"), "true", container))
                .await;
            let (_, update) = link.until(TaskState::Failed).await;
            let status = update.status;
            assert_eq!(status.reason, Some(Reason::ContainerLaunchFailed));
            assert!(status.message.contains(says), "{}", status.message);
        }
        // The host's own network needs nothing.
        let mut host = network("");
        host.network_infos[0].name = None;
        link.launch(contained("host", "tail -n +3 /proc/net/dev", host))
            .await;
        link.until(TaskState::Finished).await;
        assert_eq!(pairs(), 0);
    });
}

#[test]
fn another_network_in_the_way_is_named() {
    on_a_host(async {
        let address = "10.87.0.77".parse().unwrap();
        Netlink::open()
            .unwrap()
            .add_address(1, address, 32)
            .unwrap();
        let mut master = master().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        link.launch(contained("t", "true", network(""))).await;
        let (_, update) = link.until(TaskState::Failed).await;
        let message = update.status.message;
        let says = "10.87.0.0/24 overlaps with the network of lo; --network_subnet names another";
        assert!(message.contains(says), "{message}");
    });
}

/// An executor whose tasks share what it asks for.
fn pod() -> FrameworkExecutor {
    let info = v1::ExecutorInfo {
        executor_id: "p".into(),
        container: Some(Box::new(mapped(31002))),
        ..v1::ExecutorInfo::default()
    };
    FrameworkExecutor {
        info: info.to_protobuf(),
        ..common::pod()
    }
}

#[test]
fn statuses_of_an_executor_say_its_network_also_after_a_restart() {
    on_a_host(async {
        let mut master = master().await.with_fixed_port();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let mut spec = custom("e");
        let mut info = v1::ExecutorInfo::from_protobuf(&spec.info).unwrap();
        info.container = Some(Box::new(mapped(31003)));
        spec.info = info.to_protobuf();
        spec.command.value = SLEEP.into();
        link.send(&MasterToAgent::LaunchExecutor {
            executor: Box::new(spec),
            start: true,
            tasks: vec![given("a", 1)],
            group: false,
        })
        .await;
        let executor = Executor::new("e", hello.port, Form::Json);
        let mut stream = executor.subscribe().await;
        stream.expect(EventType::Subscribed).await;
        stream.expect(EventType::Launch).await;
        executor.says("a", v1::TaskState::Running, 1).await;
        let (_, update) = link.until(TaskState::Running).await;
        assert_eq!(address_of(&update.status), "10.87.0.2");
        let shown = network_of(&update.status);
        assert_eq!(shown.labels.unwrap().labels[0].key, "k");
        master.kill_agent();
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut stream = executor.subscribe().await;
        stream.expect(EventType::Subscribed).await;
        executor.says("a", v1::TaskState::Finished, 2).await;
        let (_, update) = link.until(TaskState::Finished).await;
        assert_eq!(address_of(&update.status), "10.87.0.2");
        assert_eq!(network_of(&update.status).port_mappings[0].host_port, 31003);
    });
}

async fn launch_in_pod(link: &mut Link, attempt: u64, start: bool, name: &str) -> TaskStatus {
    let task = TaskSpec {
        attempt: Attempt(attempt),
        executor: ExecutorId::new("p"),
        kind: ExecutorKind::Default,
        ..shell(name, "readlink /proc/self/ns/net > net; exec sleep 1000")
    };
    let message = MasterToAgent::LaunchExecutor {
        executor: Box::new(pod()),
        start,
        tasks: vec![task],
        group: true,
    };
    link.send(&message).await;
    let (_, update) = link.until(TaskState::Running).await;
    update.status
}

#[test]
fn tasks_of_a_pod_share_a_network_also_with_those_that_come_after_a_restart() {
    on_a_host(async {
        let mut master = master().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let a = launch_in_pod(&mut link, 1, true, "a").await;
        let b = launch_in_pod(&mut link, 2, false, "b").await;
        master.kill_agent();
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let c = launch_in_pod(&mut link, 3, false, "c").await;
        for status in [&a, &b, &c] {
            assert_eq!(address_of(status), "10.87.0.2");
        }
        let tasks = master.sandbox("p").join("tasks");
        let net = |task: &str| {
            let text = std::fs::read_to_string(tasks.join(task).join("net")).ok()?;
            text.ends_with('\n').then_some(text)
        };
        let nets = until("their networks", || Some((net("a")?, net("b")?, net("c")?))).await;
        assert!(nets.0 == nets.1 && nets.1 == nets.2, "{nets:?}");
        assert_eq!(pairs(), 1);
        let inner = c.container.unwrap();
        let (_, inner) = inner.as_str().rsplit_once('.').unwrap();
        let found = get(hello.port, "/state").await.text();
        assert!(found.contains(inner), "{found}");
        for task in ["a", "b", "c"] {
            let key = common::key(task);
            let grace_ms = None;
            link.send(&MasterToAgent::Kill { key, grace_ms }).await;
            link.until(TaskState::Killed).await;
        }
        until("no device is left", || (pairs() == 0).then_some(())).await;
    });
}
