//! Decline filters: what a client said no to, and until when.
//!
//! A client is one role of one framework. Called by the allocator. A filter hides an offer iff what was refused contains
//! what would be offered. Clients that refused the same bundle of an agent share it, so that one comparison per agent
//! answers for all of them. Invariant: a client's bit in a bundle is set iff it has a time there, and every such time
//! has an entry in the queue (which may hold more: entries of filters that are gone).

use std::collections::BTreeMap;

use nesos_base::time::Instant;
use nesos_wire::resource::Resources;

use super::bits::Bits;
use super::few::Few;

/// Filters per client and agent. A client that keeps refusing growing bundles loses the filter that would end first.
const MAX_PER_AGENT: usize = 16;
/// Dead queue entries tolerated beyond the living ones before the queue is made anew.
const MAX_DEAD: usize = 4096;
/// The same of a client's list of agents, of which there may be a thousand.
const MAX_DEAD_AGENTS: usize = 64;

/// What was refused on an agent, and by whom.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    refused: Resources,
    pub(super) clients: Bits,
    /// The same clients, and how long each of them refuses: the first so many ascending, then the newest as they came. Most
    /// come and are not looked for until much later, so that ordering each at once would touch memory for nothing.
    until: Vec<(u32, Instant)>,
    ordered: usize,
}

impl Bundle {
    fn until(&mut self, client: u32) -> Option<Instant> {
        self.position(client).map(|at| self.until[at].1)
    }

    /// Refuses it at least as long as this; says how long that is now.
    fn put(&mut self, client: u32, expires: Instant) -> Instant {
        match self.position(client) {
            Some(at) => {
                self.until[at].1 = self.until[at].1.max(expires);
                self.until[at].1
            }
            None => {
                self.until.push((client, expires));
                self.clients.insert(client);
                expires
            }
        }
    }

    fn drop(&mut self, client: u32) {
        if let Some(at) = self.position(client) {
            self.until.remove(at);
            self.ordered = self.until.len();
            self.clients.remove(client);
        }
    }

    /// How many clients refused it.
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    fn position(&mut self, client: u32) -> Option<usize> {
        if !self.clients.contains(client) {
            return None;
        }
        if self.ordered < self.until.len() {
            // Two runs, which a stable sort merges.
            self.until.sort_by_key(|(known, _)| *known);
            self.ordered = self.until.len();
        }
        self.until
            .binary_search_by_key(&client, |(known, _)| *known)
            .ok()
    }
}

/// What a client refused.
#[derive(Debug, Default)]
struct Refuser {
    /// Agents on which it may have filters, in the order in which they came, some twice. Only appended to: a set would
    /// have to be looked through at a new place for every agent.
    agents: Vec<u32>,
    /// How many filters it has.
    living: usize,
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    agents: Vec<Few<Bundle, 1>>,
    clients: Vec<Refuser>,
    queue: BTreeMap<Instant, Vec<(u32, u32)>>,
    queued: usize,
    living: usize,
}

impl Filters {
    pub(super) fn len(&self) -> usize {
        self.living
    }

