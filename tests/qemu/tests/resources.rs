//! What tasks may use of a board's devices and disk, proved on the boards' own kernel. One boot for all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_cluster_tests::eventually;
use nesos_qemu_tests::{Lab, Told, VmCluster};
use serde_json::{Value, json};

/// Longest wait for what an emulated board shows soon.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn each_task_has_what_it_was_given() {
    let gpus = json!({"capabilities": [{"type": "GPU_RESOURCES"}]});
    let mut lab = Lab::with_boards(gpus, &["--cpus", "2"]);
    few_devices(&mut lab);
    a_cgroup_that_looks_like_all(&mut lab);
    a_slow_disk(&mut lab);
    a_full_disk(&mut lab);
    nothing_outlives_a_crash(&mut lab);
    another_agentd(&lab);
    an_accelerator_of_its_own(&mut lab);
    processors_of_its_own(&mut lab);
}

/// What a process in the cgroup of a task may open, whatever its rights and its files: the board's root among its devices.
fn few_devices(lab: &mut Lab) {
    let task = lab.launch(16, "until test -e end; do sleep 0.2; done", json!({}));
    lab.wait_running(&task);
    let look = "for d in null zero full random urandom ptmx kmsg mem vda; do (true < /dev/$d) 2>/dev/null && echo $d; done";
    let (before, _) = on_board(lab, look);
    assert_eq!(
        before.replace('\n', " "),
        "null zero full random urandom ptmx kmsg mem vda"
    );
    let enter = "g=$(ls -d /sys/fs/cgroup/nesos/*/ | grep -v executors); echo 0 > ${g}cgroup.procs";
    let (inside, _) = on_board(
        lab,
        &format!("({enter}; {look}; (true < /dev/vda) 2>&1 | grep -o 'not permitted')"),
    );
    assert_eq!(
        inside.replace('\n', " "),
        "null zero full random urandom ptmx not permitted"
    );
    end_of(lab, &task);
}

/// The root of all cgroups, to a task, is its own; and it changes nothing there.
fn a_cgroup_that_looks_like_all(lab: &mut Lab) {
    let text = "cat /proc/self/cgroup; grep -qx $$ /sys/fs/cgroup/cgroup.procs && echo here; ls -d /sys/fs/cgroup/nesos 2>/dev/null; \
                mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused; grep -c cgroup2 /proc/self/mountinfo; grep cgroup2 /proc/self/mountinfo | cut -d' ' -f4";
    assert_eq!(
        lab.run(text, json!({})).well(),
        "0::/\nhere\nrefused\n1\n/\n"
    );
}

const ELAPSED: &str = "t() { cut -d' ' -f1 /proc/uptime | tr -d .; }";

/// Four megabytes at one megabyte a second, and at once without the label.
fn a_slow_disk(lab: &mut Lab) {
    let text = format!(
        "{ELAPSED}; a=$(t); dd if=/dev/zero of=big bs=64k count=64 conv=fsync 2>/dev/null; b=$(t); cut -d' ' -f2- /sys/fs/cgroup/io.max; echo $((b - a))"
    );
    let label = json!({"labels": {"labels": [{"key": "io_max", "value": "wbps=1MB"}]}});
    let slow = lab.run(&text, label).well();
    let (limits, elapsed) = slow.trim_end().split_once('\n').unwrap();
    assert_eq!(limits, "rbps=max wbps=1048576 riops=max wiops=max");
    let slow: u32 = elapsed.parse().unwrap();
    let quick: u32 = lab.run(&text, json!({})).well().trim().parse().unwrap();
    assert!(
        slow > 250 && quick < slow / 2,
        "{slow} and {quick} hundredths of a second"
    );
    let wrong = json!({"labels": {"labels": [{"key": "io_max", "value": "wbps=much"}]}});
    let refusal = lab.run("true", wrong).refusal();
    assert!(refusal.contains("label io_max: 'wbps=much'"), "{refusal}");
}

