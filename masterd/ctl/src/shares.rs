//! `nesos quota`, `nesos weights`: how the cluster is shared out among roles.
//!
//! Called by `main`. What may be set is the master's to say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::args::{
    Amounts, Output, QuotaArgs, QuotaCommand, QuotaSetArgs, WeightsArgs, WeightsCommand,
};
use crate::failure::Failure;
use crate::http::Client;
use crate::output::{self, number};

/// The quota of one role, as `/roles` shows it.
#[derive(Debug, PartialEq)]
struct Quota {
    role: String,
    guarantee: BTreeMap<String, f64>,
    limit: BTreeMap<String, f64>,
    consumed: BTreeMap<String, f64>,
}

/// `nesos quota`.
pub(crate) async fn quota(
    client: &Client,
    args: &QuotaArgs,
    output: Output,
) -> Result<(), Failure> {
    match &args.command {
        None => list_quota(client, output).await,
        Some(QuotaCommand::Set(args)) => set_quota(client, args, output).await,
        Some(QuotaCommand::Remove(args)) => {
            let role = &args.role;
            let call = json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": role}});
            client.operate(&call).await?;
            match output {
                Output::Json => output::json(&json!({"role": role, "removed": true})),
                Output::Table => output::line(&format!("role {role} has no quota any more")),
            }
        }
    }
}

/// `nesos weights`.
pub(crate) async fn weights(
    client: &Client,
    args: &WeightsArgs,
    output: Output,
) -> Result<(), Failure> {
    let Some(WeightsCommand::Set(args)) = &args.command else {
        let shown = client.json("/weights").await?;
        return print_weights(&read_weights(&shown), output);
    };
    let infos = args.weights.iter();
    let infos: Vec<Value> = infos
        .map(|(role, weight)| json!({"role": role, "weight": weight}))
        .collect();
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}});
    client.operate(&call).await?;
    print_weights(&args.weights, output)
}

async fn list_quota(client: &Client, output: Output) -> Result<(), Failure> {
    let quotas = read_quotas(&client.json("/roles").await?);
    if output == Output::Json {
        return quotas.iter().try_for_each(|quota| {
            output::json(&json!({
                "role": quota.role, "guarantee": quota.guarantee, "limit": quota.limit,
                "consumed": quota.consumed,
            }))
        });
    }
    let headings = ["ROLE", "RESOURCE", "GUARANTEE", "LIMIT", "CONSUMED"];
    let rows: Vec<Vec<String>> = quotas.iter().flat_map(rows).collect();
    output::table(&headings, &rows)
}

async fn set_quota(client: &Client, args: &QuotaSetArgs, output: Output) -> Result<(), Failure> {
    let none = Amounts::default();
    let limit = args.limit.as_ref().unwrap_or(&none);
    let guarantee = args.guarantee.as_ref().unwrap_or(&none);
    let role = &args.role;
    let config = json!({"role": role, "guarantees": scalars(guarantee), "limits": scalars(limit)});
    let update = json!({"force": args.force, "quota_configs": [config]});
    client
        .operate(&json!({"type": "UPDATE_QUOTA", "update_quota": update}))
        .await?;
    match output {
        Output::Json => {
            output::json(&json!({"role": role, "guarantee": guarantee.0, "limit": limit.0}))
        }
        Output::Table => {
            let parts = [("guarantee", guarantee), ("limit", limit)].into_iter();
            let parts: Vec<String> = parts
                .filter(|(_, amounts)| !amounts.0.is_empty())
                .map(|(name, amounts)| format!("{name} {}", text(amounts)))
                .collect();
            output::line(&format!("role {role} has {}", parts.join(", ")))
        }
    }
}

fn print_weights(weights: &[(String, f64)], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return weights
            .iter()
            .try_for_each(|(role, weight)| output::json(&json!({"role": role, "weight": weight})));
    }
    let rows = weights.iter();
    let rows: Vec<Vec<String>> = rows
        .map(|(role, weight)| vec![role.clone(), weight.to_string()])
        .collect();
    output::table(&["ROLE", "WEIGHT"], &rows)
}

/// The roles that have quota.
fn read_quotas(answer: &Value) -> Vec<Quota> {
    let roles = answer.get("roles").and_then(Value::as_array);
    let quota = |role: &Value| {
        let amounts = |key| {
            let members = role.pointer(&format!("/quota/{key}"));
            let members = members.and_then(Value::as_object).into_iter().flatten();
            members
                .filter_map(|(name, amount)| Some((name.clone(), amount.as_f64()?)))
                .collect::<BTreeMap<_, _>>()
        };
        Quota {
            role: name(role, "name"),
            guarantee: amounts("guarantee"),
            limit: amounts("limit"),
            consumed: amounts("consumed"),
        }
    };
    let quotas = roles.into_iter().flatten().map(quota);
    quotas
        .filter(|quota| !quota.guarantee.is_empty() || !quota.limit.is_empty())
        .collect()
}

fn read_weights(answer: &Value) -> Vec<(String, f64)> {
    let weights = answer.as_array().into_iter().flatten();
    weights
        .filter_map(|one| Some((name(one, "role"), one.get("weight")?.as_f64()?)))
        .collect()
}

/// One row per resource that is guaranteed or limited.
fn rows(quota: &Quota) -> Vec<Vec<String>> {
    let mut names: Vec<&String> = quota.guarantee.keys().chain(quota.limit.keys()).collect();
    names.sort();
    names.dedup();
    let amount = |amounts: &BTreeMap<String, f64>, name: &String| {
        amounts.get(name).map_or("-".to_owned(), |one| number(*one))
    };
    let row = |name: &String| {
        let consumed = quota.consumed.get(name).copied().unwrap_or_default();
        vec![
            quota.role.clone(),
            name.clone(),
            amount(&quota.guarantee, name),
            amount(&quota.limit, name),
            number(consumed),
        ]
    };
    names.into_iter().map(row).collect()
}

fn scalars(amounts: &Amounts) -> Value {
    let scalar = |(name, value): (&String, &f64)| (name.clone(), json!({ "value": value }));
    Value::Object(amounts.0.iter().map(scalar).collect::<Map<_, _>>())
}

/// As it is given on the command line.
fn text(amounts: &Amounts) -> String {
    let parts = amounts.0.iter();
    let parts: Vec<String> = parts
        .map(|(name, value)| format!("{name}:{}", number(*value)))
        .collect();
    parts.join(";")
}

fn name(value: &Value, key: &str) -> String {
    let found = value.get(key).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_is_shown_by_role_and_resource() {
        let answer = json!({"roles": [
            {"name": "*", "quota": {"role": "*", "guarantee": {}, "limit": {}, "consumed": {"cpus": 1.0}}},
            {"name": "web", "quota": {"guarantee": {"cpus": 1.0}, "limit": {"cpus": 2.5, "mem": 0.0},
             "consumed": {"cpus": 0.5, "disk": 3.0}}, "more": true},
        ]});
        let quotas = read_quotas(&answer);
        assert_eq!(quotas.len(), 1, "who has no quota is not listed");
        let expected = [
            ["web", "cpus", "1", "2.5", "0.5"],
            ["web", "mem", "-", "0", "0"],
        ];
        assert_eq!(rows(&quotas[0]), expected);
        assert!(read_quotas(&json!({})).is_empty());
    }

    #[test]
    fn weights_without_a_number_are_left_out() {
        let answer = json!([{"role": "a", "weight": 2.0}, {"role": "b"}]);
        assert_eq!(read_weights(&answer), [("a".to_owned(), 2.0)]);
    }
}