    /// How many each client has, by its number.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        self.clients.iter().map(|client| client.living)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.queue.keys().next().copied()
    }

    pub(super) fn add(&mut self, client: u32, agent: u32, refused: Resources, expires: Instant) {
        if refused.is_empty() {
            return;
        }
        grow(&mut self.agents, agent);
        grow(&mut self.clients, client);
        let bundles = &mut self.agents[agent as usize];
        let before: usize = bundles.iter().map(Bundle::len).sum();
        let same = match &**bundles {
            [only] if only.refused == refused => Some(0),
            _ => make_room(bundles, client, &refused, expires),
        };
        let at = match same {
            Some(at) => {
                // An equal bag: the newer one is what is free now, and is known again by its address.
                bundles[at].refused = refused;
                at
            }
            None => {
                bundles.push(Bundle {
                    refused,
                    ..Bundle::default()
                });
                bundles.len() - 1
            }
        };
        let until = bundles[at].put(client, expires);
        bundles.retain(|bundle| bundle.len() > 0);
        let after: usize = bundles.iter().map(Bundle::len).sum();
        self.living = self.living + after - before;
        let refuser = &mut self.clients[client as usize];
        refuser.living = refuser.living + after - before;
        refuser.agents.push(agent);
        if refuser.agents.len() > 2 * refuser.living + MAX_DEAD_AGENTS {
            self.tidy_refuser(client);
        }
        self.queue.entry(until).or_default().push((agent, client));
        self.queued += 1;
        self.tidy_queue();
    }

    /// Whether one of the client's filters hides this part of the agent.
    pub(super) fn hides(&self, client: u32, agent: u32, offered: &Resources) -> bool {
        let mut bundles = self.bundles(agent).iter();
        bundles.any(|bundle| bundle.clients.contains(client) && bundle.refused.contains(offered))
    }

    /// From whom all of this, and so any part of it, is hidden: places in the agent's bundles.
    pub(super) fn hiding(&self, agent: u32, offered: &Resources) -> impl Iterator<Item = usize> {
        let bundles = self.bundles(agent).iter().enumerate();
        bundles
            .filter(|(_, bundle)| bundle.refused.contains(offered))
            .map(|(at, _)| at)
    }

    /// What was refused on an agent.
    pub(super) fn bundles(&self, agent: u32) -> &[Bundle] {
        self.agents
            .get(agent as usize)
            .map_or(&[], |bundles| bundles)
    }

    /// Drops what has expired; names the agents that may be offered again.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u32> {
        let mut agents = Vec::new();
        while let Some(entry) = self.queue.first_entry() {
            if *entry.key() > now {
                break;
            }
            let entries = entry.remove();
            self.queued -= entries.len();
            for (agent, client) in entries {
                if self.drop_where(agent, client, |until| until <= now) {
                    agents.push(agent);
                }
            }
        }
        agents
    }

    /// Drops all of a client's filters.
    pub(super) fn clear_client(&mut self, client: u32) {
        let Some(refuser) = self.clients.get_mut(client as usize) else {
            return;
        };
        for agent in std::mem::take(&mut refuser.agents) {
            self.drop_where(agent, client, |_| true);
        }
        self.tidy_queue();
    }

    /// Drops all filters on one agent: it has changed or gone.
    pub(super) fn clear_agent(&mut self, agent: u32) {
        if let Some(bundles) = self.agents.get_mut(agent as usize) {
            let dropped = std::mem::take(bundles);
            for (client, _) in dropped.iter().flat_map(|bundle| &bundle.until) {
                self.clients[*client as usize].living -= 1;
                self.living -= 1;
            }
        }
        self.tidy_queue();
    }

    fn drop_where(&mut self, agent: u32, client: u32, is_over: impl Fn(Instant) -> bool) -> bool {
        let Some(bundles) = self.agents.get_mut(agent as usize) else {
            return false;
        };
        let mut dropped = 0;
        for bundle in bundles.iter_mut() {
            if bundle.until(client).is_some_and(&is_over) {
                bundle.drop(client);
                dropped += 1;
            }
        }
        bundles.retain(|bundle| bundle.len() > 0);
        self.living -= dropped;
        self.clients[client as usize].living -= dropped;
        dropped > 0
    }

    fn tidy_refuser(&mut self, client: u32) {
        let mut agents = std::mem::take(&mut self.clients[client as usize].agents);
        agents.sort_unstable();
        agents.dedup();
        agents.retain(|agent| {
            let mut bundles = self.bundles(*agent).iter();
            bundles.any(|bundle| bundle.clients.contains(client))
        });
        self.clients[client as usize].agents = agents;
    }

    /// Frameworks that decline for a year and revive every second must not fill the memory.
    fn tidy_queue(&mut self) {
        if self.queued <= 2 * self.living + MAX_DEAD {
            return;
        }
        self.queue.clear();
        self.queued = self.living;
        for (agent, bundles) in (0u32..).zip(&self.agents) {
            for (client, until) in bundles.iter().flat_map(|bundle| &bundle.until) {
                self.queue.entry(*until).or_default().push((agent, *client));
            }
        }
    }
}

