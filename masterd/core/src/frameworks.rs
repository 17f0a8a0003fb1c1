//! Frameworks: subscribing, failing over, heartbeats, leaving.
//!
//! Not their calls about offers and tasks (see `offers`, `launch`, `kill`, `reconcile`, `updates`). Called by
//! `Master::step` and the timers. Invariant: a stream belongs to one framework and a framework has at most one stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use nesos_base::time::{Duration, Instant};
use nesos_wire::command::{Command, FrameworkFacts, FrameworkRecord};
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::message::MasterToAgent;
use nesos_wire::task::{Reason, Source, TaskSpec, TaskState};
use nesos_wire::{AgentId, FrameworkId, OfferId};

use crate::allocator::Subscription;
use crate::builtin;
use crate::call::FrameworkUpdate;
use crate::event::{RequestId, StreamId, Subscribe};
use crate::master::Master;
use crate::news::News;
use crate::outgoing::{FrameworkEvent, HEARTBEAT_SECONDS};
use crate::ready::Answer;
use crate::state::{Completed, Framework};
use crate::timers::Timer;

impl Master {
    /// Frameworks and agents of the registry, waited for from now on.
    pub(crate) fn recover(&mut self) {
        let frameworks: Vec<FrameworkRecord> = self.registry.frameworks().cloned().collect();
        for record in frameworks {
            self.add_recovered_framework(record.framework, record.facts, record.info);
        }
        self.recover_agents();
        self.recover_shares();
    }

    pub(crate) fn subscribe(&mut self, subscribe: Subscribe) {
        let stream = subscribe.stream;
        if let Err(message) = self.check_subscription(&subscribe) {
            self.refuse_stream(stream, message);
            return;
        }
        let is_new = subscribe.framework.is_none();
        let id = subscribe.framework.clone().unwrap_or_else(|| {
            let id = self.next_framework_id();
            self.next_framework += 1;
            id
        });
        let is_known = self.frameworks.contains_key(&id);
        if is_new || !is_known {
            self.metrics.messages_register_framework += 1;
        } else {
            self.metrics.messages_reregister_framework += 1;
        }
        if is_known {
            self.leave_old_stream(&id);
        } else {
            self.frameworks.insert(
                id.clone(),
                blank(&id, subscribe.facts.clone(), subscribe.info.clone()),
            );
        }
        self.take_facts(&id, &subscribe.facts, &subscribe.info);
        self.attach(&id, subscribe);
        self.tell(|| match is_known {
            true => News::FrameworkUpdated(id.clone()),
            false => News::FrameworkAdded(id.clone()),
        });
        self.resend_updates(&id);
    }

    pub(crate) fn stream_closed(&mut self, stream: StreamId) {
        let Some(id) = self.streams.remove(&stream) else {
            return;
        };
        self.metrics.messages_deactivate_framework += 1;
        let (now, wall) = (self.now, self.wall);
        let Some(framework) = self.frameworks.get_mut(&id) else {
            return;
        };
        framework.stream = None;
        framework.heartbeat_at = None;
        framework.unregistered_time = Some(wall);
        let at = now + nesos_base::time::seconds(framework.facts.failover_timeout);
        framework.removal_at = Some(at);
        self.allocator.deactivate_framework(&id);
        self.discard_framework_offers(&id);
        self.discard_inverse_offers(&id);
        self.timers.arm(at, Timer::Removal(id));
        // A failover timeout of 0, Mesos's default, ends the framework now.
        self.ring();
    }

    pub(crate) fn operator_teardown(&mut self, request: RequestId, framework: &FrameworkId) {
        let answer = if framework.as_str() == builtin::FRAMEWORK {
            Answer::Invalid(format!(
                "Framework {framework} is the master's own: remove its services and jobs instead"
            ))
        } else if self.frameworks.contains_key(framework) {
            self.remove_framework(framework);
            Answer::Done
        } else {
            Answer::NotFound(format!("No framework found with ID {framework}"))
        };
        self.answer(request, answer);
    }

    pub(crate) fn heartbeat_due(&mut self, stream: StreamId, at: Instant) {
        let Some(id) = self.streams.get(&stream).cloned() else {
            return;
        };
        let Some(framework) = self.frameworks.get_mut(&id) else {
            return;
        };
        if framework.heartbeat_at != Some(at) {
            return;
        }
        let next = self.now + Duration::from_secs(HEARTBEAT_SECONDS);
        framework.heartbeat_at = Some(next);
        self.timers.arm(next, Timer::Heartbeat(stream));
        self.send_framework(&id, FrameworkEvent::Heartbeat);
    }

    pub(crate) fn removal_due(&mut self, id: &FrameworkId, at: Instant) {
        if self
            .frameworks
            .get(id)
            .is_some_and(|framework| framework.removal_at == Some(at))
        {
            self.remove_framework(id);
        }
    }

