//! How simulated schedulers use offers: some tasks fit, some ask for too much, some ids are used again.
//!
//! Called by `scheduler`. Invariant: an id is used again only after its task's end was acknowledged.

use std::collections::BTreeMap;

use masterd_core::{Call, LaunchExecutor, LaunchTask, Offer, Operation};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text;
use nesos_wire::task::Command;
use nesos_wire::{AgentId, ExecutorId, OfferId, TaskId};

use crate::scheduler::Belief;
use crate::world::World;

impl World {
    pub(crate) fn use_offers(&mut self, scheduler: usize) {
        let now = self.now;
        let known = &mut self.schedulers[scheduler];
        let temper = known.temper;
        let ripe: Vec<Offer> = known
            .offers
            .values()
            .filter(|(at, _)| *at <= now)
            .map(|(_, offer)| offer.clone())
            .collect();
        known.let_go(ripe.iter().map(|offer| offer.id.clone()));
        let mut bundles: BTreeMap<(AgentId, String), Vec<Offer>> = BTreeMap::new();
        for offer in ripe {
            let bundle = (offer.agent.clone(), offer.role.clone());
            bundles.entry(bundle).or_default().push(offer);
        }
        for ((agent, role), offers) in bundles {
            let ids: Vec<OfferId> = offers.iter().map(|offer| offer.id.clone()).collect();
            let budget = self.schedulers[scheduler].budget;
            let wants = !self.is_healed && budget > 0 && self.rng.chance(temper.appetite());
            let refuse_seconds = temper.refusal(&mut self.rng);
            let call = if wants {
                let mut total = Resources::new();
                offers.iter().for_each(|offer| total.add(&offer.resources));
                let mut operations = self.conversions(scheduler, &agent, &role, &mut total);
                operations.push(self.launch_for(scheduler, &agent, total));
                Call::Accept {
                    offers: ids,
                    operations,
                    refuse_seconds,
                }
            } else {
                Call::Decline {
                    offers: ids,
                    refuse_seconds,
                }
            };
            self.call(scheduler, call);
            if wants && self.rng.once_in(60) {
                return self.scheduler_crash(scheduler);
            }
        }
    }

    /// Tasks one by one, or as a group with an executor that may live already.
    fn launch_for(&mut self, scheduler: usize, agent: &AgentId, mut left: Resources) -> Operation {
        if self.laws.has_programs && self.rng.chance(50) {
            let executor = own_executor(self.rng.between(0, 1));
            left.subtract(&executor.resources);
            let mut tasks = self.tasks_for(scheduler, agent, left);
            for task in &mut tasks {
                task.executor = Some(Box::new(executor.clone()));
            }
            return Operation::Launch(tasks);
        }
        if !self.laws.has_pods || !self.rng.chance(50) {
            return Operation::Launch(self.tasks_for(scheduler, agent, left));
        }
        let executor = pod(self.rng.between(0, 2));
        left.subtract(&executor.resources);
        let tasks = self.tasks_for(scheduler, agent, left);
        Operation::LaunchGroup {
            executor: Box::new(executor),
            tasks,
        }
    }

    pub(crate) fn tasks_for(
        &mut self,
        scheduler: usize,
        agent: &AgentId,
        mut left: Resources,
    ) -> Vec<LaunchTask> {
        let mut tasks = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            let text = format!(
                "cpus:0.{};mem:{}",
                self.rng.between(1, 9),
                self.rng.between(8, 200)
            );
            let mut resources = resource_text::parse(&text).unwrap_or_default();
            if self.rng.chance(30) {
                let port = 31_000 + self.rng.between(0, 9);
                resources.add(
                    &resource_text::parse(&format!("ports:[{port}-{port}]")).unwrap_or_default(),
                );
            }
            // Some run on what is reserved, or have a volume.
            let made: Vec<_> = left
                .entries()
                .iter()
                .filter(|entry| entry.is_made() || entry.terms().is_revocable)
                .cloned()
                .collect();
            if !made.is_empty() && self.rng.chance(40) {
                let entry = made[self.rng.next() as usize % made.len()].clone();
                resources.put(entry);
            }
            if self.laws.has_gpus && self.rng.chance(20) {
                resources.add(&resource_text::parse("gpus:1").unwrap_or_default());
            }
            // Some ask for more than there is, and shall be told so.
            if !left.contains(&resources) && !self.rng.chance(5) {
                continue;
            }
            // What is shared is there for the next task too.
            left.subtract(&resources.filter(|entry| !entry.is_shared()));
            let task = self.next_task_id(scheduler);
            let belief = Belief {
                state: None,
                agent: agent.clone(),
                is_closed: false,
                end: None,
            };
            self.schedulers[scheduler]
                .tasks
                .insert(task.clone(), belief);
            tasks.push(LaunchTask {
                name: task.to_string(),
                task,
                agent: agent.clone(),
                executor: None,
                role: None,
                resources,
                limits: BTreeMap::new(),
                command: Command::default(),
                kill_grace_ms: 2000,
                checks: self.draw_checks(),
                info: Vec::new(),
                invalid: None,
            });
        }
        tasks
    }

    /// Ends executors that the framework has brought and that hold no task any more.
    pub(crate) fn dismiss(&mut self, scheduler: usize) {
        let (Some(core), Some(id)) = (&self.master.core, &self.schedulers[scheduler].id) else {
            return;
        };
        let holds = |agent: &masterd_core::Agent, executor: &ExecutorId| {
            let mut own = agent.tasks.iter().filter(|key| key.framework == *id);
            own.any(|key| {
                core.task(key)
                    .is_some_and(|task| task.spec.executor == *executor)
            })
        };
        let own = core.executors().filter(|(agent, known)| {
            let is_own = known.key.framework == *id && known.kind == ExecutorKind::Custom;
            is_own && !holds(agent, &known.key.executor)
        });
        let calls = own.map(|(agent, known)| Call::ShutDownExecutor {
            agent: agent.id.clone(),
            executor: known.key.executor.clone(),
        });
        for call in calls.collect::<Vec<_>>() {
            self.call(scheduler, call);
        }
    }

    /// A new id, or one whose task has ended and was acknowledged.
    fn next_task_id(&mut self, scheduler: usize) -> TaskId {
        let reuses = self.rng.chance(20);
        let known = &mut self.schedulers[scheduler];
        known.budget = known.budget.saturating_sub(1);
        let closed = known
            .tasks
            .iter()
            .find(|(_, belief)| belief.is_closed)
            .map(|(id, _)| id.clone());
        match closed {
            Some(id) if reuses => id,
            _ => {
                known.next_task += 1;
                TaskId::new(format!("t{}", known.next_task))
            }
        }
    }
}

/// One of the few default executors that all frameworks use.
fn pod(number: u64) -> LaunchExecutor {
    executor(format!("pod{number}"), ExecutorKind::Default)
}

/// One of the few executors that frameworks bring.
fn own_executor(number: u64) -> LaunchExecutor {
    executor(format!("own{number}"), ExecutorKind::Custom)
}

fn executor(id: String, kind: ExecutorKind) -> LaunchExecutor {
    LaunchExecutor {
        name: id.clone(),
        kind,
        source: String::new(),
        role: None,
        resources: resource_text::parse("cpus:0.1;mem:32").unwrap_or_default(),
        command: Command::default(),
        shutdown_grace_ms: None,
        info: id.clone().into_bytes(),
        executor: ExecutorId::new(id),
        invalid: None,
    }
}
