//! The helper as PID 1 of a task's own namespaces. Needs root (CAP_SYS_ADMIN); elsewhere these tests say so and pass,
//! and tests/qemu has the same in a guest.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use common::{Helper, Place, allowed, become_nobody, host_files, isolate, until};
use nesos_sys::container::{Namespaces, SpawnPlan, spawn};
use nesos_sys::signal::Signal;
use nesos_wire::executor::{ExecutorSpec, FromExecutor, Outcome};

fn start(text: &str, change: impl FnOnce(&mut ExecutorSpec)) -> Helper {
    let place = Place::new();
    let mut spec = place.shell(text);
    isolate(&mut spec, true);
    change(&mut spec);
    place.start(&spec)
}

#[test]
fn the_task_sees_only_itself() {
    if !allowed() {
        return;
    }
    // A name that nobody else has on this machine.
    let mine = format!("/tmp/of-the-task-{}", std::process::id());
    let look = "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; ls -A /tmp; id -u";
    let helper = start(&format!("{look}; touch {mine} && echo private"), |_| ());
    let mut client = helper.connect();
    // Whether the start is still seen depends on who is faster; the end is told in any case.
    let last = std::iter::from_fn(|| client.next()).last();
    assert!(matches!(last, Some(FromExecutor::Exited(_))), "{last:?}");
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    let output = helper.output("stdout");
    let lines: Vec<&str> = output.lines().collect();
    // The helper, the shell, ls, and grep unless ls was faster.
    assert!(matches!(lines[0], "3" | "4"), "{output}");
    // Of the host's /tmp there is only the way to the sandbox, which the test happens to have there.
    let scratch = helper
        .place
        .folder
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(lines[1..], ["nesos-executor", scratch, "0", "private"]);
    assert!(!fs::exists(&mine).unwrap());
}

#[test]
fn sys_is_read_only_inside_and_as_it_was_outside() {
    if !allowed() {
        return;
    }
    let helper = start(
        "grep -c ' /sys[^ ]* [^ ]* rw' /proc/self/mounts; mkdir /sys/kernel/x 2>&1",
        |_| (),
    );
    assert!(matches!(helper.record().outcome, Outcome::Exit(code) if code != 0));
    let output = helper.output("stdout");
    assert!(
        output.starts_with("0\n") && output.contains("Read-only file system"),
        "{output}"
    );
    assert!(
        fs::read_to_string("/proc/self/mounts")
            .unwrap()
            .lines()
            .any(|line| line.contains(" /sys sysfs rw"))
    );
}

#[test]
fn a_mount_namespace_alone_hides_tmp_and_keeps_process_ids() {
    if !allowed() {
        return;
    }
    let helper = start("echo $$; ls -A /tmp; sleep 1000 & exit 3", |spec| {
        spec.pid_namespace = false
    });
    let mut client = helper.connect();
    let running = client.next();
    assert_eq!(helper.record().outcome, Outcome::Exit(3));
    let scratch = helper
        .place
        .folder
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let output = helper.output("stdout");
    let (pid, rest) = output.split_once('\n').unwrap();
    assert_eq!(rest, format!("{scratch}\n"));
    // The start is seen only by a client that was quick.
    if let Some(FromExecutor::Running { pid: told }) = running {
        assert_eq!(pid, told.to_string());
    }
}

#[test]
fn a_pid_namespace_that_nobody_made_is_refused() {
    let place = Place::new();
    let mut spec = place.shell("true");
    spec.pid_namespace = true;
    let bytes = nesos_wire::frame::encode(&spec).unwrap();
    let reason = place.start_raw(&bytes, Namespaces::NONE).reason();
    assert_eq!(
        reason,
        "a PID namespace was asked for, but the helper is not PID 1 of one"
    );
}

#[test]
fn mounts_never_reach_a_caller_that_made_no_namespace() {
    if !allowed() {
        return;
    }
    let place = Place::new();
    let spec = ExecutorSpec {
        file_system: Some(host_files(place.sandbox().to_str().unwrap())),
        ..place.shell("ls -A /tmp")
    };
    fs::write(
        place.run().join("spec"),
        nesos_wire::frame::encode(&spec).unwrap(),
    )
    .unwrap();
    // The caller is a shell in a namespace of the test's, so that a failure stays in there.
    let (run, table) = (place.run(), "cat /proc/self/mountinfo");
    let script = format!(
        "mount --make-rprivate / && cd {0} && {table} > before && {1} {0} < spec; {table} > after",
        run.display(),
        common::program()
    );
    let mut plan = SpawnPlan::new("sh", ["sh", "-c", &script].map(str::to_owned).to_vec());
    plan.namespaces.mount = true;
    let helper = Helper {
        spawned: spawn(&plan).unwrap(),
        place,
    };
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    let read = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let scratch = helper
        .place
        .folder
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    assert_eq!(
        helper.output("stdout"),
        format!("{scratch}\n"),
        "the task's own /tmp"
    );
}

