//! `nesos ps`, `nesos kill`.
//!
//! Called by `main`.

use hyper::header::HeaderMap;
use serde_json::json;

use crate::args::{Output, PsArgs, TaskArgs};
use crate::cluster;
use crate::failure::Failure;
use crate::http::{Client, segment};
use crate::output::{self, number};

/// `nesos ps`.
pub(crate) async fn ps(client: &Client, args: &PsArgs, output: Output) -> Result<(), Failure> {
    let nodes = cluster::nodes(client).await?;
    let mut tasks = cluster::tasks(client).await?;
    tasks.retain(|task| args.all || !task.is_over());
    if output == Output::Json {
        return tasks
            .iter()
            .try_for_each(|task| output::json(&task.to_json(&nodes)));
    }
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let state = task
                .state
                .strip_prefix("TASK_")
                .unwrap_or(&task.state)
                .to_owned();
            let node = cluster::node_name(&nodes, &task.agent).to_owned();
            let (cpus, mem) = (number(task.resources.cpus), number(task.resources.mem));
            let health = match task.healthy {
                Some(true) => "good",
                Some(false) => "bad",
                None => "-",
            };
            let health = health.to_owned();
            vec![
                task.id.clone(),
                task.name.clone(),
                node,
                state,
                health,
                cpus,
                mem,
            ]
        })
        .collect();
    let head = ["TASK", "NAME", "NODE", "STATE", "HEALTH", "CPUS", "MEM"];
    output::table(&head, &rows)
}

/// `nesos kill`.
pub(crate) async fn kill(client: &Client, args: &TaskArgs, output: Output) -> Result<(), Failure> {
    let task = cluster::find_task(client, &args.task).await?;
    if task.is_over() {
        return Err(Failure::NoSuchTask(format!(
            "task {} has ended already ({})",
            task.id, task.state
        )));
    }
    let path = format!(
        "/nesos/v1/tasks/{}/{}/kill",
        segment(&task.framework),
        segment(&task.id)
    );
    client.post(&path, &HeaderMap::new(), Vec::new()).await?;
    match output {
        Output::Json => {
            output::json(&json!({"id": task.id, "framework": task.framework, "killed": true}))
        }
        Output::Table => output::line(&format!("killing {}", task.id)),
    }
}
