//! DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT, MARK_AGENT_GONE.
//!
//! Called by the dispatcher, which has asked whether the peer may write. What the orders do is the core's.

use hyper::StatusCode;
use masterd_core::{Answer, Order};
use nesos_api::operator::common::Duration;
use nesos_api::operator::master::{Call, CallDrainAgent, CallType};
use nesos_api::v1;
use nesos_wire::AgentId;

use super::{Done, Refused, bad, member};
use crate::engine;
use crate::http::{Context, files};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// One of these calls.
pub(super) async fn call(context: &Context, kind: CallType, call: Call) -> Result<Done, Refused> {
    let (agent, order): (v1::AgentID, fn(AgentId) -> Order) = match kind {
        CallType::DrainAgent => {
            return drain(context, member(call.drain_agent, "drain_agent")?).await;
        }
        CallType::DeactivateAgent => {
            let call = member(call.deactivate_agent, "deactivate_agent")?;
            (call.agent_id, Order::Deactivate)
        }
        CallType::ReactivateAgent => {
            let call = member(call.reactivate_agent, "reactivate_agent")?;
            (call.agent_id, Order::Reactivate)
        }
        _ => {
            let call = member(call.mark_agent_gone, "mark_agent_gone")?;
            (call.agent_id, Order::MarkGone)
        }
    };
    carry_out(context, order(AgentId::new(agent.value))).await
}

async fn drain(context: &Context, call: CallDrainAgent) -> Result<Done, Refused> {
    let order = Order::Drain {
        agent: AgentId::new(call.agent_id.value),
        max_grace_ns: call.max_grace_period.as_ref().map(nanos).transpose()?,
        mark_gone: call.mark_gone.unwrap_or_default(),
    };
    carry_out(context, order).await
}

async fn carry_out(context: &Context, order: Order) -> Result<Done, Refused> {
    let request = engine::Request::Order(order);
    match context.app.engine.operator(request).await {
        Some(Answer::Done) => Ok(Done::Empty(StatusCode::OK)),
        other => Err(Box::new(files::plain(other))),
    }
}

fn nanos(duration: &Duration) -> Result<u64, Refused> {
    let seconds = duration.seconds.unwrap_or_default();
    let total = seconds
        .checked_mul(NANOS_PER_SECOND)
        .and_then(|ns| ns.checked_add(i64::from(duration.nanos.unwrap_or_default())));
    total
        .and_then(|ns| u64::try_from(ns).ok())
        .ok_or_else(|| bad("'drain_agent.max_grace_period' must be a duration of 0 to 292 years"))
}