/// A task that writes more than its `disk` is ended; its neighbour, which has more, is not.
fn a_full_disk(lab: &mut Lab) {
    let with = |megabytes: f64| {
        let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        json!({"resources": [one("cpus", 0.1), one("mem", 16.0), one("disk", megabytes)]})
    };
    let text = "dd if=/dev/zero of=big bs=64k count=48 2>/dev/null; until test -e end; do sleep 0.2; done; echo fine";
    let neighbour = lab.launch_on(&[("disk", 8), ("mem", 16)], text, with(8.0));
    lab.wait_running(&neighbour);
    let full = lab.launch_on(&[("disk", 2), ("mem", 16)], text, with(2.0));
    let told = lab.end(&full);
    assert_eq!(told.status["state"], "TASK_FAILED", "{told:?}");
    assert_eq!(
        told.status["reason"], "REASON_CONTAINER_LIMITATION_DISK",
        "{told:?}"
    );
    let message = told.status["message"].as_str().unwrap();
    assert!(message.contains("exceeds quota (2MB)"), "{message}");
    let look = "wget -q -O - http://127.0.0.1:5051/monitor/statistics";
    let shown = on_board(lab, look).0;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let statistics = &shown[0]["statistics"];
    assert_eq!(statistics["disk_limit_bytes"], 8 << 20, "{shown}");
    assert!(
        statistics["disk_used_bytes"].as_u64().unwrap() >= 3 << 20,
        "{shown}"
    );
    assert_eq!(end_of(lab, &neighbour).well(), "fine\n");
}

/// agentd and a helper are killed in the same moment: what the helper held is gone, and its end is told.
fn nothing_outlives_a_crash(lab: &mut Lab) {
    let task = lab.launch(16, "sleep 1000 & sleep 1000", json!({}));
    lab.wait_running(&task);
    let (_, code) = on_board(lab, "kill -9 $(pidof agentd) $(pidof nesos-executor)");
    assert_eq!(code, 0);
    let told = lab.end(&task);
    assert_eq!(told.status["state"], "TASK_FAILED", "{told:?}");
    let left = "ls -d /sys/fs/cgroup/nesos/*/ | grep -v executors; ls -d /run/nesos/agentd/*/ 2>/dev/null; grep -c -e overlay -e agentd /proc/mounts; pidof sleep";
    eventually("nothing is left", SOON, || {
        (on_board(lab, left).0 == "0").then_some(())
    });
}

/// The next agentd finds a gpu and isolates by processors too, since the board's cluster.toml asks for it.
fn another_agentd(lab: &Lab) {
    let ask = "mkdir /dev/dri && mknod /dev/dri/renderD128 c 1 11; mount -o remount,rw /boot; \
               printf \"\\n[agent]\\nisolation = 'cgroups/cpuset'\\n\" >> /boot/cluster.toml; mount -o remount,ro /boot; kill -9 $(pidof agentd)";
    // What PID 1 says of it may come in between.
    assert_eq!(on_board(lab, ask).1, 0);
}

/// A device file that is there when agentd starts becomes a gpu. Here it is a second name of /dev/kmsg, which can be opened.
fn an_accelerator_of_its_own(lab: &mut Lab) {
    let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let with = json!({"resources": [one("cpus", 0.1), one("mem", 16.0), one("gpus", 1.0)]});
    let text = "ls /dev/dri; true < /dev/dri/renderD128 && echo opened";
    // Nothing with gpus was offered before agentd started again.
    let id = lab.launch_on(&[("gpus", 1), ("mem", 16)], text, with);
    assert_eq!(lab.end(&id).well(), "renderD128\nopened\n");
    let text = "ls -d /dev/dri; mknod gpu c 1 11 2>/dev/null || echo refused";
    let told: Told = lab.run(text, json!({}));
    assert_eq!(told.well(), "refused\n");
}

/// One of two processors is a task's own; the others share the other.
fn processors_of_its_own(lab: &mut Lab) {
    let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let with = |cpus: f64| json!({"resources": [one("cpus", cpus), one("mem", 16.0)]});
    let look = "cat /sys/fs/cgroup/cpuset.cpus; grep Cpus_allowed_list /proc/self/status | cut -f2";
    let text = format!("{look}; until test -e end; do sleep 0.2; done; {look}");
    let shared = lab.launch_on(&[("cpus", 1), ("mem", 16)], &text, with(0.5));
    lab.wait_running(&shared);
    let own = lab.launch_on(&[("cpus", 1), ("mem", 16)], &text, with(1.0));
    lab.wait_running(&own);
    let all =
        "cat $(ls /sys/fs/cgroup/nesos/*/cpuset.cpus | grep -v executors) | sort | tr '\\n' ' '";
    assert_eq!(on_board(lab, all).0, "0 1 ");
    let next = lab.run(look, json!({}));
    assert_eq!(next.well(), "0\n0\n");
    assert_eq!(end_of(lab, &own).well(), "1\n1\n1\n1\n");
    let shared = lab.end(&shared).well();
    assert!(shared.starts_with("0-1\n0-1\n"), "{shared}");
}

