//! Containers with user namespaces on the boards' own kernel: root inside is nobody on the board, and has what is its own. One boot
//! for all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_cluster_tests::eventually;
use nesos_qemu_tests::{Lab, Told};
use serde_json::json;

/// Longest wait for what an emulated board shows soon.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);
/// The first of the default range.
const FIRST: u32 = 1_879_048_192;
const COUNT: u32 = 65_536;
/// Tells whose ids it has, and waits.
const STAY: &str =
    "id -u; until test -e end; do sleep 0.2; done; awk '{print $2}' /proc/self/uid_map";

#[test]
fn roots_of_tasks_are_not_the_boards() {
    let mut lab = Lab::new(json!({}));
    ask_for_it(&mut lab);
    own_files(&mut lab);
    nothing_of_the_board(&mut lab);
    users_inside(&mut lab);
    an_image(&mut lab);
    a_network_and_a_check(&mut lab);
    each_its_own_over_a_crash(&mut lab);
    nothing_is_left(&lab);
}

/// The board's cluster.toml asks for the isolator, and the next agentd has it.
fn ask_for_it(lab: &mut Lab) {
    let ask = "mount -o remount,rw /boot; printf \"\\n[agent]\\nisolation = 'namespaces/user'\\n\" >> /boot/cluster.toml; \
               mount -o remount,ro /boot; kill -9 $(pidof agentd)";
    // What PID 1 says of it may come in between.
    assert_eq!(on_board(lab, ask).1, 0);
    another_agentd(lab);
}

/// Runs something until it is not refused for an offer of the time before agentd's restart.
fn another_agentd(lab: &mut Lab) {
    let _ = lab.cluster.active_node("board-2");
    while lab.run("true", json!({})).status["reason"] == "REASON_INVALID_OFFERS" {}
}

fn own_files(lab: &mut Lab) {
    let text = "tr -s ' ' < /proc/self/uid_map | cut -d' ' -f2,4; id -u; touch own; chown 1000:7 own; mkdir in; \
        stat -c %u:%g . own in /tmp /dev/null stdout; echo again > /dev/stdout; \
        grep -E '^CapEff|^NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t'; unshare -U true 2>/dev/null || echo refused";
    let told = lab.run(text, json!({})).well();
    let owners = "0:0\n1000:7\n0:0\n0:0\n0:0\n0:0\n";
    let rights = "CapEff:00000000a00425fb\nNoNewPrivs:1\nSeccomp:2\n";
    assert_eq!(
        told,
        format!("0 {COUNT}\n0\n{owners}again\n{rights}refused\n")
    );
    let look = "cd /data/agentd/slaves/*/frameworks/*/executors/proof-*/runs/latest/in/..; stat -c %u:%g own in stdout";
    assert_eq!(on_board(lab, look).0, "1000:7\n0:0\n0:0");
}

fn nothing_of_the_board(lab: &mut Lab) {
    let make = "mkdir /data/host; echo hush > /data/host/secret; chmod 600 /data/host/secret; echo seen > /data/host/open";
    assert_eq!(on_board(lab, make).1, 0);
    let volume = |mode: &str| json!({"volumes": [{"mode": mode, "container_path": "host", "host_path": "/data/host"}]});
    let text = "cat host/secret 2>/dev/null || echo refused; cat host/open; stat -c %u host/open; \
        kill -9 1 2>/dev/null; ls /proc/1/root/ 2>/dev/null; ls /proc/1/fd/ 2>/dev/null; exit 0";
    let told = lab.contained(text, volume("RO")).well();
    assert_eq!(told, "refused\nseen\n65534\n");
    let refusal = lab.contained("true", volume("RW")).refusal();
    assert!(
        refusal.contains("files of the host are nobody's"),
        "{refusal}"
    );
    let raw = json!({"linux_info": {"effective_capabilities": {"capabilities": ["NET_RAW"]}}});
    let refusal = lab.contained("true", raw).refusal();
    assert!(
        refusal.contains("for a network of its own only"),
        "{refusal}"
    );
}

fn users_inside(lab: &mut Lab) {
    let command = json!({"value": "id -u; touch own; echo again > /dev/stderr", "user": "nobody"});
    let told = lab.run("", json!({"command": command}));
    assert_eq!(told.stderr, "again\n");
    assert_eq!(told.well(), "65534\n");
    let look =
        "ls -ln /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest/own | grep -c ' 65534 '";
    assert_eq!(on_board(lab, look).0, "1");
}

