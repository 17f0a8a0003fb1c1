//! A second opinion on quota: no limit is passed by an offer, and no role is kept below its guarantee.
//!
//! Called by `fairness`, and like it not the allocator's code. What a role consumes: what it holds of what is not reserved,
//! and all that is reserved for it or a sub-role, used or not.

use masterd_core::{Agent, AgentCondition, Master, Offer};
use nesos_base::time::Instant;
use nesos_wire::resource::{Entry, Resources};

use crate::books::{Books, Sums, add_up, amount};
use crate::converting::amounts;
use crate::fairness::{is_enough, is_here};
use crate::refusals::{Client, Refusals};
use crate::suiting::{is_common, suits};

/// The offer takes its role beyond a limit.
pub(crate) fn beyond(core: &Master, offer: &Offer, books: &Books) -> Option<String> {
    let top = top(&offer.role);
    let quota = core.registry().quota(top)?;
    let consumed = consumed(core, top, books);
    let offered = amounts(&offer.resources.filter(is_common));
    let broken = quota
        .limits
        .iter()
        .find(|(name, limit)| amount(&offered, name) > 0 && amount(&consumed, name) > limit.0);
    broken.map(|(name, limit)| {
        format!(
            "{} takes {top} to {} of {name}, its limit is {}",
            offer.id,
            amount(&consumed, name),
            limit.0
        )
    })
}

/// Somebody lacks what it is guaranteed, would take it, and it is there.
pub(crate) fn unmet(
    core: &Master,
    clients: &[Client],
    books: &Books,
    refusals: &Refusals,
    now: Instant,
) -> Option<String> {
    // A master that has just started may still be waiting for its agents.
    if core
        .agents()
        .any(|agent| agent.condition == AgentCondition::Recovered)
        || refusals.is_early(now)
    {
        return None;
    }
    for client in clients {
        let top = top(&client.1);
        let Some(quota) = core.registry().quota(top) else {
            continue;
        };
        let consumed = consumed(core, top, books);
        let missing = |name: &str| {
            let guaranteed = quota.guarantees.get(name).map_or(0, |amount| amount.0);
            guaranteed - amount(&consumed, name)
        };
        let names = quota.guarantees.keys();
        let lacking: Vec<&String> = names.filter(|name| missing(name) > 0).collect();
        for agent in core.agents().filter(|agent| core.is_active(agent)) {
            let Some(free) = free(core, agent).filter(|_| suits(core, client, agent)) else {
                continue;
            };
            let sums = amounts(&free);
            // All that is free there of what it lacks, and enough for an offer even without the rest.
            let part = free.filter(|entry| lacking.iter().any(|name| *name == entry.name()));
            let is_whole = lacking
                .iter()
                .all(|name| missing(name) >= amount(&sums, name));
            let is_wanted = is_whole && is_enough(core, client, &part);
            if is_wanted && !refusals.hide(client, &agent.id, &part, now) {
                return Some(format!(
                    "{top} lacks {lacking:?} of its guarantee, {client:?} would take what is free on {}",
                    agent.id
                ));
            }
        }
    }
    None
}

/// What is neither used nor offered nor reserved; none while more is in use than there is.
fn free(core: &Master, agent: &Agent) -> Option<Resources> {
    let mut committed = core.used_resources(agent);
    committed.add(&core.offered_resources(agent));
    if !agent.resources.contains(&committed) {
        return None;
    }
    let mut free = agent.resources.clone();
    free.subtract(&committed);
    Some(free.filter(is_common))
}

fn consumed(core: &Master, top_role: &str, books: &Books) -> Sums {
    let mut sums = books.sums(|(_, role)| top(role) == top_role, is_common);
    let is_own = |owner: &str| top(owner) == top_role;
    for agent in core.agents().filter(|agent| is_here(agent)) {
        let reserved = |entry: &Entry| entry.owner().is_some_and(is_own);
        add_up(&mut sums, &agent.resources.filter(reserved));
    }
    sums
}

fn top(role: &str) -> &str {
    role.split('/').next().unwrap_or(role)
}

#[cfg(test)]
mod tests {
    use masterd_core::{Config, Event, LinkId, Registry, StreamId, Subscribe};
    use nesos_wire::command::{Command, FrameworkFacts, QuotaRecord};
    use nesos_wire::message::Hello;
    use nesos_wire::resource::Scalar;
    use nesos_wire::{MasterId, NodeId, Uuid, resource_text, version};

    use super::*;

    fn hello() -> Hello {
        Hello {
            version: version::CURRENT,
            node: NodeId::new("node0"),
            agent: None,
            boot_id: "boot".into(),
            hostname: "board0".into(),
            ip: "10.0.0.1".into(),
            port: 5051,
            software: "0".into(),
            resources: resource_text::parse("cpus:2;mem:512").unwrap_or_default(),
            attributes: Vec::new(),
            domain: None,
            tasks: Vec::new(),
            operations: Vec::new(),
            executors: Vec::new(),
        }
    }

    fn subscribe() -> Subscribe {
        Subscribe {
            stream: StreamId(Uuid([1; 16])),
            framework: None,
            facts: FrameworkFacts {
                name: "f".into(),
                user: "root".into(),
                roles: vec!["a".into()],
                principal: None,
                failover_timeout: 0.0,
                checkpoint: false,
                capabilities: Vec::new(),
            },
            info: Vec::new(),
            suppressed_roles: Vec::new(),
            min_allocatable: Default::default(),
            constraints: Default::default(),
        }
    }

    /// Before the master has made its offers the role lacks what it is guaranteed, afterwards it does not.
    #[test]
    fn a_role_below_its_guarantee_is_seen_and_one_that_was_offered_it_is_not() {
        let now = Instant::from_secs(100);
        let mut registry = Registry::default();
        let quota = QuotaRecord {
            role: "a".into(),
            guarantees: [("cpus".to_owned(), Scalar(4000))].into_iter().collect(),
            ..QuotaRecord::default()
        };
        registry.apply(&Command::SetQuotas(vec![quota]));
        let config = Config::new(MasterId::new("m"), "sim");
        let mut core = Master::new(config, registry, now, 0.0);
        let (link, hello) = (LinkId(1), Box::new(hello()));
        core.step(Event::Subscribe(Box::new(subscribe())), now, 0.0);
        core.step(Event::AgentHello { link, hello }, now, 0.0);
        let complaint = |core: &Master| {
            let framework = core.frameworks().next().map(|known| known.id.clone());
            let clients: Vec<Client> = framework
                .map(|id| (id, "a".to_owned()))
                .into_iter()
                .collect();
            assert_eq!(clients.len(), 1);
            let books = Books::before(core, &[]);
            unmet(core, &clients, &books, &Refusals::default(), now)
        };
        let found = complaint(&core);
        assert!(
            found
                .as_ref()
                .is_some_and(|text| text.contains("would take what is free")),
            "{found:?}"
        );
        let _ = core.ready();
        assert_eq!(core.offers().count(), 1);
        assert_eq!(complaint(&core), None);
    }
}
