//! One job: its definition, how far it is, and its runs.
//!
//! Knows nothing of other jobs; `mod` tells it what its parents do. Called by `Jobs`, read by the shell. Invariants: a job that
//! is not concurrent has one run at most that is wanted or placed, the first of them; `due` moves on when a place was found
//! for the run that it asked for, so a master that dies before that leaves it to the next one.

use std::collections::VecDeque;

use nesos_wire::TaskId;
use nesos_wire::builtin::{JobProgress, JobRecord, JobRun};

use super::facts::{End, JobFacts, MAX_DURATIONS, MAX_ENDS, MAX_RUNS, Past, Trigger};

/// First wait before a failed run is tried again, milliseconds; each further one doubles it.
const RETRY_MS: u64 = 1000;
/// Longest wait, milliseconds: Chronos's only one.
pub(super) const MAX_RETRY_MS: u64 = 60_000;

/// A job.
#[derive(Debug, Clone)]
pub struct Job {
    pub(super) definition: Vec<u8>,
    pub(super) facts: JobFacts,
    /// Its `runs` are empty: they are here.
    pub(super) progress: JobProgress,
    pub(super) runs: Vec<Run>,
    pub(super) ends: VecDeque<End>,
    pub(super) durations: VecDeque<u64>,
}

/// A run that has not ended.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) record: JobRun,
    /// Whether a place is being looked for, or was found.
    pub(super) is_wanted: bool,
    /// When it may begin, or since when it goes on: milliseconds of the steady clock.
    pub(super) since: u64,
    pub(super) kill: Option<Kill>,
    pub(super) elements: Option<u64>,
}

/// Why a run was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    Asked,
    TooLong,
}

/// What a job does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Nothing.
    Idle,
    /// It waits for a place, or for its next attempt.
    Queued,
    /// So many runs go on.
    Running(usize),
}

impl Job {
    pub(super) fn new(definition: Vec<u8>, facts: JobFacts) -> Self {
        let mut job = Self {
            definition,
            facts,
            progress: JobProgress::default(),
            runs: Vec::new(),
            ends: VecDeque::new(),
            durations: VecDeque::new(),
        };
        let Past {
            successes,
            errors,
            errors_since_success,
            last_success,
            last_error,
        } = job.facts.past;
        job.progress = JobProgress {
            successes,
            errors,
            errors_since_success,
            last_success,
            last_error,
            ..JobProgress::default()
        };
        if let Trigger::Schedule(schedule) = &job.facts.trigger {
            job.progress.remaining = schedule.repetitions();
            job.progress.due = (schedule.repetitions() != Some(0)).then(|| schedule.start());
        }
        job
    }

    /// What is kept of it. A run that its schedule wants and that has no place yet is not: `due` says it.
    pub(super) fn record(&self, name: &str) -> JobRecord {
        let runs = self.runs.iter().map(|run| &run.record);
        let runs = runs.filter(|run| run.placed.is_some() || !is_by_due(run));
        JobRecord {
            name: name.to_owned(),
            definition: self.definition.clone(),
            progress: JobProgress {
                runs: runs.cloned().collect(),
                ..self.progress.clone()
            },
        }
    }

    /// When its schedule wants the next start that nothing stands in the way of, milliseconds since 1970.
    pub(super) fn next_start(&self) -> Option<u64> {
        let is_awaited = self.runs.iter().any(Run::is_awaited);
        let due = self.progress.due;
        due.filter(|_| !self.facts.disabled && !is_awaited)
    }

    /// When one of its runs is to be looked at, milliseconds of the steady clock.
    pub(super) fn next_look(&self) -> Option<u64> {
        let waiting = self.runs.iter().take(self.startable());
        let waiting = waiting.filter(|run| !run.is_wanted).map(|run| run.since);
        let longest = self.facts.longest_ms;
        let going = self.runs.iter().filter_map(|run| {
            let is_watched = run.record.placed.is_some() && run.kill.is_none();
            longest
                .filter(|_| is_watched)
                .map(|longest| run.since.saturating_add(longest))
        });
        waiting.chain(going).min()
    }

    /// How many of its runs, from the first, may go on at once now.
    pub(super) fn startable(&self) -> usize {
        match self.facts.concurrent {
            true => self.runs.len(),
            false => usize::from(!self.runs.iter().any(|run| run.is_wanted)),
        }
    }

    /// Whether its schedule wants a run now. What is too late, or stands in the way of one that goes on, is passed over.
    pub(super) fn wants_start(&mut self, wall_ms: u64) -> Option<u64> {
        let due = self.next_start().filter(|due| *due <= wall_ms)?;
        let is_busy = !self.facts.concurrent && !self.runs.is_empty();
        let is_late = wall_ms - due > self.facts.epsilon_ms;
        if is_busy || is_late || self.runs.len() >= MAX_RUNS {
            self.move_on(wall_ms);
            return None;
        }
        Some(due)
    }

    /// The run that the schedule wanted has a place, or was killed before.
    pub(super) fn was_started(&mut self, wall_ms: u64) {
        if let Some(remaining) = &mut self.progress.remaining {
            *remaining = remaining.saturating_sub(1);
        }
        self.move_on(wall_ms);
    }