/// One layer made on the board, as `docker save` would write it; what is in it has two owners.
const MAKE_IMAGE: &str = "mkdir -p /data/i/1/bin /data/i/1/etc /data/i/o; cd /data/i; cp /bin/busybox 1/bin/sh; ln 1/bin/sh 1/bin/stat; \
    ln 1/bin/sh 1/bin/cat; echo own > 1/etc/own; chmod 600 1/etc/own; echo other > 1/etc/other; chown 1000:1000 1/etc/other; \
    busybox tar -C 1 -cf o/1.tar .; d=$(busybox sha256sum o/1.tar | busybox cut -d' ' -f1); \
    echo '{\"os\":\"linux\",\"architecture\":\"arm64\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$d'\"]}}' > o/c.json; \
    echo '[{\"Config\":\"c.json\",\"Layers\":[\"1.tar\"]}]' > o/manifest.json; busybox tar -C o -cf /data/image.tar .; cd /; ls /data/image.tar";

fn an_image(lab: &mut Lab) {
    assert_eq!(on_board(lab, MAKE_IMAGE).0, "/data/image.tar");
    let image = json!({"type": "DOCKER", "docker": {"name": "/data/image.tar"}});
    let volume = json!({"container_path": "tool", "mode": "RW", "image": image});
    let container = json!({"mesos": {"image": image}, "volumes": [volume]});
    let text = "cat /etc/own; echo new > /etc/own; echo x > /top; stat -c %u:%g / /etc/own /etc/other /top; cat tool/etc/own; stat -c %u tool";
    // Twice: what one writes the next does not see.
    for _ in 0..2 {
        let told = lab.contained(text, container.clone()).well();
        assert_eq!(told, "own\n0:0\n0:0\n1000:1000\n0:0\nown\n0\n");
    }
}

fn a_network_and_a_check(lab: &mut Lab) {
    let look = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort; cat /proc/self/uid_map; cd /proc/self/ns; readlink mnt net pid user uts";
    let text = format!(
        "({look}) > own; until test -e checked; do sleep 0.1; done; cmp own checked && head -n 2 own"
    );
    let check = format!("({look}) > told; mv told checked");
    let members = json!({
        "check": {"type": "COMMAND", "interval_seconds": 600.0, "command": {"command": {"value": check}}},
        "container": {"type": "MESOS", "network_infos": [{"name": "mesos-bridge"}],
            "linux_info": {"effective_capabilities": {"capabilities": ["NET_RAW", "NET_BIND_SERVICE"]}}},
    });
    assert_eq!(lab.run(&text, members).well(), "eth0\nlo\n");
}

/// Two at once, an agentd that dies, and one after that.
fn each_its_own_over_a_crash(lab: &mut Lab) {
    let [a, b] = [(); 2].map(|()| {
        let task = lab.launch(8, STAY, json!({}));
        lab.wait_running(&task);
        task
    });
    let (_, code) = on_board(lab, "kill -9 $(pidof agentd)");
    assert_eq!(code, 0);
    another_agentd(lab);
    let c = lab.launch(8, STAY, json!({}));
    lab.wait_running(&c);
    let touch = "for s in /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest; do touch $s/end; done";
    assert_eq!(on_board(lab, touch).1, 0);
    let mut firsts = [a, b, c].map(|task| {
        let told: Told = lab.end(&task);
        let told = told.well();
        let first = told.strip_prefix("0\n").map(str::trim);
        first
            .and_then(|first| first.parse::<u32>().ok())
            .unwrap_or_else(|| panic!("{told}"))
    });
    firsts.sort_unstable();
    let apart = firsts.windows(2).all(|two| two[0] + COUNT <= two[1]);
    assert!(apart && firsts[0] >= FIRST, "{firsts:?}");
}

fn nothing_is_left(lab: &Lab) {
    let look = "ls -d /run/nesos/agentd/*/ 2>/dev/null; pidof nesos-executor; grep -c -e overlay -e agentd /proc/mounts";
    eventually("nothing is left", SOON, || {
        // The fork server stays.
        let left = on_board(lab, look).0;
        (left.lines().count() <= 2 && left.ends_with('0') && !left.contains('/')).then_some(())
    });
}

/// What a command says on the tasks' board, and its exit code. A console has one listener at a time.
fn on_board(lab: &Lab, command: &str) -> (String, i32) {
    lab.cluster.shell("board-2").run(command)
}
