//! `/tasks`, and how tasks are shown and counted by the other endpoints.
//!
//! Called by the router and `state`. Only reads.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hyper::{Response, StatusCode};
use masterd_core::{Framework, Task};
use nesos_api::legacy;
use nesos_wire::task::TaskState;

use super::Context;
use super::answer::{self, Body};
use super::query::Query;
use super::reads;
use crate::convert::status;

/// Tasks shown when no limit is asked for (Mesos's default).
const DEFAULT_LIMIT: u64 = 100;
/// Most tasks in one answer: some ten megabytes of JSON.
const MAX_LIMIT: u64 = 10_000;

/// Counters named `TASK_RUNNING` and so on.
pub(super) type TaskCounts = BTreeMap<&'static str, u64>;

/// `/tasks?limit=&offset=&order=&framework_id=&task_id=`
pub(super) async fn list(context: &Context, query: &Query) -> Response<Body> {
    let (limit, offset) = match (query.number("limit"), query.number("offset")) {
        (Ok(limit), Ok(offset)) => (
            limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
            offset.unwrap_or(0),
        ),
        (Err(sentence), _) | (_, Err(sentence)) => {
            return answer::text(StatusCode::BAD_REQUEST, sentence);
        }
    };
    let is_ascending = query.get("order") == Some("asc");
    let framework = query.get("framework_id").map(str::to_string);
    let task = query.get("task_id").map(str::to_string);
    let key = (
        "/tasks",
        format!("{limit} {offset} {is_ascending} {framework:?} {task:?}"),
    );
    reads::json(context, key, move |master| {
        let completed = master
            .completed_frameworks()
            .map(|completed| &completed.framework);
        let mut found: Vec<(f64, &Task)> = master
            .frameworks()
            .chain(completed)
            .filter(|known| {
                framework
                    .as_deref()
                    .is_none_or(|id| known.id.as_str() == id)
            })
            .flat_map(of)
            .filter(|known| {
                task.as_deref()
                    .is_none_or(|id| known.spec.key.task.as_str() == id)
            })
            .map(|known| (age(known), known))
            .collect();
        found.sort_by(|(a, _), (b, _)| {
            let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            if is_ascending { order } else { order.reverse() }
        });
        let (offset, limit) = (
            usize::try_from(offset).unwrap_or(usize::MAX),
            limit as usize,
        );
        legacy::Tasks {
            tasks: found
                .into_iter()
                .skip(offset)
                .take(limit)
                .map(|(_, task)| shown(task))
                .collect(),
        }
    })
    .await
}

/// All tasks that a framework is remembered by.
pub(super) fn of(framework: &Framework) -> impl Iterator<Item = &Task> {
    framework
        .tasks
        .values()
        .chain(framework.unreachable.values())
        .chain(framework.completed.values())
}

/// A task in the legacy shape.
pub(super) fn shown(task: &Task) -> legacy::Task {
    legacy::Task::from(&status::task(task))
}

/// How many tasks are in each state; every state is named.
pub(super) fn count<'a>(tasks: impl Iterator<Item = &'a Task>) -> TaskCounts {
    use TaskState::*;
    let states = [
        Staging,
        Starting,
        Running,
        Killing,
        Finished,
        Killed,
        Failed,
        Lost,
        Error,
        Unreachable,
        Dropped,
        Gone,
        GoneByOperator,
        Unknown,
    ];
    let mut counts: TaskCounts = states
        .into_iter()
        .map(|state| (status::state(state).name(), 0))
        .collect();
    for task in tasks {
        *counts.entry(status::state(task.latest).name()).or_default() += 1;
    }
    counts
}

fn age(task: &Task) -> f64 {
    task.statuses()
        .first()
        .map_or(f64::INFINITY, |status| status.timestamp)
}
