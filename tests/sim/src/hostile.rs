//! What a hostile scheduler says: every id may be stale, foreign, doubled or made up.
//!
//! Called by `thinking`. Whatever it says, only it may suffer: the checkers hold for everybody else, and for it.

use nesos_wire::{AgentId, ExecutorId, OfferId, TaskId, Uuid};

use masterd_core::{Call, Operation, ReconcileTask};

use crate::world::World;

impl World {
    pub(crate) fn be_hostile(&mut self, scheduler: usize) {
        let call = match self.rng.between(0, 10) {
            0..=3 => self.wrong_accept(scheduler),
            4 => Call::Decline {
                offers: self.wrong_offers(scheduler),
                refuse_seconds: Some(60.0),
            },
            5 => Call::Acknowledge {
                agent: self.some_agent(),
                task: self.some_task(),
                uuid: Uuid::from_random(self.rng.bytes()),
            },
            6 => Call::Kill {
                task: self.some_task(),
                agent: Some(self.some_agent()),
                grace_ms: Some(0),
            },
            7 => Call::Reconcile {
                tasks: vec![
                    ReconcileTask {
                        task: TaskId::new("never"),
                        agent: Some(self.some_agent()),
                    };
                    2
                ],
            },
            8 => Call::Revive {
                roles: vec!["foreign".to_owned()],
            },
            9 => Call::ShutDownExecutor {
                agent: self.some_agent(),
                executor: ExecutorId::new("pod1"),
            },
            _ => Call::Message {
                agent: self.some_agent(),
                executor: ExecutorId::new("nobody"),
                data: vec![0; 10],
            },
        };
        self.call(scheduler, call);
    }

    /// An ACCEPT that must come to nothing, or only to what its offers hold.
    fn wrong_accept(&mut self, scheduler: usize) -> Call {
        let offers = self.wrong_offers(scheduler);
        let agent = self.some_agent();
        let known = self.master.core.as_ref().and_then(|core| {
            let offer = offers.first().and_then(|id| core.offer(id))?;
            Some((offer.agent.clone(), offer.resources.clone()))
        });
        let (agent, resources) = known.unwrap_or((agent, Default::default()));
        let mut tasks = self.tasks_for(scheduler, &agent, resources);
        if self.rng.chance(30)
            && let Some(task) = tasks.first().cloned()
        {
            tasks.push(task);
        }
        if self.rng.chance(20)
            && let Some(task) = tasks.first_mut()
        {
            task.role = Some("foreign".to_owned());
        }
        Call::Accept {
            offers,
            operations: vec![Operation::Launch(tasks)],
            refuse_seconds: None,
        }
    }

    /// Ids of any origin, its own among them now and then.
    fn wrong_offers(&mut self, scheduler: usize) -> Vec<OfferId> {
        let known = &self.schedulers[scheduler];
        let mut pool: Vec<OfferId> = known.past_offers.iter().cloned().collect();
        pool.extend(known.offers.keys().cloned());
        if let Some(core) = &self.master.core {
            pool.extend(core.offers().map(|offer| offer.id.clone()));
        }
        pool.push(OfferId::new("m1-O999999"));
        let mut ids = Vec::new();
        for _ in 0..self.rng.between(0, 3) {
            ids.push(pool[self.rng.next() as usize % pool.len()].clone());
        }
        if self.rng.chance(30)
            && let Some(id) = ids.first().cloned()
        {
            ids.push(id);
        }
        ids
    }

    fn some_agent(&mut self) -> AgentId {
        let agents: Vec<AgentId> = self
            .master
            .core
            .iter()
            .flat_map(|core| core.agents())
            .map(|agent| agent.id.clone())
            .collect();
        match agents.len() {
            0 => AgentId::new("nobody"),
            count => agents[self.rng.next() as usize % count].clone(),
        }
    }

    fn some_task(&mut self) -> TaskId {
        let others = self
            .schedulers
            .iter()
            .flat_map(|scheduler| scheduler.tasks.keys());
        let tasks: Vec<TaskId> = others.cloned().collect();
        match tasks.len() {
            0 => TaskId::new("nothing"),
            count => tasks[self.rng.next() as usize % count].clone(),
        }
    }
}
