//! From a checkpoint to an agent, and from an agent to a short checkpoint.
//!
//! Invariant: replaying `snapshot()` gives the same durable state as replaying the log it replaces. Records that make no
//! sense (their task's launch was lost to damage) are dropped.

use std::collections::{BTreeMap, VecDeque};

use nesos_base::time::Duration;
use nesos_wire::TaskKey;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource_text;
use nesos_wire::task::TaskState;

use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Config, Level, Moment, Ready, Seed};
use crate::held::Held;
use crate::history::{Counters, History};
use crate::lending::{self, Lending};
use crate::link::Link;
use crate::operations::Operations;
use crate::reconfiguration::Configuration;
use crate::rng::Rng;
use crate::stream::Acknowledged;
use crate::task::{Phase, Task};
use crate::timed::Timed;

impl Agent {
    /// An agent that continues where `records` end. Its first [`Ready`] adopts every container they speak of.
    pub fn recover(config: Config, seed: Seed, records: Vec<Record>, moment: Moment) -> Self {
        let mut agent = Self {
            config,
            id: None,
            link: Link::new(),
            tasks: Timed::default(),
            operations: Operations::default(),
            held: Held::default(),
            containers: BTreeMap::new(),
            executors: Timed::default(),
            executor_containers: BTreeMap::new(),
            finished: VecDeque::new(),
            rng: Rng::new(seed),
            moment,
            out: Ready::default(),
            store_blocked: None,
            shutdown_at: None,
            is_overcommitted: false,
            lending: Lending::default(),
            history: History::default(),
        };
        let mut boot_id = None;
        let configuration = Configuration::of(&agent.config);
        let is_as_before = Configuration::last(&records) == Some(&configuration);
        for record in records {
            agent.replay(record, &mut boot_id);
        }
        // What the replay asked for and counted concerns the past.
        agent.history.counters = Counters::default();
        agent.out = Ready::default();
        let has_rebooted = boot_id
            .as_ref()
            .is_some_and(|boot_id| *boot_id != agent.config.boot_id);
        if boot_id.as_ref() != Some(&agent.config.boot_id) {
            agent.out.persist.push(Record::Boot {
                boot_id: agent.config.boot_id.clone(),
            });
        }
        if !is_as_before {
            agent.out.persist.push(Record::Configured {
                configuration: Box::new(configuration),
            });
        }
        agent.adopt_executors(has_rebooted);
        agent.adopt_all(has_rebooted);
        // What has ended meanwhile holds nothing.
        agent.held = agent.count_held();
        agent.settle_executors();
        let keys: Vec<TaskKey> = agent.tasks.keys().cloned().collect();
        keys.iter().for_each(|key| agent.begin_probing(key));
        let used = agent.used().filter(|entry| !entry.terms().is_revocable);
        agent.is_overcommitted = !agent.resources().contains(&used);
        agent.warn_of_misfits();
        agent
    }

    /// The fewest records that lead to the present state: what a long log is replaced with.
    pub fn snapshot(&self) -> Vec<Record> {
        let boot_id = self.config.boot_id.clone();
        let configuration = Box::new(Configuration::of(&self.config));
        let mut records = vec![
            Record::Boot { boot_id },
            Record::Configured { configuration },
        ];
        records.extend(self.id.clone().map(|agent| Record::Admitted { agent }));
        let addresses = self.link.masters().to_vec();
        records.extend((!addresses.is_empty()).then_some(Record::Masters { addresses }));
        records.extend(self.operations.snapshot());
        for (key, attempt) in &self.finished {
            records.push(Record::Forgotten {
                key: key.clone(),
                attempt: *attempt,
            });
        }
        self.snapshot_executors(&mut records);
        for (key, task) in self.tasks.iter().filter(|(_, task)| task.is_stored) {
            snapshot_task(key, task, &mut records);
        }
        records
    }

