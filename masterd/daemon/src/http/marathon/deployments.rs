//! `/v2/deployments` and `/v2/queue`: what is under way, taken back or given up, and what waits for offers.
//!
//! Called by `mod`.

use hyper::StatusCode;
use masterd_core::builtin::{Action, Deployment};
use serde_json::json;

use super::change::Changes;
use super::seen::{Seen, SeenService};
use super::{Answer, Asked, Refused, answer, changed, no_app, refuse, refused, stopping, view};

/// `GET /v2/deployments`
pub(super) async fn list(asked: &Asked<'_>) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let seen = asked.see(|_| false).await?;
    let shown: Vec<_> = seen.deployments.iter().map(view::deployment).collect();
    super::json(StatusCode::OK, &shown)
}

/// `DELETE /v2/deployments/ID`: takes it back by another one, or with `force` gives it up where it is.
pub(super) async fn cancel(asked: &Asked<'_>, id: &str) -> Answer {
    if asked.method != "DELETE" {
        return Err(asked.not_allowed("DELETE"));
    }
    let _turn = asked.context.app.marathon.turn.lock().await;
    if asked.is_forced() {
        let id = id.to_owned();
        let engine = &asked.context.app.engine;
        let given_up =
            engine.operate(move |builtin, moment| builtin.give_up_deployment(&id, moment));
        let given_up = given_up.await.ok_or_else(stopping)?;
        given_up.map_err(|error| refused(&error))?;
        return Ok(answer::empty(StatusCode::ACCEPTED));
    }
    let seen = asked.see(|_| true).await?;
    let deployment = seen.deployments.iter().find(|one| one.id == id);
    let deployment = deployment.ok_or_else(|| {
        refuse(
            StatusCode::NOT_FOUND,
            format!("DeploymentPlan {id} does not exist"),
        )
    })?;
    take_back(asked, &seen, deployment).await
}

/// Puts its apps as they were before.
async fn take_back(asked: &Asked<'_>, seen: &Seen, deployment: &Deployment) -> Answer {
    let mut changes = Changes::new(seen).forced();
    let mut leaving = Vec::new();
    for (id, action) in &deployment.actions {
        if *action == Action::Stop {
            let sentence = format!(
                "App '{id}' is being removed, and its definition is kept no more; create it again"
            );
            return Err(refuse(StatusCode::CONFLICT, sentence));
        }
        let service = seen.service(id).ok_or_else(|| no_app(id))?;
        match earlier(service, deployment.version) {
            Some(version) => {
                let app = super::apps::at_version(service, version)?;
                changes.add(app, service.app().as_ref(), false)?;
            }
            None => leaving.push(id.clone()),
        }
    }
    let done = changes.carry_out(asked, leaving).await?;
    changed(StatusCode::OK, done.version, &done.deployment)
}

/// The newest version that is older.
fn earlier(service: &SeenService, than: u64) -> Option<u64> {
    let versions = service.record.versions.iter().map(|one| one.version);
    versions.filter(|version| *version < than).max()
}

/// `GET /v2/queue`
pub(super) async fn queue(asked: &Asked<'_>) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let seen = asked.see(|_| true).await?;
    let offers = asked
        .query
        .all("embed")
        .any(|name| name == "lastUnusedOffers");
    let waiting = seen.services.iter();
    let waiting = waiting.filter_map(|service| view::queue_item(service, &seen, offers));
    let waiting: Vec<_> = waiting.collect();
    super::json(StatusCode::OK, &json!({ "queue": waiting }))
}

/// `DELETE /v2/queue/ID/delay`
pub(super) async fn reset_delay(asked: &Asked<'_>, id: &str) -> Answer {
    if asked.method != "DELETE" {
        return Err(asked.not_allowed("DELETE"));
    }
    let id = id.to_owned();
    let engine = &asked.context.app.engine;
    let reset = engine.operate(move |builtin, moment| builtin.reset_delay(&id, moment));
    let reset: Result<(), Refused> = reset
        .await
        .ok_or_else(stopping)?
        .map_err(|error| refused(&error));
    reset.map(|()| answer::empty(StatusCode::NO_CONTENT))
}
