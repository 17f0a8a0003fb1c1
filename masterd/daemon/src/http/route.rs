//! From a path to its handler: the longest registered prefix wins, as in libprocess.
//!
//! Called for each request. Invariants: `/master/X` is `/X`, a trailing slash does not count, and a prefix ends at a
//! slash.

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use nesos_shell::http::metrics::stats;
use nesos_shell::http::{jsonp, path};

use super::answer::{self, Body};
use super::operator::maintenance;
use super::query::{self, Query};
use super::{
    Context, chronos, files, forward, help, log, logging, marathon, masters, metrics, operator,
    registry, roles, scheduler, state, summary, tasks,
};
use crate::replica::Standing;

/// The master's name as a libprocess actor.
const ACTOR: &str = "/master";
/// Mesos refuses in the same way where it was built or started without one.
const NO_PROFILER: &str = "The profiler is not enabled: there is none in this master";
/// The read-only page.
const PAGE: &str = include_str!("page.html");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Scheduler,
    Operator,
    State,
    StateSummary,
    Slaves,
    Frameworks,
    Tasks,
    Roles,
    Quota,
    Weights,
    Health,
    Version,
    Redirect,
    Flags,
    Metrics,
    Prometheus,
    SystemStats,
    Logging,
    Teardown,
    MaintenanceSchedule,
    MaintenanceStatus,
    MachineDown,
    MachineUp,
    Files,
    Resources,
    OfTask,
    OfAgent,
    Registry,
    Jobs,
    Masters,
    Backup,
    Services,
    Ping,
    Help,
    Processes,
    Profiler,
}

const ROUTES: &[(&str, Route)] = &[
    ("/api/v1", Route::Operator),
    ("/api/v1/scheduler", Route::Scheduler),
    ("/state", Route::State),
    ("/state.json", Route::State),
    ("/state-summary", Route::StateSummary),
    ("/slaves", Route::Slaves),
    ("/frameworks", Route::Frameworks),
    ("/tasks", Route::Tasks),
    ("/roles", Route::Roles),
    ("/quota", Route::Quota),
    ("/weights", Route::Weights),
    ("/health", Route::Health),
    ("/version", Route::Version),
    ("/redirect", Route::Redirect),
    ("/flags", Route::Flags),
    ("/metrics", Route::Prometheus),
    ("/metrics/snapshot", Route::Metrics),
    ("/system/stats.json", Route::SystemStats),
    ("/logging/toggle", Route::Logging),
    ("/teardown", Route::Teardown),
    ("/maintenance/schedule", Route::MaintenanceSchedule),
    ("/maintenance/status", Route::MaintenanceStatus),
    ("/machine/down", Route::MachineDown),
    ("/machine/up", Route::MachineUp),
    ("/files", Route::Files),
    ("/reserve", Route::Resources),
    ("/unreserve", Route::Resources),
    ("/create-volumes", Route::Resources),
    ("/destroy-volumes", Route::Resources),
    ("/v1/scheduler", Route::Jobs),
    ("/scheduler", Route::Jobs),
    ("/nesos/v1/tasks", Route::OfTask),
    ("/nesos/v1/agents", Route::OfAgent),
    ("/nesos/v1/masters", Route::Masters),
    ("/nesos/v1/backup", Route::Backup),
    ("/registrar(1)/registry", Route::Registry),
    ("/registrar%281%29/registry", Route::Registry),
    ("/v2", Route::Services),
    ("/ping", Route::Ping),
    ("/help", Route::Help),
    ("/__processes__", Route::Processes),
    ("/profiler", Route::Profiler),
    ("/memory-profiler", Route::Profiler),
];

