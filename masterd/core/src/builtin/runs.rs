//! Runs of jobs: from the wish for one to its task, and from the task's end back to the job.
//!
//! When a job is to run is decided by `jobs`; where, by `placing`. Called by `builtin`. Invariant: a run waits here or has an instance, and
//! the job hears of its end once.

use nesos_base::time::{Duration, Instant};
use nesos_wire::TaskId;
use nesos_wire::builtin::{JobRecord, Owner};
use nesos_wire::command::Command;
use nesos_wire::task::{TaskState, TaskStatus};

use super::jobs::{JobFacts, JobWish, Jobs, Outcome, OutcomeKind};
use super::{Builtin, Moment};

/// How long the wall clock is trusted not to jump: then it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A run that waits for an offer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) job: String,
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) arguments: Option<String>,
}

impl Builtin {
    /// The jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The jobs, for whoever operates them.
    pub fn operate_jobs(&mut self, moment: Moment) -> &mut Jobs {
        self.moment = moment;
        &mut self.jobs
    }

    pub(super) fn recover_job(&mut self, record: JobRecord, facts: JobFacts) {
        let running = self
            .instances
            .values()
            .filter_map(|one| match &one.record.owner {
                Owner::Job { name, attempt } if *name == record.name => {
                    Some((one.record.task.clone(), *attempt))
                }
                _ => None,
            });
        let running = running.collect();
        self.jobs.recover(record, facts, running, self.moment.wall);
    }

    /// Ends runs of jobs that were removed by another leader.
    pub(super) fn end_orphans(&mut self) {
        let orphans = self
            .instances
            .values()
            .filter(|one| match &one.record.owner {
                Owner::Job { name, .. } => self.jobs.get(name).is_none(),
                Owner::Service { .. } => false,
            });
        let orphans: Vec<TaskId> = orphans.map(|one| one.record.task.clone()).collect();
        orphans.iter().for_each(|task| self.kill(task));
    }

    /// Carries out what jobs wish for.
    pub(super) fn obey_jobs(&mut self) {
        let has_any = self.jobs.iter().next().is_some();
        self.subscribe_if(has_any);
        for wish in self.jobs.take_wishes() {
            match wish {
                JobWish::Put(record) => self.keep(Command::PutJob(record)),
                JobWish::Remove { name } => self.keep(Command::RemoveJob { name }),
                JobWish::Start {
                    name,
                    task,
                    attempt,
                    arguments,
                } => {
                    self.link.is_news = true;
                    self.runs.push(Run {
                        job: name,
                        task,
                        attempt,
                        arguments,
                    });
                }
                JobWish::Kill { task } => self.kill(&task),
                JobWish::Forget { task } => {
                    self.runs.retain(|run| run.task != task);
                    self.kill(&task);
                }
            }
        }
    }

    /// When jobs have something to do because time has passed.
    pub(super) fn jobs_due(&self) -> Option<Instant> {
        let due = self.jobs.next_due()?;
        let wait = Duration::from_millis(due.saturating_sub(self.moment.wall));
        Some(self.moment.now + wait.min(LOOK_AGAIN))
    }

    /// The task of a run is over.
    pub(super) fn run_ended(&mut self, task: &TaskId, status: &TaskStatus) {
        let kind = match status.state {
            TaskState::Finished => OutcomeKind::Finished,
            TaskState::Killed => OutcomeKind::Killed,
            TaskState::Failed | TaskState::Error => OutcomeKind::Failed,
            // It went with its agent, or never came to it.
            _ => OutcomeKind::Lost,
        };
        let outcome = Outcome {
            kind,
            agent: status.agent.clone(),
            message: status.message.clone(),
        };
        self.jobs.ended(task, outcome, self.moment.wall);
    }
}
