//! `/roles`: the roles that frameworks subscribe to, and what each one holds.
//!
//! Called by the router. Only reads; weights and quota are not there yet, so their values are the defaults.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Response;
use masterd_core::Master;
use nesos_api::legacy;
use nesos_wire::resource::{Resources, Value};

use super::Context;
use super::answer::Body;
use super::state::{ask, sum};

/// `/roles`
pub(super) async fn list(context: &Context) -> Response<Body> {
    ask(context, |master| {
        let names = names(master).into_iter();
        legacy::Roles {
            roles: names.map(|name| role(master, name)).collect(),
        }
    })
    .await
}

/// Every role that is configured or subscribed to.
pub(super) fn names(master: &Master) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = BTreeSet::from(["*"]);
    names.extend(master.config().roles.iter().map(String::as_str));
    names.extend(
        master
            .frameworks()
            .flat_map(|f| f.facts.roles.iter().map(String::as_str)),
    );
    names
}

/// What a role's tasks use and what is on offer to it.
pub(super) fn held(master: &Master, name: &str) -> Resources {
    sum([&used(master, name), &offered(master, name)])
}

/// One role.
pub(super) fn role(master: &Master, name: &str) -> legacy::Role {
    let members = master
        .frameworks()
        .filter(|f| f.facts.roles.iter().any(|role| role == name));
    let (used, offered) = (used(master, name), offered(master, name));
    legacy::Role {
        name: name.into(),
        weight: 1.0,
        quota: legacy::RoleQuota {
            role: name.into(),
            consumed: scalars(&used),
            ..legacy::RoleQuota::default()
        },
        resources: scalars(&sum([&used, &offered])),
        allocated: scalars(&used),
        offered: scalars(&offered),
        reserved: BTreeMap::new(),
        frameworks: members.map(|framework| framework.id.to_string()).collect(),
    }
}

fn used(master: &Master, name: &str) -> Resources {
    let tasks = master.frameworks().flat_map(|f| f.tasks.values());
    sum(tasks
        .filter(|task| task.is_using_resources() && task.spec.role == name)
        .map(|task| &task.spec.resources))
}

fn offered(master: &Master, name: &str) -> Resources {
    sum(master
        .offers()
        .filter(|offer| offer.role == name)
        .map(|offer| &offer.resources))
}

fn scalars(bag: &Resources) -> BTreeMap<String, f64> {
    let scalar = |(name, value): (&str, &Value)| match value {
        Value::Scalar(amount) => Some((name.to_string(), amount.to_f64())),
        _ => None,
    };
    bag.iter().filter_map(scalar).collect()
}
