//! The helper as plain processes see it: no rights needed, no namespaces, no cgroups.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use common::{Place, lives, spawn_in, until};
use nesos_sys::container::Namespaces;
use nesos_sys::reap::Exit;
use nesos_sys::signal::Signal;
use nesos_wire::executor::{FromExecutor, Outcome};
use nesos_wire::frame;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn output_environment_and_exit_code_come_through() {
    let place = Place::new();
    let mut spec = place.shell("pwd; echo $A; echo oops >&2; cat; exit 42");
    spec.environment.push(("A".to_owned(), "b c".to_owned()));
    fs::write(place.sandbox().join("stdout"), "before\n").unwrap();
    let helper = place.start(&spec);
    let record = helper.record();
    assert_eq!(
        (record.outcome, record.kill_requested),
        (Outcome::Exit(42), false)
    );
    assert_eq!(
        helper.output("stdout"),
        format!("before\n{}\nb c\n", spec.sandbox)
    );
    assert_eq!(helper.output("stderr"), "oops\n");
    assert_eq!(helper.log(), "");
    assert!(!helper.place.run().join("exit.tmp").exists());
}

#[test]
fn a_client_hears_running_and_the_end_after_the_record() {
    let place = Place::new();
    let spec = place.shell("echo $$; while [ ! -e go ]; do sleep 0.01; done; kill -USR1 $$");
    let helper = place.start(&spec);
    let mut client = helper.connect();
    let Some(FromExecutor::Running { pid }) = client.next() else {
        panic!("not running")
    };
    assert_eq!(helper.first_line(), format!("{pid}\n"));
    fs::write(helper.place.sandbox().join("go"), "").unwrap();
    let told = client.expect_exited();
    assert!(helper.place.run().join("exit").exists());
    assert_eq!(told.outcome, Outcome::Signal(10));
    assert_eq!(helper.record(), told);
    assert_eq!(client.next(), None);
}

#[test]
fn a_second_client_gets_the_present_state_after_the_first_has_gone() {
    let place = Place::new();
    let spec = place.shell("echo up; while [ ! -e go ]; do sleep 0.01; done; echo last words");
    let helper = place.start(&spec);
    let mut first = helper.connect();
    first.expect_running();
    drop(first);
    helper.first_line();
    let mut second = helper.connect();
    second.expect_running();
    fs::write(helper.place.sandbox().join("go"), "").unwrap();
    assert_eq!(second.expect_exited().outcome, Outcome::Exit(0));
    assert_eq!(helper.output("stdout"), "up\nlast words\n");
}

#[test]
fn a_kill_lets_the_task_say_goodbye() {
    let place = Place::new();
    let spec = place.shell("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done");
    let helper = place.start(&spec);
    helper.first_line();
    let mut client = helper.connect();
    client.expect_running();
    client.kill(LONG);
    let record = client.expect_exited();
    assert_eq!(
        (record.outcome, record.kill_requested),
        (Outcome::Exit(5), true)
    );
    assert_eq!(helper.output("stdout"), "up\nbye\n");
}

#[test]
fn an_order_counts_even_if_its_giver_does_not_wait() {
    let place = Place::new();
    let spec = place.shell("echo up; exec sleep 1000");
    let helper = place.start(&spec);
    helper.first_line();
    helper.connect().kill(LONG);
    let record = helper.record();
    assert_eq!(
        (record.outcome, record.kill_requested),
        (Outcome::Signal(15), true)
    );
}

#[test]
fn a_deaf_task_is_killed_after_the_shortest_grace() {
    let place = Place::new();
    let spec = place.shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
    let helper = place.start(&spec);
    helper.first_line();
    let mut client = helper.connect();
    client.expect_running();
    let start = Instant::now();
    client.kill(LONG);
    client.kill(Duration::from_millis(200));
    client.kill(LONG);
    let record = client.expect_exited();
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        (record.outcome, record.kill_requested),
        (Outcome::Signal(9), true)
    );
}

