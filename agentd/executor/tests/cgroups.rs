//! The helper with a cgroup v2 for its task: limits, out of memory, kill. Needs root and a cgroup tree that has the
//! controllers cpu, memory and pids; elsewhere these tests say so and pass, and the boards' kernel has them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use common::{Helper, Place, isolate, lives, namespaces_of, spawn_in, until};
use nesos_sys::cgroup::{Cgroup, Limits};
use nesos_wire::executor::{ExecutorSpec, Outcome};
use nesos_wire::frame;

/// One test's own branch of the tree, removed at its end.
struct Branch {
    top: Cgroup,
    executors: Cgroup,
    task: Cgroup,
}

impl Branch {
    /// `None` where this machine has no usable tree.
    fn new(name: &str, limits: &Limits) -> Option<Branch> {
        let Some(root) = Cgroup::find_root() else {
            eprintln!("no cgroup v2 tree with controllers here: nothing tested");
            return None;
        };
        let top = root.child(&format!("nesos-test-{name}-{}", std::process::id()));
        let branch = Branch {
            executors: top.child("executors"),
            task: top.child("task"),
            top,
        };
        if let Err(error) = root
            .delegate(&["cpu", "memory", "pids"])
            .and_then(|()| branch.executors.create())
        {
            eprintln!("not allowed to make cgroups here ({error}): nothing tested");
            return None;
        }
        branch.top.delegate(&["cpu", "memory", "pids"]).unwrap();
        branch.task.create().unwrap();
        branch.task.limit(limits).unwrap();
        Some(branch)
    }

    fn start(&self, text: &str, change: impl FnOnce(&mut ExecutorSpec)) -> Helper {
        let place = Place::new();
        let mut spec = place.shell(text);
        spec.cgroup_procs = Some(self.task.procs_file().to_str().unwrap().to_owned());
        change(&mut spec);
        fs::write(place.run().join("spec"), frame::encode(&spec).unwrap()).unwrap();
        let spawned = spawn_in(
            &place,
            namespaces_of(&spec),
            Some(self.executors.directory().unwrap()),
        );
        Helper { place, spawned }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.top.kill().unwrap();
        // A killed process leaves its group a moment later.
        until("the empty cgroup", || self.top.remove().is_ok());
    }
}

#[test]
fn helper_and_task_are_each_in_their_own_group() {
    for pid_namespace in [false, true] {
        let Some(branch) = Branch::new("groups", &Limits::default()) else {
            return;
        };
        let helper = branch.start("echo up; sleep 1000 & wait", |spec| {
            if pid_namespace {
                isolate(spec, true)
            }
        });
        helper.first_line();
        let members = |group: &Cgroup| -> Vec<u32> {
            fs::read_to_string(group.procs_file())
                .unwrap()
                .lines()
                .map(|line| line.parse().unwrap())
                .collect()
        };
        assert_eq!(members(&branch.executors), [helper.spawned.pid]);
        until("the shell and its child", || {
            members(&branch.task).len() == 2
        });
        let usage = branch.task.usage();
        assert!(
            usage.memory > 0 && usage.cpu_us > 0 && usage.pids == 2,
            "{usage:?}"
        );
        let inside = members(&branch.task);
        helper.connect().kill(Duration::from_secs(600));
        assert_eq!(helper.record().outcome, Outcome::Signal(15));
        assert!(!branch.task.is_populated());
        assert!(inside.iter().all(|pid| !lives(*pid)));
        branch.task.remove().unwrap();
    }
}

#[test]
fn too_much_memory_ends_the_task_and_is_counted() {
    let limits = Limits {
        memory_max: Some(16 << 20),
        swap_max: Some(0),
        oom_group: true,
        ..Limits::default()
    };
    for pid_namespace in [false, true] {
        let Some(branch) = Branch::new("memory", &limits) else {
            return;
        };
        let helper = branch.start(
            "sleep 1000 & dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived",
            |spec| {
                if pid_namespace {
                    isolate(spec, true)
                }
            },
        );
        let record = helper.record();
        assert_eq!(
            (record.outcome, record.kill_requested),
            (Outcome::Signal(9), false)
        );
        assert_eq!(helper.output("stdout"), "");
        let usage = branch.task.usage();
        assert!(usage.oom_kills >= 1, "{usage:?}");
        assert!(
            usage.memory_peak > 8 << 20 && usage.memory_peak <= 16 << 20,
            "{usage:?}"
        );
        assert_eq!(branch.executors.usage().oom_kills, 0);
    }
}

#[test]
fn the_processor_is_held_back() {
    let Some(branch) = Branch::new(
        "cpu",
        &Limits {
            cpu_quota_us: Some(10_000),
            ..Limits::default()
        },
    ) else {
        return;
    };
    let helper = branch.start("echo up; while :; do :; done", |_| ());
    helper.first_line();
    until("throttling", || {
        branch.task.usage().cpu_throttled_us > 100_000
    });
    helper.connect().kill(Duration::ZERO);
    helper.record();
}

#[test]
fn a_fork_bomb_stays_in_its_box_and_ends() {
    let limits = Limits {
        pids_max: Some(16),
        ..Limits::default()
    };
    for pid_namespace in [false, true] {
        let Some(branch) = Branch::new("pids", &limits) else {
            return;
        };
        let bomb =
            "bomb() { while :; do setsid sh -c 'sleep 1000' & done; }; echo up; bomb 2> /dev/null";
        let helper = branch.start(bomb, |spec| {
            if pid_namespace {
                isolate(spec, true)
            }
        });
        helper.first_line();
        until("a full box, or the shell gave up", || {
            branch.task.usage().pids == 16 || helper.spawned.pidfd.has_ended()
        });
        if !helper.spawned.pidfd.has_ended() {
            helper.connect().kill(Duration::from_millis(100));
        }
        helper.record();
        assert!(!branch.task.is_populated());
    }
}

#[test]
fn a_missing_group_is_said_in_words() {
    let Some(branch) = Branch::new("missing", &Limits::default()) else {
        return;
    };
    branch.task.remove().unwrap();
    let reason = branch.start("true", |_| ()).reason();
    assert!(
        reason.starts_with("open cgroup ") && reason.contains("No such file"),
        "{reason}"
    );
}
