//! `/v2`, `/ping`: services, in the words of Marathon's API.
//!
//! Here: from a request to its handler, and what handlers share. Not what services are (`masterd_core::builtin`) nor what clients may say
//! (`nesos_api::marathon`). Called by the router. Invariants: whoever may not write here changes nothing; changes are made one
//! after the other, since each looks at what is there before; errors are JSON with a `message`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::builtin::ServiceError;
use nesos_api::marathon::Refusal;
use nesos_api::marathon::event::Event;
use nesos_api::marathon::shown::Changed;
use nesos_api::marathon::time;
use nesos_wire::Uuid;
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore, broadcast};

use super::access::READWRITE_REALM;
use super::answer::{self, Body};
use super::query::Query;
use super::{Context, intake, new_stream};

mod about;
mod apps;
mod change;
mod deployments;
mod events;
mod groups;
mod path;
mod seen;
mod tasks;
mod view;

use path::Wanted;
use seen::Seen;

/// What requests themselves tell, and a listener has not read yet.
const MAX_POSTS: usize = 64;
/// Names the deployment in answers to changes, as Marathon's.
const DEPLOYMENT: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// What all requests of this API share.
#[derive(Debug)]
pub(crate) struct Marathon {
    /// Held while a change is made.
    turn: Mutex<()>,
    /// What requests themselves tell.
    posts: broadcast::Sender<Arc<Event>>,
    /// One for each listener that there may be.
    listeners: Arc<Semaphore>,
}

impl Default for Marathon {
    fn default() -> Self {
        Self {
            turn: Mutex::default(),
            posts: broadcast::Sender::new(MAX_POSTS),
            listeners: Arc::new(Semaphore::new(events::MAX_LISTENERS)),
        }
    }
}

type Refused = Box<Response<Body>>;
type Answer = Result<Response<Body>, Refused>;

/// A request with its body.
struct Asked<'a> {
    context: &'a Context,
    method: Method,
    /// Path and query, as they were asked for.
    uri: String,
    query: Query,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Answers one request; `path` is its path without slashes at the end.
pub(super) async fn handle(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let answered = judge(context, path, request).await;
    answered.unwrap_or_else(|refusal| *refusal)
}

async fn judge(context: &Context, path: &str, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    let mut asked = Asked {
        context,
        method: if is_reading { Method::GET } else { head.method },
        uri: head.uri.path().to_owned(),
        query: Query::parse(head.uri.query().unwrap_or_default()),
        headers: head.headers,
        body: Vec::new(),
    };
    if !is_reading {
        let access = &context.app.access;
        access.check(context.peer, &asked.headers, READWRITE_REALM)?;
        asked.body = intake::body(&context.app, &asked.headers, body).await?;
    }
    match path::wanted(path) {
        Wanted::Apps(wanted) => apps::handle(&asked, wanted).await,
        Wanted::Tasks => tasks::all(&asked).await,
        Wanted::DeleteTasks => tasks::delete(&asked).await,
        Wanted::Groups(wanted) => groups::handle(&asked, wanted).await,
        Wanted::Deployments => deployments::list(&asked).await,
        Wanted::Deployment(id) => deployments::cancel(&asked, &id).await,
        Wanted::Queue => deployments::queue(&asked).await,
        Wanted::Delay(id) => deployments::reset_delay(&asked, &id).await,
        Wanted::Info => about::info(&asked),
        Wanted::Leader => about::leader(&asked).await,
        Wanted::Events => events::listen(&asked).await,
        Wanted::Nothing => Err(refuse(
            StatusCode::NOT_FOUND,
            format!("There is nothing at '{}'", asked.uri),
        )),
    }
}

/// `/ping`
pub(super) fn ping() -> Response<Body> {
    answer::text(StatusCode::OK, "pong")
}

impl Asked<'_> {
    /// Whether a parameter says yes; clients write `true` and `True`.
    fn says(&self, name: &str) -> Option<bool> {
        let value = self.query.get(name)?;
        Some(value.is_empty() || value.eq_ignore_ascii_case("true"))
    }

    fn is_forced(&self) -> bool {
        self.says("force") == Some(true)
    }

    /// Whether plain text is what is wanted.
    fn wants_text(&self) -> bool {
        let accepted = self.headers.get(ACCEPT);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        accepted.is_some_and(|types| types.starts_with("text/plain"))
    }

    /// The services that are wanted, as they are.
    async fn see(&self, wanted: impl Fn(&str) -> bool + Send + 'static) -> Result<Seen, Refused> {
        let engine = &self.context.app.engine;
        let seen = engine
            .look(move |builtin, master, moment| seen::see(builtin, master, moment, wanted))
            .await;
        seen.ok_or_else(stopping)
    }

    fn not_allowed(&self, allowed: &'static str) -> Refused {
        Box::new(answer::method_not_allowed(allowed, &self.method))
    }

    /// Tells listeners of what was asked for.
    fn tell(&self, event: Event) {
        // Nobody listens: nobody is told.
        let _ = self.context.app.marathon.posts.send(Arc::new(event));
    }

    /// The address of who asks.
    fn client(&self) -> String {
        self.context.peer.address.ip().to_string()
    }
}

/// A new deployment's id.
fn new_id() -> Result<String, Refused> {
    let id = new_stream().map(|stream| {
        let Uuid(bytes) = stream.0;
        Uuid(bytes).to_string()
    });
    id.ok_or_else(|| {
        let sentence = "The system's random source failed";
        refuse(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })
}

fn json(status: StatusCode, content: &impl Serialize) -> Answer {
    match serde_json::to_string(content) {
        Ok(text) => Ok(answer::answer(status, "application/json", text)),
        Err(error) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// What a change answers.
fn changed(status: StatusCode, version: u64, deployment: &str) -> Answer {
    let changed = Changed {
        version: time::write(version),
        deployment_id: deployment.to_owned(),
    };
    let response = json(status, &changed)?;
    Ok(answer::header(response, DEPLOYMENT, deployment))
}

fn refuse(status: StatusCode, message: impl Into<String>) -> Refused {
    let message = serde_json::json!({"message": message.into()});
    Box::new(answer::answer(
        status,
        "application/json",
        message.to_string(),
    ))
}

fn no_app(id: &str) -> Refused {
    refuse(StatusCode::NOT_FOUND, format!("App '{id}' does not exist"))
}

fn invalid(refusal: &Refusal) -> Refused {
    let (status, body) = refusal.answer();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Box::new(answer::answer(status, "application/json", body))
}

fn stopping() -> Refused {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "this master leads no more, or is stopping",
    )
}

/// What the scheduler refuses.
fn refused(error: &ServiceError) -> Refused {
    let message = error.to_string();
    let status = match error {
        ServiceError::NotFound(_) | ServiceError::NoDeployment(_) => StatusCode::NOT_FOUND,
        ServiceError::Exists(_) => StatusCode::CONFLICT,
        ServiceError::Locked(_, deployment) => {
            let deployments = serde_json::json!([{"id": deployment}]);
            let body = serde_json::json!({"message": message, "deployments": deployments});
            let body = body.to_string();
            return Box::new(answer::answer(
                StatusCode::CONFLICT,
                "application/json",
                body,
            ));
        }
        ServiceError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    refuse(status, message)
}
