//! SUBSCRIBE and UPDATE_FRAMEWORK: what the core goes by, taken out of a `FrameworkInfo`.
//!
//! Called by the scheduler handler (checks) and the engine (ids). Invariant: what Mesos refuses with an ERROR event on an
//! open stream is returned as [`Refusal::Event`], what it refuses with a status as [`Refusal::Status`].

use std::collections::BTreeMap;

use masterd_core::FrameworkUpdate;
use masterd_core::constraints::Constraints;
use nesos_api::scheduler::{CallSubscribe, CallUpdateFramework};
use nesos_api::v1::{self, FrameworkInfoCapabilityType};
use nesos_wire::FrameworkId;
use nesos_wire::command::FrameworkFacts;
use nesos_wire::resource::{Resources, Scalar, Value};

use super::constraints::constraints;
use super::resource::scalar;

/// Largest `FrameworkInfo` in protobuf bytes: it is kept in the registry and travels with every launched task.
const MAX_FRAMEWORK_INFO: usize = 64 * 1024;

/// Why a subscription does not come about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400 with this text.
    Status(String),
    /// 200, then one ERROR event with this text.
    Event(String),
}

/// A checked SUBSCRIBE; the engine adds the framework's id and the stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The id it says it has.
    pub(crate) framework: Option<FrameworkId>,
    /// As the framework sent it; `id` is set by the engine if it is new.
    pub(crate) info: v1::FrameworkInfo,
    /// What the core goes by.
    pub(crate) facts: FrameworkFacts,
    /// Roles that want no offers yet.
    pub(crate) suppressed_roles: Vec<String>,
    /// By role.
    pub(crate) min_allocatable: BTreeMap<String, Vec<Resources>>,
    /// By role.
    pub(crate) constraints: Constraints,
}

/// Checks a SUBSCRIBE call. `id` is the call's own `framework_id`; `principal` the authenticated one.
pub(crate) fn subscription(
    id: Option<&v1::FrameworkID>,
    call: CallSubscribe,
    principal: Option<&str>,
) -> Result<Subscription, Refusal> {
    let CallSubscribe {
        framework_info: mut info,
        suppressed_roles,
        offer_constraints,
    } = call;
    let text =
        |id: Option<&v1::FrameworkID>| id.map(|id| id.value.clone()).filter(|id| !id.is_empty());
    let (outer, inner) = (text(id), text(info.id.as_ref()));
    if outer != inner {
        return Err(Refusal::Status(
            "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'".into(),
        ));
    }
    if let Some(principal) = principal
        && info.principal.as_deref() != Some(principal)
    {
        let said = info.principal.as_deref().unwrap_or_default();
        return Err(Refusal::Status(format!(
            "Authenticated principal '{principal}' does not match principal '{said}' set in FrameworkInfo"
        )));
    }
    let framework = match &inner {
        Some(id) => Some(
            FrameworkId::parse(id)
                .map_err(|e| Refusal::Event(format!("Invalid framework id: {e}")))?,
        ),
        None => {
            info.id = None;
            None
        }
    };
    if info.to_protobuf().len() > MAX_FRAMEWORK_INFO {
        return Err(Refusal::Status(too_large()));
    }
    Ok(Subscription {
        framework,
        facts: facts(&info)?,
        min_allocatable: min_allocatable(&info)?,
        constraints: constraints(offer_constraints.as_ref()).map_err(Refusal::Event)?,
        info,
        suppressed_roles,
    })
}

/// Checks an UPDATE_FRAMEWORK call. `id` is the call's own `framework_id`. `Err` is the text of a 400.
pub(crate) fn update(
    id: &v1::FrameworkID,
    call: CallUpdateFramework,
) -> Result<FrameworkUpdate, String> {
    let info = call.framework_info;
    if info.id.as_ref() != Some(id) {
        return Err(
            "Failed to validate scheduler::Call: 'framework_id' differs from 'update_framework.framework_info.id'".into(),
        );
    }
    let bytes = info.to_protobuf();
    if bytes.len() > MAX_FRAMEWORK_INFO {
        return Err(too_large());
    }
    let sentence = |refusal| match refusal {
        Refusal::Status(sentence) | Refusal::Event(sentence) => sentence,
    };
    Ok(FrameworkUpdate {
        facts: facts(&info).map_err(sentence)?,
        min_allocatable: min_allocatable(&info).map_err(sentence)?,
        info: bytes,
        suppressed_roles: call.suppressed_roles,
        constraints: constraints(call.offer_constraints.as_ref())?,
    })
}

fn too_large() -> String {
    format!("FrameworkInfo is larger than {MAX_FRAMEWORK_INFO} bytes")
}

