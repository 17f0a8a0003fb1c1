//! Tasks in container images: pulled from a real registry, out of archives, kept, and removed. Needs root and overlayfs for the
//! containers; without root these tests pass, and tests/qemu has a container with an image in a guest.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::image::{Image, Layer, MACHINE, Server};
use common::{Link, Master, key, run, shell, until};
use nesos_api::operator::agent as operator;
use nesos_api::v1;
use nesos_wire::task::{Reason, TaskSpec, TaskState};
use serde_json::json;

/// Says what the task sees.
const TELL: &str = "echo $A $B; pwd; echo $MESOS_SANDBOX; read x < /etc/kept; echo $x; [ -e /etc/gone ] || echo gone; \
    echo /var/*; while read k v rest; do [ $k = Uid: ] && echo uid $v; done < /proc/self/status; echo written > own; \
    echo in > $MESOS_SANDBOX/file; exit 0";

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Two layers over a shell; the upper takes something away from the lower.
fn image() -> Image {
    let lower = Layer::shell()
        .file("etc/kept", "kept\n")
        .file("etc/gone", "x")
        .file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nweb:x:4321:4321::/:/bin/sh\n",
        )
        .file("var/old", "x")
        .hard_link("etc/again", "etc/kept");
    let upper = Layer::default()
        .file("etc/.wh.gone", "")
        .file("var/.wh..wh..opq", "")
        .file("var/new", "x")
        .folder("start");
    Image {
        layers: vec![lower, upper],
        config: json!({"Env": ["A=image", "B=image"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": [TELL],
            "WorkingDir": "/start", "User": "web"}),
    }
}

async fn agent(flags: &[&str]) -> (Master, Link) {
    let isolation = "--isolation=filesystem/linux,docker/runtime,volume/image";
    let mut master = Master::new().await.with_flag(isolation.into());
    for flag in flags {
        master = master.with_flag((*flag).to_string());
    }
    master.start_agent();
    let (link, _) = master.link().await;
    (master, link)
}

/// A task that runs what the image says.
fn task(name: &str, image: &str) -> TaskSpec {
    with(name, json!({"type": "DOCKER", "docker": {"name": image}}))
}

fn with(name: &str, image: serde_json::Value) -> TaskSpec {
    let info = json!({"name": name, "task_id": {"value": name}, "agent_id": {"value": "m-S1"},
        "container": {"type": "MESOS", "mesos": {"image": image}}});
    let info = v1::TaskInfo::from_json(info.to_string().as_bytes()).unwrap();
    let mut spec = shell(name, "");
    spec.command.shell = false;
    spec.info = info.to_protobuf();
    spec
}

/// With a login of its own.
fn logged_in(name: &str, image: &str, config: &str) -> TaskSpec {
    let mut spec = task(name, image);
    let mut info = v1::TaskInfo::from_protobuf(&spec.info).unwrap();
    let mesos = info.container.as_mut().unwrap().mesos.as_mut().unwrap();
    let docker = mesos.image.as_mut().unwrap().docker.as_mut().unwrap();
    docker.config = Some(common::image::secret(config));
    spec.info = info.to_protobuf();
    spec
}

async fn runs(link: &mut Link, spec: TaskSpec) -> String {
    let name = spec.key.task.to_string();
    link.launch(spec).await;
    link.until(TaskState::Finished).await;
    link.text(&name, "stdout").await
}

async fn fails(link: &mut Link, spec: TaskSpec) -> String {
    link.launch(spec).await;
    let (_, update) = link.until(TaskState::Failed).await;
    assert_eq!(update.status.reason, Some(Reason::ContainerLaunchFailed));
    update.status.message
}

const SEEN: &str = "image image\n/start\n/mnt/mesos/sandbox\nkept\ngone\n/var/new\nuid 4321\n";