/// Drops what a new filter makes useless, and the one that would end first if there are too many; finds the bundle that
/// was refused before.
fn make_room(
    bundles: &mut [Bundle],
    client: u32,
    refused: &Resources,
    expires: Instant,
) -> Option<usize> {
    let mut own = 0;
    let mut same = None;
    for (at, bundle) in bundles.iter_mut().enumerate() {
        let until = bundle.until(client);
        if until.is_none() && same.is_some() {
            continue;
        }
        if bundle.refused == *refused {
            same = Some(at);
        } else if let Some(until) = until {
            // One that hides less for a shorter time adds nothing.
            if until <= expires && refused.contains(&bundle.refused) {
                bundle.drop(client);
            } else {
                own += 1;
            }
        }
    }
    if own >= MAX_PER_AGENT {
        let others = bundles
            .iter_mut()
            .filter(|bundle| bundle.refused != *refused);
        let ending = others.filter_map(|bundle| Some((bundle.until(client)?, bundle)));
        if let Some((_, first)) = ending.min_by_key(|(until, _)| *until) {
            first.drop(client);
        }
    }
    same
}

fn grow<T: Default>(list: &mut Vec<T>, at: u32) {
    if at as usize >= list.len() {
        list.resize_with(at as usize + 1, T::default);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource_text::parse;

    fn secs(value: u64) -> Instant {
        Instant::from_secs(value)
    }

    fn hides(filters: &Filters, client: u32, text: &str) -> bool {
        filters.hides(client, 0, &parse(text).unwrap())
    }

    #[test]
    fn hides_parts_of_what_was_refused_only() {
        let mut filters = Filters::default();
        filters.add(1, 0, parse("cpus:2;mem:100").unwrap(), secs(5));
        assert!(hides(&filters, 1, "cpus:2;mem:100"));
        assert!(hides(&filters, 1, "cpus:1"));
        assert!(!hides(&filters, 1, "cpus:3;mem:100"));
        assert!(!hides(&filters, 1, "cpus:2;mem:100;ports:[1-2]"));
        assert!(!hides(&filters, 2, "cpus:1"));
        let hiding: Vec<_> = filters.hiding(0, &parse("cpus:1").unwrap()).collect();
        assert_eq!(hiding, [0]);
        assert!(filters.bundles(0)[0].clients.contains(1));
    }

    #[test]
    fn expires_and_names_the_agent() {
        let mut filters = Filters::default();
        filters.add(1, 0, parse("cpus:2").unwrap(), secs(5));
        filters.add(2, 0, parse("cpus:2").unwrap(), secs(7));
        assert_eq!(filters.next_expiry(), Some(secs(5)));
        assert!(filters.expire(secs(4)).is_empty());
        assert_eq!(filters.expire(secs(5)), [0]);
        assert!(!hides(&filters, 1, "cpus:1") && hides(&filters, 2, "cpus:1"));
        assert_eq!(filters.len(), 1);
    }

    #[test]
    fn a_longer_one_replaces_a_shorter_one() {
        let mut filters = Filters::default();
        filters.add(1, 0, parse("cpus:1").unwrap(), secs(5));
        filters.add(1, 0, parse("cpus:2").unwrap(), secs(9));
        assert_eq!(filters.len(), 1);
        // The dead entry wakes nobody.
        assert!(filters.expire(secs(5)).is_empty());
        assert!(hides(&filters, 1, "cpus:2"));
        // Refused again for less time: the longer time holds.
        filters.add(1, 0, parse("cpus:2").unwrap(), secs(6));
        assert!(filters.expire(secs(6)).is_empty());
        assert_eq!(filters.expire(secs(9)), [0]);
    }

    #[test]
    fn number_per_client_and_agent_is_bounded() {
        let mut filters = Filters::default();
        for step in 0..40u64 {
            let bundle = format!("cpus:{};mem:{}", step + 1, 100 - step);
            filters.add(1, 0, parse(&bundle).unwrap(), secs(100 + step));
        }
        assert_eq!(filters.len(), MAX_PER_AGENT);
        assert!(hides(&filters, 1, "cpus:40;mem:61") && !hides(&filters, 1, "cpus:1;mem:100"));
    }

    #[test]
    fn declining_and_reviving_for_ever_leaves_nothing_behind() {
        let mut filters = Filters::default();
        for step in 0..20_000u64 {
            filters.add(1, 0, parse("cpus:1").unwrap(), secs(1_000_000 + step));
            filters.clear_client(1);
        }
        assert_eq!(filters.len(), 0);
        assert!(filters.queued <= MAX_DEAD + 2, "{}", filters.queued);
        assert!(filters.clients[1].agents.len() <= MAX_DEAD_AGENTS + 3);
        filters.add(1, 0, parse("cpus:1").unwrap(), secs(500));
        filters.clear_agent(0);
        assert!(filters.len() == 0 && !hides(&filters, 1, "cpus:1"));
    }
}