    fn replay(&mut self, record: Record, boot_id: &mut Option<String>) {
        match record {
            Record::Admitted { agent } => self.id = Some(agent),
            Record::Boot { boot_id: id } => *boot_id = Some(id),
            Record::Masters { addresses } => self.link.know_masters(addresses),
            // Compared by who recovers; the agent is what it is configured to be now.
            Record::Configured { .. } => {}
            Record::Launched { spec, container } => {
                self.replay_task(Task::new(*spec, Some(container)));
            }
            Record::KillRequested { key, grace_ms } => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    task.kill_grace_ms = Some(grace_ms);
                }
            }
            Record::Updated { key, status } => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    let is_known = task
                        .stream
                        .pending()
                        .any(|pending| pending.uuid == status.uuid);
                    if task.spec.kind != ExecutorKind::Custom {
                        task.extra.clone_from(&status.extra);
                    }
                    if !is_known {
                        task.stream.push(*status);
                    }
                }
            }
            Record::Acknowledged { key, uuid } => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    if task.stream.acknowledge(uuid) != Acknowledged::Ignored
                        && task.spec.kind == ExecutorKind::Custom
                    {
                        task.ties.saw(uuid);
                    }
                    if task.stream.latest().is_terminal() && task.stream.pending().len() == 0 {
                        self.forget(&key);
                    }
                }
            }
            Record::Preempted { container, text } => self.replay_preempted(&container, text),
            Record::Made { made } => self.operations.replay_made(made),
            Record::Applied { report, made } => self.operations.replay_applied(*report, made),
            Record::OperationAcknowledged { operation } => {
                self.operations.replay_acknowledged(operation);
            }
            record @ (Record::Given { .. }
            | Record::Seen { .. }
            | Record::ExecutorLaunched { .. }
            | Record::ExecutorSubscribed { .. }
            | Record::ExecutorShutdown { .. }
            | Record::ExecutorEnded { .. }) => self.replay_of_executor(record),
            Record::Forgotten { key, attempt } => {
                if self
                    .tasks
                    .get(&key)
                    .is_some_and(|task| task.spec.attempt <= attempt)
                {
                    self.forget(&key);
                }
                self.remember_finished(key, attempt);
            }
        }
    }

    pub(crate) fn replay_task(&mut self, task: Task) {
        let key = task.spec.key.clone();
        let known = self.tasks.get(&key);
        if known.is_some_and(|known| known.spec.attempt >= task.spec.attempt) {
            return;
        }
        self.forget(&key);
        if let Some(container) = task
            .container
            .clone()
            .filter(|_| task.spec.kind != ExecutorKind::Custom)
        {
            self.containers.insert(container, key.clone());
        }
        // Sums are counted when all is replayed; whose a task is has to be known before.
        self.held.take(&task.spec, false);
        self.tasks.insert(key, task);
    }

    /// Volumes and reservations whose resources the configuration no longer has.
    fn warn_of_misfits(&mut self) {
        if let Some(misfits) = self.operations.misfit(&self.config.resources) {
            let text = format!(
                "the configured resources are less than what was reserved or made a volume before: {}",
                resource_text::text(&misfits)
            );
            self.note(Level::Warn, text);
        }
    }

    fn adopt_all(&mut self, has_rebooted: bool) {
        let destroy_at = self.moment.now + Duration::from_secs(60);
        let mut adopted = 0;
        let given: Vec<TaskKey> = self
            .tasks
            .values()
            .filter(|task| task.spec.kind == ExecutorKind::Custom)
            .map(|task| task.spec.key.clone())
            .collect();
        for key in given {
            let phase = self.phase_of_given(&key);
            if let Some(task) = self.tasks.get_mut(&key) {
                task.phase = phase;
            }
            adopted += usize::from(phase.is_active());
        }
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in keys {
            let task = self.tasks.get_mut(&key);
            let Some(task) = task.filter(|task| task.spec.kind != ExecutorKind::Custom) else {
                continue;
            };
            let Some(container) = task.container.clone() else {
                continue;
            };
            task.has_rebooted = has_rebooted;
            let is_killed = task.kill_grace_ms.is_some();
            let is_preempted = task.verdict.is_some();
            task.phase = match task.latest() {
                state if state.is_terminal() => Phase::Ended,
                TaskState::Staging if is_killed => Phase::Aborting { destroy_at },
                _ if is_killed || is_preempted => Phase::Killing { destroy_at },
                TaskState::Staging => Phase::Launching,
                TaskState::Starting => Phase::Starting,
                _ => Phase::Running,
            };
            if task.phase == Phase::Ended {
                self.containers.remove(&container);
                continue;
            }
            adopted += 1;
            self.containers.insert(container.clone(), key);
            self.out.actions.push(Action::Adopt {
                container: container.clone(),
                rebooted: has_rebooted,
            });
            match (task.phase, task.kill_grace_ms) {
                (Phase::Killing { .. }, Some(grace_ms)) => self.out.actions.push(Action::Kill {
                    container,
                    grace_ms,
                }),
                (Phase::Aborting { .. }, _) | (Phase::Killing { .. }, None) => {
                    self.out.actions.push(Action::Destroy { container })
                }
                _ => {}
            }
        }
        let text = format!(
            "recovered {} tasks, {adopted} of them not ended; rebooted: {has_rebooted}",
            self.tasks.len()
        );
        self.note(Level::Info, text);
    }
}

fn snapshot_task(key: &TaskKey, task: &Task, records: &mut Vec<Record>) {
    let Some(container) = task.container.clone() else {
        return;
    };
    let spec = Box::new(task.spec.clone());
    let preempted = lending::record_of(&container, task.verdict.as_ref());
    records.push(match task.spec.kind {
        ExecutorKind::Command => Record::Launched { spec, container },
        ExecutorKind::Custom | ExecutorKind::Default => Record::Given {
            spec,
            container,
            parent: task.ties.parent.clone(),
            group: task.ties.group,
        },
    });
    if !task.ties.seen.is_empty() {
        records.push(Record::Seen {
            key: key.clone(),
            uuids: task.ties.seen.clone(),
        });
    }
    if let Some(status) = task.stream.acknowledged() {
        records.push(Record::Updated {
            key: key.clone(),
            status: Box::new(status.clone()),
        });
        records.extend(status.uuid.map(|uuid| Record::Acknowledged {
            key: key.clone(),
            uuid,
        }));
    }
    for status in task.stream.pending() {
        records.push(Record::Updated {
            key: key.clone(),
            status: Box::new(status.clone()),
        });
    }
    records.extend(preempted);
    if let Some(grace_ms) = task.kill_grace_ms {
        records.push(Record::KillRequested {
            key: key.clone(),
            grace_ms,
        });
    }
}