#[test]
fn sigterm_to_the_helper_ends_the_task_with_the_specs_grace() {
    let place = Place::new();
    let mut spec = place.shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
    spec.kill_grace_ms = 50;
    let helper = place.start(&spec);
    helper.first_line();
    helper.spawned.pidfd.send(Signal::SIGTERM).unwrap();
    assert_eq!(helper.record().outcome, Outcome::Signal(9));
}

#[test]
fn nothing_of_the_task_survives_its_main_process() {
    let place = Place::new();
    // One in the group, one that left it, one that left it and lost its parent.
    let spec = place.shell(
        "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; sh -c 'setsid sh -c \"trap : TERM; echo \\$\\$; sleep 1000; sleep 1000\" &'; \
         while [ $(wc -l < stdout) -lt 3 ]; do sleep 0.01; done",
    );
    let helper = place.start(&spec);
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    let pids: Vec<u32> = helper
        .output("stdout")
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| !lives(*pid)), "{pids:?}");
}

#[test]
fn a_kill_reaches_processes_that_left_the_group() {
    let place = Place::new();
    // The main process waits for the one in another session, and once more after its own SIGTERM.
    let child = "trap \"echo heard; exit\" TERM; echo up; while :; do sleep 0.01; done";
    let spec = place.shell(&format!(
        "trap : TERM; setsid sh -c '{child}' & wait; wait; exit 4"
    ));
    let helper = place.start(&spec);
    helper.first_line();
    let mut client = helper.connect();
    client.expect_running();
    client.kill(LONG);
    assert_eq!(client.expect_exited().outcome, Outcome::Exit(4));
    assert_eq!(helper.output("stdout"), "up\nheard\n");
}

#[test]
fn the_task_dies_with_a_helper_that_is_killed() {
    let place = Place::new();
    let spec = place.shell("echo $$; exec sleep 1000");
    let helper = place.start(&spec);
    let pid: u32 = helper.first_line().trim().parse().unwrap();
    helper.spawned.pidfd.send(Signal::SIGKILL).unwrap();
    helper.wait();
    until("the task's end", || !lives(pid));
    assert!(!helper.place.run().join("exit").exists());
}

#[test]
fn what_cannot_start_says_why() {
    let start = |change: &dyn Fn(&mut nesos_wire::executor::ExecutorSpec)| {
        let place = Place::new();
        let mut spec = place.shell("true");
        change(&mut spec);
        place.start(&spec).reason()
    };
    assert_eq!(
        start(&|spec| spec.program = "/no/such/program".to_owned()),
        "start /no/such/program: execute: ENOENT: No such file or directory"
    );
    assert_eq!(
        start(&|spec| spec.program = "/etc/passwd".to_owned()),
        "start /etc/passwd: execute: EACCES: Permission denied"
    );
    assert_eq!(
        start(&|spec| spec.arguments[2] = "a\0b".to_owned()),
        "start /bin/sh: a NUL byte is inside an argument"
    );
    assert_eq!(
        start(&|spec| spec.sandbox = "here".to_owned()),
        "the sandbox \"here\" is not an absolute path"
    );
    assert!(
        start(&|spec| spec.sandbox = "/no/sandbox".to_owned())
            .starts_with("open directory /no/sandbox: ")
    );
    assert!(
        start(&|spec| spec.cgroup_procs = Some("/no/cgroup.procs".to_owned()))
            .starts_with("open cgroup /no/cgroup.procs: ")
    );
    assert!(
        start(&|spec| spec.cgroup_procs = Some("/etc/passwd".to_owned()))
            .starts_with("open cgroup /etc/passwd: ")
    );
    assert!(start(&|spec| spec.program = "x".repeat(100_000)).starts_with("start xxx"));
}

