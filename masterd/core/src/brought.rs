//! Tasks that an agent brings along and of which the books know nothing: after a restart of the master, all of them.
//!
//! Only those about which there is nothing to decide; the others are `hello_tasks`'s, which calls this for each report
//! first. What ten thousand agents do at once is done here by agent, not by task: the agent's list, and the allocator's
//! books, in which it counts as one allocation for each role of a framework (as in Mesos). Invariant: before anybody
//! looks at an agent's books, [`Master::settle_brought`] has put into them what is noted in [`Brought`].

use nesos_wire::message::TaskReport;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId, TaskKey};

use crate::master::Master;
use crate::news::News;
use crate::task::Task;

/// What of an agent's tasks is not in the agent's books yet.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// A framework that is in the books and has not ended; most of an agent's tasks are of the same.
    framework: Option<FrameworkId>,
    keys: Vec<TaskKey>,
    used: Vec<Used>,
}

/// What the tasks of one role of a framework use.
#[derive(Debug)]
struct Used {
    framework: FrameworkId,
    role: String,
    resources: Resources,
}

impl Master {
    /// Puts a reported task into its framework's books. Gives the report back if they know the task, or if the framework
    /// has ended.
    pub(crate) fn bring(
        &mut self,
        agent: &AgentId,
        report: TaskReport,
        brought: &mut Brought,
    ) -> Option<TaskReport> {
        let key = &report.spec.key;
        if brought.framework.as_ref() != Some(&key.framework) {
            if self.registry.is_removed(&key.framework) {
                return Some(report);
            }
            if !self.frameworks.contains_key(&key.framework) {
                self.recover_framework_of(&report.spec);
            }
            brought.framework = Some(key.framework.clone());
        }
        let Some(framework) = self.frameworks.get_mut(&key.framework) else {
            return Some(report);
        };
        let has_ended = |task: &Task| {
            task.spec.attempt == report.spec.attempt && task.spec.key.task == key.task
        };
        if framework.completed.values().any(has_ended)
            || framework.unreachable.contains_key(&key.task)
        {
            return Some(report);
        }
        let Some(place) = framework.tasks.vacancy(&key.task) else {
            return Some(report);
        };
        let TaskReport {
            mut spec,
            latest,
            status,
        } = report;
        // The same text, but in memory once.
        spec.key.framework.clone_from(&framework.id);
        let key = spec.key.clone();
        let mut task = Task::new(spec, agent.clone(), &mut framework.patterns);
        task.latest = latest;
        task.confirmed = true;
        if let Some(status) = status {
            task.record(status);
        }
        if !latest.is_terminal() {
            brought.note_use(&framework.id, &task.spec.role, &task.spec.resources);
        }
        framework.tasks.fill(place, key.task.clone(), task);
        self.tell(|| News::TaskAdded(key.clone()));
        brought.keys.push(key);
        None
    }

    /// Puts what is noted into the agent's books; says which tasks that were.
    pub(crate) fn settle_brought(
        &mut self,
        agent: &AgentId,
        brought: &mut Brought,
    ) -> Vec<TaskKey> {
        for used in std::mem::take(&mut brought.used) {
            self.allocator
                .allocated(&used.framework, &used.role, agent, &used.resources);
        }
        let keys = std::mem::take(&mut brought.keys);
        if let Some(agent) = self.agents.get_mut(agent) {
            match agent.tasks.is_empty() {
                true => agent.tasks = keys.iter().cloned().collect(),
                false => agent.tasks.extend(keys.iter().cloned()),
            }
        }
        keys
    }
}

impl Brought {
    fn note_use(&mut self, framework: &FrameworkId, role: &str, resources: &Resources) {
        let same = |used: &&mut Used| used.framework == *framework && used.role == role;
        match self.used.iter_mut().find(same) {
            Some(used) => used.resources.add(resources),
            None => self.used.push(Used {
                framework: framework.clone(),
                role: role.to_owned(),
                resources: resources.clone(),
            }),
        }
    }
}
