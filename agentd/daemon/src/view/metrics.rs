//! Flat numbers under Mesos's names.
//!
//! Called by `http`. Invariant: every value is a finite number.

use std::collections::BTreeSet;

use agentd_core::{Agent, ExecutorPhase, Phase};
use nesos_shell::http::metrics::{Values, system};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::task::TaskState;

use super::View;

impl View {
    /// All metrics by name.
    pub(crate) fn metrics(&self) -> Values {
        let mut values = Values::new();
        let uptime = (self.clocks.unix() - self.start_time).max(0.0);
        let registered = f64::from(u8::from(self.is_registered()));
        values.extend([
            ("slave/uptime_secs".into(), uptime),
            ("slave/registered".into(), registered),
            ("slave/recovery_errors".into(), 0.0),
        ]);
        self.resources(&mut values);
        self.tasks(&mut values);
        self.counters(&mut values);
        let fetcher = self.containers.borrow().fetcher_numbers();
        let named = |(name, value)| (format!("containerizer/fetcher/{name}"), value as f64);
        values.extend(fetcher.map(named));
        system(&mut values);
        values
    }

    fn resources(&self, values: &mut Values) {
        let agent = self.agent.borrow();
        let is_lent = |entry: &Entry| entry.terms().is_revocable;
        let used = agent.used();
        let own = (agent.resources(), used.filter(|entry| !is_lent(entry)));
        Self::shares(values, "", &own);
        Self::shares(values, "revocable_", &(agent.lent(), used.filter(is_lent)));
    }

    fn shares(values: &mut Values, kind: &str, (total, used): &(Resources, Resources)) {
        for name in ["cpus", "gpus", "mem", "disk"] {
            let (total, used) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
            let part = if total > 0.0 { used / total } else { 0.0 };
            for (what, value) in [("total", total), ("used", used), ("percent", part)] {
                values.insert(format!("slave/{name}_{kind}{what}"), value);
            }
        }
    }

    fn tasks(&self, values: &mut Values) {
        let agent = self.agent.borrow();
        let count =
            |wanted: TaskState| agent.tasks().filter(|view| view.latest == wanted).count() as f64;
        for (name, state) in [
            ("staging", TaskState::Staging),
            ("starting", TaskState::Starting),
            ("running", TaskState::Running),
            ("killing", TaskState::Killing),
        ] {
            values.insert(format!("slave/tasks_{name}"), count(state));
        }
        let of_tasks = agent.tasks().map(|view| &view.spec.key.framework);
        let of_executors = agent.executors().map(|view| &view.spec.key.framework);
        let frameworks: BTreeSet<_> = of_tasks.chain(of_executors).collect();
        values.insert("slave/frameworks_active".into(), frameworks.len() as f64);
        executors(&agent, values);
    }

    fn counters(&self, values: &mut Values) {
        let agent = self.agent.borrow();
        let counters = agent.counters();
        let ended = |state| counters.ended.get(&state).copied().unwrap_or_default() as f64;
        for (name, state) in [
            ("finished", TaskState::Finished),
            ("failed", TaskState::Failed),
            ("killed", TaskState::Killed),
            ("lost", TaskState::Lost),
            ("gone", TaskState::Gone),
            ("error", TaskState::Error),
            ("dropped", TaskState::Dropped),
        ] {
            values.insert(format!("slave/tasks_{name}"), ended(state));
        }
        values.extend([
            (
                "slave/executors_terminated".into(),
                counters.executors as f64,
            ),
            (
                "slave/executors_preempted".into(),
                counters.preempted as f64,
            ),
            ("slave/valid_status_updates".into(), counters.updates as f64),
            (
                "slave/invalid_status_updates".into(),
                counters.refused_updates as f64,
            ),
            (
                "slave/container_launch_errors".into(),
                counters.launch_errors as f64,
            ),
        ]);
    }
}

/// Those of frameworks, and one for each command task.
fn executors(agent: &Agent, values: &mut Values) {
    let own = |wanted: fn(Phase) -> bool| {
        let commands = agent
            .tasks()
            .filter(|view| view.spec.kind == ExecutorKind::Command);
        commands.filter(|view| wanted(view.phase)).count()
    };
    let brought = |wanted: fn(ExecutorPhase) -> bool| {
        agent.executors().filter(|view| wanted(view.phase)).count()
    };
    let registering = own(|phase| matches!(phase, Phase::Launching | Phase::Starting))
        + brought(|phase| matches!(phase, ExecutorPhase::Registering { .. }));
    let running = own(|phase| phase == Phase::Running)
        + brought(|phase| {
            matches!(
                phase,
                ExecutorPhase::Running | ExecutorPhase::Returning { .. }
            )
        });
    let terminating = own(|phase| matches!(phase, Phase::Aborting { .. } | Phase::Killing { .. }))
        + brought(|phase| matches!(phase, ExecutorPhase::Terminating { .. }));
    values.extend([
        ("slave/executors_registering".into(), registering as f64),
        ("slave/executors_running".into(), running as f64),
        ("slave/executors_terminating".into(), terminating as f64),
    ]);
}
