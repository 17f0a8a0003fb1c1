//! Quota and weights between the public types and the core's.
//!
//! Checks what the core cannot see any more: the numbers. Called by the handlers of quota, weights and roles. Invariant:
//! each refusal names the field.

use std::collections::BTreeMap;

use masterd_core::{Amounts, Master};
use nesos_api::operator::common::{QuotaConfig, QuotaInfo, QuotaRequest, QuotaStatus};
use nesos_api::v1::{Resource, ValueScalar, ValueType, WeightInfo};
use nesos_wire::command::{QuotaRecord, WeightRecord};
use nesos_wire::resource::{Resources, Scalar, Value};
use nesos_wire::role::DEFAULT;

use super::resource::{self, Shape};

/// Most of anything, Mesos's bound: far beyond it sums lose their thousandths.
const MAX_AMOUNT: f64 = 1e12;
/// Most MiB of memory or disk, Mesos's bound: an exbibyte.
const MAX_MEBIBYTES: f64 = 1_099_511_627_776.0;
/// Names in one map: a cluster has a handful of resources.
const MAX_NAMES: usize = 64;
/// Longest name of a resource, bytes.
const MAX_NAME: usize = 128;

/// UPDATE_QUOTA's configurations.
pub(crate) fn quotas(configs: &[QuotaConfig]) -> Result<Vec<QuotaRecord>, String> {
    let quota = |(at, config): (usize, &QuotaConfig)| {
        let amounts = |field: &str, map| amounts(&format!("quota_configs[{at}].{field}"), map);
        Ok(QuotaRecord {
            role: config.role.clone(),
            guarantees: guaranteed(amounts("guarantees", &config.guarantees)?),
            limits: amounts("limits", &config.limits)?,
        })
    };
    configs.iter().enumerate().map(quota).collect()
}

/// SET_QUOTA's request: its guarantee is the limit too.
pub(crate) fn quota(request: &QuotaRequest) -> Result<QuotaRecord, String> {
    let role = request
        .role
        .clone()
        .ok_or("Invalid 'role': it must be there")?;
    if request.guarantee.is_empty() {
        return Err("Invalid 'guarantee': it must name at least one resource".into());
    }
    let mut map = BTreeMap::new();
    for (at, resource) in request.guarantee.iter().enumerate() {
        let scalar = plain_scalar(resource)
            .map_err(|why| format!("Invalid 'guarantee[{at}]' ({}): {why}", resource.name))?;
        if map.insert(resource.name.clone(), scalar).is_some() {
            return Err(format!(
                "Invalid 'guarantee[{at}]': {} stands twice",
                resource.name
            ));
        }
    }
    let guarantees = amounts("guarantee", &map)?;
    Ok(QuotaRecord {
        role,
        limits: guarantees.clone(),
        guarantees: guaranteed(guarantees),
    })
}

/// GET_QUOTA's answer: each role in the form of today and, as far as that can say it, in the older one.
pub(crate) fn quota_status(master: &Master) -> QuotaStatus {
    let quotas = || master.registry().quotas();
    QuotaStatus {
        infos: quotas().map(info).collect(),
        configs: quotas().map(config).collect(),
    }
}

/// UPDATE_WEIGHTS' weights; white space around a role does not count, as in Mesos.
pub(crate) fn weights(infos: &[WeightInfo]) -> Result<Vec<WeightRecord>, String> {
    let weight = |(at, info): (usize, &WeightInfo)| match &info.role {
        Some(role) => Ok(WeightRecord {
            role: role.trim().to_owned(),
            weight: info.weight,
        }),
        None => Err(format!(
            "Invalid 'weight_infos[{at}].role': it must be there"
        )),
    };
    infos.iter().enumerate().map(weight).collect()
}

/// GET_WEIGHTS' answer.
pub(crate) fn weight_infos(master: &Master) -> Vec<WeightInfo> {
    let weights = master.registry().weights();
    let info = |(role, weight): (&str, f64)| WeightInfo {
        weight,
        role: Some(role.to_owned()),
    };
    weights.map(info).collect()
}

