//! Why tasks ended and agents were removed: counters whose names say it.
//!
//! Called when all metrics are gathered. Names are Mesos's older ones, in which an agent is a slave.

use masterd_core::Master;
use nesos_api::tasks;
use nesos_shell::http::metrics::Values;

/// Adds them. A task's end that nobody gave a reason for has no name here; it counts in `master/tasks_<state>`.
pub(super) fn fill(master: &Master, values: &mut Values) {
    let metrics = master.metrics();
    for ((state, source, reason), count) in &metrics.terminal {
        let Some(reason) = reason else { continue };
        let state = tail(tasks::state(*state).name(), "TASK_");
        let source = tail(tasks::source(*source).name(), "SOURCE_");
        let reason = tail(tasks::reason(*reason).name(), "REASON_");
        let name = format!("master/task_{state}/source_{source}/reason_{reason}");
        values.insert(name, *count as f64);
    }
    let reasons = [
        ("unhealthy", metrics.removed_as_unreachable),
        ("unregistered", metrics.removed_by_goodbye),
    ];
    for (reason, count) in reasons {
        values.insert(
            format!("master/slave_removals/reason_{reason}"),
            count as f64,
        );
    }
}

fn tail(name: &str, prefix: &str) -> String {
    let tail = name.trim_start_matches(prefix).to_ascii_lowercase();
    tail.replace("agent", "slave")
}
