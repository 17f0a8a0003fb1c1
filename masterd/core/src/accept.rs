//! ACCEPT: which offers are used, and its operations in their order on what these still hold.
//!
//! What a task must be is `launch`'s, what an operation on resources must be `operation`'s. Called by `call`. Invariant: an
//! offer is used at most once, and whatever of it is not used is free again.

use nesos_wire::operation::OperationState;
use nesos_wire::resource::Resources;
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{AgentId, FrameworkId, OfferId, TaskId, TaskKey};

use crate::call::Operation;
use crate::launch::Launches;
use crate::master::Master;
use crate::operation::Remains;
use crate::outgoing::Offer;

impl Master {
    pub(crate) fn accept(
        &mut self,
        framework: &FrameworkId,
        offers: &[OfferId],
        operations: Vec<Operation>,
        refuse_seconds: Option<f64>,
    ) {
        if operations
            .iter()
            .any(|operation| matches!(operation, Operation::Launch(_)))
        {
            self.metrics.messages_launch_tasks += 1;
        }
        let offer = match self.take_offers(framework, offers, refuse_seconds) {
            Ok(offer) => offer,
            Err(reason) => {
                self.drop_operations(framework, operations, &reason);
                return;
            }
        };
        self.note_offers(framework, "accepted", offers.len() as u64);
        self.note_operations(framework, &operations);
        let mut remains = Remains {
            usable: offer.resources.clone(),
            kept: Resources::new(),
        };
        let mut launches = Launches::default();
        for operation in operations {
            match operation {
                Operation::Launch(tasks) => {
                    for task in tasks {
                        self.launch(&offer, task, &mut remains.usable, &mut launches);
                    }
                }
                Operation::LaunchGroup { executor, tasks } => {
                    self.send_launches(&offer.agent, &mut launches);
                    self.launch_group(&offer, *executor, tasks, &mut remains.usable);
                }
                Operation::Convert(request) => {
                    self.send_launches(&offer.agent, &mut launches);
                    self.convert(&offer, *request, &mut remains);
                }
                Operation::Unsupported {
                    tasks,
                    code,
                    reason,
                } => {
                    for (task, agent) in tasks {
                        let key = TaskKey {
                            framework: framework.clone(),
                            task,
                        };
                        self.refuse_task(key, agent, TaskState::Error, code, reason.clone());
                    }
                }
            }
        }
        self.send_launches(&offer.agent, &mut launches);
        self.give_rest_back(&offer, remains, refuse_seconds);
    }

    /// What nothing was launched on. What operations have made is not hidden from the framework: it is new to it.
    fn give_rest_back(&mut self, offer: &Offer, remains: Remains, refuse_seconds: Option<f64>) {
        let mut made = remains.usable.clone();
        made.subtract(&offer.resources);
        let mut unused = remains.usable;
        unused.subtract(&made);
        made.add(&remains.kept);
        if !made.is_empty() {
            self.allocator
                .recover(&offer.framework, &offer.role, &offer.agent, &made);
        }
        let was_used = unused != offer.resources;
        self.give_back(offer, &unused, refuse_seconds, was_used);
    }

    /// All offers as one, if they exist, differ, and are of one agent and one role. Else those that do exist are given
    /// back and the sentence says what was wrong.
    fn take_offers(
        &mut self,
        framework: &FrameworkId,
        ids: &[OfferId],
        refuse_seconds: Option<f64>,
    ) -> Result<Offer, String> {
        let verdict = self.check_offers(framework, ids);
        let own = |master: &Self, id: &OfferId| {
            master
                .offers
                .get(id)
                .is_some_and(|o| o.framework == *framework)
        };
        let mut taken: Option<Offer> = None;
        for id in ids {
            if !own(self, id) {
                continue;
            }
            let Some(offer) = self.take_offer(id) else {
                continue;
            };
            if verdict.is_err() {
                self.give_back(&offer, &offer.resources, refuse_seconds, false);
                continue;
            }
            match &mut taken {
                Some(sum) => sum.resources.add(&offer.resources),
                None => taken = Some(offer),
            }
        }
        verdict?;
        taken.ok_or_else(|| "No offers specified".to_owned())
    }

    fn check_offers(&self, framework: &FrameworkId, ids: &[OfferId]) -> Result<(), String> {
        let mut first: Option<&Offer> = None;
        for (at, id) in ids.iter().enumerate() {
            if ids[..at].contains(id) {
                return Err(format!("Duplicate offer {id} in offer list"));
            }
            let offer = self
                .offers
                .get(id)
                .filter(|offer| offer.framework == *framework);
            let offer = offer.ok_or_else(|| format!("Offer {id} is no longer valid"))?;
            let first = *first.get_or_insert(offer);
            if first.agent != offer.agent {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {id} uses agent {} and agent {}",
                    offer.agent, first.agent
                ));
            }
            if first.role != offer.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {id} uses role {} and role {}",
                    offer.role, first.role
                ));
            }
        }
        if ids.is_empty() {
            Err("No offers specified".to_owned())
        } else {
            Ok(())
        }
    }

    /// The offers were no good, so nothing is launched: DROPPED, or LOST for frameworks that know no better.
    fn drop_operations(
        &mut self,
        framework: &FrameworkId,
        operations: Vec<Operation>,
        reason: &str,
    ) {
        let state = self.dropped_state(framework);
        for operation in operations {
            let tasks: Vec<(TaskId, AgentId)> = match operation {
                Operation::Launch(tasks) | Operation::LaunchGroup { tasks, .. } => tasks
                    .into_iter()
                    .map(|task| (task.task, task.agent))
                    .collect(),
                Operation::Unsupported { tasks, .. } => tasks,
                Operation::Convert(request) => {
                    let message = format!("Operation attempted with invalid offers: {reason}");
                    let state = OperationState::Error;
                    self.refuse_operation(framework, None, request.id, state, message);
                    continue;
                }
            };
            for (task, agent) in tasks {
                let key = TaskKey {
                    framework: framework.clone(),
                    task,
                };
                let message = format!("Task launched with invalid offers: {reason}");
                self.refuse_task(key, agent, state, Reason::InvalidOffers, message);
            }
        }
    }

    fn dropped_state(&self, framework: &FrameworkId) -> TaskState {
        let known = self.frameworks.get(framework);
        if known.is_some_and(|framework| framework.facts.is_capable("PARTITION_AWARE")) {
            TaskState::Dropped
        } else {
            TaskState::Lost
        }
    }
}
