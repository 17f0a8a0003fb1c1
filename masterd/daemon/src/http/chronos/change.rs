//! What changes jobs.
//!
//! Called by `chronos`. Invariant: a change that is refused changes nothing.

use masterd_core::builtin::jobs::{Inherited, JobFacts, Jobs};
use nesos_api::chronos::Job;
use serde_json::Value;

use super::{Asked, Reply};
use crate::convert::job as convert;

/// POST `iso8601`, `dependency`: creates a job, or replaces it by name.
pub(super) fn put(jobs: &mut Jobs, asked: &Asked<'_>) -> Reply {
    let (job, facts) = match convert::given(asked.body, asked.wall_ms) {
        Ok(given) => given,
        Err(sentence) => return Reply::invalid(sentence),
    };
    match (asked.segments, job.parents.is_some()) {
        (["iso8601"], true) => {
            return Reply::invalid("parents: a job that has some is put to 'dependency'");
        }
        (["dependency"], false) => {
            return Reply::invalid("parents: expected a list of at least one job");
        }
        _ => {}
    }
    Reply::of(jobs.put(&job.name, job.to_json(), facts, asked.wall_ms))
}

/// PUT `job/NAME`: starts it now.
pub(super) fn run(jobs: &mut Jobs, name: &str, asked: &Asked<'_>) -> Reply {
    let arguments = asked.query.get("arguments").map(str::trim);
    let arguments = arguments.filter(|given| !given.is_empty());
    Reply::of(jobs.run_now(name, arguments.map(str::to_owned), asked.wall_ms))
}

/// PUT `job/success/NAME`: counts as if it had run.
pub(super) fn succeed(jobs: &mut Jobs, name: &str, asked: &Asked<'_>) -> Reply {
    match jobs.mark_success(name, asked.wall_ms) {
        Ok(()) => Reply::Text(format!("marked job {name} as successful: true")),
        Err(error) => error.into(),
    }
}

/// DELETE `job/NAME`. Its children are started by its parents from then on, or by its schedule where they have no other
/// parent.
pub(super) fn remove(jobs: &mut Jobs, name: &str, asked: &Asked<'_>) -> Reply {
    let mut children = Vec::new();
    for (child, inherited) in jobs.inherited(name) {
        match rewritten(jobs, &child, inherited) {
            Ok((definition, facts)) => children.push((child, definition, facts)),
            Err(sentence) => return Reply::invalid(sentence),
        }
    }
    for (child, definition, facts) in children {
        if let Err(error) = jobs.put(&child, definition, facts, asked.wall_ms) {
            return error.into();
        }
    }
    Reply::of(jobs.remove(name, asked.wall_ms))
}

/// A child's definition with what starts it from now on. It counts on.
fn rewritten(jobs: &Jobs, name: &str, inherited: Inherited) -> Result<(Vec<u8>, JobFacts), String> {
    let Some(child) = jobs.get(name) else {
        return Err(format!("job {name:?} not found"));
    };
    let mut job = Job::from_json(child.definition()).map_err(|error| error.to_string())?;
    job.past = convert::shown(child);
    match inherited {
        Inherited::Parents(parents) => job.parents = Some(parents),
        Inherited::Schedule(schedule) => {
            job.parents = None;
            job.schedule = Some(schedule);
            job.schedule_time_zone.clear();
        }
    }
    let facts = convert::facts(&job)?;
    Ok((job.to_json(), facts))
}

/// POST `job/NAME/task/TASK/progress`: what a task has worked on since it said so last.
pub(super) fn worked_on(jobs: &mut Jobs, name: &str, task: &str, asked: &Asked<'_>) -> Reply {
    let Some(job) = jobs.get(name) else {
        return Reply::invalid(format!("job {name:?} not found"));
    };
    let definition = Job::from_json(job.definition());
    if !definition.is_ok_and(|job| job.data_processing_job_type) {
        return Reply::invalid("dataProcessingJobType: it is false, so that nothing is counted");
    }
    let body: Value = match serde_json::from_slice(asked.body) {
        Ok(body) => body,
        Err(error) => return Reply::invalid(format!("expected JSON: {error}")),
    };
    match body["numAdditionalElementsProcessed"].as_u64() {
        Some(more) => Reply::of(jobs.worked_on(name, task, more)),
        None => Reply::invalid("numAdditionalElementsProcessed: expected a whole number from 0"),
    }
}