    /// A framework that this master knows only from an agent's task. Its record stays as thin as what the task says.
    pub(crate) fn recover_framework_of(&mut self, spec: &TaskSpec) {
        let mut capabilities = Vec::new();
        if spec.partition_aware {
            capabilities.push("PARTITION_AWARE".to_owned());
        }
        if spec.task_killing {
            capabilities.push("TASK_KILLING_STATE".to_owned());
        }
        let mut facts = guessed_facts(&spec.role, spec.checkpoint);
        facts.capabilities = capabilities;
        self.add_recovered_framework(
            spec.key.framework.clone(),
            facts,
            spec.framework_info.clone(),
        );
    }

    /// The same, of one that this master knows only from an executor without tasks.
    pub(crate) fn recover_framework_of_executor(&mut self, executor: &FrameworkExecutor) {
        let mut facts = guessed_facts(&executor.role, executor.checkpoint);
        if executor.partition_aware {
            facts.capabilities.push("PARTITION_AWARE".to_owned());
        }
        let info = executor.framework_info.clone();
        self.add_recovered_framework(executor.key.framework.clone(), facts, info);
    }

    /// Ends a framework: its tasks are killed, its stream closed, its id never accepted again.
    pub(crate) fn remove_framework(&mut self, id: &FrameworkId) {
        self.discard_framework_offers(id);
        self.discard_inverse_offers(id);
        self.forget_stances(id);
        let Some(mut framework) = self.frameworks.remove(id) else {
            return;
        };
        if let Some(stream) = framework.stream.take() {
            self.streams.remove(&stream);
            self.out.close_streams.push(stream);
        }
        framework.heartbeat_at = None;
        framework.removal_at = None;
        framework.unregistered_time = Some(self.wall);
        let mut agents: BTreeSet<AgentId> = BTreeSet::new();
        let tasks = std::mem::take(&mut framework.tasks).into_values();
        let unreachable = std::mem::take(&mut framework.unreachable).into_values();
        for mut task in tasks.chain(unreachable) {
            agents.insert(task.agent.clone());
            if let Some(agent) = self.agents.get_mut(&task.agent) {
                agent.tasks.remove(&task.spec.key);
            }
            if !task.latest.is_terminal() {
                let message = format!("Framework {id} removed");
                let status =
                    self.master_status(&task, TaskState::Killed, Reason::FrameworkRemoved, message);
                let reason = Some(Reason::FrameworkRemoved);
                self.note_end(id, TaskState::Killed, Source::Master, reason);
                self.tell_update(&task.spec.key, &status);
                task.record(status);
                task.latest = TaskState::Killed;
            }
            framework.complete(task, self.config.max_completed_tasks);
        }
        agents.append(&mut self.drop_executors_of(id));
        // Also frees what its tasks and executors used. Before the allocator forgets it, since free resources are offered at once.
        self.allocator.remove_framework(id);
        for agent in agents {
            self.send_agent(
                &agent,
                MasterToAgent::ShutdownFramework {
                    framework: id.clone(),
                },
            );
        }
        self.release_operations(id);
        self.propose(Command::RemoveFramework {
            framework: id.clone(),
        });
        self.forget_tally(id);
        self.tell(|| News::FrameworkRemoved(id.clone()));
        self.completed.push_back(Arc::new(Completed { framework }));
        if self.completed.len() > self.config.max_completed_frameworks {
            self.completed.pop_front();
        }
    }

    fn add_recovered_framework(&mut self, id: FrameworkId, facts: FrameworkFacts, info: Vec<u8>) {
        let own = nesos_base::time::seconds(facts.failover_timeout);
        let at = self.now + own.max(self.config.framework_recovery_timeout);
        let mut framework = blank(&id, facts, info);
        framework.recovered = true;
        framework.removal_at = Some(at);
        self.allocator
            .put_framework(&id, subscription(&framework, Default::default(), false));
        self.timers.arm(at, Timer::Removal(id.clone()));
        self.frameworks.insert(id.clone(), framework);
        self.tell(|| News::FrameworkAdded(id));
    }

    fn refuse_stream(&mut self, stream: StreamId, message: String) {
        self.out
            .to_frameworks
            .push((stream, FrameworkEvent::Error(message)));
        self.out.close_streams.push(stream);
    }

    /// The framework has a newer stream: end the one it had, forget what was offered there.
    fn leave_old_stream(&mut self, id: &FrameworkId) {
        self.discard_framework_offers(id);
        self.discard_inverse_offers(id);
        let old = self
            .frameworks
            .get_mut(id)
            .and_then(|framework| framework.stream.take());
        if let Some(stream) = old {
            self.streams.remove(&stream);
            let sentence = "Framework failed over".to_owned();
            self.note_event(id, &FrameworkEvent::Error(sentence.clone()));
            self.refuse_stream(stream, sentence);
        }
    }

