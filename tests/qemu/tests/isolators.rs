//! Each isolator proved from inside, on the boards' own kernel: what a task sees, may do, and takes from its neighbours.
//!
//! One boot for all of it, since boots are what costs time here. Every proof is a task whose output or end is looked at.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_cluster_tests::{eventually, http};
use nesos_qemu_tests::Lab;
use serde_json::{Value, json};

/// Longest wait for what an emulated board shows soon.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn each_isolator_is_proved_from_inside() {
    let mut lab = Lab::new(json!({}));
    own_files(&mut lab);
    no_way_out(&mut lab);
    volumes_and_secrets(&mut lab);
    few_rights(&mut lab);
    rights_on_request(&mut lab);
    checks_have_the_tasks_place(&mut lab);
    own_names_and_limits(&mut lab);
    an_image_for_a_root(&mut lab);
    what_it_uses_is_shown(&mut lab);
    a_share_of_the_processor(&mut lab);
    a_fork_bomb_stops(&mut lab);
    a_memory_hog_dies_alone(&mut lab);
    an_operators_container_has_limits(&lab);
    nothing_is_left(&lab);
}

fn own_files(lab: &mut Lab) {
    let told = lab.run(
        "touch own && ls own; touch /x /usr/x /etc/x /data/x /dev/x /sys/kernel/x || true; (: > /proc/sys/kernel/hostname) || true; \
         ls -A /boot /mnt /home | grep -v : | grep -c . ; find /data -name node.crt -o -name checkpoint* -o -name run | grep -c . ; \
         ls -A /tmp | grep -c .; ls /dev | tr '\\n' ' '; test $(ls -d /proc/[0-9]* | wc -l) -lt 7 && echo few; cat /proc/kcore | wc -c",
        json!({}),
    );
    let stdout = told.well();
    assert_eq!(
        stdout,
        "own\n0\n0\n0\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero few\n0\n"
    );
}

fn no_way_out(lab: &mut Lab) {
    let told = lab.run(
        "for f in /proc/1/root/data/agentd/meta /proc/1/cwd/.. /proc/1/fd/0 /proc/1/environ /proc/1/mem; do \
           cat $f 2>/dev/null && echo reached $f; ls $f/ 2>/dev/null && echo listed $f; done; \
         mkdir m; mount -t proc none m 2>/dev/null && echo mounted; mount -o remount,rw / 2>/dev/null && echo remounted; \
         umount /tmp 2>/dev/null && echo unmounted; unshare -m true 2>/dev/null && echo unshared; \
         mknod disk b 254 0 2>/dev/null && echo made; ln -s /proc/1/root up; ls up/ 2>/dev/null && echo linked; \
         i=0; d=.; while [ $i -lt 40 ]; do d=$d/..; i=$((i+1)); done; ls -A $d/boot; head -c 1 /dev/mem 2>/dev/null && echo memory; \
         mkdir c; (chroot c /bin/true) 2>/dev/null && echo changed; echo 1 > /sys/fs/cgroup/memory.max; kill -9 1; exit 0",
        json!({}),
    );
    assert_eq!(told.well(), "");
}

fn volumes_and_secrets(lab: &mut Lab) {
    let volumes = json!({"volumes": [
        {"mode": "RO", "container_path": "etc", "host_path": "/etc"},
        {"mode": "RW", "container_path": "shown", "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": "kept"}}},
        {"mode": "RO", "container_path": "s/key", "source": {"type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "aHVzaA=="}}}},
    ]});
    let text = "ls etc/passwd; touch etc/x 2>/dev/null || echo refused; echo a > shown/f; cat kept/f; cat s/key; echo; stat -c %a s/key; df s/key | grep -c tmpfs";
    let told = lab.contained(text, volumes);
    assert_eq!(told.well(), "etc/passwd\nrefused\na\nhush\n400\n1\n");

    let secret = json!({"value": "echo $KEY", "environment": {"variables": [
        {"name": "KEY", "type": "SECRET", "secret": {"type": "VALUE", "value": {"data": "aHVzaA=="}}}]}});
    assert_eq!(lab.run("", json!({"command": secret})).well(), "hush\n");

    let missing =
        json!({"volumes": [{"mode": "RO", "container_path": "x", "host_path": "/nothing"}]});
    let refusal = lab.contained("true", missing).refusal();
    assert!(refusal.contains("/nothing: ENOENT"), "{refusal}");
    let out =
        json!({"volumes": [{"mode": "RW", "container_path": "../../x", "host_path": "/etc"}]});
    let refusal = lab.contained("true", out).refusal();
    assert!(refusal.contains("'../../x'"), "{refusal}");
}