#[test]
fn an_image_of_several_machines_is_pulled_once_and_run() {
    if !is_root() {
        return;
    }
    run(async {
        let server = Server::start(false).await;
        let image = image();
        server
            .push_index("a/b", "1", &[(MACHINE, &image), ("sparc", &image)])
            .await;
        server
            .push_index("a/b", "other", &[("sparc", &image), ("mips", &image)])
            .await;
        let alone = server.push("a/b", "alone", &image, "sparc").await;
        let registry = format!("--docker_registry=http://{}", server.host());
        let (master, mut link) = agent(&[&registry]).await;

        assert_eq!(runs(&mut link, task("t1", "a/b:1")).await, SEEN);
        let sandbox = master.sandbox("t1");
        assert_eq!(fs::read_to_string(sandbox.join("file")).unwrap(), "in\n");
        // A second one finds an untouched image; what the task says wins over what the image says.
        let mut spec = task("t2", "a/b:1");
        spec.command.shell = true;
        spec.command.value = "[ -e /start/own ] || echo $A $B".into();
        spec.command.environment = vec![("B".into(), "task".into())];
        assert_eq!(runs(&mut link, spec).await, "image task\n");
        let by_host = format!("{}/a/b:1", server.host());
        assert_eq!(runs(&mut link, task("t3", &by_host)).await, SEEN);

        for (name, sentence) in [
            ("a/b:2".to_string(), "it has no a/b 2"),
            ("a/b:other".into(), "no image for linux/"),
            (format!("a/b@{alone}"), "it is for linux/sparc"),
            ("../b".into(), "is no image"),
            ("localhost:1/b".into(), "refused"),
        ] {
            let message = fails(&mut link, task(&sentence.replace([' ', '/'], "-"), &name)).await;
            assert!(message.contains(sentence), "{message}");
        }
        let appc = json!({"type": "APPC", "appc": {"name": "x"}});
        let message = fails(&mut link, with("appc", appc)).await;
        assert!(message.contains("appc/runtime"), "{message}");

        // What is here by name is not asked for again, unless that is wanted.
        drop(server);
        assert_eq!(runs(&mut link, task("t4", "a/b:1")).await, SEEN);
        let fresh = json!({"type": "DOCKER", "cached": false, "docker": {"name": "a/b:1"}});
        let message = fails(&mut link, with("fresh", fresh)).await;
        assert!(message.contains("a/b:1"), "{message}");
        until("what containers wrote to go", || {
            let left = master.work_dir().join("provisioner/containers");
            fs::read_dir(left).unwrap().next().is_none().then_some(())
        })
        .await;
    });
}

#[test]
fn many_that_want_the_same_at_once_wait_for_one_pull() {
    if !is_root() {
        return;
    }
    run(async {
        let server = Server::start(false).await;
        server.push("a/b", "1", &image(), MACHINE).await;
        let registry = format!("--docker_registry=http://{}", server.host());
        let (master, mut link) = agent(&[&registry]).await;
        let many = ["t1", "t2", "t3", "t4"];
        for name in many {
            link.launch(task(name, "a/b:1")).await;
        }
        for _ in many {
            link.until(TaskState::Finished).await;
        }
        let log = master.log();
        assert_eq!(
            log.matches("image a/b:1 is being pulled").count(),
            1,
            "{log}"
        );
    });
}

#[test]
fn a_registry_that_asks_for_a_login_gets_it() {
    if !is_root() {
        return;
    }
    run(async {
        let server = Server::start(true).await;
        server.push("a", "latest", &image(), MACHINE).await;
        let name = format!("{}/a", server.host());
        let config = |login: &str| json!({"auths": {server.host(): {"auth": login}}}).to_string();
        let (_master, mut link) = agent(&[]).await;
        let message = fails(&mut link, task("t1", &name)).await;
        assert!(message.contains("asks for a login, and none"), "{message}");
        let (wrong, right) = (config("YWRhOndyb25n"), config("YWRhOnNlY3JldA=="));
        let message = fails(&mut link, logged_in("t2", &name, &wrong)).await;
        assert!(message.contains("does not let read"), "{message}");
        assert_eq!(runs(&mut link, logged_in("t3", &name, &right)).await, SEEN);
        // Another's login is not lent.
        fails(&mut link, task("t4", &name)).await;
        drop(link);
        let (_master, mut link) = agent(&[&format!("--docker_config={right}")]).await;
        assert_eq!(runs(&mut link, task("t5", &name)).await, SEEN);
    });
}

