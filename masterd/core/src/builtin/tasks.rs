//! Tasks: what is heard of them, and how they are ended.
//!
//! Called by `builtin`. Invariants: a record is given up before the status that ends it is acknowledged; who does not answer is asked
//! again.

use nesos_base::time::{Duration, Instant};
use nesos_wire::TaskId;
use nesos_wire::builtin::Owner;
use nesos_wire::command::Command;
use nesos_wire::task::{Reason, TaskState, TaskStatus};

use super::{Builtin, Failure, Instance, Told};
use crate::call::{Call, ReconcileTask};

/// How long a kill may take until it is said again: longer than most programs need to end, since it begins nothing anew.
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// After what time tasks that nobody has told of are asked about again, first and at most.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How often all tasks are asked about, as by Marathon.
const ASK_ALL: Duration = Duration::from_secs(600);

impl Builtin {
    pub(super) fn subscribed(&mut self) {
        self.link.is_up = true;
        self.link.is_suppressed = false;
        self.link.is_news = true;
        self.link.ask = Some((self.moment.now, ASK_AGAIN.0));
    }

    pub(super) fn updated(&mut self, task: TaskId, status: TaskStatus) {
        let agent = status.agent.clone();
        let acknowledge = status.uuid.zip(agent);
        let is_lost_run = status.state == TaskState::Unreachable && self.is_run(&task);
        let is_over =
            status.state.is_terminal() || status.state == TaskState::Unknown || is_lost_run;
        match self.instances.contains_key(&task) {
            true if is_over => self.ended(&task, &status),
            true => self.goes_on(&task, &status),
            // A launch that nobody remembers, after a restored backup say.
            false if !is_over && status.state != TaskState::Unreachable => {
                self.call(kill(&task, None));
            }
            false => {}
        }
        if let Some((uuid, agent)) = acknowledge {
            self.call(Call::Acknowledge { agent, task, uuid });
        }
    }

    /// Runs of jobs are not waited for when their agent cannot be reached.
    fn is_run(&self, task: &TaskId) -> bool {
        let instance = self.instances.get(task);
        instance.is_some_and(|instance| instance.service().is_none())
    }

    /// Ends a task, and keeps at it until it has ended.
    pub(super) fn kill(&mut self, task: &TaskId) {
        let again = self.moment.now + KILL_AGAIN;
        let Some(instance) = self.instances.get_mut(task) else {
            return;
        };
        instance.kill_again = Some(again);
        let service = match &instance.record.owner {
            Owner::Service { id, .. } => self.services.get(id),
            Owner::Job { .. } => None,
        };
        let grace = service.and_then(|service| service.facts.kill_grace_ms);
        self.call(kill(task, grace));
    }

    /// Says kills again, asks about those nobody has told of, and gives up those that are unreachable for too long.
    pub(super) fn look_after_instances(&mut self) {
        let now = self.moment.now;
        let due = |instance: &&Instance| instance.kill_again.is_some_and(|again| again <= now);
        let late = self.instances.values().filter(due);
        let late: Vec<TaskId> = late.map(|instance| instance.record.task.clone()).collect();
        late.iter().for_each(|task| self.kill(task));
        self.ask_about_instances();
        self.give_up_instances();
    }

    /// When [`look_after_instances`](Self::look_after_instances) has something to do because time has passed.
    pub(super) fn instances_due(&self) -> Option<Instant> {
        let kills = self.instances.values().filter_map(|one| one.kill_again);
        let lost = self.instances.values().filter_map(|one| self.lost_due(one));
        kills.chain(lost).min()
    }

    /// When something follows from the instance's agent being unreachable.
    fn lost_due(&self, instance: &Instance) -> Option<Instant> {
        let since = instance.unreachable?;
        // Nobody waits for what is left of a service that is no longer wanted.
        let Some(service) = self.services.get(instance.service()?) else {
            return Some(since);
        };
        let facts = &service.facts;
        let replaced = facts.inactive_after.filter(|_| !instance.is_given_up);
        let next = [replaced, facts.expunge_after];
        next.into_iter().flatten().map(|after| since + after).min()
    }

    fn goes_on(&mut self, task: &TaskId, status: &TaskStatus) {
        let moment = self.moment;
        let Some(instance) = self.instances.get_mut(task) else {
            return;
        };
        let before = instance.state;
        let has_turned = instance.take(status, moment.now, moment.wall);
        let is_alive = instance.health.is_alive;
        if before != status.state {
            self.tell_status(task, status);
        }
        let Some(instance) = self.instances.get(task) else {
            return;
        };
        if let Owner::Service { id, version } = &instance.record.owner {
            let (service, version) = (id.clone(), *version);
            self.dirty.insert(service.clone());
            if let (true, Some(is_alive)) = (has_turned, is_alive) {
                let task = task.clone();
                self.tell(Told::Health {
                    service,
                    version,
                    task,
                    is_alive,
                });
            }
        }
    }