const RIGHTS: &str =
    "grep -E '^CapEff|^CapBnd|^NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t'";

fn few_rights(lab: &mut Lab) {
    let told = lab.run(RIGHTS, json!({})).well();
    // Without SYS_ADMIN, SYS_PTRACE, MKNOD, NET_ADMIN, SYS_MODULE, SYS_BOOT, SYS_TIME.
    let set = "00000000a00425fb";
    assert_eq!(
        told,
        format!("CapEff:{set}\nCapBnd:{set}\nNoNewPrivs:1\nSeccomp:2\n")
    );
}

fn rights_on_request(lab: &mut Lab) {
    let fewer = json!({"linux_info": {"effective_capabilities": {"capabilities": ["KILL"]}, "seccomp": {"unconfined": true}}});
    let told = lab.contained(RIGHTS, fewer).well();
    let set = "0000000000000020";
    assert_eq!(
        told,
        format!("CapEff:{set}\nCapBnd:{set}\nNoNewPrivs:1\nSeccomp:0\n")
    );
    let more = json!({"linux_info": {"effective_capabilities": {"capabilities": ["SYS_ADMIN"]}}});
    let refusal = lab.contained("true", more).refusal();
    assert!(refusal.contains("--bounding_capabilities"), "{refusal}");
}

fn checks_have_the_tasks_place(lab: &mut Lab) {
    let look = format!(
        "{RIGHTS}; id; ulimit -Sn; hostname; cat /proc/self/cgroup; ls -id /; grep -qx $$ /sys/fs/cgroup/cgroup.procs && echo inside; \
                         cd /proc/self/ns; readlink cgroup ipc mnt net pid user uts"
    );
    let text = format!(
        "({look}) > own; until test -e checked; do sleep 0.1; done; cat own; cmp own checked && echo same"
    );
    let check = format!("({look}) > told; mv told checked");
    let members = json!({
        "check": {"type": "COMMAND", "interval_seconds": 600.0, "command": {"command": {"value": check}}},
        "container": {"type": "MESOS", "hostname": "island", "linux_info": {"ipc_mode": "PRIVATE"},
            "rlimit_info": {"rlimits": [{"type": "RLMT_NOFILE", "soft": 20, "hard": 30}]}},
    });
    let told = lab.run(&text, members).well();
    assert!(
        told.contains("inside\n") && told.contains("Seccomp:2\n") && told.ends_with("\nsame\n"),
        "{told}"
    );
}

fn own_names_and_limits(lab: &mut Lab) {
    let container = json!({"hostname": "island", "linux_info": {"ipc_mode": "PRIVATE", "shm_size": 1},
        "rlimit_info": {"rlimits": [{"type": "RLMT_NOFILE", "soft": 20, "hard": 30}]}});
    let text = "hostname; ulimit -Sn; ulimit -Hn; dd if=/dev/zero of=/dev/shm/x bs=64k count=64 2>/dev/null || wc -c < /dev/shm/x";
    assert_eq!(
        lab.contained(text, container).well(),
        "island\n20\n30\n1048576\n"
    );
    let (name, code) = lab.cluster.shell("board-2").run("hostname");
    assert!(code == 0 && !name.contains("island"), "{name}");
}

/// Two layers made on the board, the upper of which takes things away, as `docker save` would write them.
const MAKE_IMAGE: &str = "mkdir -p /data/i/1/bin /data/i/1/etc /data/i/1/var /data/i/2/etc /data/i/2/var /data/i/o; cd /data/i; \
    cp /bin/busybox 1/bin/sh; ln 1/bin/sh 1/bin/ls; ln -s /bin/sh 1/bin/cat; echo kept > 1/etc/kept; touch 1/etc/gone 1/var/old; \
    touch 2/etc/.wh.gone 2/var/.wh..wh..opq 2/var/new; for l in 1 2; do busybox tar -C $l -cf o/$l.tar .; done; \
    d() { busybox sha256sum o/$1.tar | busybox cut -d' ' -f1; }; \
    echo '{\"os\":\"linux\",\"architecture\":\"arm64\",\"config\":{\"Env\":[\"A=image\"],\"WorkingDir\":\"/var\",\"Cmd\":[\"/bin/sh\",\"-c\",\"echo $A; pwd; ls /var; [ -e /etc/gone ] || echo gone; cat /etc/kept; cat /etc/resolv.conf; echo > /own; (echo > /data/x); ls / | cat\"]},'\
    '\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$(d 1)'\",\"sha256:'$(d 2)'\"]}}' > o/c.json; \
    echo '[{\"Config\":\"c.json\",\"Layers\":[\"1.tar\",\"2.tar\"]}]' > o/manifest.json; busybox tar -C o -cf /data/image.tar .; cd /; ls /data/image.tar";

