//! The runs of jobs: how they begin, are tried again, and end; and what follows from the time.
//!
//! Part of `Jobs`. Called by its other methods and by the shell. Invariant: a run is in its job and in `tasks`, or in neither.

use nesos_wire::TaskId;
use nesos_wire::builtin::JobRun;

use super::facts::{End, JobWish, Outcome, OutcomeKind};
use super::job::{self, Kill, Run};
use super::{Jobs, MAX_STEP_MS, SET_BACK_MS};

impl Jobs {
    /// A place was found for a run: it is being launched. To be called before its status is heard.
    pub fn started(&mut self, task: &TaskId, wall_ms: u64) {
        self.pass(wall_ms);
        self.place(task, wall_ms);
    }

    /// A run has ended, or could not be launched.
    pub fn ended(&mut self, task: &TaskId, outcome: Outcome, wall_ms: u64) {
        self.pass(wall_ms);
        self.place(task, wall_ms);
        let Some(name) = self.tasks.remove(task) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&name) else {
            return;
        };
        let Some(at) = job.runs.iter().position(|run| run.record.task == *task) else {
            return;
        };
        let run = job.runs.remove(at);
        let kind = kind_of(outcome.kind, run.kill);
        let started = run.record.placed.unwrap_or(wall_ms);
        let duration_ms = self.steady_ms.saturating_sub(run.since);
        job.remember(
            End {
                task: task.clone(),
                attempt: run.record.attempt,
                started,
                ended: wall_ms,
                outcome: Outcome { kind, ..outcome },
                elements: run.elements,
            },
            (kind == OutcomeKind::Finished).then_some(duration_ms),
        );
        let starts_children = match kind {
            OutcomeKind::Finished => {
                job.succeeded(wall_ms);
                true
            }
            OutcomeKind::Failed | OutcomeKind::Lost if run.record.attempt < job.facts.retries => {
                self.try_again(&name, run.record, wall_ms);
                false
            }
            OutcomeKind::Failed | OutcomeKind::Lost => {
                job.failed(wall_ms);
                job.facts.soft_error
            }
            OutcomeKind::Killed => false,
        };
        self.changed.insert(name.clone());
        if starts_children {
            self.start_children(&name, wall_ms);
        }
        self.look(&name, wall_ms);
    }

    /// Looks what the time has brought.
    pub fn tick(&mut self, wall_ms: u64) {
        let was_set_back = self.pass(wall_ms);
        let steady_ms = self.steady_ms;
        let is_due = |job: &job::Job| {
            job.next_start().is_some_and(|due| due <= wall_ms)
                || job.next_look().is_some_and(|at| at <= steady_ms)
        };
        let jobs = self.jobs.iter();
        let due = jobs.filter(|(_, job)| was_set_back || is_due(job));
        let names: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            if was_set_back
                && let Some(job) = self.jobs.get_mut(&name)
                && job.set_back(wall_ms)
            {
                self.changed.insert(name.clone());
            }
            self.look(&name, wall_ms);
        }
    }

    /// When [`Jobs::tick`] has something to do next, milliseconds since 1970; clocks jump, so once a minute is also right.
    pub fn next_due(&self) -> Option<u64> {
        let wall_ms = self.seen_ms?;
        let looks = self.jobs.values().filter_map(job::Job::next_look);
        let looks = looks.map(|at| wall_ms.saturating_add(at.saturating_sub(self.steady_ms)));
        let starts = self.jobs.values().filter_map(job::Job::next_start);
        looks.chain(starts).min()
    }

    /// What is to be done, in this order.
    pub fn take_wishes(&mut self) -> Vec<JobWish> {
        let names = std::mem::take(&mut self.changed);
        let jobs = names
            .iter()
            .filter_map(|name| Some((name, self.jobs.get(name)?)));
        let mut wishes: Vec<JobWish> = jobs
            .map(|(name, job)| JobWish::Put(job.record(name)))
            .collect();
        // A job that was removed and created again within one step is to be there.
        let (first, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wishes)
            .into_iter()
            .partition(|wish| matches!(wish, JobWish::Remove { .. }));
        wishes.splice(0..0, first);
        wishes.extend(rest);
        wishes
    }

    /// Lets the clocks go on. True if the wall clock was set back.
    pub(super) fn pass(&mut self, wall_ms: u64) -> bool {
        let seen_ms = self.seen_ms.replace(wall_ms).unwrap_or(wall_ms);
        self.steady_ms += wall_ms.saturating_sub(seen_ms).min(MAX_STEP_MS);
        seen_ms.saturating_sub(wall_ms) > SET_BACK_MS
    }

    /// Looks what one job wants at this time.
    pub(super) fn look(&mut self, name: &str, wall_ms: u64) {
        let Some(job) = self.jobs.get_mut(name) else {
            return;
        };
        let was_over = job.progress.remaining == Some(0);
        let due = job.wants_start(wall_ms);
        if !was_over && job.progress.remaining == Some(0) {
            self.changed.insert(name.to_owned());
        }
        if let Some(due) = due {
            self.begin(name, due, true, None, wall_ms);
        }
        let Some(job) = self.jobs.get_mut(name) else {
            return;
        };
        if let Some(longest_ms) = job.facts.longest_ms {
            for run in &mut job.runs {
                let is_over = self.steady_ms >= run.since.saturating_add(longest_ms);
                if is_over && run.record.placed.is_some() && run.kill.is_none() {
                    run.kill = Some(Kill::TooLong);
                    let task = run.record.task.clone();
                    self.wishes.push(JobWish::Kill { task });
                }
            }
        }
        let first = job.startable();
        for run in job.runs.iter_mut().take(first) {
            if !run.is_wanted && run.since <= self.steady_ms {
                run.is_wanted = true;
                self.wishes.push(JobWish::Start {
                    name: name.to_owned(),
                    task: run.record.task.clone(),
                    attempt: run.record.attempt,
                    arguments: run.record.arguments.clone(),
                });
            }
        }
    }

    /// A new run, behind those that there are.
    pub(super) fn begin(
        &mut self,
        name: &str,
        due: u64,
        is_scheduled: bool,
        arguments: Option<String>,
        wall_ms: u64,
    ) {
        let run = JobRun {
            task: self.new_task(name, due, 0, wall_ms),
            due,
            attempt: 0,
            is_scheduled,
            arguments,
            placed: None,
        };
        self.push(name, run, false);
    }

    /// The next attempt, before those that wait.
    fn try_again(&mut self, name: &str, run: JobRun, wall_ms: u64) {
        let attempt = run.attempt + 1;
        let run = JobRun {
            task: self.new_task(name, run.due, attempt, wall_ms),
            attempt,
            placed: None,
            ..run
        };
        self.push(name, run, true);
    }

    fn push(&mut self, name: &str, record: JobRun, is_first: bool) {
        let Some(job) = self.jobs.get_mut(name) else {
            return;
        };
        self.tasks.insert(record.task.clone(), name.to_owned());
        let at = if is_first { 0 } else { job.runs.len() };
        let since = self.steady_ms + job::wait_ms(record.attempt);
        let run = Run {
            record,
            is_wanted: false,
            since,
            kill: None,
            elements: None,
        };
        job.runs.insert(at, run);
    }

    /// Chronos's form, `ct:<due>:<attempt>:<name>:`, made unique: by now, and by a number for what has the same now.
    fn new_task(&mut self, name: &str, due: u64, attempt: u32, wall_ms: u64) -> TaskId {
        loop {
            self.serial += 1;
            let serial = self.serial;
            let task = format!("ct:{due}:{attempt}:{name}:{wall_ms:x}.{serial:x}");
            let task = TaskId::new(task);
            // The master before this one counted, too.
            if !self.tasks.contains_key(&task) {
                return task;
            }
        }
    }

    fn place(&mut self, task: &TaskId, wall_ms: u64) {
        let Some(name) = self.tasks.get(task) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(name) else {
            return;
        };
        let run = job.runs.iter_mut().find(|run| run.record.task == *task);
        let Some(run) = run.filter(|run| run.record.placed.is_none()) else {
            return;
        };
        let is_by_due = run.is_awaited();
        run.record.placed = Some(wall_ms);
        run.is_wanted = true;
        run.since = self.steady_ms;
        if is_by_due {
            job.was_started(wall_ms);
        }
        self.changed.insert(name.clone());
    }

    /// A run without a place is wanted no more. Who was not told of it yet need not be told that either.
    pub(super) fn forget(&mut self, run: &Run) {
        let task = run.record.task.clone();
        self.tasks.remove(&task);
        if !run.is_wanted {
            return;
        }
        let is_told =
            |wish: &JobWish| !matches!(wish, JobWish::Start { task: told, .. } if *told == task);
        let before = self.wishes.len();
        self.wishes.retain(is_told);
        if self.wishes.len() == before {
            self.wishes.push(JobWish::Forget { task });
        }
    }
}

/// Who was told to end has ended for that reason, unless it succeeded before.
fn kind_of(kind: OutcomeKind, kill: Option<Kill>) -> OutcomeKind {
    match (kind, kill) {
        (OutcomeKind::Finished, _) | (_, None) => kind,
        (_, Some(Kill::Asked)) => OutcomeKind::Killed,
        (_, Some(Kill::TooLong)) => OutcomeKind::Failed,
    }
}
