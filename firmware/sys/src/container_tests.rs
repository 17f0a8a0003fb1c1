//! Tests of `container` and `pidfd` with real processes, without any rights but for the last.
use super::*;
use crate::cgroup::scratch::Group;
use crate::process;
use crate::reap::Exit;
use nix::sys::signal::Signal;
use std::io::{Seek, SeekFrom};

fn shell(text: &str) -> SpawnPlan {
    SpawnPlan::new("/bin/sh", ["sh", "-c", text].map(str::to_owned).to_vec())
}

/// Runs the plan to its end; how it ended and what it wrote.
fn run(mut plan: SpawnPlan) -> (Exit, String) {
    let mut output = tempfile::tempfile().expect("scratch file");
    plan.stdout = Some(output.try_clone().expect("dup").into());
    let exit = spawn(&plan).expect("spawn").pidfd.wait().expect("wait");
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).expect("seek");
    output.read_to_string(&mut text).expect("read");
    (exit, text)
}

#[test]
fn it_has_exactly_the_given_environment_directory_and_files() {
    let mut plan =
        shell("pwd; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; ls /proc/self/fd | wc -l; exit 7");
    plan.environment = vec![
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("A".to_owned(), "b=c".to_owned()),
    ];
    plan.directory = "/usr".into();
    // `ls` itself holds /proc/self/fd open, hence 4.
    let (exit, text) = run(plan);
    assert_eq!(exit, Exit::Code(7));
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..3].sort_unstable();
    assert_eq!(lines, ["/usr", "A=b=c", "PATH=/usr/bin:/bin", "4"]);
}

#[test]
fn signals_are_as_a_fresh_process_expects() {
    // Without a shell between, which may ignore signals of its own.
    let arguments = ["grep", "-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"]
        .map(str::to_owned)
        .to_vec();
    let (_, text) = run(SpawnPlan::new("grep", arguments));
    assert_eq!(
        text,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn it_leads_its_own_session() {
    let (_, text) = run(shell(
        "read -r pid _ _ _ group session _ < /proc/self/stat; test $session = $$ && echo $group=$$",
    ));
    let (group, pid) = text.trim().split_once('=').expect("two numbers");
    assert_eq!(group, pid);
}

#[test]
fn a_name_is_found_by_the_environments_path() {
    let mut plan = SpawnPlan::new("true", vec!["true".to_owned()]);
    assert_eq!(run(plan).0, Exit::Code(0));
    plan = SpawnPlan::new("true", vec!["true".to_owned()]);
    plan.environment = vec![("PATH".to_owned(), "/nowhere:/etc/passwd".to_owned())];
    let error = spawn(&plan).expect_err("not there");
    assert!(
        matches!(
            error,
            SpawnError::Child {
                step: Step::Exec,
                errno: Errno::ENOENT,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_failure_names_the_step_and_the_errno() {
    let mut plan = shell("true");
    plan.directory = "/nowhere".into();
    let error = spawn(&plan).expect_err("no such directory");
    assert_eq!(
        error.to_string(),
        "start /bin/sh: enter the working directory: ENOENT: No such file or directory"
    );
    let error =
        spawn(&SpawnPlan::new("/etc/passwd", vec!["p".to_owned()])).expect_err("not executable");
    assert_eq!(
        error.to_string(),
        "start /etc/passwd: execute: EACCES: Permission denied"
    );
    let error = spawn(&SpawnPlan::new("/bin/tr\0ue", vec![])).expect_err("NUL");
    assert!(matches!(error, SpawnError::Nul { .. }), "{error}");
}

#[test]
fn a_descriptor_knows_the_end_and_refuses_a_reused_number() {
    let spawned = spawn(&SpawnPlan::new(
        "sleep",
        vec!["sleep".to_owned(), "1000".to_owned()],
    ))
    .expect("spawn");
    assert!(!spawned.pidfd.has_ended());
    assert_eq!(spawned.pidfd.try_wait().expect("child"), None);
    let started = process::start_time(spawned.pid).expect("stat");
    assert!(
        PidFd::open_same(spawned.pid, started)
            .expect("open")
            .is_some()
    );
    assert!(
        PidFd::open_same(spawned.pid, started + 1)
            .expect("open")
            .is_none()
    );
    spawned.pidfd.send(Signal::SIGKILL).expect("signal");
    assert_eq!(spawned.pidfd.wait().expect("wait"), Exit::Signal(9));
    assert!(spawned.pidfd.has_ended());
    assert!(
        PidFd::open_same(spawned.pid, started)
            .expect("open")
            .is_none()
    );
}

#[test]
fn only_the_procs_file_of_a_cgroup_names_one() {
    assert!(cgroup_of_procs_file(Path::new("/tmp/cgroup.procs")).is_ok());
    for wrong in ["cgroup.procs", "/tmp/other", "/", ""] {
        assert!(cgroup_of_procs_file(Path::new(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn its_cgroup_can_be_the_root_of_all_that_it_sees() {
    let Some(group) = Group::new("view") else {
        eprintln!("no cgroup v2 here: nothing tested");
        return;
    };
    let start = |text: &str, cgroup_view| SpawnPlan {
        cgroup: Some(group.0.directory().expect("a directory")),
        cgroup_view,
        ..shell(text)
    };
    const LOOK: &str = "grep ^0: /proc/self/cgroup; readlink /proc/self/ns/cgroup";
    let (_, callers) = run(start(LOOK, View::Callers));
    assert!(callers.contains("/nesos-test-view-"), "{callers}");
    let first = spawn(&start("exec sleep 1000", View::Own)).expect("started");
    let namespace = File::open(format!("/proc/{}/ns/cgroup", first.pid)).expect("a namespace");
    let (_, same) = run(start(LOOK, View::Of(namespace.into())));
    let link = std::fs::read_link(format!("/proc/{}/ns/cgroup", first.pid)).expect("a link");
    first
        .pidfd
        .send(crate::signal::Signal::SIGKILL)
        .expect("killed");
    first.pidfd.wait().expect("reaped");
    assert_eq!(same, format!("0::/\n{}\n", link.display()));
}
