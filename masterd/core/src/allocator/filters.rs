//! Decline filters: what a framework said no to, and until when.
//!
//! Called by the allocator. A filter hides an offer iff what was refused contains what would be offered. Invariant:
//! every filter has exactly one entry among the expiries and the other way round.

use std::collections::BTreeMap;

use nesos_base::time::Instant;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, FrameworkId};

/// Filters per framework, role and agent. A framework that keeps refusing growing bundles loses its oldest filter.
const MAX_PER_AGENT: usize = 16;

#[derive(Debug)]
struct Filter {
    expires: Instant,
    sequence: u64,
    refused: Resources,
}

type ByAgent = BTreeMap<AgentId, Vec<Filter>>;

#[derive(Debug, Default)]
pub(crate) struct Filters {
    filters: BTreeMap<FrameworkId, BTreeMap<String, ByAgent>>,
    expiries: BTreeMap<(Instant, u64), (FrameworkId, String, AgentId)>,
    next_sequence: u64,
}

impl Filters {
    pub(crate) fn len(&self) -> usize {
        self.expiries.len()
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn add(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        refused: Resources,
        expires: Instant,
    ) {
        if refused.is_empty() {
            return;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let by_role = self.filters.entry(framework.clone()).or_default();
        let list = by_role
            .entry(role.to_owned())
            .or_default()
            .entry(agent.clone())
            .or_default();
        // One that hides less for a shorter time adds nothing.
        list.retain(|old| {
            let is_covered = old.expires <= expires && refused.contains(&old.refused);
            if is_covered {
                self.expiries.remove(&(old.expires, old.sequence));
            }
            !is_covered
        });
        if list.len() >= MAX_PER_AGENT {
            let oldest = list.remove(0);
            self.expiries.remove(&(oldest.expires, oldest.sequence));
        }
        list.push(Filter {
            expires,
            sequence,
            refused,
        });
        self.expiries.insert(
            (expires, sequence),
            (framework.clone(), role.to_owned(), agent.clone()),
        );
    }

    pub(crate) fn hides(
        &self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        offered: &Resources,
    ) -> bool {
        let list = self
            .filters
            .get(framework)
            .and_then(|roles| roles.get(role))
            .and_then(|agents| agents.get(agent));
        list.is_some_and(|list| list.iter().any(|filter| filter.refused.contains(offered)))
    }

    /// Drops what has expired; names the agents that may be offered again.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<AgentId> {
        let mut agents = Vec::new();
        while let Some(entry) = self.expiries.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, sequence), (framework, role, agent)) = entry.remove_entry();
            if let Some(roles) = self.filters.get_mut(&framework) {
                if let Some(by_agent) = roles.get_mut(&role) {
                    if let Some(list) = by_agent.get_mut(&agent) {
                        list.retain(|filter| filter.sequence != sequence);
                        if list.is_empty() {
                            by_agent.remove(&agent);
                        }
                    }
                    if by_agent.is_empty() {
                        roles.remove(&role);
                    }
                }
                if roles.is_empty() {
                    self.filters.remove(&framework);
                }
            }
            agents.push(agent);
        }
        agents
    }

    /// Drops a framework's filters for one role, or for all.
    pub(crate) fn clear_framework(&mut self, framework: &FrameworkId, role: Option<&str>) {
        let Some(roles) = self.filters.get_mut(framework) else {
            return;
        };
        let dropped: Vec<ByAgent> = match role {
            Some(role) => roles.remove(role).into_iter().collect(),
            None => std::mem::take(roles).into_values().collect(),
        };
        if roles.is_empty() {
            self.filters.remove(framework);
        }
        for filter in dropped.iter().flat_map(BTreeMap::values).flatten() {
            self.expiries.remove(&(filter.expires, filter.sequence));
        }
    }

    /// Drops all filters on one agent: it has changed or gone.
    pub(crate) fn clear_agent(&mut self, agent: &AgentId) {
        for by_agent in self.filters.values_mut().flat_map(BTreeMap::values_mut) {
            for filter in by_agent.remove(agent).iter().flatten() {
                self.expiries.remove(&(filter.expires, filter.sequence));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource_text::parse;

    fn ids() -> (FrameworkId, AgentId) {
        (FrameworkId::new("f"), AgentId::new("s"))
    }

    #[test]
    fn a_filter_hides_what_it_contains_until_it_expires() {
        let (framework, agent) = ids();
        let mut filters = Filters::default();
        filters.add(
            &framework,
            "r",
            &agent,
            parse("cpus:2;mem:10").unwrap(),
            Instant::from_secs(5),
        );
        assert!(filters.hides(&framework, "r", &agent, &parse("cpus:2;mem:10").unwrap()));
        assert!(filters.hides(&framework, "r", &agent, &parse("cpus:1").unwrap()));
        assert!(!filters.hides(&framework, "r", &agent, &parse("cpus:3;mem:10").unwrap()));
        assert!(!filters.hides(&framework, "q", &agent, &parse("cpus:1").unwrap()));
        assert_eq!(filters.expire(Instant::from_millis(4999)), []);
        assert_eq!(filters.next_expiry(), Some(Instant::from_secs(5)));
        assert_eq!(
            filters.expire(Instant::from_secs(5)),
            std::slice::from_ref(&agent)
        );
        assert!(!filters.hides(&framework, "r", &agent, &parse("cpus:1").unwrap()));
        assert_eq!((filters.len(), filters.filters.len()), (0, 0));
    }

    #[test]
    fn filters_are_bounded_and_clearing_leaves_nothing() {
        let (framework, agent) = ids();
        let mut filters = Filters::default();
        for n in 0..100_u64 {
            let port = parse(&format!("ports:[{n}-{n}]")).unwrap();
            filters.add(&framework, "r", &agent, port, Instant::from_secs(100 + n));
        }
        assert_eq!(filters.len(), MAX_PER_AGENT);
        filters.add(
            &framework,
            "r",
            &agent,
            parse("ports:[0-99]").unwrap(),
            Instant::from_secs(500),
        );
        assert_eq!(filters.len(), 1);
        filters.clear_framework(&framework, Some("q"));
        assert_eq!(filters.len(), 1);
        filters.clear_framework(&framework, Some("r"));
        assert_eq!(filters.len(), 0);
        filters.add(
            &framework,
            "r",
            &agent,
            parse("cpus:1").unwrap(),
            Instant::from_secs(500),
        );
        filters.clear_agent(&agent);
        assert_eq!(filters.len(), 0);
    }
}