fn an_image_for_a_root(lab: &mut Lab) {
    let mut shell = lab.cluster.shell("board-2");
    assert_eq!(shell.run(MAKE_IMAGE).0, "/data/image.tar");
    // The guests' network has no name server that the board could have learnt.
    let (_, code) = shell.run("echo nameserver 192.0.2.1 > /run/resolv.conf");
    assert_eq!(code, 0);
    let of = |name: &str| json!({"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": name}}}});
    let asked = json!({"command": {"shell": false}, "container": of("/data/image.tar")});
    let told = lab.run("", asked.clone());
    // Nothing of the board is in it but what every task has.
    let root = "bin\ndev\netc\nmnt\nown\nproc\nrun\nsys\ntmp\nvar\n";
    let expected = format!("image\n/var\nnew\ngone\nkept\nnameserver 192.0.2.1\n{root}");
    assert_eq!(told.stdout, expected, "{told:?}");
    // The next container finds the layers as they were.
    assert_eq!(lab.run("", asked).stdout, expected);
    let volume = |path: &str, mode: &str| {
        let image = json!({"type": "DOCKER", "docker": {"name": "/data/image.tar"}});
        json!({"container_path": path, "mode": mode, "image": image})
    };
    let volumes = json!({"volumes": [volume("tool", "RO"), volume("mine", "RW")]});
    let text = "cat tool/etc/kept; ls tool/var; (echo > tool/x) 2>/dev/null || echo refused; echo own > mine/x; cat mine/x";
    let seen = "kept\nnew\nrefused\nown\n";
    assert_eq!(lab.contained(text, volumes).well(), seen);
    let refusal = lab
        .run(
            "",
            json!({"command": {"shell": false}, "container": of("/data/none.tar")}),
        )
        .refusal();
    assert!(refusal.contains("/data/none.tar"), "{refusal}");
}

fn what_it_uses_is_shown(lab: &mut Lab) {
    // Two processes, some memory, a file that went to the disk, and a processor that is waited for.
    let text = "head -c 4000000 /dev/zero > big; sync; m=$(head -c 3000000 /dev/zero | tr '\\0' m); \
                (while test -e big; do :; done) & while test -e big; do :; done; echo ${#m}; exit 0";
    let task = lab.launch(32, text, json!({"limits": {"cpus": {"value": 0.2}}}));
    let mut shell = lab.cluster.shell("board-2");
    let mut shown = Value::Null;
    eventually("its use of everything is shown", SOON, || {
        let look = "wget -q -O - http://127.0.0.1:5051/monitor/statistics";
        let all: Value = serde_json::from_str(&shell.run(look).0).ok()?;
        shown = all[0]["statistics"].clone();
        let number = |path: &str| shown.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
        let wrote = number("/blkio_statistics/throttling/0/io_service_bytes/1/value");
        let waited = number("/pressure/cpu/some_total_secs");
        let is_all = wrote >= 4e6 && waited > 0.0 && number("/cpus_nr_throttled") > 0.0;
        (is_all && number("/mem_anon_bytes") >= 3e6 && number("/processes") == 2.0).then_some(())
    });
    let (_, code) = shell.run("rm /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest/big");
    assert_eq!(code, 0, "{shown}");
    assert_eq!(lab.end(&task).well(), "3000000\n");
}

fn a_share_of_the_processor(lab: &mut Lab) {
    // 20 % of one processor for about four seconds, whatever the emulated machine makes of a second.
    let text = "s=/sys/fs/cgroup/cpu.stat; t() { cut -d' ' -f1 /proc/uptime | tr -d .; }; u() { sed -n 's/usage_usec //p' $s; }; \
                (while :; do :; done) & b=$!; sleep 1; t0=$(t); u0=$(u); sleep 4; t1=$(t); u1=$(u); kill $b; \
                echo $(( (u1 - u0) / ((t1 - t0) * 100) )); sed -n 's/nr_throttled //p' $s";
    let limits = json!({"limits": {"cpus": {"value": 0.2}}});
    let told = lab.run(text, limits).well();
    let mut numbers = told.lines().map(|line| line.parse::<u32>().unwrap());
    let (percent, throttled) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!((10..=26).contains(&percent) && throttled > 5, "{told}");
}