    /// Offers of roles it leaves are rescinded; offers of roles it suppresses stay. Watchers hear of it only if its
    /// `FrameworkInfo` is another one, as in Mesos.
    pub(crate) fn update_framework(&mut self, id: &FrameworkId, update: FrameworkUpdate) {
        if self.check_update(id, &update).is_err() {
            return;
        }
        let known = self.frameworks.get(id);
        let is_changed = known.is_some_and(|known| known.info != update.info);
        self.take_facts(id, &update.facts, &update.info);
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        framework.suppressed = update.suppressed_roles.into_iter().collect();
        framework.constraints = update.constraints;
        let subscription = subscription(framework, update.min_allocatable, true);
        let left = framework.offers.iter().filter(|offer| {
            let role = self.offers.get(offer).map(|offer| &offer.role);
            role.is_some_and(|role| !subscription.roles.contains(role))
        });
        let left: Vec<OfferId> = left.cloned().collect();
        left.iter().for_each(|offer| self.rescind(offer));
        self.allocator.update_framework(id, subscription);
        if is_changed {
            self.tell(|| News::FrameworkUpdated(id.clone()));
        }
    }

    /// New facts replace the old ones, except for `user` and `checkpoint`, which never change.
    fn take_facts(&mut self, id: &FrameworkId, facts: &FrameworkFacts, info: &[u8]) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let mut facts = facts.clone();
        if !framework.is_orphan() {
            facts.user.clone_from(&framework.facts.user);
            facts.checkpoint = framework.facts.checkpoint;
        }
        framework.facts = facts;
        framework.info = info.to_vec();
        let record = FrameworkRecord {
            framework: id.clone(),
            info: framework.info.clone(),
            facts: framework.facts.clone(),
        };
        if self.registry.framework(id) != Some(&record) {
            self.propose(Command::PutFramework(record));
        }
    }

    fn attach(&mut self, id: &FrameworkId, subscribe: Subscribe) {
        let heartbeat_at = self.now + Duration::from_secs(HEARTBEAT_SECONDS);
        let wall = self.wall;
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        match framework.registered_time {
            None => framework.registered_time = Some(wall),
            Some(_) => framework.reregistered_time = Some(wall),
        }
        framework.stream = Some(subscribe.stream);
        framework.recovered = false;
        framework.removal_at = None;
        framework.unregistered_time = None;
        framework.heartbeat_at = Some(heartbeat_at);
        framework.suppressed = subscribe.suppressed_roles.into_iter().collect();
        framework.constraints = subscribe.constraints;
        let subscription = subscription(framework, subscribe.min_allocatable, true);
        self.allocator.put_framework(id, subscription);
        self.streams.insert(subscribe.stream, id.clone());
        self.timers
            .arm(heartbeat_at, Timer::Heartbeat(subscribe.stream));
        self.note_call(id, "subscribe");
        let subscribed = FrameworkEvent::Subscribed {
            framework: id.clone(),
            heartbeat_interval_seconds: HEARTBEAT_SECONDS as f64,
        };
        self.send_framework(id, subscribed);
        self.send_framework(id, FrameworkEvent::Heartbeat);
        self.revive_inverse_offers(id);
    }
}

impl Framework {
    /// Known from an agent's tasks alone, so that most of its facts are guesses.
    pub(crate) fn is_orphan(&self) -> bool {
        self.recovered && self.facts.name.is_empty() && self.facts.user.is_empty()
    }
}

fn guessed_facts(role: &str, checkpoint: bool) -> FrameworkFacts {
    FrameworkFacts {
        name: String::new(),
        user: String::new(),
        roles: vec![role.to_owned()],
        principal: None,
        failover_timeout: 0.0,
        checkpoint,
        capabilities: Vec::new(),
    }
}

fn blank(id: &FrameworkId, facts: FrameworkFacts, info: Vec<u8>) -> Framework {
    Framework {
        id: id.clone(),
        facts,
        info,
        stream: None,
        recovered: false,
        registered_time: None,
        reregistered_time: None,
        unregistered_time: None,
        suppressed: BTreeSet::new(),
        constraints: Default::default(),
        tasks: Default::default(),
        unreachable: Default::default(),
        completed: Default::default(),
        offers: BTreeSet::new(),
        inverse_offers: BTreeSet::new(),
        patterns: Default::default(),
        heartbeat_at: None,
        removal_at: None,
    }
}

fn subscription(
    framework: &Framework,
    min_allocatable: std::collections::BTreeMap<String, Vec<nesos_wire::resource::Resources>>,
    active: bool,
) -> Subscription {
    Subscription {
        roles: framework.facts.roles.iter().cloned().collect(),
        suppressed: framework.suppressed.clone(),
        min_allocatable,
        constrained: framework.constraints.roles().cloned().collect(),
        wants_gpus: framework.facts.is_capable("GPU_RESOURCES"),
        wants_revocable: framework.facts.is_capable("REVOCABLE_RESOURCES"),
        wants_shared: framework.facts.is_capable("SHARED_RESOURCES"),
        wants_refined: framework.facts.is_capable("RESERVATION_REFINEMENT"),
        is_region_aware: framework.facts.is_capable("REGION_AWARE"),
        is_multi_role: framework.facts.is_capable("MULTI_ROLE"),
        active,
    }
}
