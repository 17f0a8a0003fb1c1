//! What container events do to tasks.
//!
//! Called by `agent`. Events of containers that no active task owns are ignored: they were given up before.

use nesos_wire::ContainerId;
use nesos_wire::TaskKey;
use nesos_wire::executor::Outcome;
use nesos_wire::task::{Reason, TaskState};

use crate::agent::Agent;
use crate::event::{ContainerEvent, Finish};
use crate::task::{Draft, Phase};

impl Agent {
    pub(crate) fn container_event(&mut self, container: &ContainerId, event: ContainerEvent) {
        let Some(key) = self.containers.get(container).cloned() else {
            return self.holder_event(container, event);
        };
        match event {
            ContainerEvent::Networked { status } => {
                if let Some(task) = self.tasks.get_mut(&key) {
                    task.extra = status;
                }
            }
            ContainerEvent::Started => self.started(&key),
            ContainerEvent::Running => self.running(&key),
            ContainerEvent::LaunchFailed { message } => self.launch_failed(&key, message),
            ContainerEvent::Finished(finish) => self.finished(&key, &finish),
            ContainerEvent::Vanished => {
                if let Some(task) = self.tasks.get(&key) {
                    let draft = task.draft_vanished();
                    self.finish(&key, draft);
                }
            }
        }
    }

    fn started(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if task.phase == Phase::Launching {
            task.phase = Phase::Starting;
            self.update(key, Draft::executor(TaskState::Starting, ""));
        }
    }

    fn running(&mut self, key: &TaskKey) {
        self.started(key);
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if task.phase == Phase::Starting {
            task.phase = Phase::Running;
            self.update(key, Draft::executor(TaskState::Running, ""));
            self.begin_probing(key);
        }
    }

    fn launch_failed(&mut self, key: &TaskKey, message: String) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        let draft = match task.kill_grace_ms {
            Some(_) => task.draft_killed_during_launch(),
            None => Draft::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message),
        };
        self.history.counters.launch_errors += 1;
        self.finish(key, draft);
    }

    fn finished(&mut self, key: &TaskKey, finish: &Finish) {
        if !matches!(finish.record.outcome, Outcome::NotStarted(_)) {
            // It ran, even if its end was faster than the news of its start.
            self.running(key);
        }
        if let Some(task) = self.tasks.get(key) {
            let draft = task.draft_finish(finish);
            self.finish(key, draft);
        }
    }
}
