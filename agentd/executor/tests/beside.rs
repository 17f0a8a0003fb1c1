//! Commands beside a task: where they run, with which rights, what they hear, and that they end.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use common::{DEADLINE, Place, allowed, become_nobody, isolate, until};
use nesos_sys::cgroup::Cgroup;
use nesos_sys::passing;
use nesos_sys::process;
use nesos_sys::user_namespace::IdMap;
use nesos_wire::executor::{BesideSpec, FromExecutor, Outcome, ToExecutor};
use nesos_wire::frame;
use nesos_wire::rights::{IdRange, ResourceLimit, Rights};

/// A connection with a command, its standard input and its output.
struct Beside {
    stream: UnixStream,
    stdin: Option<std::io::PipeWriter>,
    stdout: std::io::PipeReader,
    bytes: Vec<u8>,
}

fn spec(text: &str) -> BesideSpec {
    BesideSpec {
        program: "/bin/sh".into(),
        arguments: ["sh", "-c", text].map(str::to_owned).to_vec(),
        environment: vec![("OWN".into(), "yes".into()), ("A".into(), "mine".into())],
        user: None,
        directory: String::new(),
    }
}

impl Beside {
    fn start(helper: &common::Helper, spec: &BesideSpec) -> Beside {
        let stream = nesos_sys::fs::connect_unix(&helper.place.run(), "socket").unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let described = passing::file_of(&frame::encode(spec).unwrap()).unwrap();
        let (stdin, write) = std::io::pipe().unwrap();
        let (stdout, stderr) = std::io::pipe().unwrap();
        let passed = [
            described.as_fd(),
            stdin.as_fd(),
            stderr.as_fd(),
            stderr.as_fd(),
        ];
        let order = frame::encode(&ToExecutor::Beside { terminal: false }).unwrap();
        passing::send(&stream, &order, &passed).unwrap();
        Beside {
            stream,
            stdin: Some(write),
            stdout,
            bytes: Vec::new(),
        }
    }

