//! `nesos drain`, `nesos deactivate`, `nesos activate`: what a node is to be kept for.
//!
//! Called by `main`.

use serde_json::{Value, json};

use crate::args::{DrainArgs, NodeArgs, Output};
use crate::cluster;
use crate::failure::Failure;
use crate::http::Client;
use crate::output;

/// `nesos drain`.
pub(crate) async fn drain(
    client: &Client,
    args: &DrainArgs,
    output: Output,
) -> Result<(), Failure> {
    let mut more = json!({"mark_gone": args.gone});
    if let Some(grace) = args.grace {
        more["max_grace_period"] = duration(grace);
    }
    let word = match args.gone {
        true => "draining, to be given up for ever",
        false => "draining",
    };
    order(
        client,
        &args.node,
        "DRAIN_AGENT",
        more,
        ("draining", word),
        output,
    )
    .await
}

/// `nesos deactivate`.
pub(crate) async fn deactivate(
    client: &Client,
    args: &NodeArgs,
    output: Output,
) -> Result<(), Failure> {
    let words = ("deactivated", "deactivated; its tasks run on");
    order(
        client,
        &args.node,
        "DEACTIVATE_AGENT",
        json!({}),
        words,
        output,
    )
    .await
}

/// `nesos activate`.
pub(crate) async fn activate(
    client: &Client,
    args: &NodeArgs,
    output: Output,
) -> Result<(), Failure> {
    let words = ("active", "active again");
    order(
        client,
        &args.node,
        "REACTIVATE_AGENT",
        json!({}),
        words,
        output,
    )
    .await
}

/// Makes the call of this type about the node, and says in a word for programs and in some for people what it is now.
async fn order(
    client: &Client,
    node: &str,
    kind: &str,
    mut member: Value,
    (state, words): (&str, &str),
    output: Output,
) -> Result<(), Failure> {
    let node = cluster::find_node(client, node).await?;
    member["agent_id"] = json!({"value": node.agent});
    client
        .operate(&json!({"type": kind, kind.to_lowercase(): member}))
        .await?;
    match output {
        Output::Json => {
            output::json(&json!({"node": node.name, "agent": node.agent, "state": state}))
        }
        Output::Table => output::line(&format!("{} is {words}", node.name)),
    }
}

/// The master's `Duration`.
fn duration(seconds: f64) -> Value {
    let nanos = (seconds.fract() * 1e9) as i64;
    json!({"seconds": seconds.trunc() as i64, "nanos": nanos})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_second_is_nanoseconds() {
        assert_eq!(duration(1.5), json!({"seconds": 1, "nanos": 500_000_000}));
        assert_eq!(duration(0.0), json!({"seconds": 0, "nanos": 0}));
    }
}