#[test]
fn images_come_out_of_archives_and_layouts() {
    if !is_root() {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let image = image();
        image.layout(&at("layout"));
        common::image::pack(&at("layout"), &at("layout.tar"));
        image.archive(&at("saved"));
        common::image::pack(&at("saved"), &at("b:1.tar"));
        let (_master, mut link) =
            agent(&[&format!("--docker_registry={}", folder.path().display())]).await;
        let path = |name: &str| at(name).display().to_string();
        // Layers are what the configuration says, by their digests.
        image.archive(&at("odd"));
        fs::write(
            at("odd/1.tar"),
            Layer::default().file("etc/kept", "x").bytes(),
        )
        .unwrap();
        common::image::pack(&at("odd"), &at("odd.tar"));
        let message = fails(&mut link, task("odd", &path("odd.tar"))).await;
        assert!(message.contains("the layer's digest is"), "{message}");
        for (task_name, name) in [
            ("t1", path("layout")),
            ("t2", format!("file://{}", path("layout.tar"))),
            ("t3", path("b:1.tar")),
            ("t4", "b:1".into()),
        ] {
            assert_eq!(
                runs(&mut link, task(task_name, &name)).await,
                SEEN,
                "{name}"
            );
        }
        for (name, sentence) in [
            (path("nothing.tar"), "No such file"),
            ("c".into(), "c:latest.tar"),
            (path("saved/manifest.json"), "neither a folder nor"),
        ] {
            let message = fails(&mut link, task(&sentence.replace(' ', "-"), &name)).await;
            assert!(message.contains(sentence), "{message}");
        }
    });
}

#[test]
fn images_in_use_are_not_pruned_and_outlive_agentd() {
    if !is_root() {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        image().archive(&folder.path().join("saved"));
        let archive = folder.path().join("b.tar");
        common::image::pack(&folder.path().join("saved"), &archive);
        let mut master = Master::new()
            .await
            .with_fixed_port()
            .with_flag("--isolation=filesystem/linux,docker/runtime".into());
        master.start_agent();
        let (mut link, hello) = master.link().await;
        let port = hello.port;
        let mut spec = task("t", &archive.display().to_string());
        spec.command.shell = true;
        spec.command.value =
            "while [ ! -e $MESOS_SANDBOX/go ]; do :; done; read x < /etc/kept; echo $x".into();
        link.launch(spec).await;
        link.until(TaskState::Running).await;
        master.kill_agent();
        master.start_agent();
        let (mut link, _) = master.link().await;
        let call = operator::Call {
            r#type: Some(operator::CallType::PruneImages),
            ..operator::Call::default()
        };
        let prune = async |kind: &str, body: &[u8]| {
            let headers = [("Content-Type", kind), ("Accept", kind)];
            let answer = common::http::request(port, "POST", "/api/v1", &headers, body);
            answer.await.status
        };
        let layers = master.work_dir().join("store/docker/layers");
        let count = || fs::read_dir(&layers).unwrap().count();
        assert_eq!(prune("application/json", &call.to_json()).await, 200);
        assert_eq!(count(), 2);
        fs::write(master.sandbox("t").join("go"), "").unwrap();
        let (_, update) = link.until(TaskState::Finished).await;
        assert_eq!(update.key, key("t"));
        assert_eq!(link.text("t", "stdout").await, "kept\n");
        assert_eq!(
            prune("application/x-protobuf", &call.to_protobuf()).await,
            200
        );
        assert_eq!(count(), 0);
    });
}

/// An image that says who it is.
fn called(name: &str) -> Image {
    let mut image = image();
    image.config = json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": [format!("echo {name}")]});
    image
}