/// Amounts for the legacy JSON.
pub(crate) fn floats(amounts: &Amounts) -> BTreeMap<String, f64> {
    let float = |(name, amount): (&String, &Scalar)| (name.clone(), amount.to_f64());
    amounts.iter().map(float).collect()
}

/// A guarantee of nothing is none, as in Mesos; so is one that is nothing in thousandths. A limit of nothing is one.
fn guaranteed(mut amounts: Amounts) -> Amounts {
    amounts.retain(|_, amount| *amount != Scalar(0));
    amounts
}

fn amounts(field: &str, map: &BTreeMap<String, ValueScalar>) -> Result<Amounts, String> {
    if map.len() > MAX_NAMES {
        return Err(format!(
            "Invalid '{field}': it names {} resources, at most {MAX_NAMES} are allowed",
            map.len()
        ));
    }
    let amount = |(name, scalar): (&String, &ValueScalar)| {
        let value = scalar.value;
        let invalid = |why: String| Err(format!("Invalid '{field}[{name}]': {why}"));
        if name.is_empty() || name.len() > MAX_NAME {
            return invalid(format!("a resource's name has 1 to {MAX_NAME} bytes"));
        }
        let most = match name.as_str() {
            "mem" | "disk" => MAX_MEBIBYTES,
            _ => MAX_AMOUNT,
        };
        match Scalar::from_f64(value) {
            _ if value.is_subnormal() => invalid("it is too small a number".to_owned()),
            Some(amount) if (0.0..=most).contains(&value) => Ok((name.clone(), amount)),
            _ => invalid(format!("it must be a number from 0 to {most}, not {value}")),
        }
    };
    map.iter().map(amount).collect()
}

fn plain_scalar(resource: &Resource) -> Result<ValueScalar, &'static str> {
    let is_reserved = resource.role.as_deref().is_some_and(|role| role != DEFAULT)
        || resource.reservation.is_some()
        || !resource.reservations.is_empty();
    if is_reserved {
        return Err("it must not be reserved");
    }
    if resource.disk.is_some() || resource.revocable.is_some() || resource.shared.is_some() {
        return Err("it must have neither 'disk' nor 'revocable' nor 'shared'");
    }
    match &resource.scalar {
        Some(scalar) if resource.r#type == ValueType::Scalar => Ok(scalar.clone()),
        _ => Err("only scalars can be guaranteed"),
    }
}

fn config(quota: &QuotaRecord) -> QuotaConfig {
    let scalars = |amounts: &Amounts| {
        let amounts = floats(amounts).into_iter();
        let scalar = |(name, value)| (name, ValueScalar { value });
        amounts.map(scalar).collect()
    };
    QuotaConfig {
        role: quota.role.clone(),
        guarantees: scalars(&quota.guarantees),
        limits: scalars(&quota.limits),
    }
}

fn info(quota: &QuotaRecord) -> QuotaInfo {
    let guarantees = quota.guarantees.iter();
    let bag: Resources = guarantees
        .map(|(name, amount)| (name.as_str(), Value::Scalar(*amount)))
        .collect();
    QuotaInfo {
        role: Some(quota.role.clone()),
        principal: None,
        guarantee: resource::list(&bag, &Shape::default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_guarantee_of_nothing_is_none_and_a_limit_of_nothing_is_one() {
        let amounts = |cpus| BTreeMap::from([("cpus".to_owned(), ValueScalar { value: cpus })]);
        let config = |guarantee, limit| QuotaConfig {
            role: "a".to_owned(),
            guarantees: amounts(guarantee),
            limits: amounts(limit),
        };
        // 0.0004 is nothing in Mesos's arithmetic, 0.0005 is a thousandth.
        for (given, taken) in [(0.0, None), (0.0004, None), (0.0005, Some(Scalar(1)))] {
            let [quota] = quotas(&[config(given, given)]).unwrap().try_into().unwrap();
            assert_eq!(quota.guarantees.get("cpus").copied(), taken, "{given}");
            assert_eq!(quota.limits["cpus"], taken.unwrap_or_default(), "{given}");
        }
        for given in [-0.0001, f64::NAN, f64::INFINITY, 1e-310] {
            assert!(quotas(&[config(given, 1.0)]).is_err(), "{given}");
        }
    }
}
