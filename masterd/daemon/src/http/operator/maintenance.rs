//! Maintenance: GET_ and UPDATE_MAINTENANCE_SCHEDULE, GET_MAINTENANCE_STATUS, START_ and STOP_MAINTENANCE, and their older
//! forms `/maintenance/schedule`, `/maintenance/status`, `/machine/down` and `/machine/up`.
//!
//! Called by the dispatcher and the router. What the orders do, and whether they make sense, is the core's.

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::{Answer, Order};
use nesos_api::operator::common::Schedule;
use nesos_api::operator::master::{
    Call, CallType, ResponseGetMaintenanceSchedule, ResponseGetMaintenanceStatus,
    ResponseType as Type,
};
use nesos_api::v1;

use super::cluster::ask;
use super::{Done, Refused, bad, may_write, member};
use crate::convert::maintenance as convert;
use crate::engine;
use crate::http::answer::{self, Body};
use crate::http::{Context, files, intake, state};

/// What [`dispatch`] carries out.
pub(super) const CALLS: [CallType; 5] = [
    CallType::GetMaintenanceSchedule,
    CallType::GetMaintenanceStatus,
    CallType::UpdateMaintenanceSchedule,
    CallType::StartMaintenance,
    CallType::StopMaintenance,
];

/// One of [`CALLS`].
pub(super) async fn dispatch(
    context: &Context,
    headers: &HeaderMap,
    kind: CallType,
    call: Call,
) -> Result<Done, Refused> {
    let order = match kind {
        CallType::GetMaintenanceSchedule => return schedule(context).await,
        CallType::GetMaintenanceStatus => return status(context).await,
        CallType::UpdateMaintenanceSchedule => {
            let update = member(
                call.update_maintenance_schedule,
                "update_maintenance_schedule",
            )?;
            Order::SetSchedule(convert::windows(&update.schedule))
        }
        CallType::StartMaintenance => {
            let machines = member(call.start_maintenance, "start_maintenance")?.machines;
            Order::StartMaintenance(convert::machines(&machines))
        }
        _ => {
            let machines = member(call.stop_maintenance, "stop_maintenance")?.machines;
            Order::StopMaintenance(convert::machines(&machines))
        }
    };
    may_write(context, headers)?;
    carry_out(context, order).await?;
    Ok(Done::Empty(StatusCode::OK))
}

/// `GET /maintenance/schedule`
pub(in crate::http) async fn show_schedule(context: &Context) -> Response<Body> {
    state::ask(context, convert::schedule).await
}

/// `GET /maintenance/status`
pub(in crate::http) async fn show_status(context: &Context) -> Response<Body> {
    state::ask(context, convert::status).await
}

/// `POST /maintenance/schedule`: a schedule.
pub(in crate::http) async fn set_schedule(
    context: &Context,
    request: Request<Incoming>,
) -> Response<Body> {
    let parse = |body: &[u8]| {
        let schedule = Schedule::from_json(body).map_err(|e| e.to_string())?;
        Ok(Order::SetSchedule(convert::windows(&schedule)))
    };
    posted(context, request, "GET, POST", parse).await
}

/// `POST /machine/down`: a list of machines.
pub(in crate::http) async fn down(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let parse = |body: &[u8]| Ok(Order::StartMaintenance(convert::machines(&list(body)?)));
    posted(context, request, "POST", parse).await
}

/// `POST /machine/up`: a list of machines.
pub(in crate::http) async fn up(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let parse = |body: &[u8]| Ok(Order::StopMaintenance(convert::machines(&list(body)?)));
    posted(context, request, "POST", parse).await
}

async fn posted(
    context: &Context,
    request: Request<Incoming>,
    allowed: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<Order, String>,
) -> Response<Body> {
    let done = async {
        let (head, body) = request.into_parts();
        may_write(context, &head.headers)?;
        if head.method != Method::POST {
            return Err(Box::new(answer::method_not_allowed(allowed, &head.method)));
        }
        let body = intake::body(&context.app, &head.headers, body).await?;
        let order = parse(&body).map_err(|e| bad(format!("Failed to parse body: {e}")))?;
        drop(body);
        carry_out(context, order).await
    };
    match done.await {
        Ok(()) => answer::empty(StatusCode::OK),
        Err(refusal) => *refusal,
    }
}

async fn carry_out(context: &Context, order: Order) -> Result<(), Refused> {
    match context
        .app
        .engine
        .operator(engine::Request::Order(order))
        .await
    {
        Some(Answer::Done) => Ok(()),
        other => Err(Box::new(files::plain(other))),
    }
}

fn list(body: &[u8]) -> Result<Vec<v1::MachineID>, String> {
    let values: Vec<serde_json::Value> =
        serde_json::from_slice(body).map_err(|e| format!("expected a list of machines: {e}"))?;
    let machine =
        |value: &serde_json::Value| v1::MachineID::from_json(value.to_string().as_bytes());
    let machines = values.iter().map(machine);
    machines
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())
}

async fn schedule(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetMaintenanceSchedule, |master, out| {
        let schedule = convert::schedule(master);
        out.get_maintenance_schedule = Some(ResponseGetMaintenanceSchedule { schedule });
    })
    .await
}

async fn status(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetMaintenanceStatus, |master, out| {
        let status = convert::status(master);
        out.get_maintenance_status = Some(ResponseGetMaintenanceStatus { status });
    })
    .await
}