#[test]
fn one_of_several_images_is_picked_by_its_name() {
    if !is_root() {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (one, two) = (called("one"), called("two"));
        common::image::archive(&at("saved"), &[("a/one:1", &one), ("two:latest", &two)]);
        common::image::pack(&at("saved"), &at("saved.tar"));
        common::image::pack(&at("saved"), &at("two:latest.tar"));
        common::image::layout(&at("layout"), &[("v1", &one), ("v2", &two)]);
        let (_master, mut link) =
            agent(&[&format!("--docker_registry={}", folder.path().display())]).await;
        let path = |name: &str| at(name).display().to_string();
        for (number, (name, said)) in [
            (path("saved.tar#a/one:1"), "one\n"),
            (path("saved.tar#two"), "two\n"),
            (format!("file://{}", path("saved.tar#1")), "one\n"),
            (path("layout#v2"), "two\n"),
            ("two".into(), "two\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let spec = task(&format!("t{number}"), &name);
            assert_eq!(runs(&mut link, spec).await, said, "{name}");
        }
        for (name, sentence) in [
            ("saved.tar", "several images (a/one:1, two:latest)"),
            ("saved.tar#three", "no image 'three', only a/one:1"),
            ("layout", "several images (v1, v2)"),
        ] {
            let message = fails(&mut link, task(&name.replace(['.', '#'], "-"), &path(name))).await;
            assert!(message.contains(sentence), "{message}");
        }
    });
}

#[test]
fn images_are_volumes_beside_a_root_of_its_own_or_the_hosts() {
    if !is_root() {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        image().archive(&folder.path().join("saved"));
        common::image::pack(&folder.path().join("saved"), &folder.path().join("b.tar"));
        let (master, mut link) = agent(&[]).await;
        let volume = |path: &str, mode: &str, name: &str| {
            let image = json!({"type": "DOCKER", "docker": {"name": name}});
            json!({"container_path": path, "mode": mode, "image": image})
        };
        let with = |name: &str, text: &str, container: serde_json::Value| {
            let info = json!({"name": name, "task_id": {"value": name}, "agent_id": {"value": "m-S1"}, "container": container});
            let info = v1::TaskInfo::from_json(info.to_string().as_bytes()).unwrap();
            let mut spec = shell(name, text);
            spec.info = info.to_protobuf();
            spec
        };
        let text = "cd $MESOS_SANDBOX; read x < tool/etc/kept; echo $x; [ -e tool/etc/gone ] || echo gone; \
            (echo > tool/etc/new) 2> /dev/null || echo refused; echo own > mine/etc/kept; read x < mine/etc/kept; echo $x; \
            for f in mine/var/*; do echo $f; done";
        let volumes = |name: &str| json!([volume("tool", "RO", name), volume("mine", "RW", name)]);
        let seen = "kept\ngone\nrefused\nown\nmine/var/new\n";
        let host = json!({"type": "MESOS", "volumes": volumes(&at("b.tar"))});
        assert_eq!(runs(&mut link, with("t1", text, host.clone())).await, seen);
        // What was written is gone with its container.
        assert_eq!(runs(&mut link, with("t2", text, host)).await, seen);
        let both = json!({"type": "MESOS", "volumes": volumes(&at("b.tar")),
            "mesos": {"image": {"type": "DOCKER", "docker": {"name": at("b.tar")}}}});
        let mut spec = with("t3", text, both);
        spec.command.user = Some("root".into());
        assert_eq!(runs(&mut link, spec).await, seen);
        let none = json!({"type": "MESOS", "volumes": volumes(&at("none.tar"))});
        let message = fails(&mut link, with("t4", text, none)).await;
        assert!(message.contains("none.tar"), "{message}");
        let mut two = volume("tool", "RO", &at("b.tar"));
        two["host_path"] = json!("/etc");
        let both = json!({"type": "MESOS", "volumes": [two]});
        let message = fails(&mut link, with("t5", text, both)).await;
        assert!(message.contains("only one of 'image'"), "{message}");
        until("what containers wrote to go", || {
            let left = master.work_dir().join("provisioner/containers");
            fs::read_dir(left).unwrap().next().is_none().then_some(())
        })
        .await;
    });
}
