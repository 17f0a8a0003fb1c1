//! The calls that show the cluster: GET_STATE and its parts, GET_ROLES, GET_MASTER.
//!
//! Called by the dispatcher. Each answer is built in one of the engine's turns, so it shows one moment. Only reads.

use masterd_core::Master;
use nesos_api::operator::common::Operation;
use nesos_api::operator::master::{
    Response, ResponseGetMaster, ResponseGetOperations, ResponseGetRoles, ResponseType as Type,
};

use super::{Done, Refused};
use crate::convert::{operation, operator};
use crate::http::{Context, answer, roles};

/// GET_STATE
pub(super) async fn state(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetState, |master, out| {
        out.get_state = Some(operator::state(master));
    })
    .await
}

/// GET_AGENTS
pub(super) async fn agents(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetAgents, |master, out| {
        out.get_agents = Some(operator::agents(master));
    })
    .await
}

/// GET_FRAMEWORKS
pub(super) async fn frameworks(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetFrameworks, |master, out| {
        out.get_frameworks = Some(operator::frameworks(master));
    })
    .await
}

/// GET_EXECUTORS
pub(super) async fn executors(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetExecutors, |master, out| {
        out.get_executors = Some(operator::executors(master));
    })
    .await
}

/// GET_TASKS
pub(super) async fn tasks(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetTasks, |master, out| {
        out.get_tasks = Some(operator::tasks(master));
    })
    .await
}

/// GET_OPERATIONS
pub(super) async fn operations(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetOperations, |master, out| {
        let on = |agent: &masterd_core::Agent| -> Vec<Operation> {
            let reports = agent.operations.values();
            reports
                .map(|report| operation::shown(&agent.id, report))
                .collect()
        };
        let operations = master.agents().flat_map(on).collect();
        out.get_operations = Some(ResponseGetOperations { operations });
    })
    .await
}

/// GET_ROLES
pub(super) async fn roles(context: &Context) -> Result<Done, Refused> {
    ask(context, Type::GetRoles, |master, out| {
        out.get_roles = Some(ResponseGetRoles {
            roles: roles::messages(master),
        });
    })
    .await
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

/// Lets `fill` set the member that belongs to `kind`.
pub(super) async fn ask(
    context: &Context,
    kind: Type,
    fill: impl FnOnce(&Master, &mut Response) + Send + 'static,
) -> Result<Done, Refused> {
    let response = context
        .app
        .engine
        .query(move |master| {
            let mut response = Box::new(Response {
                r#type: Some(kind),
                ..Response::default()
            });
            fill(master, &mut response);
            response
        })
        .await;
    match response {
        Some(response) => Ok(Done::Answer(response)),
        None => Err(Box::new(answer::stopping())),
    }
}
