//! Roles: what each one holds, its weight and its quota; `/roles` and the parts that GET_ROLES shares with it.
//!
//! Called by the router and the operator API. Only reads; who counts as a role is the core's.

use std::collections::BTreeMap;

use hyper::Response;
use masterd_core::{Master, RoleUsage, amounts};
use nesos_api::legacy;
use nesos_api::operator::common::Role;
use nesos_wire::resource::Resources;

use super::Context;
use super::answer::Body;
use super::metrics::resources::NAMES;
use super::reads;
use super::state::sum;
use crate::convert::resource::{self, Shape};
use crate::convert::shares::floats;

/// `/roles`
pub(super) async fn list(context: &Context) -> Response<Body> {
    reads::json(context, ("/roles", String::new()), |master| {
        let roles = master.roles().into_iter();
        legacy::Roles {
            roles: roles
                .map(|(name, usage)| role(master, name, &usage))
                .collect(),
        }
    })
    .await
}

/// GET_ROLES
pub(super) fn messages(master: &Master) -> Vec<Role> {
    let roles = master.roles().into_iter();
    let message = |(name, usage): (String, RoleUsage)| Role {
        weight: master.weight(&name),
        frameworks: usage
            .frameworks
            .iter()
            .map(|id| id.as_str().into())
            .collect(),
        resources: resource::list(&held(&usage), &Shape::default()),
        name,
    };
    roles.map(message).collect()
}

/// What a role's tasks use and what is on offer to it.
fn held(usage: &RoleUsage) -> Resources {
    sum([&usage.allocated, &usage.offered])
}

fn role(master: &Master, name: String, usage: &RoleUsage) -> legacy::Role {
    let quota = master.registry().quota(&name).cloned().unwrap_or_default();
    legacy::Role {
        weight: master.weight(&name),
        quota: legacy::RoleQuota {
            role: name.clone(),
            guarantee: floats(&quota.guarantees),
            limit: floats(&quota.limits),
            consumed: floats(&usage.consumed()),
        },
        resources: shown(&held(usage)),
        allocated: shown(&usage.allocated),
        offered: shown(&usage.offered),
        reserved: shown(&usage.reserved),
        frameworks: usage.frameworks.iter().map(ToString::to_string).collect(),
        name,
    }
}

/// The scalars of a bag, with zeros for the four that are always there.
fn shown(bag: &Resources) -> BTreeMap<String, f64> {
    let none = NAMES.iter().map(|name| ((*name).to_owned(), 0.0));
    none.chain(floats(&amounts(bag))).collect()
}
