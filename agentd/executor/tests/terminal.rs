//! A task on a terminal: what is kept, who may look, and what becomes of those who do not.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use common::{DEADLINE, Helper, Place, allowed, become_nobody, isolate, until};
use nesos_sys::{passing, terminal};
use nesos_wire::executor::{ExecutorSpec, FromExecutor, Outcome, OutputLimits, ToExecutor};
use nesos_wire::frame;

fn on_terminal(text: &str, change: impl FnOnce(&mut ExecutorSpec)) -> Helper {
    let place = Place::new();
    let mut spec = place.shell(text);
    spec.terminal = Some((30, 100));
    change(&mut spec);
    place.start(&spec)
}

/// What the helper gives who asks for the terminal.
fn attach(helper: &Helper, listen: bool) -> (UnixStream, Vec<OwnedFd>) {
    let mut client = helper.connect();
    client.expect_running();
    let order = frame::encode(&ToExecutor::Terminal { listen }).unwrap();
    client.stream.write_all(&order).unwrap();
    let mut buffer = [0; 64];
    let (length, ends) = passing::receive(&client.stream, &mut buffer).unwrap();
    let word = frame::decode::<FromExecutor>(&buffer[..length]);
    assert_eq!(word.unwrap().unwrap().0, FromExecutor::Terminal);
    (client.stream, ends)
}

fn kept(helper: &Helper, text: &str) {
    until(text, || helper.output("stdout").contains(text));
}

#[test]
fn a_terminal_is_kept_typed_at_and_resized() {
    let text = "tty -s && stty size; read line; stty size; echo got $line; echo err >&2; exit 3";
    let helper = on_terminal(text, |_| ());
    kept(&helper, "30 100\r\n");
    let (_held, mut ends) = attach(&helper, true);
    assert_eq!(ends.len(), 2);
    let (mut seen, mut near) = (File::from(ends.remove(1)), File::from(ends.remove(0)));
    terminal::resize(&near, 40, 132).unwrap();
    near.write_all(b"word\n").unwrap();
    drop(near);
    let mut all = String::new();
    // To the end of the task, of which nothing is lost.
    seen.read_to_string(&mut all).unwrap();
    assert_eq!(all, "word\r\n40 132\r\ngot word\r\nerr\r\n");
    assert_eq!(helper.record().outcome, Outcome::Exit(3));
    assert_eq!(helper.output("stdout"), format!("30 100\r\n{all}"));
    assert_eq!(helper.output("stderr"), "");
}

#[test]
fn files_are_turned_over_as_ever() {
    let helper = on_terminal("printf 0123456789; printf abc", |spec| {
        spec.output = Some(OutputLimits {
            stdout_bytes: 10,
            stderr_bytes: 10,
            files: 2,
        });
    });
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    assert_eq!(helper.output("stdout.1"), "0123456789");
    assert_eq!(helper.output("stdout"), "abc");
}

#[test]
fn it_is_there_among_files_and_for_a_user_of_its_own() {
    if !allowed() {
        return;
    }
    let text = "tty; echo again > $(tty); echo more > /dev/tty; exec > /dev/null 2>&1 < /dev/null; sleep 0.1; echo late > /dev/tty";
    let helper = on_terminal(text, |spec| {
        isolate(spec, true);
        become_nobody(spec);
    });
    let outcome = helper.record().outcome;
    assert_eq!(
        (outcome, helper.output("stdout").as_str()),
        (Outcome::Exit(0), "/dev/pts/0\r\nagain\r\nmore\r\nlate\r\n")
    );
}

#[test]
fn who_does_not_read_is_waited_for_and_then_left_behind() {
    // More than the pipe of a listener holds.
    let lines = "i=0; while [ $i -lt 30000 ]; do echo $i; i=$((i+1)); done; echo end; read line";
    let helper = on_terminal(&format!("read line; {lines}"), |_| ());
    let (_held, asleep) = attach(&helper, true);
    let (_also, mut awake) = attach(&helper, true);
    let (mut seen, mut near) = (File::from(awake.remove(1)), File::from(awake.remove(0)));
    near.write_all(b"go\n").unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while !all.ends_with(b"end\r\n") {
        let length = seen.read(&mut piece).unwrap();
        assert_ne!(length, 0);
        all.extend_from_slice(&piece[..length]);
    }
    let expected: String = (0..30000).map(|i| format!("{i}\r\n")).collect();
    assert_eq!(
        String::from_utf8(all).unwrap(),
        format!("go\r\n{expected}end\r\n")
    );
    assert!(helper.output("stdout").ends_with("end\r\n"));
    // What it was shown before is there; then its pipe ends.
    let mut early = Vec::new();
    File::from(asleep.into_iter().nth(1).unwrap())
        .read_to_end(&mut early)
        .unwrap();
    assert!(expected.len() > early.len() && !early.is_empty());
    assert!(format!("go\r\n{expected}").starts_with(std::str::from_utf8(&early).unwrap()));
    near.write_all(b"bye\n").unwrap();
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
}

#[test]
fn so_many_listen_and_those_who_left_do_not_count() {
    let helper = on_terminal("read line", |_| ());
    let listeners: Vec<_> = (0..8).map(|_| attach(&helper, true)).collect();
    assert_eq!(attach(&helper, true).1.len(), 0);
    assert_eq!(attach(&helper, false).1.len(), 1);
    drop(listeners);
    assert_eq!(attach(&helper, true).1.len(), 2);
}

#[test]
fn a_task_without_one_has_nothing_to_give() {
    let place = Place::new();
    let spec = place.shell("echo up; sleep 1000");
    let helper = place.start(&spec);
    helper.first_line();
    assert_eq!(attach(&helper, true).1.len(), 0);
}

#[test]
fn control_c_ends_it_and_a_kill_ends_what_ignores_it() {
    let helper = on_terminal(
        "trap 'echo caught; exit 7' INT; echo up; while :; do sleep 0.05; done",
        |_| (),
    );
    kept(&helper, "up");
    let (_held, mut ends) = attach(&helper, false);
    File::from(ends.remove(0)).write_all(&[3]).unwrap();
    assert_eq!(helper.record().outcome, Outcome::Exit(7));
    assert!(helper.output("stdout").contains("caught"));
    let helper = on_terminal(
        "trap '' TERM HUP; echo up; while :; do sleep 0.05; done",
        |_| (),
    );
    kept(&helper, "up");
    let mut client = helper.connect();
    client.expect_running();
    client.kill(DEADLINE / 100);
    assert_eq!(client.expect_exited().outcome, Outcome::Signal(9));
}
