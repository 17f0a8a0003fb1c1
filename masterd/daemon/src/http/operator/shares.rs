//! How the cluster is shared out: GET_QUOTA, UPDATE_QUOTA, SET_QUOTA, REMOVE_QUOTA, GET_WEIGHTS, UPDATE_WEIGHTS, and the
//! older `/quota` and `/weights`.
//!
//! Called by the dispatcher, and by the router for the older endpoints. What may be set is the core's and
//! `convert::shares`'. Invariant: whatever changes something asks first whether the peer may write.

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::{Answer, Order};
use nesos_api::operator::common::QuotaRequest;
use nesos_api::operator::master::{
    Call, CallType, CallUpdateWeights, ResponseGetQuota, ResponseGetWeights, ResponseType as Type,
};
use serde_json::{Value, json};

use super::cluster::ask;
use super::{Done, Refused, bad, may_write, member};
use crate::convert::shares;
use crate::engine;
use crate::http::answer::{self, Body};
use crate::http::{Context, files, intake, route};

/// The calls about quota and weights.
pub(super) async fn dispatch(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
) -> Result<Done, Refused> {
    match kind {
        CallType::GetQuota => {
            return ask(context, Type::GetQuota, |master, out| {
                let status = shares::quota_status(master);
                out.get_quota = Some(ResponseGetQuota { status });
            })
            .await;
        }
        CallType::GetWeights => {
            return ask(context, Type::GetWeights, |master, out| {
                let weight_infos = shares::weight_infos(master);
                out.get_weights = Some(ResponseGetWeights { weight_infos });
            })
            .await;
        }
        _ => may_write(context, headers)?,
    };
    match kind {
        CallType::UpdateQuota => {
            let call = member(call.update_quota, "update_quota")?;
            let quotas = shares::quotas(&call.quota_configs).map_err(bad)?;
            order(
                context,
                Order::UpdateQuota(quotas, call.force == Some(true)),
            )
            .await
        }
        CallType::SetQuota => {
            let request = member(call.set_quota, "set_quota")?.quota_request;
            match set(context, &request).await? {
                Some(Answer::Conflict(sentence)) => Err(bad(sentence)),
                answer => done(answer),
            }
        }
        CallType::RemoveQuota => {
            let role = member(call.remove_quota, "remove_quota")?.role;
            order(context, Order::RemoveQuota(role)).await
        }
        _ => {
            let call = member(call.update_weights, "update_weights")?;
            update_weights(context, &call).await
        }
    }
}

/// `GET /quota`
pub(in crate::http) async fn show_quota(context: &Context) -> Response<Body> {
    let status = |master: &masterd_core::Master| shares::quota_status(master).to_json();
    match context.app.engine.query(status).await {
        Some(json) => answer::json(json),
        None => answer::stopping(),
    }
}

/// `GET /weights`
pub(in crate::http) async fn show_weights(context: &Context) -> Response<Body> {
    crate::http::state::ask(context, |master| {
        let weights = master.registry().weights();
        let shown = weights.map(|(role, weight)| json!({"role": role, "weight": weight}));
        shown.collect::<Vec<Value>>()
    })
    .await
}

/// `POST /quota` with a request as JSON, `DELETE /quota/<role>`.
pub(in crate::http) async fn change_quota(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let changed = match *request.method() {
        Method::POST => post_quota(context, request).await,
        Method::DELETE => delete_quota(context, path, &request).await,
        ref other => Err(Box::new(answer::method_not_allowed(
            "GET, POST, DELETE",
            other,
        ))),
    };
    plain(changed)
}

/// `PUT /weights` with a JSON array.
pub(in crate::http) async fn change_weights(
    context: &Context,
    request: Request<Incoming>,
) -> Response<Body> {
    if request.method() != Method::PUT {
        return answer::method_not_allowed("GET, PUT", request.method());
    }
    plain(put_weights(context, request).await)
}

async fn post_quota(context: &Context, request: Request<Incoming>) -> Result<Done, Refused> {
    let (head, body) = request.into_parts();
    may_write(context, &head.headers)?;
    let body = intake::body(&context.app, &head.headers, body).await?;
    let request = QuotaRequest::from_json(&body)
        .map_err(|error| bad(format!("Failed to parse set quota request JSON: {error}")))?;
    done(set(context, &request).await?)
}

async fn delete_quota(
    context: &Context,
    path: &str,
    request: &Request<Incoming>,
) -> Result<Done, Refused> {
    may_write(context, request.headers())?;
    let role = route::segments(path, "/quota").join("/");
    if role.is_empty() {
        return Err(bad(
            "Failed to parse remove quota request: expected the path /quota/<role>",
        ));
    }
    order(context, Order::RemoveQuota(role)).await
}

async fn put_weights(context: &Context, request: Request<Incoming>) -> Result<Done, Refused> {
    let (head, body) = request.into_parts();
    may_write(context, &head.headers)?;
    let body = intake::body(&context.app, &head.headers, body).await?;
    let unreadable = |error: &dyn std::fmt::Display| {
        bad(format!(
            "Failed to parse update weights request JSON, expected an array of weights: {error}"
        ))
    };
    let array: Vec<Value> = serde_json::from_slice(&body).map_err(|e| unreadable(&e))?;
    let text = json!({ "weight_infos": array }).to_string();
    let call = CallUpdateWeights::from_json(text.as_bytes()).map_err(|e| unreadable(&e))?;
    update_weights(context, &call).await
}

async fn update_weights(context: &Context, call: &CallUpdateWeights) -> Result<Done, Refused> {
    let weights = shares::weights(&call.weight_infos).map_err(bad)?;
    order(context, Order::UpdateWeights(weights)).await
}

async fn set(context: &Context, request: &QuotaRequest) -> Result<Option<Answer>, Refused> {
    let quota = shares::quota(request)
        .map_err(|sentence| bad(format!("Failed to validate set quota request: {sentence}")))?;
    let order = Order::SetQuota(quota, request.force == Some(true));
    let request = engine::Request::Order(order);
    Ok(context.app.engine.operator(request).await)
}

async fn order(context: &Context, order: Order) -> Result<Done, Refused> {
    let request = engine::Request::Order(order);
    done(context.app.engine.operator(request).await)
}

fn done(answer: Option<Answer>) -> Result<Done, Refused> {
    match answer {
        Some(Answer::Done) => Ok(Done::Empty(StatusCode::OK)),
        other => Err(Box::new(files::plain(other))),
    }
}

fn plain(changed: Result<Done, Refused>) -> Response<Body> {
    match changed {
        Ok(_) => answer::empty(StatusCode::OK),
        Err(refusal) => *refusal,
    }
}
