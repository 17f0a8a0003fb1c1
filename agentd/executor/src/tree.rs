//! Signals to everything a task has started, however it tried to get away. Called by `hold`.
//!
//! Three ways by what there is: PID 1 reaches all of its namespace; a cgroup reaches all of its members; else the
//! process group and every descendant (orphans come back to the helper, which is their subreaper). Invariant: a
//! process id is used only while it cannot belong to a stranger.

use std::os::fd::OwnedFd;

use nesos_sys::cgroup::Cgroup;
use nesos_sys::pidfd::PidFd;
use nesos_sys::process;
use nesos_sys::signal::{self, Signal};

/// The processes of one task.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The main process, leader of its process group.
    pub main: u32,
    /// This process is PID 1 of the task's namespace.
    pub pid_namespace: bool,
    /// The task's cgroup by its path, which leads there only while the task has no root of its own.
    pub cgroup: Option<Cgroup>,
    /// The same one, open, for what is started beside the task.
    pub birthplace: Option<OwnedFd>,
    /// What the task takes for the root of cgroups, if not what everybody does.
    pub cgroup_view: Option<OwnedFd>,
    /// The user namespace that it is in, if not this process's.
    pub user_namespace: Option<OwnedFd>,
}

impl Tree {
    /// SIGTERM, to each process once: for some programs a second one means "at once".
    pub(crate) fn terminate(&self) {
        if self.pid_namespace {
            // An error means that nobody is left.
            let _ = signal::send_all(Signal::SIGTERM);
        } else {
            self.signal_descendants(Signal::SIGTERM, true);
        }
    }

    /// SIGKILL to all; `main_exists` tells whether the main process has not been reaped yet.
    pub(crate) fn kill(&self, main_exists: bool) {
        if self.pid_namespace {
            let _ = signal::send_all(Signal::SIGKILL);
            return;
        }
        if let Some(cgroup) = &self.cgroup {
            // Without `cgroup.kill` (kernels before 5.14) the way below is left.
            let _ = cgroup.kill();
        }
        self.signal_descendants(Signal::SIGKILL, main_exists);
    }

    /// A signal as from a terminal: to the process group of this process, which is not reaped yet.
    pub(crate) fn signal_group(&self, leader: Option<u32>, number: u8) {
        if let (Some(leader), Ok(signal)) = (leader, Signal::try_from(i32::from(number))) {
            let _ = signal::send_group(leader, signal);
        }
    }

    /// SIGKILL to whole sessions, whose leaders are not reaped yet.
    pub(crate) fn kill_beside(&self, leaders: &[u32]) {
        for leader in leaders {
            let _ = signal::send_group(*leader, Signal::SIGKILL);
        }
        self.kill_left(leaders);
    }

    /// SIGKILL to what is left of sessions, whose leaders may be reaped: as long as somebody is in a session its number is
    /// given to nobody else.
    pub(crate) fn kill_left(&self, leaders: &[u32]) {
        if leaders.is_empty() {
            return;
        }
        for (pid, stat) in process::descendants(std::process::id()) {
            if leaders.contains(&stat.session)
                && let Ok(Some(process)) = PidFd::open_same(pid, stat.start_time)
            {
                let _ = process.send(Signal::SIGKILL);
            }
        }
    }

    /// The group in one stroke, so that it cannot fork its way out, then everybody who left the group.
    fn signal_descendants(&self, signal: Signal, main_exists: bool) {
        if main_exists {
            let _ = signal::send_group(self.main, signal);
        }
        for (pid, stat) in process::descendants(std::process::id()) {
            let reached = main_exists && stat.group == self.main;
            if !reached && let Ok(Some(process)) = PidFd::open_same(pid, stat.start_time) {
                let _ = process.send(signal);
            }
        }
    }
}
