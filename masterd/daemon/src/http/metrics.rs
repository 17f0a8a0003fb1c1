//! `/metrics/snapshot` and `/metrics`: counters and gauges by Mesos's names.
//!
//! Called by the router. Invariant: every value is a finite number.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use masterd_core::{Agent, AgentCondition, Master, View};
use nesos_shell::http::metrics::{PROMETHEUS, Values, check_timeout, exposition, system};
use nesos_wire::operation::OperationState;
use nesos_wire::task::TaskState;

use super::answer::{self, Body};
use super::query::Query;
use super::{App, Context, reads};
use crate::replica::Standing;

mod ends;
mod frameworks;
pub(super) mod resources;
mod roles;

/// Answers `/metrics/snapshot?timeout=`. No metric has to be waited for, so the timeout never ends anything early.
pub(super) async fn snapshot(context: &Context, query: &Query) -> Response<Body> {
    if let Err(refusal) = check_timeout(query) {
        return answer::refusal(refusal);
    }
    let values = all(&context.app).await;
    match values.map(|values| serde_json::to_vec(&values)) {
        Some(Ok(text)) => answer::json(text),
        Some(Err(error)) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        None => answer::stopping(),
    }
}

/// Answers `/metrics`: the same numbers in Prometheus's text format, `master/tasks_running` as `mesos_master_tasks_running`.
pub(super) async fn prometheus(context: &Context) -> Response<Body> {
    match all(&context.app).await {
        Some(values) => answer::answer(StatusCode::OK, PROMETHEUS, exposition(&values)),
        None => answer::stopping(),
    }
}

/// All metrics by name; those of the cluster only from the leader. Only what the allocator knows is read in the engine's
/// turn. `None`: masterd is stopping.
pub(super) async fn all(app: &Arc<App>) -> Option<Values> {
    if let Standing::Follows { .. } = app.engine.standing() {
        let mut values = Values::new();
        own(app, false, &mut values);
        return Some(values);
    }
    let look = |master: &Master| {
        let mut values = Values::new();
        roles::fill(master, &mut values);
        (master.view(), values)
    };
    let shared = Arc::clone(app);
    let make = move |(view, values): (View, Values)| with_books(&view, &shared, values);
    reads::beside(app, look, make).await
}

/// Adds everything that stands in the master's books.
fn with_books(master: &Master, app: &App, mut values: Values) -> Values {
    agents(master, &mut values);
    frameworks(master, &mut values);
    counters(master, &mut values);
    ends::fill(master, &mut values);
    resources::fill(master, &mut values);
    roles::given(master, &mut values);
    frameworks::fill(master, app.per_framework, &mut values);
    own(app, true, &mut values);
    values
}

/// What every master has.
fn own(app: &App, leads: bool, values: &mut Values) {
    // The clock starts at one second.
    let uptime = app.clock.now().as_micros().saturating_sub(1_000_000) as f64 / 1e6;
    values.insert("master/uptime_secs".into(), uptime);
    values.insert("master/elected".into(), f64::from(u8::from(leads)));
    app.engine.times.fill(values);
    let (events, questions) = app.engine.waiting();
    values.insert("master/event_queue_messages".into(), events as f64);
    values.insert("master/event_queue_dispatches".into(), questions as f64);
    let watching = &app.engine.watching;
    values.extend([
        (
            "master/operator_event_stream_subscribers".into(),
            watching.open() as f64,
        ),
        (
            "nesos/operator_event_streams_cut".into(),
            watching.cut() as f64,
        ),
        ("master/http_cache_hits".into(), app.reads.shared() as f64),
        ("nesos/large_answers_cut".into(), app.reads.cut() as f64),
    ]);
    system(values);
}

fn agents(master: &Master, values: &mut Values) {
    let count =
        |wanted: fn(&Agent) -> bool| master.agents().filter(|agent| wanted(agent)).count() as f64;
    let connected = count(Agent::is_connected);
    let disconnected = count(|agent| agent.condition == AgentCondition::Disconnected);
    let active = master.agents().filter(|agent| master.is_active(agent));
    let active = active.count() as f64;
    values.extend([
        ("master/slaves_active".into(), active),
        ("master/slaves_connected".into(), connected),
        ("master/slaves_disconnected".into(), disconnected),
        (
            "master/slaves_inactive".into(),
            connected + disconnected - active,
        ),
        (
            "master/slaves_unreachable".into(),
            count(|agent| matches!(agent.condition, AgentCondition::Unreachable(_))),
        ),
        (
            "master/recovery_slaves".into(),
            count(|agent| agent.condition == AgentCondition::Recovered),
        ),
    ]);
}

