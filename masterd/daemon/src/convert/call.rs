//! Scheduler calls other than SUBSCRIBE: their protobuf to the core's `Call`.
//!
//! Called by the scheduler handler. `Err` is the text of a 400. Invariant: only syntax is judged here; whether an offer
//! or task exists is the core's business and never changes the HTTP status.

use masterd_core::{Call, Operation, ReconcileOperation, ReconcileTask};
use nesos_api::scheduler::{self, CallType};
use nesos_api::v1;
use nesos_wire::task::Reason;
use nesos_wire::{AgentId, ExecutorId, OfferId, TaskId, Uuid};

use super::{launch, operation, subscribe};

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Intake {
    /// To be handed to the core.
    Call(Call),
    /// 501 with this text.
    NotImplemented(&'static str),
}

/// Converts a call of this type.
pub(crate) fn intake(kind: CallType, call: scheduler::Call) -> Result<Intake, String> {
    Ok(Intake::Call(match kind {
        CallType::Accept => {
            let framework = call.framework_id.unwrap_or_default().value;
            accept(call.accept.ok_or_else(|| missing("accept"))?, &framework)
        }
        CallType::Decline => decline(call.decline.ok_or_else(|| missing("decline"))?),
        CallType::Revive => Call::Revive {
            roles: call.revive.unwrap_or_default().roles,
        },
        CallType::Suppress => Call::Suppress {
            roles: call.suppress.unwrap_or_default().roles,
        },
        CallType::Teardown => Call::Teardown,
        CallType::Kill => kill(call.kill.ok_or_else(|| missing("kill"))?),
        CallType::Acknowledge => {
            acknowledge(call.acknowledge.ok_or_else(|| missing("acknowledge"))?)?
        }
        CallType::Reconcile => reconcile(call.reconcile.ok_or_else(|| missing("reconcile"))?),
        CallType::Message => message(call.message.ok_or_else(|| missing("message"))?),
        CallType::AcceptInverseOffers => {
            let accept = call.accept_inverse_offers;
            let accept = accept.ok_or_else(|| missing("accept_inverse_offers"))?;
            inverse_offers(true, &accept.inverse_offer_ids, accept.filters.as_ref())
        }
        CallType::DeclineInverseOffers => {
            let decline = call.decline_inverse_offers;
            let decline = decline.ok_or_else(|| missing("decline_inverse_offers"))?;
            inverse_offers(false, &decline.inverse_offer_ids, decline.filters.as_ref())
        }
        CallType::AcknowledgeOperationStatus => {
            let member = call.acknowledge_operation_status;
            let seen = member.ok_or_else(|| missing("acknowledge_operation_status"))?;
            let agent = seen.agent_id.ok_or_else(|| missing("agent_id"))?;
            Call::AcknowledgeOperation {
                agent: AgentId::new(agent.value),
                id: seen.operation_id.value,
                uuid: uuid(seen.uuid.0)?,
            }
        }
        CallType::ReconcileOperations => {
            let member = call.reconcile_operations;
            let asked = member.ok_or_else(|| missing("reconcile_operations"))?;
            let one = |asked: scheduler::CallReconcileOperationsOperation| ReconcileOperation {
                id: asked.operation_id.value,
                agent: asked.agent_id.map(|id| AgentId::new(id.value)),
            };
            Call::ReconcileOperations(asked.operations.into_iter().map(one).collect())
        }
        CallType::Shutdown => shut_down(call.shutdown.ok_or_else(|| missing("shutdown"))?),
        // Mesos's allocator ignores it.
        CallType::Request => {
            call.request.ok_or_else(|| missing("request"))?;
            Call::Request
        }
        CallType::UpdateFramework => {
            let id = call.framework_id.ok_or_else(|| missing("framework_id"))?;
            let member = call.update_framework;
            let member = member.ok_or_else(|| missing("update_framework"))?;
            Call::UpdateFramework(Box::new(subscribe::update(&id, member)?))
        }
        // SUBSCRIBE never comes here.
        CallType::Subscribe | CallType::Unknown => {
            return Ok(Intake::NotImplemented("Received 'UNKNOWN' call"));
        }
    }))
}

fn missing(member: &str) -> String {
    format!("Failed to validate scheduler::Call: Expecting '{member}' to be present")
}

fn message(message: scheduler::CallMessage) -> Call {
    Call::Message {
        agent: AgentId::new(message.agent_id.value),
        executor: ExecutorId::new(message.executor_id.value),
        data: message.data.0,
    }
}

fn shut_down(shutdown: scheduler::CallShutdown) -> Call {
    Call::ShutDownExecutor {
        agent: AgentId::new(shutdown.agent_id.value),
        executor: ExecutorId::new(shutdown.executor_id.value),
    }
}

fn decline(decline: scheduler::CallDecline) -> Call {
    Call::Decline {
        offers: offers(&decline.offer_ids),
        refuse_seconds: refuse_seconds(decline.filters.as_ref()),
    }
}

fn inverse_offers(accepts: bool, ids: &[v1::OfferID], filters: Option<&v1::Filters>) -> Call {
    Call::AnswerInverseOffers {
        offers: offers(ids),
        accepts,
        refuse_seconds: refuse_seconds(filters),
    }
}

fn kill(kill: scheduler::CallKill) -> Call {
    Call::Kill {
        task: TaskId::new(kill.task_id.value),
        agent: kill.agent_id.map(|id| AgentId::new(id.value)),
        grace_ms: launch::kill_grace(kill.kill_policy.as_ref()),
    }
}

fn acknowledge(acknowledge: scheduler::CallAcknowledge) -> Result<Call, String> {
    Ok(Call::Acknowledge {
        agent: AgentId::new(acknowledge.agent_id.value),
        task: TaskId::new(acknowledge.task_id.value),
        uuid: uuid(acknowledge.uuid.0)?,
    })
}

fn uuid(bytes: Vec<u8>) -> Result<Uuid, String> {
    bytes.try_into().map(Uuid).map_err(|bytes: Vec<u8>| {
        let found = bytes.len();
        format!("Failed to validate scheduler::Call: Not a valid UUID: {found} bytes, expected 16")
    })
}

fn reconcile(reconcile: scheduler::CallReconcile) -> Call {
    let tasks = reconcile.tasks.into_iter().map(|task| ReconcileTask {
        task: TaskId::new(task.task_id.value),
        agent: task.agent_id.map(|id| AgentId::new(id.value)),
    });
    Call::Reconcile {
        tasks: tasks.collect(),
    }
}

fn accept(accept: scheduler::CallAccept, framework: &str) -> Call {
    Call::Accept {
        offers: offers(&accept.offer_ids),
        operations: accept
            .operations
            .iter()
            .map(|one| operation(one, framework))
            .collect(),
        refuse_seconds: refuse_seconds(accept.filters.as_ref()),
    }
}

fn offers(ids: &[v1::OfferID]) -> Vec<OfferId> {
    ids.iter()
        .map(|id| OfferId::new(id.value.as_str()))
        .collect()
}

fn refuse_seconds(filters: Option<&v1::Filters>) -> Option<f64> {
    filters.map(v1::Filters::refuse_seconds)
}

fn operation(operation: &v1::OfferOperation, framework: &str) -> Operation {
    use v1::OfferOperationType as Type;
    let kind = operation.r#type.unwrap_or_default();
    let tasks = || {
        let single = operation
            .launch
            .iter()
            .flat_map(|launch| &launch.task_infos);
        let group = operation.launch_group.iter();
        single.chain(group.flat_map(|group| &group.task_group.tasks))
    };
    let unsupported = |code, reason| Operation::Unsupported {
        tasks: names(tasks()),
        code,
        reason,
    };
    match (kind, &operation.launch_group) {
        (Type::Launch | Type::LaunchGroup, _) if operation.id.is_some() => {
            let code = match kind {
                Type::LaunchGroup => Reason::TaskGroupInvalid,
                _ => Reason::TaskInvalid,
            };
            unsupported(code, format!("operation {kind} must not have an id"))
        }
        (Type::Launch, _) => {
            let tasks = operation
                .launch
                .iter()
                .flat_map(|launch| &launch.task_infos);
            Operation::Launch(tasks.map(|info| launch::task(info, framework)).collect())
        }
        (Type::LaunchGroup, Some(group)) => launch::group(group, framework),
        _ if operation::is_change(operation) => {
            Operation::Convert(Box::new(operation::convert(operation)))
        }
        _ => unsupported(
            Reason::TaskInvalid,
            format!("operation {kind} is not supported or has no content"),
        ),
    }
}

fn names<'a>(tasks: impl Iterator<Item = &'a v1::TaskInfo>) -> Vec<(TaskId, AgentId)> {
    tasks
        .map(|task| {
            (
                TaskId::new(task.task_id.value.as_str()),
                AgentId::new(task.agent_id.value.as_str()),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn convert(kind: CallType, json: &str) -> Result<Intake, String> {
        intake(kind, scheduler::Call::from_json(json.as_bytes()).unwrap())
    }

    #[test]
    fn a_missing_member_is_named() {
        assert!(
            convert(CallType::Accept, "{}")
                .unwrap_err()
                .contains("'accept'")
        );
        assert!(
            convert(CallType::Kill, "{}")
                .unwrap_err()
                .contains("'kill'")
        );
        assert!(
            matches!(convert(CallType::Revive, "{}"), Ok(Intake::Call(Call::Revive { roles })) if roles.is_empty())
        );
    }

    #[test]
    fn a_short_uuid_is_refused() {
        let json =
            r#"{"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAA"}}"#;
        assert!(
            convert(CallType::Acknowledge, json)
                .unwrap_err()
                .contains("UUID")
        );
    }

    #[test]
    fn filters_have_mesoss_default() {
        let json = r#"{"decline":{"offer_ids":[{"value":"o"}],"filters":{}}}"#;
        let Ok(Intake::Call(Call::Decline { refuse_seconds, .. })) =
            convert(CallType::Decline, json)
        else {
            panic!()
        };
        assert_eq!(refuse_seconds, Some(5.0));
    }

    #[test]
    fn launches_with_an_id_keep_their_tasks_names() {
        let json = r#"{"accept":{"operations":[{"type":"LAUNCH_GROUP","id":{"value":"i"},"launch_group":{"executor":{"executor_id":{"value":"e"}},
            "task_group":{"tasks":[{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}}]}}}]}}"#;
        let Ok(Intake::Call(Call::Accept { operations, .. })) = convert(CallType::Accept, json)
        else {
            panic!()
        };
        let Operation::Unsupported {
            tasks,
            code,
            reason,
        } = &operations[0]
        else {
            panic!()
        };
        assert_eq!((tasks.len(), code), (1, &Reason::TaskGroupInvalid));
        assert!(reason.contains("LAUNCH_GROUP must not have an id"));
    }
}
