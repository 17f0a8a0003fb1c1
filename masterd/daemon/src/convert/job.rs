//! From a job's definition to what the scheduler goes by.
//!
//! Called by the handlers of Chronos's API, and when a master begins to lead. Invariant: what was converted once is kept so that it
//! converts again, at any time.

use masterd_core::builtin::jobs::{
    JobFacts, Past, Schedule, Trigger, duration_ms, moment_ms, timestamp,
};
use masterd_core::builtin::{Constraint, Launch, Need, Pattern, Rule};
use nesos_api::chronos::{self, FieldError, Job, Operator};
use nesos_api::v1;
use nesos_wire::resource::Scalar;

use super::service;

/// What is run if nothing says when, as with Chronos: once, now.
const ONCE: &str = "R1//PT24H";

/// Reads a definition that a client sent at `wall_ms`, milliseconds since 1970: the definition as it is to be kept, and what
/// it means.
pub(crate) fn given(text: &[u8], wall_ms: u64) -> Result<(Job, JobFacts), String> {
    let mut job = Job::from_json(text).map_err(|error: FieldError| error.to_string())?;
    if job.parents.is_none() {
        let text = job.schedule.as_deref().unwrap_or(ONCE);
        let schedule = Schedule::parse(text, &job.schedule_time_zone, wall_ms)
            .map_err(|error| error.to_string())?;
        // What begins now begins then, whenever this is read again.
        if text.contains("//") {
            job.schedule = Some(schedule.text(schedule.repetitions(), schedule.start()));
        } else {
            job.schedule = Some(text.to_owned());
        }
    }
    let facts = facts(&job)?;
    Ok((job, facts))
}

/// Reads a definition that was kept.
pub(crate) fn kept(text: &[u8]) -> Result<JobFacts, String> {
    let job = Job::from_json(text).map_err(|error| error.to_string())?;
    facts(&job)
}

/// How a job went, as clients are shown it.
pub(crate) fn shown(job: &masterd_core::builtin::jobs::Job) -> chronos::Past {
    let progress = job.progress();
    let time = |time: Option<u64>| time.map(timestamp).unwrap_or_default();
    chronos::Past {
        success_count: progress.successes,
        error_count: progress.errors,
        errors_since_last_success: progress.errors_since_success,
        last_success: time(progress.last_success),
        last_error: time(progress.last_error),
    }
}

/// The task of a run.
pub(crate) fn task_info(launch: &Launch, attempt: u32) -> Result<v1::TaskInfo, String> {
    let job = Job::from_json(&launch.definition).map_err(|error| error.to_string())?;
    Ok(job.task_info(chronos::Place {
        task: launch.task.as_str(),
        agent: launch.agent.as_str(),
        host: &launch.host,
        resources: service::resources(launch),
        attempt,
        arguments: launch.arguments.as_deref(),
    }))
}

pub(crate) fn facts(job: &Job) -> Result<JobFacts, String> {
    let trigger = match (&job.parents, &job.schedule) {
        (Some(parents), _) => Trigger::Parents(parents.clone()),
        (None, Some(text)) => {
            let schedule = Schedule::parse(text, &job.schedule_time_zone, 0);
            Trigger::Schedule(schedule.map_err(|error| error.to_string())?)
        }
        (None, None) => return Err("schedule: expected one, or parents".into()),
    };
    let epsilon_ms = duration_ms(&job.epsilon).ok_or_else(|| {
        let epsilon = &job.epsilon;
        format!("epsilon: expected a duration such as PT15M, not {epsilon:?}")
    })?;
    let longest = job.max_completion_time.checked_mul(1000);
    Ok(JobFacts {
        trigger,
        retries: job.retries,
        disabled: job.disabled,
        concurrent: job.concurrent,
        soft_error: job.soft_error,
        epsilon_ms,
        longest_ms: longest.filter(|longest| *longest > 0),
        need: need(job)?,
        past: past(&job.past)?,
    })
}

fn need(job: &Job) -> Result<Need, String> {
    let mut scalars = Vec::new();
    for (name, amount) in [("cpus", job.cpus), ("disk", job.disk), ("mem", job.mem)] {
        let amount = Scalar::from_f64(amount).filter(|amount| amount.0 > 0);
        let amount = amount.ok_or_else(|| format!("{name}: expected a thousandth at least"))?;
        scalars.push((name.to_owned(), amount));
    }
    let constraints: Result<Vec<Constraint>, String> =
        job.constraints.iter().enumerate().map(constraint).collect();
    Ok(Need {
        scalars,
        ports: Vec::new(),
        constraints: constraints?,
        takes_reserved: true,
        takes_unreserved: true,
    })
}

fn constraint((at, given): (usize, &chronos::Constraint)) -> Result<Constraint, String> {
    let chronos::Constraint(field, operator, value) = given;
    let pattern = || Pattern::new(value).map_err(|error| format!("constraints[{at}]: {error}"));
    Ok(Constraint {
        field: field.clone(),
        rule: match operator {
            Operator::Equals => Rule::Is(value.clone()),
            Operator::Like => Rule::Like(pattern()?),
            Operator::Unlike => Rule::Unlike(pattern()?),
        },
    })
}

fn past(given: &chronos::Past) -> Result<Past, String> {
    let time = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => moment_ms(text).map(Some).ok_or_else(|| {
            format!("{name}: expected a time such as 2026-01-31T12:00:00.000Z, not {text:?}")
        }),
    };
    Ok(Past {
        successes: given.success_count,
        errors: given.error_count,
        errors_since_success: given.errors_since_last_success,
        last_success: time("lastSuccess", &given.last_success)?,
        last_error: time("lastError", &given.last_error)?,
    })
}
