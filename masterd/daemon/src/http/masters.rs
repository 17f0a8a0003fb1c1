//! `/nesos/v1/masters`: who the masters are, and what an operator wants of them; `/nesos/v1/backup`.
//!
//! GET is answered by every master as far as it knows; POST by the leader. Not Mesos's: there one edits flags and restarts.
//! Called by the router. Invariant: whoever may not write here changes nothing.

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::registry::backup;
use nesos_wire::masters::MasterRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::{Context, intake};
use crate::replica::{MemberError, MemberView, Replica};

/// What an operator wants: one of these with a master's name, number or address.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wish {
    /// Let a candidate take part, and vote once it has caught up.
    Add(String),
    /// Let it take part without a vote.
    AddLearner(String),
    /// Let a learner vote.
    Promote(String),
    /// Send it away.
    Remove(String),
    /// Have it lead; without a name, whoever is nearest to it.
    HandOver(Option<String>),
}

/// `GET /nesos/v1/masters`
pub(super) async fn list(context: &Context) -> Response<Body> {
    match context
        .app
        .engine
        .replica(|replica| {
            (
                replica.members(),
                replica.term(),
                replica.registry().version(),
            )
        })
        .await
    {
        Some((members, term, version)) => {
            let masters: Vec<Value> = members.iter().map(shown).collect();
            answer::json(
                json!({ "masters": masters, "term": term, "version": version.0 }).to_string(),
            )
        }
        None => answer::stopping(),
    }
}

/// `GET /nesos/v1/backup`: the registry as the group has agreed on it, as a file. It names what operators of a cluster may
/// not want known, so who may write may have it.
pub(super) async fn backup(context: &Context, headers: &HeaderMap) -> Response<Body> {
    let access = &context.app.access;
    if let Err(refusal) = access.check(context.peer, headers, READWRITE_REALM) {
        return *refusal;
    }
    let registry = context
        .app
        .engine
        .replica(|replica| replica.registry().clone());
    match registry.await {
        Some(registry) => {
            let bytes = backup::write(&registry);
            answer::answer(StatusCode::OK, "application/octet-stream", bytes)
        }
        None => answer::stopping(),
    }
}

/// `POST /nesos/v1/masters`
pub(super) async fn change(context: &Context, request: Request<Incoming>) -> Response<Body> {
    changed(context, request)
        .await
        .unwrap_or_else(|refusal| *refusal)
}

async fn changed(
    context: &Context,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<Response<Body>>> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Box::new(answer::method_not_allowed(
            "GET, POST",
            &head.method,
        )));
    }
    let access = &context.app.access;
    access.check(context.peer, &head.headers, READWRITE_REALM)?;
    let body = intake::body(&context.app, &head.headers, body).await?;
    let wish: Wish = serde_json::from_slice(&body).map_err(|error| {
        let expected = "expected {\"add\"|\"add_learner\"|\"promote\"|\"remove\"|\"hand_over\": a master's name}";
        Box::new(answer::text(
            StatusCode::BAD_REQUEST,
            format!("{expected}: {error}"),
        ))
    })?;
    let done = context
        .app
        .engine
        .replica(|replica| obey(replica, wish))
        .await;
    match done {
        Some(Ok(master)) => Ok(answer::json(json!({ "master": master }).to_string())),
        Some(Err(error)) => Err(Box::new(answer::text(status(&error), error.to_string()))),
        None => Err(Box::new(answer::stopping())),
    }
}

/// Says who is meant.
fn obey(replica: &mut Replica, wish: Wish) -> Result<Value, MemberError> {
    let record: MasterRecord = match wish {
        Wish::Add(name) => replica.add_member(&name, true),
        Wish::AddLearner(name) => replica.add_member(&name, false),
        Wish::Promote(name) => replica.promote_member(&name),
        Wish::Remove(name) => replica.remove_member(&name),
        Wish::HandOver(name) => replica.hand_over(name.as_deref()),
    }?;
    Ok(json!({"name": record.name, "number": format!("{:016x}", record.number)}))
}

fn status(error: &MemberError) -> StatusCode {
    match error {
        MemberError::Unknown { .. } => StatusCode::NOT_FOUND,
        MemberError::Ambiguous(_) => StatusCode::BAD_REQUEST,
        MemberError::TooMany
        | MemberError::TooOld { .. }
        | MemberError::Quorum { .. }
        | MemberError::Leads(_)
        | MemberError::Nobody => StatusCode::CONFLICT,
        MemberError::Propose(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn shown(member: &MemberView) -> Value {
    json!({
        "number": format!("{:016x}", member.record.number),
        "name": member.record.name,
        "address": member.record.address,
        "role": member.role,
        "connected": member.is_connected,
        "behind": member.behind,
        "version": member.version.0,
    })
}