    fn ended(&mut self, task: &TaskId, status: &TaskStatus) {
        self.tell_status(task, status);
        let Some(instance) = self.instances.remove(task) else {
            return;
        };
        self.keep(Command::RemoveInstance { task: task.clone() });
        let Owner::Service { id, version } = &instance.record.owner else {
            return self.run_ended(task, status);
        };
        if let Some(all) = self.of_service.get_mut(id) {
            all.remove(task);
        }
        self.dirty.insert(id.clone());
        if is_failure(status, &instance) {
            self.failed(id, *version, &instance, status);
        }
    }

    fn failed(&mut self, id: &str, version: u64, instance: &Instance, status: &TaskStatus) {
        let moment = self.moment;
        let Some(service) = self.services.get_mut(id) else {
            return;
        };
        let record = &instance.record;
        service.last_failure = Some(Failure {
            task: record.task.to_string(),
            host: record.host.clone(),
            agent: record.agent.to_string(),
            state: status.state,
            message: status.message.clone(),
            at: moment.wall,
            version,
        });
        let ran = instance.running_since.map(|since| moment.now - since);
        let ran = ran.unwrap_or(Duration::from_ticks(0));
        service
            .delay
            .failed(&service.facts.backoff, ran, moment.now);
    }

    /// Asks about tasks that nobody has told of yet, soon again; and at long intervals about all, since a board may bring back what was
    /// given up under an earlier leader.
    fn ask_about_instances(&mut self) {
        let now = self.moment.now;
        let Some((_, wait)) = self
            .link
            .ask
            .filter(|(at, _)| *at <= now && self.link.is_up)
        else {
            return;
        };
        self.call(Call::Reconcile { tasks: Vec::new() });
        let unknown = self.instances.values().filter(|one| !one.is_confirmed);
        let tasks: Vec<ReconcileTask> = unknown
            .map(|one| ReconcileTask {
                task: one.record.task.clone(),
                agent: Some(one.record.agent.clone()),
            })
            .collect();
        if tasks.is_empty() {
            self.link.ask = Some((now + ASK_ALL, ASK_AGAIN.0));
            return;
        }
        let longer = Duration::from_ticks(wait.as_ticks() * 2).min(ASK_AGAIN.1);
        self.link.ask = Some((now + wait, longer));
        self.call(Call::Reconcile { tasks });
    }

    fn give_up_instances(&mut self) {
        let now = self.moment.now;
        let due = |one: &&Instance| self.lost_due(one).is_some_and(|due| due <= now);
        let due = self.instances.values().filter(due);
        let due: Vec<TaskId> = due.map(|one| one.record.task.clone()).collect();
        for task in due {
            let Some(instance) = self.instances.get_mut(&task) else {
                continue;
            };
            instance.is_given_up = true;
            let Some(id) = instance.service().map(str::to_owned) else {
                continue;
            };
            let since = self.instances.get(&task).and_then(|one| one.unreachable);
            let service = self.services.get(&id);
            let expunge_after = service.map_or(Some(Duration::from_ticks(0)), |service| {
                service.facts.expunge_after
            });
            let expunged = since.zip(expunge_after);
            if expunged.is_some_and(|(since, after)| since + after <= now) {
                self.instances.remove(&task);
                if let Some(all) = self.of_service.get_mut(&id) {
                    all.remove(&task);
                }
                // If it comes back, nobody knows it, and it is killed.
                self.keep(Command::RemoveInstance { task });
            }
            self.dirty.insert(id);
        }
    }

    fn tell_status(&mut self, task: &TaskId, status: &TaskStatus) {
        let Some(instance) = self.instances.get(task) else {
            return;
        };
        let record = &instance.record;
        if let Owner::Service { id, version } = &record.owner {
            let told = Told::Status {
                service: id.clone(),
                version: *version,
                task: task.clone(),
                agent: record.agent.clone(),
                host: record.host.clone(),
                ports: record.ports.clone(),
                state: status.state,
                message: status.message.clone(),
            };
            self.tell(told);
        }
    }
}

/// Whether the next one is to wait: neither killed on purpose, nor lost through no fault of its own.
fn is_failure(status: &TaskStatus, instance: &Instance) -> bool {
    use TaskState::{Dropped, Gone, GoneByOperator, Killed, Lost, Unknown};
    let is_lost = matches!(
        status.state,
        Lost | Dropped | Gone | GoneByOperator | Unknown
    );
    // Its agent kills it when its health checks have failed too often.
    let newest = status.healthy.or(instance.health.is_alive);
    let is_ill = newest == Some(false);
    let is_killed = instance.is_dying() || (status.state == Killed && !is_ill);
    let is_stale_offer = status.reason == Some(Reason::InvalidOffers);
    !is_lost && !is_killed && !is_stale_offer
}

fn kill(task: &TaskId, grace_ms: Option<u32>) -> Call {
    Call::Kill {
        task: task.clone(),
        agent: None,
        grace_ms,
    }
}