/// Answers one request.
pub(super) async fn dispatch(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let path = path::normal(request.uri().path(), ACTOR).to_string();
    if path == "/" {
        // The page reads what only the leader has, and may not from another host.
        let elsewhere = elsewhere(context, &request);
        let leader = elsewhere.filter(|answer| answer.status().is_redirection());
        return leader.unwrap_or_else(|| page(request.method()));
    }
    let Some(route) = path::route(ROUTES, &path) else {
        return answer::text(
            StatusCode::NOT_FOUND,
            format!("There is nothing at '{}'", request.uri().path()),
        );
    };
    if !is_of_every_master(route, request.method())
        && let Some(elsewhere) = elsewhere(context, &request)
    {
        return elsewhere;
    }
    match route {
        Route::Scheduler => return scheduler::handle(context, request).await,
        Route::Operator => return operator::handle(context, request).await,
        Route::Teardown => return operator::teardown(context, request).await,
        Route::Resources => return operator::by_form(context, &path, request).await,
        Route::Quota if !is_reading(request.method()) => {
            return operator::change_quota(context, &path, request).await;
        }
        Route::Weights if !is_reading(request.method()) => {
            return operator::change_weights(context, request).await;
        }
        Route::MaintenanceSchedule if !is_reading(request.method()) => {
            return maintenance::set_schedule(context, request).await;
        }
        Route::Masters if !is_reading(request.method()) => {
            return masters::change(context, request).await;
        }
        Route::MachineDown => return maintenance::down(context, request).await,
        Route::MachineUp => return maintenance::up(context, request).await,
        Route::Jobs => return chronos::handle(context, &path, request).await,
        Route::Services => return marathon::handle(context, &path, request).await,
        Route::OfTask => return files::handle(context, &path, request).await,
        Route::OfAgent => return forward::handle(context, &path, request).await,
        _ => {}
    }
    read(context, route, &path, &request).await
}

