//! Which agents, and what of them, a role of a framework may be offered: regions, GPUs, offer constraints, capabilities,
//! sizes.
//!
//! A second opinion beside the allocator's gates. Called by `fairness` and `quota`; `scheduler` makes the wishes that are
//! judged here. Invariant: it depends on nothing but what the framework and the agent say of themselves.

use std::collections::BTreeMap;

use masterd_core::constraints::{Constraint, Constraints, Predicate, Selector};
use masterd_core::{Agent, Framework, Master};
use nesos_wire::domain::Domain;
use nesos_wire::resource::{Entry, Resources, Scalar};
use nesos_wire::resource_text;

use crate::refusals::Client;

/// Frameworks whose name ends so want nothing of the board of that name, in any role.
const AVOIDING: &str = " avoids ";
/// Frameworks whose name says so want offers of this size alone, or of any.
const WANTING: &str = " wants ";

/// Where the master stands, and where some boards do.
pub(crate) fn domain(is_near: bool) -> Domain {
    Domain {
        region: if is_near { "near" } else { "far" }.into(),
        zone: "zone".into(),
    }
}

/// The name of a framework that avoids a board.
pub(crate) fn avoiding(name: &str, board: usize) -> String {
    format!("{name}{AVOIDING}board{board}")
}

/// The name of a framework that wants no smaller offers.
pub(crate) fn wanting(name: &str, least: &str) -> String {
    format!("{name}{WANTING}{least}")
}

/// The sizes of offers that its name promises to accept, instead of the master's; empty: all.
pub(crate) fn floors(name: &str) -> Option<Vec<Resources>> {
    let (_, rest) = name.split_once(WANTING)?;
    let least = rest.split_once(AVOIDING).map_or(rest, |(least, _)| least);
    let floors = least.split('|').filter(|text| !text.is_empty());
    Some(
        floors
            .filter_map(|text| resource_text::parse(text).ok())
            .collect(),
    )
}

/// The same for each of its roles.
pub(crate) fn floors_by_role(name: &str, roles: &[String]) -> BTreeMap<String, Vec<Resources>> {
    let floors = floors(name);
    let roles = roles
        .iter()
        .filter_map(|role| Some((role.clone(), floors.clone()?)));
    roles.collect()
}

/// The constraints that its name promises.
pub(crate) fn constraints(name: &str, roles: &[String]) -> Constraints {
    let Some((_, board)) = name.split_once(AVOIDING) else {
        return Constraints::default();
    };
    let other = Constraint {
        selector: Selector::Hostname,
        predicate: Predicate::TextNotEquals(board.to_owned()),
    };
    let groups = roles
        .iter()
        .map(|role| (role.clone(), vec![vec![other.clone()]]));
    let groups: BTreeMap<_, _> = groups.collect();
    Constraints::new(groups, Vec::new()).unwrap_or_default()
}

/// Whether the framework may be offered anything of the agent.
pub(crate) fn suits(core: &Master, client: &Client, agent: &Agent) -> bool {
    let Some(framework) = core.framework(&client.0) else {
        return false;
    };
    let name = framework.facts.name.split_once(AVOIDING);
    let is_far = match (&core.config().domain, &agent.domain) {
        (Some(own), Some(other)) => own.region != other.region,
        _ => false,
    };
    let has_gpus = agent.resources.scalar("gpus") > Scalar(0);
    name.is_none_or(|(_, board)| board != agent.hostname)
        && (!is_far || framework.facts.is_capable("REGION_AWARE"))
        && (!has_gpus || framework.facts.is_capable("GPU_RESOURCES"))
}

/// What of a bag the client may be offered.
pub(crate) fn fitting(core: &Master, resources: &Resources, client: &Client) -> Resources {
    let can = |framework: &Framework, what: &str| framework.facts.is_capable(what);
    let Some(framework) = core.framework(&client.0) else {
        return Resources::new();
    };
    resources.filter(|entry| {
        entry.is_allocatable_to(&client.1)
            && (!entry.is_shared() || can(framework, "SHARED_RESOURCES"))
            && (!entry.terms().is_revocable || can(framework, "REVOCABLE_RESOURCES"))
    })
}

/// Whether everybody may have it for good: what quota is about.
pub(crate) fn is_common(entry: &Entry) -> bool {
    entry.owner().is_none() && !entry.terms().is_revocable && !entry.is_shared()
}
