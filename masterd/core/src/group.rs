//! LAUNCH_GROUP: some tasks with one executor, all of them or none.
//!
//! Called by `accept`. Invariant: either every task of a group is in the books and in one message to the agent, or each
//! has been told the same sentence and nothing is used.

use std::collections::BTreeSet;

use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Reason, TaskState};
use nesos_wire::{TaskId, TaskKey};

use crate::call::{LaunchExecutor, LaunchTask};
use crate::launch::{MAX_LAUNCH_BYTES, estimate, estimate_executor};
use crate::master::Master;
use crate::outgoing::Offer;
use crate::task_check::check_room;

/// The least that a group's executor needs (Mesos's `MIN_CPUS`, `MIN_MEM`).
const LEAST: [(&str, Scalar); 2] = [("cpus", Scalar(10)), ("mem", Scalar(32_000))];

impl Master {
    pub(crate) fn launch_group(
        &mut self,
        offer: &Offer,
        executor: LaunchExecutor,
        tasks: Vec<LaunchTask>,
        remaining: &mut Resources,
    ) {
        let start = match self.check_group(offer, &executor, &tasks, remaining) {
            Ok(start) => start,
            Err(message) => {
                for task in tasks {
                    let key = TaskKey {
                        framework: offer.framework.clone(),
                        task: task.task,
                    };
                    let reason = Reason::TaskGroupInvalid;
                    self.refuse_task(key, task.agent, TaskState::Error, reason, message.clone());
                }
                return;
            }
        };
        let mut hosted = None;
        let mut specs = Vec::new();
        for task in tasks {
            let attempt = self.allot_attempt();
            if hosted.is_none() {
                hosted = self.host(offer, executor.clone(), start, attempt, remaining);
            }
            let Some(host) = &hosted else { return };
            specs.extend(self.book_task(offer, task, attempt, Some(host), remaining));
        }
        if let Some(executor) = hosted {
            let message = MasterToAgent::LaunchExecutor {
                executor,
                start,
                tasks: specs,
                group: true,
            };
            self.send_agent(&offer.agent, message);
        }
    }

    /// Whether the group can be launched; says whether its executor is to be started.
    fn check_group(
        &self,
        offer: &Offer,
        executor: &LaunchExecutor,
        tasks: &[LaunchTask],
        remaining: &Resources,
    ) -> Result<bool, String> {
        let start = self.check_executor(offer, executor)?;
        for (name, least) in LEAST {
            let has = executor.resources.scalar(name);
            if has < least {
                return Err(format!(
                    "Executor {} uses less {name} ({}) than the minimum required ({})",
                    executor.executor,
                    has.to_f64(),
                    least.to_f64()
                ));
            }
        }
        let mut seen: BTreeSet<&TaskId> = BTreeSet::new();
        let framework = self.frameworks.get(&offer.framework);
        let about_it = framework.map_or(0, |known| known.info.len());
        let mut bytes = estimate_executor(executor) + about_it;
        for task in tasks {
            let because = |why: String| format!("Task {} is invalid: {why}", task.task);
            self.check_task(offer, task).map_err(because)?;
            if !seen.insert(&task.task) {
                return Err(because(format!("Task has duplicate ID: {}", task.task)));
            }
            bytes += estimate(&task.command, task.info.len() + about_it);
        }
        if bytes > MAX_LAUNCH_BYTES {
            return Err(format!(
                "The task group has about {bytes} bytes, at most {MAX_LAUNCH_BYTES} are allowed"
            ));
        }
        let first = start.then_some(&executor.resources);
        let needed = first.into_iter().chain(tasks.iter().map(|t| &t.resources));
        check_room("Task group and its executor use", needed, remaining)?;
        Ok(start)
    }
}