fn frameworks(master: &Master, values: &mut Values) {
    let connected = master
        .frameworks()
        .filter(|framework| framework.is_connected())
        .count() as f64;
    let all = master.frameworks().count() as f64;
    values.extend([
        ("master/frameworks_active".into(), connected),
        ("master/frameworks_connected".into(), connected),
        ("master/frameworks_disconnected".into(), all - connected),
        ("master/frameworks_inactive".into(), all - connected),
        (
            "master/outstanding_offers".into(),
            master.offers().count() as f64,
        ),
        (
            "master/outstanding_inverse_offers".into(),
            master.inverse_offers().count() as f64,
        ),
    ]);
    let now = [
        (TaskState::Staging, "staging"),
        (TaskState::Starting, "starting"),
        (TaskState::Running, "running"),
        (TaskState::Killing, "killing"),
    ];
    for (state, name) in now {
        let tasks = master
            .frameworks()
            .flat_map(|framework| framework.tasks.values());
        values.insert(
            format!("master/tasks_{name}"),
            tasks.filter(|task| task.latest == state).count() as f64,
        );
    }
    let unreachable: usize = master
        .frameworks()
        .map(|framework| framework.unreachable.len())
        .sum();
    values.insert("master/tasks_unreachable".into(), unreachable as f64);
}

/// Operations that wait for their acknowledgement, and how the others ended.
fn operations(master: &Master, values: &mut Values) {
    let waiting = master
        .agents()
        .map(|agent| agent.operations.len())
        .sum::<usize>();
    values.insert("master/operations/total".into(), waiting as f64);
    let all = master.agents().flat_map(|agent| agent.operations.values());
    let pending = all.filter(|known| known.status.state == OperationState::Pending);
    values.insert("master/operations/pending".into(), pending.count() as f64);
    for (state, name) in [
        (OperationState::Finished, "finished"),
        (OperationState::Failed, "failed"),
        (OperationState::Error, "error"),
        (OperationState::Dropped, "dropped"),
        (OperationState::GoneByOperator, "gone_by_operator"),
    ] {
        let count = master.metrics().ended_operations(state);
        values.insert(format!("master/operations/{name}"), count as f64);
    }
}

/// Counters of the core under `master/` and their own names.
macro_rules! plain {
    ($values:ident, $metrics:ident: $($name:ident)*) => {
        $($values.insert(concat!("master/", stringify!($name)).into(), $metrics.$name as f64);)*
    };
}

fn counters(master: &Master, values: &mut Values) {
    let m = master.metrics();
    plain!(values, m:
        messages_register_framework
        messages_reregister_framework
        messages_unregister_framework
        messages_deactivate_framework
        messages_launch_tasks
        messages_decline_offers
        messages_revive_offers
        messages_suppress_offers
        messages_kill_task
        messages_reconcile_tasks
        messages_resource_request
        messages_framework_to_executor
        messages_executor_to_framework
        messages_exited_executor
        valid_framework_to_executor_messages
        invalid_framework_to_executor_messages
        valid_executor_to_framework_messages
        invalid_executor_to_framework_messages
        messages_register_slave
        messages_reregister_slave
        messages_unregister_slave
        messages_status_update
        messages_status_update_acknowledgement
        valid_status_updates
        invalid_status_updates
        valid_status_update_acknowledgements
        invalid_status_update_acknowledgements
        slave_registrations
        slave_reregistrations
        slave_removals
        slave_unreachable_scheduled
        slave_unreachable_completed
        slave_unreachable_canceled
        tasks_launched
        offers_sent
        offers_rescinded
        messages_operation_status_update
        messages_operation_status_update_acknowledgement
        messages_reconcile_operations
        valid_operation_status_update_acknowledgements
        invalid_operation_status_update_acknowledgements
        inverse_offers_sent
        inverse_offers_rescinded
    );
    operations(master, values);
    let ended = [
        (TaskState::Finished, "finished"),
        (TaskState::Failed, "failed"),
        (TaskState::Killed, "killed"),
        (TaskState::Lost, "lost"),
        (TaskState::Error, "error"),
        (TaskState::Dropped, "dropped"),
        (TaskState::Gone, "gone"),
        (TaskState::GoneByOperator, "gone_by_operator"),
    ];
    for (state, name) in ended {
        values.insert(format!("master/tasks_{name}"), m.ended(state) as f64);
    }
    values.insert(
        "allocator/mesos/allocation_runs".into(),
        m.allocation_runs as f64,
    );
    values.insert(
        "registrar/registry_starts".into(),
        f64::from(master.registry().start()),
    );
}
