//! Processes of a container whose helper has died without a word, and that no cgroup or PID namespace holds together.
//!
//! Called by `life`. They are known by the container's id in their environment, which every process of a task inherits;
//! one that has wiped its environment gets away, as nothing else tells it apart. Invariant: a process id is used only
//! while it belongs to the process that was looked at.

use std::time::Duration;

use nesos_sys::pidfd::PidFd;
use nesos_sys::process;
use nesos_wire::ContainerId;
use nix::sys::signal::Signal;

/// The variable that names the container.
const VARIABLE: &str = "MESOS_CONTAINER_ID";
/// Looks at all processes until none is left: some may have forked between look and signal.
const MAX_LOOKS: usize = 50;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// SIGKILL to all of them; returns when none is left, or after [`MAX_LOOKS`].
pub(super) async fn end(container: &ContainerId) {
    let entry = format!("{VARIABLE}={container}");
    for _ in 0..MAX_LOOKS {
        let strays = process::with_environment(entry.as_bytes());
        if strays.is_empty() {
            return;
        }
        for (pid, stat) in strays {
            if let Ok(Some(process)) = PidFd::open_same(pid, stat.start_time) {
                // ESRCH: it has just ended.
                let _ = process.send(Signal::SIGKILL);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!("container {container}: some of its processes cannot be ended");
}