#[test]
fn a_damaged_spec_is_refused_in_words() {
    let start = |bytes: &[u8]| Place::new().start_raw(bytes, Namespaces::NONE).reason();
    let good = frame::encode(&Place::new().shell("true")).unwrap();
    assert_eq!(start(b""), "the spec is cut off after 0 bytes");
    assert!(start(&good[..good.len() - 1]).starts_with("the spec is cut off after "));
    assert!(start(&[0xff; 100]).starts_with("the spec is damaged: a frame of 4294967295 bytes"));
    assert!(
        start(&[8, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])
            .starts_with("the spec is damaged: ")
    );
    assert_eq!(
        start(&[good.as_slice(), b"more"].concat()),
        "the spec has bytes behind its frame"
    );
}

#[test]
fn output_is_never_written_through_a_planted_link() {
    let place = Place::new();
    let spec = place.shell("echo leak");
    let target = place.folder.path().join("target");
    fs::write(&target, "").unwrap();
    symlink(&target, place.sandbox().join("stdout")).unwrap();
    let helper = place.start(&spec);
    assert!(helper.reason().contains("stdout"), "{}", helper.reason());
    assert_eq!(fs::read_to_string(&target).unwrap(), "");
}

#[test]
fn a_second_helper_leaves_the_first_alone() {
    let place = Place::new();
    let spec = place.shell("echo up; while [ ! -e go ]; do sleep 0.01; done; exit 3");
    let helper = place.start(&spec);
    helper.first_line();
    let second = spawn_in(&helper.place, Namespaces::NONE, None);
    assert_eq!(second.pidfd.wait().unwrap(), Exit::Code(1));
    assert!(
        helper
            .log()
            .contains("has this directory been used before?"),
        "{}",
        helper.log()
    );
    fs::write(helper.place.sandbox().join("go"), "").unwrap();
    assert_eq!(helper.record().outcome, Outcome::Exit(3));
    assert_eq!(helper.output("stdout"), "up\n");
    let third = spawn_in(&helper.place, Namespaces::NONE, None);
    assert_eq!(third.pidfd.wait().unwrap(), Exit::Code(1));
    assert_eq!(helper.record().outcome, Outcome::Exit(3));
}

#[test]
fn rude_clients_are_dropped_and_good_ones_served() {
    let place = Place::new();
    let spec = place.shell("echo up; exec sleep 1000");
    let helper = place.start(&spec);
    for nonsense in [
        &[0xff; 64][..],
        &[1, 0, 0, 0, 99],
        &[60, 0, 0, 0],
        &[61, 0, 0, 0],
    ] {
        let mut rude = helper.connect();
        rude.expect_running();
        rude.stream.write_all(nonsense).unwrap();
        if nonsense != [60, 0, 0, 0] {
            assert_eq!(rude.next(), None, "{nonsense:?}");
        }
    }
    let mut crowd: Vec<_> = (0..22).map(|_| helper.connect()).collect();
    crowd.iter_mut().for_each(|client| client.expect_running());
    assert_eq!(helper.connect().next(), None);
    // Three bytes now, the rest later: a message in pieces is one message.
    let kill =
        frame::encode(&nesos_wire::executor::ToExecutor::Kill { grace_ms: 600_000 }).unwrap();
    crowd[2].stream.write_all(&kill[..3]).unwrap();
    crowd[1].stream.write_all(&kill[..5]).unwrap();
    crowd[2].stream.write_all(&kill[3..]).unwrap();
    for client in &mut crowd {
        assert_eq!(client.expect_exited().outcome, Outcome::Signal(15));
    }
}

#[test]
fn a_helper_whose_run_directory_was_removed_does_not_stay_for_ever() {
    let place = Place::new();
    let spec = place.shell("echo up; while [ ! -e go ]; do sleep 0.01; done");
    let helper = place.start(&spec);
    helper.first_line();
    fs::remove_dir_all(helper.place.run()).unwrap();
    fs::write(helper.place.sandbox().join("go"), "").unwrap();
    helper.wait();
}