/// What is only read.
async fn read(
    context: &Context,
    route: Route,
    path: &str,
    request: &Request<Incoming>,
) -> Response<Body> {
    if !is_reading(request.method()) {
        return answer::method_not_allowed("GET", request.method());
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let response = match route {
        Route::State => state::state(context).await,
        Route::StateSummary => summary::answer(context).await,
        Route::Slaves => state::slaves(context, &query).await,
        Route::Frameworks => state::frameworks(context, &query).await,
        Route::Tasks => tasks::list(context, &query).await,
        Route::Roles => roles::list(context).await,
        Route::Quota => operator::show_quota(context).await,
        Route::Weights => operator::show_weights(context).await,
        Route::MaintenanceSchedule => maintenance::show_schedule(context).await,
        Route::MaintenanceStatus => maintenance::show_status(context).await,
        Route::Version => state::version(),
        Route::Flags => state::flags(context),
        Route::Metrics => metrics::snapshot(context, &query).await,
        Route::Prometheus => metrics::prometheus(context).await,
        Route::SystemStats => state::reply(&stats()),
        Route::Logging => logging::toggle(context, request.headers(), &query),
        Route::Redirect => redirect(context),
        Route::Masters => masters::list(context).await,
        Route::Backup => masters::backup(context, request.headers()).await,
        Route::Registry => registry::show(context).await,
        Route::Ping => marathon::ping(),
        Route::Help => help::help(path, &query),
        Route::Processes => help::processes(context),
        Route::Profiler => answer::text(StatusCode::BAD_REQUEST, NO_PROFILER),
        Route::Files => log::handle(&segments(path, "/files").join("/"), &query),
        _ => answer::empty(StatusCode::OK),
    };
    padded(response, &query).await
}

fn is_reading(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn page(method: &Method) -> Response<Body> {
    if !is_reading(method) {
        return answer::method_not_allowed("GET", method);
    }
    answer::answer(StatusCode::OK, "text/html; charset=utf-8", PAGE)
}

/// What is this master's own, whoever leads.
fn is_of_every_master(route: Route, method: &Method) -> bool {
    match route {
        Route::Health
        | Route::Version
        | Route::Flags
        | Route::Redirect
        | Route::Metrics
        | Route::Prometheus
        | Route::SystemStats
        | Route::Logging
        | Route::Files
        | Route::Ping
        | Route::Help
        | Route::Processes
        | Route::Profiler => true,
        Route::Masters => is_reading(method),
        _ => false,
    }
}

/// The way to the leader, if this master is not it. As in Mesos it comes before any other check.
fn elsewhere(context: &Context, request: &Request<Incoming>) -> Option<Response<Body>> {
    let leader = match context.app.engine.standing() {
        Standing::Leads => return None,
        Standing::Follows { leader } => leader,
    };
    let wanted = request.uri().path_and_query();
    let wanted = wanted.map_or("/", |wanted| wanted.as_str());
    Some(match leader {
        Some(leader) => lead_to(&format!("//{leader}{wanted}")),
        None => no_leader(),
    })
}

/// `/redirect`
fn redirect(context: &Context) -> Response<Body> {
    match context.app.engine.standing() {
        Standing::Leads => lead_to(&format!("//{}", context.app.about.endpoint())),
        Standing::Follows {
            leader: Some(leader),
        } => lead_to(&format!("//{leader}")),
        Standing::Follows { leader: None } => no_leader(),
    }
}

/// Scheme-less, as Mesos: clients take it apart at `//`, `:` and `/`.
fn lead_to(location: &str) -> Response<Body> {
    let answer = answer::empty(StatusCode::TEMPORARY_REDIRECT);
    answer::header(answer, LOCATION, location)
}

fn no_leader() -> Response<Body> {
    answer::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected")
}

/// JSONP: `?jsonp=name` wraps a JSON answer into a call of that function.
async fn padded(response: Response<Body>, query: &Query) -> Response<Body> {
    let name = match jsonp::callback(query) {
        Ok(None) => return response,
        Ok(Some(name)) => name,
        Err(refusal) => return answer::refusal(refusal),
    };
    if response.headers().get(CONTENT_TYPE) != Some(&HeaderValue::from_static("application/json")) {
        return response;
    }
    match http_body_util::BodyExt::collect(response.into_body()).await {
        Ok(collected) => {
            let text = jsonp::wrapped(name, &collected.to_bytes());
            answer::answer(StatusCode::OK, "text/javascript", text)
        }
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The decoded segments of a path behind a prefix.
pub(super) fn segments(path: &str, prefix: &str) -> Vec<String> {
    let rest = path.strip_prefix(prefix).unwrap_or_default();
    rest.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| query::decode(segment, false))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        for (path, route) in [
            ("/api/v1/scheduler", Some(Route::Scheduler)),
            ("/api/v1/operator", Some(Route::Operator)),
            ("/api/v1", Some(Route::Operator)),
            ("/master/frameworks/", Some(Route::Frameworks)),
            ("/master/api/v1/scheduler", Some(Route::Scheduler)),
            ("/state-summary", Some(Route::StateSummary)),
            ("/state/more", Some(Route::State)),
            ("/stateful", None),
            ("/mastery/state", None),
            ("/metrics", Some(Route::Prometheus)),
            ("/metrics/snapshot/", Some(Route::Metrics)),
            ("/metrical", None),
        ] {
            assert_eq!(
                path::route(ROUTES, path::normal(path, ACTOR)),
                route,
                "{path}"
            );
        }
        assert_eq!(path::normal("/master", ACTOR), "/");
    }

    #[test]
    fn every_endpoint_has_help() {
        for (path, route) in ROUTES {
            let is_hidden = matches!(route, Route::Profiler) || path.contains('%');
            let is_told = help::ENDPOINTS.iter().any(|(told, _)| told == path);
            assert!(is_hidden || is_told, "{path}");
        }
        for (path, _) in help::ENDPOINTS {
            assert!(path::route(ROUTES, path).is_some(), "{path}");
        }
    }

    #[test]
    fn segments_are_decoded() {
        assert_eq!(
            segments("/nesos/v1/tasks/f%2f/t%3A1/files/a/b", "/nesos/v1/tasks"),
            ["f/", "t:1", "files", "a", "b"]
        );
    }
}