    /// On to the first start that is later than both the last one and now.
    fn move_on(&mut self, wall_ms: u64) {
        let Trigger::Schedule(schedule) = &self.facts.trigger else {
            return;
        };
        let Some(due) = self.progress.due else {
            return;
        };
        let is_over = self.progress.remaining == Some(0);
        self.progress.due = schedule.after(wall_ms.max(due)).filter(|_| !is_over);
        if self.progress.due.is_none() {
            self.progress.remaining = Some(0);
        }
    }

    /// The clock was set back: what is further ahead than the next start but one is brought near again. True if so.
    pub(super) fn set_back(&mut self, wall_ms: u64) -> bool {
        let (Trigger::Schedule(schedule), Some(due)) = (&self.facts.trigger, self.progress.due)
        else {
            return false;
        };
        let next = schedule.after(wall_ms);
        let second = next.and_then(|next| schedule.after(next));
        let is_far = second.is_some_and(|second| second < due);
        if is_far {
            self.progress.due = next;
        }
        is_far
    }

    pub(super) fn succeeded(&mut self, wall_ms: u64) {
        self.progress.successes = self.progress.successes.saturating_add(1);
        self.progress.errors_since_success = 0;
        self.progress.last_success = Some(wall_ms);
    }

    pub(super) fn failed(&mut self, wall_ms: u64) {
        let progress = &mut self.progress;
        progress.errors = progress.errors.saturating_add(1);
        progress.errors_since_success = progress.errors_since_success.saturating_add(1);
        progress.last_error = Some(wall_ms);
    }

    pub(super) fn remember(&mut self, end: End, duration_ms: Option<u64>) {
        if self.ends.len() == MAX_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
        if let Some(duration_ms) = duration_ms {
            if self.durations.len() == MAX_DURATIONS {
                self.durations.pop_front();
            }
            self.durations.push_back(duration_ms);
        }
    }
}

/// For the API.
impl Job {
    /// Its definition, as it was put.
    pub fn definition(&self) -> &[u8] {
        &self.definition
    }

    /// What the scheduler goes by.
    pub fn facts(&self) -> &JobFacts {
        &self.facts
    }

    /// How far it is; without its runs.
    pub fn progress(&self) -> &JobProgress {
        &self.progress
    }

    /// Nothing but a person starts it: it was disabled, or has started as often as it was to.
    pub fn is_disabled(&self) -> bool {
        self.facts.disabled || (self.progress.remaining == Some(0) && self.runs.is_empty())
    }

    /// Its schedule as it is from now on.
    pub fn schedule(&self) -> Option<String> {
        let Trigger::Schedule(schedule) = &self.facts.trigger else {
            return None;
        };
        let next = self.progress.due.unwrap_or(schedule.start());
        Some(schedule.text(self.progress.remaining, next))
    }

    /// What it does.
    pub fn state(&self) -> JobState {
        let placed = self.running().count();
        match (placed, self.runs.is_empty()) {
            (0, true) => JobState::Idle,
            (0, false) => JobState::Queued,
            (count, _) => JobState::Running(count),
        }
    }

    /// Its runs that have a place: since when, milliseconds since 1970, and what they said they had worked on.
    pub fn running(&self) -> impl Iterator<Item = (&TaskId, u64, Option<u64>)> {
        let runs = self.runs.iter();
        runs.filter_map(|run| Some((&run.record.task, run.record.placed?, run.elements)))
    }

    /// A run has worked on so much more. False: it is not known any more.
    pub(super) fn worked_on(&mut self, task: &str, more: u64) -> bool {
        let runs = self.runs.iter_mut();
        let runs = runs.map(|run| (run.record.task.as_str(), &mut run.elements));
        let ends = self.ends.iter_mut();
        let ends = ends.map(|end| (end.task.as_str(), &mut end.elements));
        let Some((_, elements)) = runs.chain(ends).find(|(own, _)| *own == task) else {
            return false;
        };
        *elements = Some(elements.unwrap_or(0).saturating_add(more));
        true
    }

    /// The last ends of runs, oldest first, since this master leads.
    pub fn ends(&self) -> impl DoubleEndedIterator<Item = &End> {
        self.ends.iter()
    }

    /// How long the last successful runs took, milliseconds, oldest first, since this master leads.
    pub fn durations(&self) -> impl Iterator<Item = u64> {
        self.durations.iter().copied()
    }
}

impl Run {
    /// The schedule waits for it to find a place.
    pub(super) fn is_awaited(&self) -> bool {
        is_by_due(&self.record) && self.record.placed.is_none()
    }
}

/// The first attempt of what the schedule wanted: `due` speaks of it.
pub(super) fn is_by_due(run: &JobRun) -> bool {
    run.is_scheduled && run.attempt == 0
}

/// How long this attempt waits, milliseconds.
pub(super) fn wait_ms(attempt: u32) -> u64 {
    match attempt {
        0 => 0,
        attempt => (RETRY_MS << (attempt - 1).min(16)).min(MAX_RETRY_MS),
    }
}
