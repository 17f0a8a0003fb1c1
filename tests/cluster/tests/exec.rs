//! `nesos exec`: commands beside tasks, with pipes and with a real terminal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use nesos_cluster_tests::{DevCluster, Nesos, Running, binary, eventually, http};
use nesos_sys::container::{SpawnPlan, Spawned, spawn};
use nesos_sys::reap::Exit;
use nesos_sys::terminal;
use nix::sys::termios::{LocalFlags, tcgetattr};

const SOON: Duration = Duration::from_secs(30);

/// A cluster with a task that runs, and the `nesos run` that holds it.
fn with_task(mark: &str) -> (DevCluster, Running) {
    let cluster = DevCluster::start(1, &[]);
    let text = "echo here > mark; echo up; sleep 1000";
    let mark = format!("A={mark}");
    let mut task = cluster
        .nesos
        .start(&["run", "--name", "long", "--env", &mark, "--", text]);
    task.wait_for("up", SOON);
    (cluster, task)
}

#[test]
fn a_command_beside_a_task_is_passed_through() {
    let (cluster, _task) = with_task("of the task");
    let nesos = &cluster.nesos;
    let ended = nesos.run(&[
        "exec",
        "long",
        "--",
        "cat mark; echo $A; echo err >&2; exit 5",
    ]);
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (5, "here\nof the task\n", "err\n")
    );
    let ended = nesos.run(&["exec", "long", "--", "echo", "$A", "two words"]);
    assert_eq!(ended.stdout, "$A two words\n", "{ended:?}");
    assert_eq!(nesos.run(&["exec", "long", "--", "kill -9 $$"]).code, 137);
    let ended = nesos.run(&["exec", "long", "--", "/no/such/program", "x"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("No such file"),
        "{ended:?}"
    );
    let ended = nesos.run(&["exec", "nobody", "--", "true"]);
    assert!(
        ended.code == 1 && ended.stderr.contains("nobody"),
        "{ended:?}"
    );

    // All of a long input arrives, and its end.
    let input = cluster.work_dir().join("input");
    std::fs::write(&input, "0123456789abcde\n".repeat(20_000)).unwrap();
    let mut command = nesos.command(&["exec", "-i", "long", "--", "cksum"]);
    command
        .stdin(File::open(&input).unwrap())
        .stdout(Stdio::piped());
    let ended = command.output().unwrap();
    let own = std::process::Command::new("cksum")
        .stdin(File::open(&input).unwrap())
        .output();
    assert_eq!(ended.stdout, own.unwrap().stdout);
    cluster.stop();
}

#[test]
fn the_master_forwards_operators_calls_to_agents_and_nothing_else() {
    let cluster = DevCluster::start(1, &[]);
    let nodes = cluster.nesos.json(&["nodes"]);
    let agent = nodes[0]["agent"].as_str().unwrap();
    let json = ("Content-Type", "application/json");
    let call = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let path = format!("/nesos/v1/agents/{path}");
        http::request(
            &cluster.master,
            method,
            &path,
            headers,
            br#"{"type": "GET_AGENT"}"#,
        )
    };
    let answer = call("POST", &format!("{agent}/api/v1"), &[json]);
    assert!(
        answer.status == 200 && answer.body.contains(agent),
        "{answer:?}"
    );
    let refused = [
        ("POST", "nobody/api/v1".to_owned(), vec![json], 404),
        ("POST", format!("{agent}/api/v1/executor"), vec![json], 404),
        ("POST", format!("{agent}/state"), vec![json], 404),
        ("GET", format!("{agent}/api/v1"), vec![json], 405),
        // The agent's own judgement passes through.
        ("POST", format!("{agent}/api/v1"), vec![], 400),
        // A page of another origin.
        (
            "POST",
            format!("{agent}/api/v1"),
            vec![json, ("Origin", "http://elsewhere")],
            403,
        ),
    ];
    for (method, path, headers, status) in refused {
        let answer = call(method, &path, &headers);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    cluster.stop();
}

/// `nesos` with a terminal, and a person before it.
struct Person {
    near: OwnedFd,
    far: OwnedFd,
    process: Spawned,
    seen: String,
}

impl Person {
    fn sits_down(nesos: &Nesos, arguments: &[&str]) -> Self {
        let (near, far) = terminal::pair(24, 80).unwrap();
        let command = nesos.command(arguments);
        let set = command.get_envs().filter_map(|(name, value)| {
            Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned()))
        });
        let all = [vec!["nesos"], arguments.to_vec()].concat();
        let mut plan = SpawnPlan::new(
            binary("nesos").to_str().unwrap(),
            all.into_iter().map(str::to_owned).collect(),
        );
        plan.environment = set.chain([("TERM".into(), "vt100".into())]).collect();
        plan.terminal = true;
        for file in [&mut plan.stdin, &mut plan.stdout, &mut plan.stderr] {
            *file = Some(far.try_clone().unwrap());
        }
        let process = spawn(&plan).unwrap();
        drop(plan);
        Self {
            near,
            far,
            process,
            seen: String::new(),
        }
    }

    fn types(&self, keys: &[u8]) {
        // A few bytes: the terminal has room for them.
        assert_eq!(nix::unistd::write(&self.near, keys), Ok(keys.len()));
    }

    /// Waits until this is on the screen, and wipes the screen to just behind it.
    fn sees(&mut self, text: &str) {
        let what = format!("{text:?} is on the screen");
        let mut near = File::from(self.near.try_clone().unwrap());
        let mut buffer = [0; 4096];
        eventually(&what, SOON, || {
            while let Ok(length @ 1..) = near.read(&mut buffer) {
                self.seen
                    .push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            let at = self.seen.find(text)?;
            self.seen.drain(..at + text.len());
            Some(())
        });
    }

    fn local_flags(&self) -> LocalFlags {
        tcgetattr(&self.far).unwrap().local_flags
    }
}

