//! TEARDOWN, and its older form `POST /teardown`.
//!
//! Called by the dispatcher and the router.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::Answer;
use nesos_api::v1;
use nesos_wire::FrameworkId;

use super::{Done, Refused, bad, may_write};
use crate::engine;
use crate::http::answer::{self, Body};
use crate::http::query::Query;
use crate::http::{Context, files, intake};

/// TEARDOWN
pub(super) async fn end(context: &Context, framework: &v1::FrameworkID) -> Result<Done, Refused> {
    let request = engine::Request::Teardown(FrameworkId::new(framework.value.as_str()));
    match context.app.engine.operator(request).await {
        Some(Answer::Done) => Ok(Done::Empty(StatusCode::OK)),
        // Mesos answers 400 here.
        Some(Answer::NotFound(sentence)) => Err(bad(sentence)),
        other => Err(Box::new(files::plain(other))),
    }
}

/// `POST /teardown` with the form `frameworkId=…`.
pub(in crate::http) async fn teardown(
    context: &Context,
    request: Request<Incoming>,
) -> Response<Body> {
    by_form(context, request)
        .await
        .unwrap_or_else(|refusal| *refusal)
}

async fn by_form(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    let (head, body) = request.into_parts();
    may_write(context, &head.headers)?;
    if head.method != Method::POST {
        return Err(Box::new(answer::method_not_allowed("POST", &head.method)));
    }
    let body = intake::body(&context.app, &head.headers, body).await?;
    let form = Query::parse(&String::from_utf8_lossy(&body));
    let framework = form
        .get("frameworkId")
        .ok_or_else(|| bad("Missing 'frameworkId' query parameter in the request body"))?;
    match end(context, &framework.into()).await? {
        Done::Empty(status) => Ok(answer::empty(status)),
        Done::Answer(_) => Ok(answer::empty(StatusCode::OK)),
    }
}
