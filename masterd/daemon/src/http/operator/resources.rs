//! RESERVE_RESOURCES, CREATE_VOLUMES and their likes, and their older forms `POST /reserve`, `/create-volumes`, ….
//!
//! Called by the dispatcher and the router. All come down to the operation that a framework would put into ACCEPT.
//! Invariant: 202 means that the resources were free, or made free, and that the agent has been told.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use masterd_core::{Answer, ChangeOrder, Order};
use nesos_api::operator::master::{Call, CallType};
use nesos_api::resources::parse_list;
use nesos_api::v1::{self, OfferOperation, OfferOperationType as Type};
use nesos_wire::AgentId;

use super::{Done, Refused, bad, may_write, member};
use crate::convert::operation;
use crate::engine;
use crate::http::answer::{self, Body};
use crate::http::query::Query;
use crate::http::{Context, files, intake};

/// The six calls.
pub(super) async fn call(
    context: &Context,
    principal: Option<String>,
    kind: CallType,
    call: Call,
) -> Result<Done, Refused> {
    let mut operation = OfferOperation::default();
    let agent = match kind {
        CallType::ReserveResources => {
            let asked = member(call.reserve_resources, "reserve_resources")?;
            operation = reserve(asked.source, asked.resources);
            asked.agent_id
        }
        CallType::UnreserveResources => {
            let asked = member(call.unreserve_resources, "unreserve_resources")?;
            operation = unreserve(asked.resources);
            asked.agent_id
        }
        CallType::CreateVolumes => {
            let asked = member(call.create_volumes, "create_volumes")?;
            operation = create(asked.volumes);
            asked.agent_id
        }
        CallType::DestroyVolumes => {
            let asked = member(call.destroy_volumes, "destroy_volumes")?;
            operation = destroy(asked.volumes);
            asked.agent_id
        }
        CallType::GrowVolume => {
            let asked = member(call.grow_volume, "grow_volume")?;
            operation.r#type = Some(Type::GrowVolume);
            operation.grow_volume = Some(Box::new(v1::OfferOperationGrowVolume {
                volume: asked.volume,
                addition: asked.addition,
            }));
            member(asked.agent_id, "grow_volume.agent_id")?
        }
        _ => {
            let asked = member(call.shrink_volume, "shrink_volume")?;
            operation.r#type = Some(Type::ShrinkVolume);
            operation.shrink_volume = Some(Box::new(v1::OfferOperationShrinkVolume {
                volume: asked.volume,
                subtract: asked.subtract,
            }));
            member(asked.agent_id, "shrink_volume.agent_id")?
        }
    };
    order(context, principal, &agent.value, &operation).await
}

/// `POST /reserve`, `/unreserve`, `/create-volumes`, `/destroy-volumes` with the form `slaveId=…&resources=[…]`
/// (or `volumes`).
pub(in crate::http) async fn by_form(
    context: &Context,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    match form(context, path, request).await {
        Ok(Done::Empty(status)) => answer::empty(status),
        Ok(Done::Answer(_)) => answer::empty(StatusCode::ACCEPTED),
        Err(refusal) => *refusal,
    }
}

async fn form(context: &Context, path: &str, request: Request<Incoming>) -> Result<Done, Refused> {
    let (head, body) = request.into_parts();
    let principal = may_write(context, &head.headers)?;
    if head.method != Method::POST {
        return Err(Box::new(answer::method_not_allowed("POST", &head.method)));
    }
    let body = intake::body(&context.app, &head.headers, body).await?;
    let form = Query::parse(&String::from_utf8_lossy(&body));
    let field = |name: &str| {
        form.get(name).ok_or_else(|| {
            bad(format!(
                "Missing '{name}' query parameter in the request body"
            ))
        })
    };
    let agent = field("slaveId")?;
    let name = if path.ends_with("volumes") {
        "volumes"
    } else {
        "resources"
    };
    let list = parse_list(field(name)?)
        .map_err(|e| bad(format!("Error in parsing '{name}' query parameter: {e}")))?;
    let operation = match path {
        "/reserve" => reserve(Vec::new(), list),
        "/unreserve" => unreserve(list),
        "/create-volumes" => create(list),
        _ => destroy(list),
    };
    order(context, principal, agent, &operation).await
}

fn reserve(source: Vec<v1::Resource>, resources: Vec<v1::Resource>) -> OfferOperation {
    OfferOperation {
        r#type: Some(Type::Reserve),
        reserve: Some(v1::OfferOperationReserve { source, resources }),
        ..OfferOperation::default()
    }
}

fn unreserve(resources: Vec<v1::Resource>) -> OfferOperation {
    OfferOperation {
        r#type: Some(Type::Unreserve),
        unreserve: Some(v1::OfferOperationUnreserve { resources }),
        ..OfferOperation::default()
    }
}

fn create(volumes: Vec<v1::Resource>) -> OfferOperation {
    OfferOperation {
        r#type: Some(Type::Create),
        create: Some(v1::OfferOperationCreate { volumes }),
        ..OfferOperation::default()
    }
}

fn destroy(volumes: Vec<v1::Resource>) -> OfferOperation {
    OfferOperation {
        r#type: Some(Type::Destroy),
        destroy: Some(v1::OfferOperationDestroy { volumes }),
        ..OfferOperation::default()
    }
}

async fn order(
    context: &Context,
    principal: Option<String>,
    agent: &str,
    operation: &OfferOperation,
) -> Result<Done, Refused> {
    let change = operation::change(operation).map_err(bad)?;
    let order = Order::Change(Box::new(ChangeOrder {
        agent: AgentId::new(agent),
        principal,
        change,
        info: operation.to_protobuf(),
    }));
    match context
        .app
        .engine
        .operator(engine::Request::Order(order))
        .await
    {
        Some(Answer::Done) => Ok(Done::Empty(StatusCode::ACCEPTED)),
        other => Err(Box::new(files::plain(other))),
    }
}
