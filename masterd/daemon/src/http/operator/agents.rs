//! DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT, MARK_AGENT_GONE.
//!
//! Called by the dispatcher, which has asked whether the peer may write. What the orders do is the core's.

use hyper::StatusCode;
use masterd_core::{Answer, Order};
use nesos_api::operator::common::Duration;
use nesos_api::operator::master::CallDrainAgent;
use nesos_api::v1;
use nesos_wire::AgentId;

use super::{Done, Refused, bad};
use crate::engine;
use crate::http::{Context, files};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// DRAIN_AGENT
pub(super) async fn drain(context: &Context, call: CallDrainAgent) -> Result<Done, Refused> {
    let max_grace_ns = call.max_grace_period.as_ref().map(nanos).transpose()?;
    let mark_gone = call.mark_gone.unwrap_or_default();
    let order = |agent| Order::Drain {
        agent,
        max_grace_ns,
        mark_gone,
    };
    self::order(context, call.agent_id, order).await
}

/// Any order about one agent.
pub(super) async fn order(
    context: &Context,
    agent: v1::AgentID,
    order: impl FnOnce(AgentId) -> Order,
) -> Result<Done, Refused> {
    let request = engine::Request::Order(order(AgentId::new(agent.value)));
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
