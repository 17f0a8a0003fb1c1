//! Jobs: what is to run at times, or after other jobs have succeeded. The part of Chronos.
//!
//! Not here: how a run is placed (`placing`), what it runs and how jobs are written and shown (the shell), and the clock: wall
//! times come in, milliseconds since 1970. Called by the shell, which carries out [`Jobs::take_wishes`] after each call.
//! Invariants: a job that is not concurrent never has two runs; a job that is to start n times by itself starts n times,
//! whatever was too late or in the way; each end changes one counter at most; what was missed costs nothing, however
//! far the clock jumps.
//!
//! What survives a change of the leader is each job's record: how far it is, and its runs but for those that its schedule
//! wants and that have no place yet, which are wanted again. Waits and the longest time of a run then begin anew.

mod facts;
mod family;
mod job;
mod runs;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::TaskId;
use nesos_wire::builtin::{JobProgress, JobRecord, JobRun};

pub use facts::{
    EPSILON_MS, End, JobError, JobFacts, JobWish, MAX_ARGUMENTS, MAX_DEFINITION, MAX_DURATIONS,
    MAX_ENDS, MAX_JOBS, MAX_NAME, MAX_RUNS, Outcome, OutcomeKind, Past, Trigger,
};
pub use family::Inherited;
pub use job::{Job, JobState};
pub use schedule::{Schedule, ScheduleError, duration_ms, moment_ms, timestamp};

use job::{Kill, Run};

/// The most that the steady clock goes on from one call to the next, milliseconds: the shell calls once a minute at least, so
/// what is more is a clock that was set.
const MAX_STEP_MS: u64 = 90_000;
/// A clock that is set back by less is not looked at, milliseconds: that is how time is kept right.
const SET_BACK_MS: u64 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: BTreeMap<String, Job>,
    tasks: BTreeMap<TaskId, String>,
    /// Records that differ from what was last handed out.
    changed: BTreeSet<String>,
    wishes: Vec<JobWish>,
    /// Wall time of the last call.
    seen_ms: Option<u64>,
    /// Goes on as the wall clock does, and stands still when that jumps.
    steady_ms: u64,
    /// Makes ids unique.
    serial: u64,
}

impl Jobs {
    /// Takes up a job at the start of a leadership. `running` are its tasks that have been placed and have not ended.
    pub fn recover(
        &mut self,
        record: JobRecord,
        facts: JobFacts,
        running: Vec<(TaskId, u32)>,
        wall_ms: u64,
    ) {
        self.pass(wall_ms);
        let JobRecord {
            name,
            definition,
            progress,
        } = record;
        let mut job = Job::new(definition, facts);
        let runs = progress.runs;
        job.progress = JobProgress {
            runs: Vec::new(),
            ..progress
        };
        let is_running = |task: &TaskId| running.iter().any(|(running, _)| running == task);
        for mut run in runs {
            match (run.placed, is_running(&run.task)) {
                // It ended, and the one who was to write that did not come to it.
                (Some(_), false) => drop(self.changed.insert(name.clone())),
                (None, true) => {
                    run.placed = Some(wall_ms);
                    self.changed.insert(name.clone());
                    self.take_up(&name, &mut job, run);
                }
                _ => self.take_up(&name, &mut job, run),
            }
        }
        for (task, attempt) in running {
            if !self.tasks.contains_key(&task) {
                let run = recovered(task, attempt, &job, wall_ms);
                let is_by_due = job::is_by_due(&run);
                self.take_up(&name, &mut job, run);
                if is_by_due {
                    job.was_started(wall_ms);
                }
                self.changed.insert(name.clone());
            }
        }
        // Those that go on come before those that wait for them.
        job.runs.sort_by_key(|run| run.record.placed.is_none());
        if job.set_back(wall_ms) {
            self.changed.insert(name.clone());
        }
        self.jobs.insert(name, job);
    }

    /// Creates a job or gives it another definition. Runs that have a place go on as they are, those that somebody asked for
    /// and that have none begin by the new definition, those that the old schedule wanted are forgotten.
    ///
    /// # Errors
    /// The name is none, there are too many jobs, a parent is not there or is started by this job.
    pub fn put(
        &mut self,
        name: &str,
        definition: Vec<u8>,
        facts: JobFacts,
        wall_ms: u64,
    ) -> Result<(), JobError> {
        self.pass(wall_ms);
        check_name(name)?;
        if definition.len() > MAX_DEFINITION {
            return Err(JobError::Large(definition.len()));
        }
        if self.jobs.len() >= MAX_JOBS && !self.jobs.contains_key(name) {
            return Err(JobError::TooMany);
        }
        self.check_parents(name, &facts.trigger)?;
        let mut job = Job::new(definition, facts);
        if let Some(old) = self.jobs.remove(name) {
            job.ends = old.ends;
            job.durations = old.durations;
            let parents = match &job.facts.trigger {
                Trigger::Parents(parents) => parents.clone(),
                Trigger::Schedule(_) => BTreeSet::new(),
            };
            let done = old.progress.parents_done.into_iter();
            job.progress.parents_done = done.filter(|done| parents.contains(done)).collect();
            let is_off = job.facts.disabled;
            let stays = |run: &Run| run.record.placed.is_some() || !(is_off || run.is_awaited());
            let (stay, go): (Vec<Run>, Vec<Run>) = old.runs.into_iter().partition(stays);
            job.runs = stay;
            go.iter().for_each(|run| self.forget(run));
        }
        self.jobs.insert(name.to_owned(), job);
        self.changed.insert(name.to_owned());
        self.look(name, wall_ms);
        Ok(())
    }