/// What its tasks leave unused is lent by a board, and taken back when the kernel says that they wait for it.
#[test]
fn who_borrows_goes_when_pressure_rises() {
    let names = ["PARTITION_AWARE", "REVOCABLE_RESOURCES"];
    let members = json!({"capabilities": names.map(|name| json!({ "type": name }))});
    let cluster = VmCluster::start(2);
    lend(&cluster);
    let mut lab = Lab::on(cluster, members);
    let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let with = |cpus: f64| json!({"resources": [one("cpus", cpus), one("mem", 8.0)]});
    let waits = "until test -e end; do sleep 0.5; done; echo fine";
    let bystander = lab.launch_on(&[("mem", 8)], waits, with(0.1));
    lab.wait_running(&bystander);
    // Two that want one processor: what the kernel calls pressure, whoever has the processor.
    let text = format!(
        "until test -e busy; do sleep 0.5; done; b() {{ until test -e end; do :; done; }}; b & b & {waits}"
    );
    let lender = lab.launch_on(&[("mem", 8)], &text, with(0.5));
    lab.wait_running(&lender);

    let mut lent = with(0.1);
    lent["resources"][0]["revocable"] = json!({});
    let lodger = lab.launch_on_lent("cpus", "while :; do :; done", lent);
    lab.wait_running(&lodger);
    // It is left alone for many of agentd's looks while it takes what nobody else wants.
    let mut used = Value::Null;
    eventually("it has used eight seconds", SOON, || {
        used = statistics_of(&lab, &lodger);
        (used["cpus_user_time_secs"].as_f64()? > 8.0).then_some(())
    });
    let waited = |lab: &Lab, task: &str| {
        let pressure = &statistics_of(lab, task)["pressure"]["cpu"];
        pressure["some_avg10"].as_f64().unwrap()
    };
    assert!(waited(&lab, &lender) < 30.0, "{used}");
    let go = "for s in /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest; do touch $s/busy; done";
    assert_eq!(on_board(&lab, go).1, 0);
    let told = lab.end(&lodger);
    assert_eq!(told.status["state"], "TASK_GONE", "{told:?}");
    let reason = &told.status["reason"];
    assert_eq!(*reason, "REASON_CONTAINER_PREEMPTED", "{told:?}");
    let message = told.status["message"].as_str().unwrap();
    assert!(message.contains("for a processor"), "{message}");
    // Who lent it is where it was, waits as long as before, and is never ended for that.
    eventually("it waits nearly always", SOON, || {
        (waited(&lab, &lender) > 60.0).then_some(())
    });
    assert_eq!(end_of(&mut lab, &bystander).well(), "fine\n");
    assert_eq!(lab.end(&lender).well(), "fine\n");
}

/// From now on PID 1 starts an agentd that lends and takes back, by looks a second apart.
fn lend(cluster: &VmCluster) {
    let mut shell = cluster.shell("board-2");
    assert_eq!(shell.run(LENDING_AGENTD).1, 0);
    let look = "wget -q -O - http://127.0.0.1:5051/flags http://127.0.0.1:5051/metrics/snapshot";
    eventually("it has registered", SOON, || {
        let (told, _) = shell.run(look);
        let has = |text: &str| told.contains(text);
        (has("\"qos_controller\":\"pressure\"") && has("\"slave/registered\":1")).then_some(())
    });
}

const LENDING_AGENTD: &str = "mkdir /run/lending && cp /usr/bin/agentd /run/lending && ln -s /usr/bin/nesos-* /run/lending && \
    printf '#!/bin/sh\nexec /run/lending/agentd \"$@\" --resource_estimator=slack --qos_controller=pressure --oversubscribed_resources_interval=1secs\n' > /run/lending/start && \
    chmod +x /run/lending/start && mount --bind /run/lending/start /usr/bin/agentd && kill -9 $(pidof agentd)";

/// What agentd shows of a task's container.
fn statistics_of(lab: &Lab, task: &str) -> Value {
    let look = "wget -q -O - http://127.0.0.1:5051/monitor/statistics";
    let all: Value = serde_json::from_str(&on_board(lab, look).0).unwrap();
    let mut all = all.as_array().unwrap().iter();
    let its = all.find(|one| one["executor_id"] == task);
    its.map(|one| one["statistics"].clone()).unwrap_or_default()
}

/// What a command says on the tasks' board, and its exit code. A console has one listener at a time.
fn on_board(lab: &Lab, command: &str) -> (String, i32) {
    lab.cluster.shell("board-2").run(command)
}

/// Lets a task go that waits for the file `end`.
fn end_of(lab: &mut Lab, task: &str) -> Told {
    let (_, code) = on_board(
        lab,
        "for s in /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest; do touch $s/end; done",
    );
    assert_eq!(code, 0);
    lab.end(task)
}
