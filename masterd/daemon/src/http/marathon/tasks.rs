//! Tasks of services: listed, and killed.
//!
//! Called by `mod` and `apps`. What is killed gets another one in its place, unless `scale` is asked for.

use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use nesos_api::marathon::shown::Task;
use nesos_api::marathon::{App, id};
use nesos_wire::TaskId;
use nesos_wire::task::TaskState;
use serde::Deserialize;
use serde_json::json;

use super::change::{Changes, Done};
use super::seen::{Seen, SeenService, SeenTask};
use super::{Answer, Asked, Refused, answer, changed, no_app, refuse, stopping, view};

/// `/v2/tasks`
pub(super) async fn all(asked: &Asked<'_>) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let seen = asked.see(|_| true).await?;
    let wanted: Vec<&str> = asked
        .query
        .all("status")
        .chain(asked.query.all("status[]"))
        .collect();
    let suits = |task: &SeenTask| {
        let status = match task.instance.state {
            TaskState::Running => "running",
            TaskState::Staging | TaskState::Starting => "staging",
            _ => "",
        };
        wanted.is_empty() || wanted.contains(&status)
    };
    shown(asked, seen.services.iter(), suits)
}

/// `/v2/apps/GROUP/*/tasks`
pub(super) async fn within(asked: &Asked<'_>, group: String) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let seen = asked.see(move |path| id::is_within(path, &group)).await?;
    shown(asked, seen.services.iter(), |_| true)
}

/// `/v2/apps/ID/tasks`
pub(super) async fn of_app(asked: &Asked<'_>, app: String) -> Answer {
    if !matches!(asked.method.as_str(), "GET" | "DELETE") {
        return Err(asked.not_allowed("GET, DELETE"));
    }
    if asked.method == "GET" {
        let of = app.clone();
        let seen = asked.see(move |path| path == of).await?;
        let service = seen.service(&app).ok_or_else(|| no_app(&app))?;
        return shown(asked, std::iter::once(service), |_| true);
    }
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let service = seen.service(&app).ok_or_else(|| no_app(&app))?;
    let host = asked.query.get("host");
    let on_host = |task: &&SeenTask| host.is_none_or(|host| task.instance.record.host == host);
    let tasks = service.tasks.iter().filter(on_host);
    kill(
        asked,
        &seen,
        tasks.map(|task| (service, task)).collect(),
        "tasks",
    )
    .await
}

/// `/v2/apps/ID/tasks/TASK`
pub(super) async fn of_id(asked: &Asked<'_>, app: String, task: String) -> Answer {
    if asked.method != "DELETE" {
        return Err(asked.not_allowed("DELETE"));
    }
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let service = seen.service(&app).ok_or_else(|| no_app(&app))?;
    let found = seen.task(&task).filter(|(of, _)| of.id() == service.id());
    let found = found.ok_or_else(|| {
        refuse(
            StatusCode::NOT_FOUND,
            format!("Task '{task}' does not exist"),
        )
    })?;
    kill(asked, &seen, vec![found], "task").await
}

#[derive(Debug, Deserialize)]
struct Ids {
    ids: Vec<String>,
}

/// `POST /v2/tasks/delete`
pub(super) async fn delete(asked: &Asked<'_>) -> Answer {
    if asked.method != "POST" {
        return Err(asked.not_allowed("POST"));
    }
    let ids: Ids = serde_json::from_slice(&asked.body).map_err(|error| {
        let sentence = format!("expected {{\"ids\": [a task's id, ...]}}: {error}");
        refuse(StatusCode::UNPROCESSABLE_ENTITY, sentence)
    })?;
    let _turn = asked.context.app.marathon.turn.lock().await;
    let seen = asked.see(|_| true).await?;
    let found = ids.ids.iter().filter_map(|id| seen.task(id)).collect();
    kill(asked, &seen, found, "tasks").await
}

/// Kills tasks; what is answered stands under `name`.
async fn kill(
    asked: &Asked<'_>,
    seen: &Seen,
    tasks: Vec<(&SeenService, &SeenTask)>,
    name: &str,
) -> Answer {
    let ids = tasks
        .iter()
        .map(|(_, task)| task.instance.record.task.clone());
    let ids: Vec<TaskId> = ids.collect();
    if asked.says("scale") == Some(true) && !tasks.is_empty() {
        let done = scale(asked, seen, &tasks, ids).await?;
        return changed(StatusCode::OK, done.version, &done.deployment);
    }
    let engine = &asked.context.app.engine;
    let killed = engine.operate(move |builtin, moment| builtin.kill_instances(&ids, moment));
    killed.await.ok_or_else(stopping)?;
    let shown = tasks.iter().filter_map(|(service, task)| {
        let ports = service.app()?.service_ports();
        Some(view::task(service, &ports, task))
    });
    let mut shown: Vec<Task> = shown.collect();
    match (name, shown.pop()) {
        ("task", Some(only)) => super::json(StatusCode::OK, &json!({ "task": only })),
        (_, last) => {
            shown.extend(last);
            super::json(StatusCode::OK, &json!({ "tasks": shown }))
        }
    }
}

/// Has fewer instances of each service, by as many as are killed of it.
async fn scale(
    asked: &Asked<'_>,
    seen: &Seen,
    tasks: &[(&SeenService, &SeenTask)],
    ids: Vec<TaskId>,
) -> Result<Done, Refused> {
    let mut changes = Changes::new(seen).killing(ids);
    for service in &seen.services {
        let killed = tasks.iter().filter(|(of, _)| of.id() == service.id());
        let killed = u32::try_from(killed.count()).unwrap_or(u32::MAX);
        if killed == 0 {
            continue;
        }
        let before = service.app().ok_or_else(|| no_app(service.id()))?;
        let fewer = App {
            instances: before.instances.saturating_sub(killed),
            ..before.clone()
        };
        changes.add(fewer, Some(&before), false)?;
    }
    changes.carry_out(asked, Vec::new()).await
}

/// Tasks as JSON, or where they are as text.
fn shown<'a>(
    asked: &Asked<'_>,
    services: impl Iterator<Item = &'a SeenService> + Clone,
    suits: impl Fn(&SeenTask) -> bool,
) -> Answer {
    if asked.wants_text() {
        let text = view::endpoints(services);
        let response = answer::text(StatusCode::OK, text);
        return Ok(answer::header(response, CONTENT_TYPE, "text/plain"));
    }
    let tasks = services.flat_map(|service| {
        let ports = service.app().map(|app| app.service_ports());
        let ports = ports.unwrap_or_default();
        let wanted = service.tasks.iter().filter(|task| suits(task));
        let shown = wanted.map(|task| view::task(service, &ports, task));
        shown.collect::<Vec<_>>()
    });
    let tasks: Vec<Task> = tasks.collect();
    super::json(StatusCode::OK, &json!({ "tasks": tasks }))
}