    fn next(&mut self) -> Option<FromExecutor> {
        loop {
            if let Some(word) = frame::decode::<FromExecutor>(&self.bytes) {
                let (word, used) = word.unwrap();
                self.bytes.drain(..used);
                if !matches!(word, FromExecutor::Running { .. }) {
                    return Some(word);
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                length => self.bytes.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn output(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        text
    }
}

fn task() -> common::Helper {
    let place = Place::new();
    let mut spec = place.shell("echo here > mark; sleep 1000");
    spec.environment.push(("A".into(), "task's".into()));
    spec.environment.push(("B".into(), "task's".into()));
    let helper = place.start(&spec);
    until("the task", || helper.place.sandbox().join("mark").exists());
    helper
}

#[test]
fn a_command_runs_where_the_task_runs_and_its_end_is_told() {
    let helper = task();
    let mut beside = Beside::start(&helper, &spec("cat mark; echo $A $B $OWN; cat; exit 5"));
    assert_eq!(beside.next(), Some(FromExecutor::BesideRuns));
    beside.stdin.take().unwrap().write_all(b"input").unwrap();
    assert_eq!(beside.output(), "here\nmine task's yes\ninput");
    let ended = Some(FromExecutor::BesideEnded(Outcome::Exit(5)));
    assert_eq!(beside.next(), ended);
    // Another one on the same connection.
    let mut elsewhere = spec("pwd");
    elsewhere.directory = "inner".into();
    fs::create_dir(helper.place.sandbox().join("inner")).unwrap();
    let mut beside = Beside::start(&helper, &elsewhere);
    assert!(beside.output().ends_with("/sandbox/inner\n"));
    for directory in ["../..", "/tmp"] {
        elsewhere.directory = directory.into();
        let word = Beside::start(&helper, &elsewhere).next();
        let refused = matches!(&word, Some(FromExecutor::BesideEnded(Outcome::NotStarted(why))) if why.contains("no directory"));
        assert!(refused, "{word:?}");
    }
}

/// A cgroup of a test's own, wherever this machine has cgroups v2: membership needs no controllers. Removed at the end.
struct Group(Cgroup);

impl Group {
    fn new() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' ').skip(1));
        let root = mounts.find_map(|mut columns| {
            let path = columns.next()?;
            (columns.next()? == "cgroup2").then_some(path)
        })?;
        let group = Cgroup::at(root).child(&format!("nesos-test-beside-{}", std::process::id()));
        group.create().ok().map(|()| Group(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A killed process leaves its group a moment later.
        until("the empty cgroup", || self.0.remove().is_ok());
    }
}

#[test]
fn a_command_has_the_tasks_rights_and_no_more() {
    if allowed() {
        looks_like_its_task(None);
    }
}

#[test]
fn so_has_one_in_a_user_namespace() {
    let ids = IdRange {
        first: 1_879_048_192,
        count: 65_536,
    };
    if allowed()
        && nesos_sys::user_namespace::make(IdMap {
            first: ids.first,
            count: ids.count,
        })
        .is_ok()
    {
        looks_like_its_task(Some(ids));
    }
}

fn looks_like_its_task(ids: Option<IdRange>) {
    // What is left to a process, who it is, its limits, and where: its namespaces, root and cgroup.
    let look = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status; ulimit -a; umask; \
        cat /proc/self/cgroup /proc/self/oom_score_adj; ls -id /; cd /proc/self/ns; readlink cgroup ipc mnt net pid user uts";
    let place = Place::new();
    // CAP_CHOWN, CAP_KILL; RLIMIT_NOFILE.
    let mut told = place.shell(&format!("({look}) > told; echo up; exec sleep 1000"));
    told.rights = Rights {
        bounding: Some(1 | 1 << 5),
        effective: Some(1 << 5),
        no_new_privileges: true,
        is_filtered: true,
        limits: vec![ResourceLimit {
            resource: 7,
            soft: 40,
            hard: 50,
        }],
        ids,
    };
    isolate(&mut told, true);
    become_nobody(&mut told);
    fs::write(place.sandbox().join("told"), "").unwrap();
    let nobody = told.user.as_ref().unwrap();
    std::os::unix::fs::chown(place.sandbox().join("told"), Some(nobody.uid), None).unwrap();
    let group = Group::new();
    if let Some(Group(group)) = &group {
        told.cgroup_procs = group.procs_file().to_str().map(str::to_owned);
    } else {
        eprintln!("no cgroups v2 here: the command's cgroup is not tested");
    }
    let helper = place.start(&told);
    helper.first_line();
    let tasks = fs::read_to_string(helper.place.sandbox().join("told")).unwrap();
    let mut beside = Beside::start(&helper, &spec(look));
    assert_eq!(beside.output(), tasks);
    let own_group = group.is_some().then_some("0::/nesos-test-beside-");
    let parts = ["CapEff:\t0000000000000020", "Seccomp:\t2", "pid:["];
    for part in parts.into_iter().chain(own_group) {
        assert!(tasks.contains(part), "{part} is not in {tasks}");
    }
    let ended = Some(FromExecutor::BesideEnded(Outcome::Exit(0)));
    assert_eq!(
        (beside.next(), beside.next()),
        (Some(FromExecutor::BesideRuns), ended)
    );
}

#[test]
fn signals_reach_it_and_it_ends_with_its_connection() {
    let helper = task();
    let mut beside = Beside::start(&helper, &spec("sleep 1000"));
    beside.next();
    let signal = frame::encode(&ToExecutor::Signal { number: 10 }).unwrap();
    beside.stream.write_all(&signal).unwrap();
    let ended = Some(FromExecutor::BesideEnded(Outcome::Signal(10)));
    assert_eq!(beside.next(), ended);
    // With what it started, also in another process group.
    let mut beside = Beside::start(
        &helper,
        &spec("set -m; sleep 1001 & echo started; sleep 1002"),
    );
    beside.next();
    let mut word = [0; 8];
    beside.stdout.read_exact(&mut word).unwrap();
    let below = || process::descendants(helper.spawned.pid).len();
    until("two shells and three sleeps", || below() == 5);
    drop(beside);
    until("its end", || below() == 2);
}

#[test]
fn nonsense_runs_nothing_and_hurts_nobody() {
    let helper = task();
    let stream = nesos_sys::fs::connect_unix(&helper.place.run(), "socket").unwrap();
    let order = frame::encode(&ToExecutor::Beside { terminal: false }).unwrap();
    let null = File::open("/dev/null").unwrap();
    for (passed, why) in [
        (0, "four descriptors"),
        (3, "four descriptors"),
        (4, "cut off"),
    ] {
        passing::send(&stream, &order, &vec![null.as_fd(); passed]).unwrap();
        let (write, read) = std::io::pipe().map(|(read, write)| (write, read)).unwrap();
        let mut beside = Beside {
            stream: stream.try_clone().unwrap(),
            stdin: Some(write),
            stdout: read,
            bytes: Vec::new(),
        };
        let word = beside.next();
        let refused = matches!(&word, Some(FromExecutor::BesideEnded(Outcome::NotStarted(text))) if text.contains(why));
        assert!(refused, "{word:?}");
    }
    // A terminal that is none.
    let mut beside = Beside::start(&helper, &spec("true"));
    assert_eq!(beside.next(), Some(FromExecutor::BesideRuns));
}
