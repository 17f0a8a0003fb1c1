//! The calls that show the cluster: GET_STATE and its parts, GET_ROLES, GET_MASTER.
//!
//! Called by the dispatcher. Each answer is built in one of the engine's turns, or beside it from a view, so it
//! shows one moment. Only reads.

use bytes::Bytes;
use hyper::Response as HttpResponse;
use masterd_core::{Agent, Master, View};
use nesos_api::operator::common::Operation;
use nesos_api::operator::master::{
    CallType, Response, ResponseGetMaster, ResponseGetOperations, ResponseGetRoles,
    ResponseType as Type,
};

use super::{Done, Refused};
use crate::convert::event::Format;
use crate::convert::{operation, operator};
use crate::http::answer::Body;
use crate::http::pieces::Pieces;
use crate::http::{Context, answer, reads, roles};

/// GET_STATE and its parts and the like, which grow with the cluster. `None`: another call.
pub(super) async fn large(
    context: &Context,
    call: CallType,
    form: Format,
) -> Option<HttpResponse<Body>> {
    let (kind, fill): (Type, fn(&Master, &mut Response)) = match call {
        CallType::GetState => (Type::GetState, |master, out| {
            out.get_state = Some(operator::state(master));
        }),
        CallType::GetAgents => (Type::GetAgents, |master, out| {
            out.get_agents = Some(operator::agents(master));
        }),
        CallType::GetFrameworks => (Type::GetFrameworks, |master, out| {
            out.get_frameworks = Some(operator::frameworks(master));
        }),
        CallType::GetExecutors => (Type::GetExecutors, |master, out| {
            out.get_executors = Some(operator::executors(master));
        }),
        CallType::GetTasks => (Type::GetTasks, |master, out| {
            out.get_tasks = Some(operator::tasks(master));
        }),
        CallType::GetOperations => (Type::GetOperations, |master, out| {
            out.get_operations = Some(operations(master));
        }),
        CallType::GetRoles => (Type::GetRoles, |master, out| {
            out.get_roles = Some(ResponseGetRoles {
                roles: roles::messages(master),
            });
        }),
        _ => return None,
    };
    let render = move |view: &View, _: &mut Pieces| {
        let response = answered(view, kind, fill);
        let text = match form {
            Format::Json => response.to_json(),
            Format::Protobuf => response.to_protobuf(),
        };
        Ok(vec![Bytes::from(text)])
    };
    let key = (kind.name(), form.media_type().to_owned());
    Some(reads::parts(context, key, form.media_type(), render).await)
}

/// GET_MASTER
pub(super) async fn master(context: &Context) -> Result<Done, Refused> {
    let about = context.app.about.clone();
    ask(context, Type::GetMaster, move |master, out| {
        out.get_master = Some(ResponseGetMaster {
            master_info: Some(about.master_info(master.id())),
            start_time: Some(master.start_time()),
            elected_time: Some(master.start_time()),
        });
    })
    .await
}

/// Lets `fill` set the member that belongs to `kind`, in the engine's turn.
pub(super) async fn ask(
    context: &Context,
    kind: Type,
    fill: impl FnOnce(&Master, &mut Response) + Send + 'static,
) -> Result<Done, Refused> {
    let response = context
        .app
        .engine
        .query(move |master| answered(master, kind, fill))
        .await;
    match response {
        Some(response) => Ok(Done::Answer(response)),
        None => Err(Box::new(answer::stopping())),
    }
}

fn operations(master: &Master) -> ResponseGetOperations {
    let on = |agent: &Agent| -> Vec<Operation> {
        let reports = agent.operations.values();
        reports
            .map(|report| operation::shown(&agent.id, report))
            .collect()
    };
    ResponseGetOperations {
        operations: master.agents().flat_map(on).collect(),
    }
}

fn answered(
    master: &Master,
    kind: Type,
    fill: impl FnOnce(&Master, &mut Response),
) -> Box<Response> {
    let mut response = Box::new(Response {
        r#type: Some(kind),
        ..Response::default()
    });
    fill(master, &mut response);
    response
}
