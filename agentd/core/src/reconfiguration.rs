//! What an agent may change of itself from one start to the next (Mesos: `compatibility.cpp`).
//!
//! Called by the shell before it recovers. Pure. Invariant: what is refused is named, with what it was and what it is.

use std::fmt::Display;

use nesos_wire::domain::Domain;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text;
use nesos_wire::task::{Attribute, AttributeValue};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Record;
use crate::event::Config;

/// How much may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconfiguration {
    /// Nothing.
    Equal,
    /// Resources and attributes may be added, scalars of resources and ranges may grow, a domain may be given.
    Additive,
    /// Everything.
    Any,
}

/// What an agent was configured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Name under which tasks can be reached.
    pub hostname: String,
    /// Port of the HTTP server.
    pub port: u16,
    /// All it had to offer.
    pub resources: Resources,
    /// Its properties.
    pub attributes: Vec<Attribute>,
    /// Where it stood.
    pub domain: Option<Domain>,
}

impl Configuration {
    /// The present one.
    pub fn of(config: &Config) -> Self {
        Self {
            hostname: config.hostname.clone(),
            port: config.port,
            resources: config.resources.clone(),
            attributes: config.attributes.clone(),
            domain: config.domain.clone(),
        }
    }

    /// The last one that a checkpoint speaks of.
    pub fn last(records: &[Record]) -> Option<&Self> {
        records.iter().rev().find_map(|record| match record {
            Record::Configured { configuration } => Some(configuration.as_ref()),
            _ => None,
        })
    }
}

/// Whether `now` may follow `before`; the sentence says what may not.
pub fn may_follow(
    policy: Reconfiguration,
    before: &Configuration,
    now: &Configuration,
) -> Result<(), String> {
    if policy == Reconfiguration::Any || before == now {
        return Ok(());
    }
    if before.hostname != now.hostname {
        return Err(sentence("hostname", &before.hostname, &now.hostname));
    }
    if before.port != now.port {
        return Err(sentence("port", &before.port, &now.port));
    }
    let is_additive = policy == Reconfiguration::Additive;
    let same_domain = before.domain == now.domain || (is_additive && before.domain.is_none());
    if !same_domain {
        let name = |domain: &Option<Domain>| match domain {
            Some(domain) => format!("{}/{}", domain.region, domain.zone),
            None => "none".into(),
        };
        return Err(sentence(
            "domain",
            &name(&before.domain),
            &name(&now.domain),
        ));
    }
    let same_resources = if is_additive {
        now.resources.contains(&before.resources)
    } else {
        before.resources == now.resources
    };
    if !same_resources {
        let [before, now] = [before, now].map(|which| resource_text::text(&which.resources));
        return Err(sentence("resources", &before, &now));
    }
    attributes(is_additive, &before.attributes, &now.attributes)
}

fn attributes(is_additive: bool, before: &[Attribute], now: &[Attribute]) -> Result<(), String> {
    let of = |all: &[Attribute], name: &str| {
        let found = all.iter().find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.clone())
    };
    for attribute in before {
        let fits = match (&attribute.value, of(now, &attribute.name)) {
            (AttributeValue::Ranges(old), Some(AttributeValue::Ranges(new))) if is_additive => {
                new.contains(old)
            }
            (old, Some(new)) => *old == new,
            (_, None) => false,
        };
        if !fits {
            return Err(format!(
                "the attribute '{}' was changed or removed",
                attribute.name
            ));
        }
    }
    let added = now.iter().find(|new| of(before, &new.name).is_none());
    match added {
        Some(added) if !is_additive => Err(format!("the attribute '{}' was added", added.name)),
        _ => Ok(()),
    }
}

fn sentence(what: &str, before: &dyn Display, now: &dyn Display) -> String {
    format!("the {what} changed from '{before}' to '{now}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reconfiguration::{Additive, Any, Equal};

    fn configuration(resources: &str, attributes: &str) -> Configuration {
        Configuration {
            hostname: "h".into(),
            port: 5051,
            resources: resource_text::parse(resources).expect("valid"),
            attributes: resource_text::parse_attributes(attributes).expect("valid"),
            domain: None,
        }
    }

    #[test]
    fn each_policy_lets_pass_what_it_says() {
        let before = configuration("cpus:2;mem:512;ports:[31000-31009]", "rack:a1;slots:[1-4]");
        let changed = |change: &dyn Fn(&mut Configuration)| {
            let mut now = before.clone();
            change(&mut now);
            now
        };
        let grown = configuration(
            "cpus:4;mem:512;disk:10;ports:[31000-31019]",
            "rack:a1;slots:[1-8];ssd:true",
        );
        let domain = Domain::parse("garden/shed").expect("valid");
        let with_domain = changed(&|now| now.domain = Some(domain.clone()));
        let refused_by_both = [
            (changed(&|now| now.hostname = "g".into()), "hostname"),
            (changed(&|now| now.port = 1), "port"),
            (
                configuration("cpus:1;mem:512;ports:[31000-31009]", "rack:a1;slots:[1-4]"),
                "resources",
            ),
            (
                configuration("cpus:2;mem:512;ports:[31000-31009]", "rack:a2;slots:[1-4]"),
                "rack",
            ),
            (
                configuration("cpus:2;mem:512;ports:[31000-31009]", "rack:a1;slots:[1-3]"),
                "slots",
            ),
            (
                configuration("cpus:2;mem:512;ports:[31000-31009]", "slots:[1-4]"),
                "rack",
            ),
        ];
        for policy in [Equal, Additive, Any] {
            assert_eq!(may_follow(policy, &before, &before), Ok(()));
        }
        for (now, word) in &refused_by_both {
            for policy in [Equal, Additive] {
                let refusal = may_follow(policy, &before, now).expect_err(word);
                assert!(refusal.contains(word), "{refusal}");
            }
            assert_eq!(may_follow(Any, &before, now), Ok(()));
        }
        for now in [&grown, &with_domain] {
            assert!(may_follow(Equal, &before, now).is_err());
            assert_eq!(may_follow(Additive, &before, now), Ok(()));
        }
        let refusal = may_follow(Additive, &with_domain, &before).expect_err("lost");
        assert_eq!(refusal, "the domain changed from 'garden/shed' to 'none'");
    }
}