fn a_fork_bomb_stops(lab: &mut Lab) {
    let neighbour = lab.launch(8, "sleep 6; echo fine", json!({}));
    let bomb = lab.launch(
        44,
        "cat /sys/fs/cgroup/pids.max; b() { b | b & }; while :; do b; done",
        json!({}),
    );
    let told = lab.end(&bomb);
    assert!(told.stdout.starts_with("512\n"), "{told:?}");
    // Whichever it has run into first: no more processes, or no more memory for them.
    let reason = &told.status["reason"];
    let is_stopped =
        told.stderr.contains("fork") || *reason == "REASON_CONTAINER_LIMITATION_MEMORY";
    assert!(
        told.status["state"] == "TASK_FAILED" && is_stopped,
        "{told:?}"
    );
    assert_eq!(lab.end(&neighbour).well(), "fine\n");
}

fn a_memory_hog_dies_alone(lab: &mut Lab) {
    let neighbour = lab.launch(8, "sleep 4; echo fine", json!({}));
    let hog = lab.launch(40, "tail /dev/zero & wait $!; echo survived", json!({}));
    let told = lab.end(&hog);
    assert_eq!(told.status["state"], "TASK_FAILED", "{told:?}");
    assert_eq!(
        told.status["reason"], "REASON_CONTAINER_LIMITATION_MEMORY",
        "{told:?}"
    );
    let message = told.status["message"].as_str().unwrap();
    assert!(
        message.contains("Requested: 40MB Maximum Used: 40MB"),
        "{message}"
    );
    assert_eq!(told.stdout, "", "the group dies as a whole");
    assert_eq!(lab.end(&neighbour).well(), "fine\n");
}

/// A container that no framework knows of: what it was given is in force, and what it died of is told.
fn an_operators_container_has_limits(lab: &Lab) {
    let agent = lab.cluster.active_node("board-2")["agent"].clone();
    let path = format!("/nesos/v1/agents/{}/api/v1", agent.as_str().unwrap());
    let call = |name: &str, member: Value| -> Value {
        let body = json!({"type": name, name.to_lowercase(): member}).to_string();
        let json = ("Content-Type", "application/json");
        let answer = http::request(
            lab.cluster.master(),
            "POST",
            &path,
            &[json],
            body.as_bytes(),
        );
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_default()
    };
    let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let launch = |name: &str, text: &str, limits: Value| {
        let resources = json!([one("cpus", 0.1), one("mem", 40.0)]);
        let member = json!({"container_id": {"value": name}, "command": {"value": text}, "resources": resources, "limits": limits});
        call("LAUNCH_CONTAINER", member);
    };
    let about = |name: &str, id: &str| call(name, json!({"container_id": {"value": id}}));
    let text = "cd /sys/fs/cgroup; cat memory.max memory.low cpu.max; sleep 1000";
    let limits = json!({"cpus": {"value": 0.5}, "mem": {"value": 48.0}});
    launch("calm", text, limits);
    launch("hog", "tail /dev/zero & wait $!; echo survived", json!({}));
    let told = about("WAIT_CONTAINER", "hog");
    let told = &told["wait_container"];
    assert_eq!(told["state"], "TASK_FAILED", "{told}");
    assert_eq!(
        told["reason"], "REASON_CONTAINER_LIMITATION_MEMORY",
        "{told}"
    );
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains("Requested: 40MB Maximum Used: 40MB"),
        "{message}"
    );
    let mut shell = lab.cluster.shell("board-2");
    let look = "cat /data/agentd/containers/hog/stdout /data/agentd/containers/calm/stdout";
    let (seen, _) = shell.run(look);
    assert_eq!(seen, "50331648\n41943040\n50000 100000");
    about("KILL_CONTAINER", "calm");
    let told = about("WAIT_CONTAINER", "calm");
    assert_eq!(told["wait_container"]["exit_status"], 9, "{told}");
    about("REMOVE_CONTAINER", "hog");
    about("REMOVE_CONTAINER", "calm");
}

/// Of all these containers no cgroup, mount or run directory is left on the board.
fn nothing_is_left(lab: &Lab) {
    let mut shell = lab.cluster.shell("board-2");
    let (left, _) = shell.run("ls -d /sys/fs/cgroup/nesos/*/ | grep -v executors; grep -c -e overlay -e agentd /proc/mounts; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'nesos-executo[r] /[^ ]*'");
    assert_eq!(left, "0");
}