    /// Removes a job and kills its runs.
    ///
    /// # Errors
    /// It is not there, or starts another one: see [`Jobs::inherited`].
    pub fn remove(&mut self, name: &str, wall_ms: u64) -> Result<(), JobError> {
        self.pass(wall_ms);
        let unknown = || JobError::Unknown(name.to_owned());
        if !self.jobs.contains_key(name) {
            return Err(unknown());
        }
        if let Some(child) = self.children(name).next() {
            return Err(JobError::Child {
                name: name.to_owned(),
                child: child.to_owned(),
            });
        }
        let job = self.jobs.remove(name).ok_or_else(unknown)?;
        for run in &job.runs {
            match run.record.placed {
                Some(_) => {
                    let task = run.record.task.clone();
                    self.tasks.remove(&task);
                    self.wishes.push(JobWish::Kill { task });
                }
                None => self.forget(run),
            }
        }
        self.changed.remove(name);
        let name = name.to_owned();
        self.wishes.insert(0, JobWish::Remove { name });
        Ok(())
    }

    /// Starts a job, whatever its schedule says and also if it is disabled: somebody asked for it. Behind a run that goes on,
    /// if the job is not concurrent.
    ///
    /// # Errors
    /// It is not there, the arguments are too long, or too many runs wait.
    pub fn run_now(
        &mut self,
        name: &str,
        arguments: Option<String>,
        wall_ms: u64,
    ) -> Result<(), JobError> {
        self.pass(wall_ms);
        let length = arguments.as_ref().map_or(0, String::len);
        if length > MAX_ARGUMENTS {
            return Err(JobError::Arguments(length));
        }
        if self.known(name)?.runs.len() >= MAX_RUNS {
            return Err(JobError::TooManyRuns(name.to_owned()));
        }
        self.begin(name, wall_ms, false, arguments, wall_ms);
        self.changed.insert(name.to_owned());
        self.look(name, wall_ms);
        Ok(())
    }

    /// Counts a success that nobody saw, and starts the children.
    ///
    /// # Errors
    /// It is not there.
    pub fn mark_success(&mut self, name: &str, wall_ms: u64) -> Result<(), JobError> {
        self.pass(wall_ms);
        self.known(name)?.succeeded(wall_ms);
        self.changed.insert(name.to_owned());
        self.start_children(name, wall_ms);
        Ok(())
    }

    /// Ends all runs of a job; those that wait are forgotten. Neither successes nor errors.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill_tasks(&mut self, name: &str) -> Result<(), JobError> {
        let wall_ms = self.seen_ms.unwrap_or(0);
        let job = self.known(name)?;
        let runs = std::mem::take(&mut job.runs);
        let mut go = Vec::new();
        for mut run in runs {
            if run.record.placed.is_some() {
                run.kill = Some(Kill::Asked);
                job.runs.push(run);
            } else {
                if run.is_awaited() {
                    job.was_started(wall_ms);
                }
                go.push(run);
            }
        }
        let tasks: Vec<TaskId> = job.runs.iter().map(|run| run.record.task.clone()).collect();
        let kills = tasks.into_iter().map(|task| JobWish::Kill { task });
        self.wishes.extend(kills);
        if !go.is_empty() {
            self.changed.insert(name.to_owned());
        }
        go.iter().for_each(|run| self.forget(run));
        Ok(())
    }

    /// A run of a job says that it has worked on so much more: in memory only.
    ///
    /// # Errors
    /// The job or the run is not there.
    pub fn worked_on(&mut self, name: &str, task: &str, more: u64) -> Result<(), JobError> {
        match self.known(name)?.worked_on(task, more) {
            true => Ok(()),
            false => Err(JobError::NoTask {
                name: name.to_owned(),
                task: task.to_owned(),
            }),
        }
    }

    /// The jobs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Job)> {
        self.jobs.iter().map(|(name, job)| (&**name, job))
    }

    /// A job.
    pub fn get(&self, name: &str) -> Option<&Job> {
        self.jobs.get(name)
    }

    /// Whose run this task is.
    pub fn owner(&self, task: &TaskId) -> Option<&str> {
        self.tasks.get(task).map(String::as_str)
    }

    fn known(&mut self, name: &str) -> Result<&mut Job, JobError> {
        let unknown = || JobError::Unknown(name.to_owned());
        self.jobs.get_mut(name).ok_or_else(unknown)
    }

    fn take_up(&mut self, name: &str, job: &mut Job, record: JobRun) {
        self.tasks.insert(record.task.clone(), name.to_owned());
        let is_wanted = record.placed.is_some();
        let wait_ms = if is_wanted {
            0
        } else {
            job::wait_ms(record.attempt)
        };
        job.runs.push(Run {
            record,
            is_wanted,
            since: self.steady_ms + wait_ms,
            kill: None,
            elements: None,
        });
    }
}

/// A run that has a place and that the record does not know: its master died between the two. Its id says the rest.
fn recovered(task: TaskId, attempt: u32, job: &Job, wall_ms: u64) -> JobRun {
    let due = task.as_str().split(':').nth(1);
    let due = due.and_then(|due| due.parse().ok()).unwrap_or(wall_ms);
    JobRun {
        task,
        due,
        attempt,
        is_scheduled: job.progress.due == Some(due),
        arguments: None,
        placed: Some(wall_ms),
    }
}

fn check_name(name: &str) -> Result<(), JobError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || " _-.#".contains(c);
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_allowed);
    // `.` and `..` would lead elsewhere in a path, and nobody finds a name that begins or ends with a space.
    if is_name && name.trim() == name && name != "." && name != ".." {
        return Ok(());
    }
    Err(JobError::Name(name.to_owned()))
}