#[test]
fn a_person_works_in_a_terminal_beside_a_task() {
    let (cluster, _task) = with_task("of the task");
    let arguments = ["exec", "-it", "long", "--", "/bin/sh", "-i"];
    let mut person = Person::sits_down(&cluster.nesos, &arguments);
    // Nothing is echoed here: what is seen comes from the other side.
    person.types(b"PS1='at '\"sea> \"\n");
    person.sees("at sea> ");
    assert!(
        !person
            .local_flags()
            .intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    );
    person.types(b"tty -s && cat mark && echo $TERM $A && stty size\n");
    person.sees("here\r\nvt100 of the task\r\n24 80\r\n");
    person.sees("at sea> ");
    terminal::resize(&person.near, 50, 132).unwrap();
    // The signal and the size take their way beside the keys.
    person.types(b"until test \"$(stty size)\" = '50 132'; do sleep 0.05; done; echo re'sized'\n");
    person.sees("resized\r\n");
    person.types(b"trap 'echo cau'ght INT; sleep 1000; echo st'ill' here\n");
    person.sees("here\r\n");
    person.types(&[3]);
    person.sees("caught\r\n");
    person.sees("at sea> ");
    person.types(b"cat; echo co'de' $?\nline\n");
    person.sees("line\r\nline\r\n");
    // The end of input, for `cat` alone.
    person.types(&[4]);
    person.sees("code 0\r\n");
    person.types(b"exit 7\n");
    let exit = person.process.pidfd.wait().unwrap();
    assert_eq!(exit, Exit::Code(7));
    assert!(
        person
            .local_flags()
            .contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    );
    cluster.stop();
}

#[test]
fn a_session_ends_with_its_terminal_and_its_task() {
    let mark = format!("of {}", std::process::id());
    let (cluster, task) = with_task(&mark);
    let arguments = ["exec", "-it", "long", "--", "echo up; sleep 1001; echo no"];
    let mut person = Person::sits_down(&cluster.nesos, &arguments);
    person.sees("up\r\n");
    let mark = format!("A={mark}");
    let expect = |processes: usize| {
        let what = format!("{processes} processes of the task and the session");
        let count = || nesos_sys::process::with_environment(mark.as_bytes()).len();
        eventually(&what, SOON, || (count() == processes).then_some(()));
    };
    // Each a shell and its `sleep`.
    expect(4);
    // The person leaves without a word.
    drop(person);
    expect(2);

    let mut person = Person::sits_down(&cluster.nesos, &arguments);
    person.sees("up\r\n");
    let ended = cluster.nesos.run(&["kill", "long"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let exit = person.process.pidfd.wait().unwrap();
    assert!(matches!(exit, Exit::Code(143 | 137)), "{exit:?}");
    let _ = task.wait(SOON);
    cluster.stop();
}

#[test]
fn people_come_to_a_tasks_terminal_and_leave_it() {
    let cluster = DevCluster::start(1, &[]);
    let nesos = &cluster.nesos;
    let text = "echo up; exec sh -i";
    let mut task = nesos.start(&["run", "--tty", "--name", "term", "--", text]);
    task.wait_for("up", SOON);
    let mut person = Person::sits_down(nesos, &["attach", "term"]);
    person.sees("Ctrl-] leaves");
    person.types(
        b"until test \"$(stty size)\" = '24 80'; do sleep 0.05; done; A=of\\ mine; echo s'ized'\n",
    );
    person.sees("sized\r\n");
    // The last key is not for the task.
    person.types(b"sleep 1000\n\x1d");
    person.sees("which runs on");
    assert_eq!(person.process.pidfd.wait().unwrap(), Exit::Code(0));
    assert!(person.local_flags().contains(LocalFlags::ECHO));

    let mut person = Person::sits_down(nesos, &["attach", "term"]);
    person.sees("Ctrl-] leaves");
    person.types(&[3]);
    person.types(b"echo value $A; exit 5\n");
    person.sees("value of mine\r\n");
    person.sees("has ended");
    assert_eq!(person.process.pidfd.wait().unwrap(), Exit::Code(0));
    assert_eq!(task.wait(SOON).code, 5);
    let refused = nesos.run(&["attach", "term"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let mut plain = nesos.start(&["run", "--name", "plain", "--", "echo up; sleep 1000"]);
    plain.wait_for("up", SOON);
    let refused = nesos.run(&["attach", "plain"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("no terminal"),
        "{refused:?}"
    );
    cluster.stop();
}