fn facts(info: &v1::FrameworkInfo) -> Result<FrameworkFacts, Refusal> {
    let multi_role = info.has_capability(FrameworkInfoCapabilityType::MultiRole);
    let roles = match (multi_role, &info.role, info.roles.as_slice()) {
        (true, Some(_), _) => {
            return Err(Refusal::Event(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                    .into(),
            ));
        }
        (true, None, roles) => roles.to_vec(),
        (false, _, [_, ..]) => {
            return Err(Refusal::Event(
                "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".into(),
            ));
        }
        (false, role, []) => vec![role.clone().unwrap_or_else(|| "*".into())],
    };
    let failover_timeout = info.failover_timeout();
    // Mesos refuses what its Duration (63 bits of nanoseconds) cannot hold.
    if !failover_timeout.is_finite() || !(0.0..=9.2e9).contains(&failover_timeout) {
        return Err(Refusal::Event(format!(
            "The framework failover_timeout ({failover_timeout}) is invalid"
        )));
    }
    let mut capabilities: Vec<String> = info
        .capabilities
        .iter()
        .filter_map(|capability| capability.r#type)
        .map(|capability| capability.name().to_string())
        .collect();
    capabilities.sort();
    capabilities.dedup();
    Ok(FrameworkFacts {
        name: info.name.clone(),
        user: info.user.clone(),
        roles,
        principal: info.principal.clone(),
        failover_timeout,
        checkpoint: info.checkpoint(),
        capabilities,
    })
}

/// Mesos takes neither negative amounts, even if they are nothing in thousandths, nor subnormal numbers.
fn quantity(name: &str, value: f64) -> Result<Scalar, String> {
    if value < 0.0 || value.is_subnormal() {
        return Err(format!("resource '{name}': {value} is not an amount"));
    }
    scalar(name, value)
}

fn min_allocatable(info: &v1::FrameworkInfo) -> Result<BTreeMap<String, Vec<Resources>>, Refusal> {
    let mut filters = BTreeMap::new();
    for (role, filter) in &info.offer_filters {
        let Some(minimum) = &filter.min_allocatable_resources else {
            continue;
        };
        let mut list = Vec::new();
        for quantities in &minimum.quantities {
            if quantities.quantities.is_empty() {
                return Err(Refusal::Event(format!(
                    "Invalid offer filter of role '{role}': Resource quantities must contain at least one quantity"
                )));
            }
            // What is nothing in thousandths asks for nothing, as in Mesos.
            let mut bag = Resources::new();
            for (name, amount) in &quantities.quantities {
                let amount = quantity(name, amount.value).map_err(|e| {
                    Refusal::Event(format!("Invalid offer filter of role '{role}': {e}"))
                })?;
                bag.insert(name, Value::Scalar(amount));
            }
            list.push(bag);
        }
        filters.insert(role.clone(), list);
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn call(json: &str) -> CallSubscribe {
        let text = format!(r#"{{"framework_info":{{"user":"u","name":"n"{json}}}}}"#);
        CallSubscribe::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn roles_depend_on_multi_role() {
        let plain = subscription(None, call(""), None).unwrap();
        assert_eq!(plain.facts.roles, ["*"]);
        let multi = call(r#","roles":["a","b"],"capabilities":[{"type":"MULTI_ROLE"}]"#);
        assert_eq!(
            subscription(None, multi, None).unwrap().facts.roles,
            ["a", "b"]
        );
        assert!(matches!(
            subscription(None, call(r#","roles":["a"]"#), None),
            Err(Refusal::Event(_))
        ));
        let both = call(r#","role":"a","capabilities":[{"type":"MULTI_ROLE"}]"#);
        assert!(matches!(
            subscription(None, both, None),
            Err(Refusal::Event(_))
        ));
    }

    #[test]
    fn ids_and_principals_must_agree() {
        let with_id = r#","id":{"value":"f1"}"#;
        assert!(matches!(
            subscription(None, call(with_id), None),
            Err(Refusal::Status(_))
        ));
        let same = subscription(Some(&"f1".into()), call(with_id), None).unwrap();
        assert_eq!(same.framework, Some(FrameworkId::new("f1")));
        assert_eq!(
            subscription(Some(&"".into()), call(""), None)
                .unwrap()
                .framework,
            None
        );
        assert!(matches!(
            subscription(None, call(""), Some("p")),
            Err(Refusal::Status(_))
        ));
        assert!(subscription(None, call(r#","principal":"p""#), Some("p")).is_ok());
    }

    #[test]
    fn odd_numbers_are_refused() {
        assert!(matches!(
            subscription(None, call(r#","failover_timeout":-1"#), None),
            Err(Refusal::Event(_))
        ));
        assert!(matches!(
            subscription(None, call(r#","failover_timeout":"Infinity""#), None),
            Err(Refusal::Event(_))
        ));
    }

    #[test]
    fn offer_filters_that_round_to_nothing_ask_for_nothing() {
        let filter = |quantities: &str| {
            let json = format!(
                r#","role":"r","offer_filters":{{"r":{{"min_allocatable_resources":{{"quantities":[{quantities}]}}}}}}"#
            );
            subscription(None, call(&json), None).map(|taken| taken.min_allocatable)
        };
        let cpus = |value: &str| format!(r#"{{"quantities":{{"cpus":{{"value":{value}}}}}}}"#);
        let taken = |value: &str| filter(&cpus(value)).unwrap()["r"].clone();
        assert_eq!(taken("0.0004"), [Resources::new()]);
        assert_eq!(taken("0"), [Resources::new()]);
        assert_eq!(taken("0.0005")[0].scalar("cpus"), Scalar(1));
        for bad in [
            cpus("-0.0001"),
            cpus("1e-310"),
            r#"{"quantities":{}}"#.to_owned(),
        ] {
            assert!(filter(&bad).is_err(), "{bad}");
        }
    }
}