#[test]
fn nothing_survives_in_the_namespace() {
    if !allowed() {
        return;
    }
    let helper = start(
        "setsid sh -c 'setsid sleep 1000 & sleep 1000' & echo up; sleep 0.1",
        |_| (),
    );
    helper.first_line();
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", helper.spawned.pid)).unwrap();
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    assert_eq!(members(&namespace), Vec::<String>::new());
}

#[test]
fn a_killed_helper_takes_the_namespace_along() {
    if !allowed() {
        return;
    }
    let helper = start(
        "trap '' TERM; setsid sleep 1000 & echo up; wait; wait",
        |_| (),
    );
    helper.first_line();
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", helper.spawned.pid)).unwrap();
    assert!(members(&namespace).len() >= 3);
    helper.spawned.pidfd.send(Signal::SIGKILL).unwrap();
    helper.wait();
    until("the end of the namespace", || {
        members(&namespace).is_empty()
    });
}

#[test]
fn a_deaf_namespace_is_killed_after_the_grace() {
    if !allowed() {
        return;
    }
    let helper = start(
        "trap : TERM; setsid sh -c 'trap \"echo heard >> heard\" TERM; echo up; while :; do sleep 0.01; done' & while :; do sleep 0.01; done",
        |_| (),
    );
    helper.first_line();
    let mut client = helper.connect();
    client.expect_running();
    client.kill(Duration::from_millis(300));
    let record = client.expect_exited();
    assert_eq!(
        (record.outcome, record.kill_requested),
        (Outcome::Signal(9), true)
    );
    assert_eq!(helper.output("heard"), "heard\n");
}

#[test]
fn the_task_becomes_the_user_it_was_given() {
    if !allowed() {
        return;
    }
    let helper = start(
        "id -u; id -G | wc -w; grep -e ^Groups /proc/self/status; echo mine > /tmp/x; stat -c %u stdout",
        become_nobody,
    );
    let nobody = nesos_sys::user::lookup("nobody").unwrap();
    assert_eq!(
        helper.record().outcome,
        Outcome::Exit(0),
        "{}",
        helper.output("stderr")
    );
    let output = helper.output("stdout");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        (lines[0], lines[3]),
        (
            nobody.uid.to_string().as_str(),
            nobody.uid.to_string().as_str()
        ),
        "{output}"
    );
    assert_eq!(lines[1], "1", "{output}");
}

#[test]
fn a_full_disk_does_not_lose_the_exit_status() {
    if !allowed() {
        return;
    }
    // The helper's whole place is a small file system that the task fills up.
    let place = Place::new();
    let base = place.folder.path().to_str().unwrap().to_owned();
    let spec = place.shell("cat /dev/zero > big; echo more > more; exit 9");
    fs::write(
        place.run().join("spec"),
        nesos_wire::frame::encode(&spec).unwrap(),
    )
    .unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {base}/sandbox && mkdir {base}/sandbox/run \
         && {} {base}/sandbox/run < {base}/run/spec; cp {base}/sandbox/run/exit {base}/run; test -s {base}/sandbox/more || touch {base}/run/full",
        common::program()
    );
    let mut plan = SpawnPlan::new("sh", ["sh", "-c", &script].map(str::to_owned).to_vec());
    plan.namespaces.mount = true;
    // A namespace whose mounts are shared with the host would show the tmpfs to everybody.
    plan.arguments[2] = format!("mount --make-rprivate / && {script}");
    let spawned = spawn(&plan).unwrap();
    let helper = Helper { place, spawned };
    assert_eq!(helper.record().outcome, Outcome::Exit(9));
    assert!(
        helper.place.run().join("full").exists(),
        "the file system was not full"
    );
}

/// Processes (as the host numbers them) of a PID namespace, zombies left out.
fn members(namespace: &std::path::Path) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let inside = |pid: &String| {
        fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == namespace)
    };
    processes
        .filter(inside)
        .filter(|pid| common::lives(pid.parse().unwrap()))
        .collect()
}
