//! `/state-summary`: agents and frameworks with counts of tasks instead of the tasks.
//!
//! Called by the router. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Response;
use nesos_wire::AgentId;
use serde::Serialize;
use serde_json::json;

use super::answer::Body;
use super::state::{framework_head, slave, sum};
use super::tasks::{self, TaskCounts};
use super::{Context, reads};
use crate::convert::operator::{self, is_registered as is_known};

/// Something together with its counters of tasks.
#[derive(Serialize)]
struct Counted<T> {
    #[serde(flatten)]
    what: T,
    #[serde(flatten)]
    ids: serde_json::Value,
    #[serde(flatten)]
    counts: TaskCounts,
}

/// `/state-summary`
pub(super) async fn answer(context: &Context) -> Response<Body> {
    let about = context.app.about.clone();
    let key = ("/state-summary", String::new());
    reads::json(context, key, move |master| {
        let mut on_agents: BTreeMap<&AgentId, Vec<&masterd_core::Task>> = BTreeMap::new();
        for task in master.frameworks().flat_map(tasks::of) {
            on_agents.entry(&task.agent).or_default().push(task);
        }
        let executors = operator::by_framework(master);
        let slaves: Vec<_> = master
            .agents()
            .filter(|agent| is_known(agent))
            .map(|agent| {
                let executors = agent.executors.keys().map(|key| key.framework.as_str());
                let frameworks: BTreeSet<&str> = agent.tasks.iter().map(|key| key.framework.as_str()).chain(executors).collect();
                Counted { what: slave(master, agent), ids: json!({ "framework_ids": frameworks }), counts: tasks::count(on_agents.get(&agent.id).into_iter().flatten().copied()) }
            })
            .collect();
        let frameworks: Vec<_> = master
            .frameworks()
            .map(|known| {
                let executors = || executors.get(&known.id).into_iter().flatten();
                let hosts = executors().map(|(agent, _)| agent.id.as_str());
                let slaves: BTreeSet<&str> = known.tasks.values().map(|task| task.agent.as_str()).chain(hosts).collect();
                let counts = tasks::count(tasks::of(known));
                let using = known.tasks.values().filter(|task| task.is_using_resources());
                let held = executors().map(|(_, executor)| &executor.resources);
                let used = sum(using.map(|task| &task.spec.resources).chain(held));
                Counted { what: framework_head(master, known, &used), ids: json!({ "slave_ids": slaves }), counts }
            })
            .collect();
        json!({ "hostname": about.hostname, "cluster": about.cluster, "slaves": slaves, "frameworks": frameworks })
    })
    .await
}
