//! What the agent lends beside what it has: told to the master when it changes, taken back from whoever holds it.
//!
//! Called by `agent` for each sample. What is lent is known to this process only: after a restart nothing is, until there
//! have been samples again. Invariant: who is ended for it gets TASK_GONE (LOST) with REASON_CONTAINER_PREEMPTED, also from
//! an agent that starts meanwhile.

use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::AgentToMaster;
use nesos_wire::resource::{Entry, Resources, Scalar, Terms, Value};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{ContainerId, ExecutorKey};

use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Level};
use crate::executors::ExecutorPhase;
use crate::kill::INSIST;
use crate::slack::{Amount, Estimator, Holder, Rules, Sample, victim};
use crate::task::{Draft, Phase, Task};

/// What is lent, and whether the master knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lending {
    estimator: Estimator,
    /// What was said last on this link.
    told: Resources,
}

impl Agent {
    /// What is lent at present: revocable, and not part of [`Agent::resources`].
    pub fn lent(&self) -> Resources {
        let Amount { cpus, mem } = self.lending.estimator.lent();
        let terms = Terms {
            is_revocable: true,
            ..Terms::default()
        };
        let amounts = [("cpus", cpus), ("mem", mem)];
        let lent = amounts.into_iter().filter(|(_, amount)| *amount > 0);
        lent.map(|(name, amount)| Entry::new(name, terms.clone(), Value::Scalar(Scalar(amount))))
            .collect()
    }

    /// All that tasks may be given.
    pub(crate) fn total(&self) -> Resources {
        let mut total = self.resources();
        total.add(&self.lent());
        total
    }

    /// The containers were looked at.
    pub(crate) fn measured(&mut self, rules: Rules, sample: &Sample) {
        let holders = self.holders();
        let before = self.lending.estimator.lent();
        let lent = self
            .lending
            .estimator
            .take(self.moment.now, &holders, sample);
        if !rules.lends {
            self.lending.estimator.lend_nothing();
        } else if lent != before {
            let cpus = lent.cpus as f64 / 1000.0;
            let text = format!("lending {cpus} cpus and {} MB", lent.mem / 1000);
            self.note(Level::Info, text);
        }
        let Some(tolerance) = rules.evicts else {
            return;
        };
        if let Some((container, why)) = victim(tolerance, &self.lending.estimator, &holders, sample)
        {
            self.preempt(&container, &why);
        }
    }

    /// The master has just heard all.
    pub(crate) fn greeted_with_lent(&mut self) {
        self.lending.told = self.lent();
    }

    /// Tells the master what is lent, if it knows something else.
    pub(crate) fn tell_lent(&mut self) {
        let resources = self.lent();
        if resources != self.lending.told {
            self.lending.told = resources.clone();
            self.out.send.push(AgentToMaster::Lent { resources });
        }
    }

    fn holders(&self) -> Vec<Holder> {
        let tasks = self.tasks.values();
        let with_own =
            tasks.filter(|task| task.phase.is_active() && task.spec.kind != ExecutorKind::Custom);
        let of_tasks = with_own
            .filter_map(|task| Some((task.container.clone()?, task.spec.resources.clone())));
        let customs = self.executors.values();
        let customs = customs.filter(|one| one.spec.kind == ExecutorKind::Custom);
        let of_executors = customs.map(|executor| {
            let mut held = executor.spec.resources.clone();
            let its = self.tasks_of(&executor.spec.key);
            for task in its.filter(|task| task.phase.is_active()) {
                held.add(&task.spec.resources);
            }
            (executor.container.clone(), held)
        });
        let all = of_tasks.chain(of_executors);
        all.map(|(container, held)| holder(container, &held))
            .collect()
    }

    fn preempt(&mut self, container: &ContainerId, why: &str) {
        let text = format!("What was lent is wanted back: {why}");
        self.note(
            Level::Warn,
            format!("container {container} is ended: {why}"),
        );
        let record = Record::Preempted {
            container: container.clone(),
            text: text.clone(),
        };
        if let Some(key) = self.executor_containers.get(container).cloned() {
            return self.preempt_executor(&key, text, record);
        }
        let Some(key) = self.containers.get(container) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if !matches!(task.phase, Phase::Starting | Phase::Running) {
            return;
        }
        task.preempt(text);
        task.phase = Phase::Killing {
            destroy_at: self.moment.now + INSIST,
        };
        self.out.persist.push(record);
        self.destroy_for_lenders(container);
    }

    fn preempt_executor(&mut self, key: &ExecutorKey, text: String, record: Record) {
        let destroy_at = self.moment.now + INSIST;
        let Some(executor) = self.executors.get_mut(key) else {
            return;
        };
        if matches!(executor.phase, ExecutorPhase::Terminating { .. }) {
            return;
        }
        executor.phase = ExecutorPhase::Terminating { destroy_at };
        executor.verdict = Some(preempted(TaskState::Gone, text));
        let container = executor.container.clone();
        self.out.persist.push(record);
        self.destroy_for_lenders(&container);
    }

    /// An agent before this one has begun to end it.
    pub(crate) fn replay_preempted(&mut self, container: &ContainerId, text: String) {
        let destroy_at = self.moment.now;
        if let Some(key) = self.executor_containers.get(container)
            && let Some(executor) = self.executors.get_mut(key)
        {
            executor.phase = ExecutorPhase::Terminating { destroy_at };
            executor.verdict = Some(preempted(TaskState::Gone, text));
        } else if let Some(key) = self.containers.get(container)
            && let Some(task) = self.tasks.get_mut(key)
        {
            task.preempt(text);
        }
    }

    fn destroy_for_lenders(&mut self, container: &ContainerId) {
        self.history.counters.preempted += 1;
        let container = container.clone();
        self.out.actions.push(Action::Destroy { container });
    }
}

impl Task {
    fn preempt(&mut self, text: String) {
        self.verdict = Some(preempted(self.lost_or(TaskState::Gone), text));
    }
}

fn preempted(state: TaskState, text: String) -> Draft {
    Draft::agent(state, Reason::ContainerPreempted, text)
}

/// What is to be known of it by the next agent, if it is being ended for this reason.
pub(crate) fn record_of(container: &ContainerId, verdict: Option<&Draft>) -> Option<Record> {
    let verdict = verdict.filter(|one| one.reason == Some(Reason::ContainerPreempted))?;
    Some(Record::Preempted {
        container: container.clone(),
        text: verdict.message.clone(),
    })
}

fn holder(container: ContainerId, held: &Resources) -> Holder {
    let own = held.filter(|entry| !entry.terms().is_revocable);
    Holder {
        container,
        own: Amount {
            cpus: own.scalar("cpus").0,
            mem: own.scalar("mem").0,
        },
        is_revocable: own != *held,
    }
}
