//! Dominant-resource fairness: who has least of what it has most of.
//!
//! One sorter ranks the roles, one per role ranks its frameworks. Not weighted yet. Called by the allocator. Order, as
//! in Mesos: share ascending, then number of allocations so far, then name. Invariant: `order` holds exactly the active
//! clients under their current rank (after `refresh`).

use std::collections::{BTreeMap, BTreeSet};

use nesos_wire::resource::{Resources, Value};

/// Sums of scalars in thousandths. Only scalars have shares.
type Quantities = BTreeMap<String, i64>;

fn quantities(resources: &Resources) -> impl Iterator<Item = (&str, i64)> {
    resources.iter().filter_map(|(name, value)| match value {
        Value::Scalar(scalar) => Some((name, scalar.0)),
        Value::Ranges(_) | Value::Set(_) => None,
    })
}

fn add(sums: &mut Quantities, resources: &Resources) {
    for (name, amount) in quantities(resources) {
        let sum = sums.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(amount);
    }
}

fn subtract(sums: &mut Quantities, resources: &Resources) {
    for (name, amount) in quantities(resources) {
        if let Some(sum) = sums.get_mut(name) {
            *sum -= amount;
            if *sum <= 0 {
                sums.remove(name);
            }
        }
    }
}

/// Bits of the share (ordered as the non-negative floats they are), then the allocation count.
type Rank = (u64, u64);

#[derive(Debug, Default)]
struct Client {
    allocated: Quantities,
    count: u64,
    active: bool,
    rank: Rank,
}

#[derive(Debug)]
pub(crate) struct Sorter<K> {
    clients: BTreeMap<K, Client>,
    order: BTreeSet<(Rank, K)>,
    total: Quantities,
    is_stale: bool,
}

impl<K> Default for Sorter<K> {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
            order: BTreeSet::new(),
            total: Quantities::new(),
            is_stale: false,
        }
    }
}

impl<K: Ord + Clone> Sorter<K> {
    /// A sorter with another's total.
    pub(crate) fn with_total_of<L>(other: &Sorter<L>) -> Self {
        Self {
            total: other.total.clone(),
            ..Self::default()
        }
    }

    /// Adds a client if it is new, inactive.
    pub(crate) fn add(&mut self, client: &K) {
        self.clients.entry(client.clone()).or_default();
    }

    pub(crate) fn remove(&mut self, client: &K) {
        if let Some(removed) = self.clients.remove(client) {
            self.order.remove(&(removed.rank, client.clone()));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(crate) fn set_active(&mut self, client: &K, active: bool) {
        self.change(client, |known| known.active = active);
    }

    pub(crate) fn has_active(&self) -> bool {
        !self.order.is_empty()
    }

    pub(crate) fn has_allocation(&self, client: &K) -> bool {
        self.clients
            .get(client)
            .is_some_and(|known| !known.allocated.is_empty())
    }

    pub(crate) fn allocated(&mut self, client: &K, resources: &Resources) {
        self.change(client, |known| {
            add(&mut known.allocated, resources);
            known.count += 1;
        });
    }

    pub(crate) fn unallocated(&mut self, client: &K, resources: &Resources) {
        self.change(client, |known| subtract(&mut known.allocated, resources));
    }

    pub(crate) fn add_total(&mut self, resources: &Resources) {
        add(&mut self.total, resources);
        self.is_stale = true;
    }

    pub(crate) fn remove_total(&mut self, resources: &Resources) {
        subtract(&mut self.total, resources);
        self.is_stale = true;
    }

    /// The client's dominant share, 0 to 1 (above 1 when more is in use than there is).
    pub(crate) fn share(&self, client: &K) -> f64 {
        self.clients
            .get(client)
            .map_or(0.0, |known| share(&known.allocated, &self.total))
    }

    /// Brings the order up to date after changes of the total. Call before `ranked`.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        self.order.clear();
        for (key, client) in &mut self.clients {
            client.rank = (
                share(&client.allocated, &self.total).to_bits(),
                client.count,
            );
            if client.active {
                self.order.insert((client.rank, key.clone()));
            }
        }
    }

    /// Active clients, the most deserving first.
    pub(crate) fn ranked(&self) -> impl Iterator<Item = &K> {
        debug_assert!(!self.is_stale, "refresh before ranked");
        self.order.iter().map(|(_, key)| key)
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = &K> {
        self.clients.keys()
    }

    /// Whether the client's sum is that of these resources.
    pub(crate) fn holds<'a>(&self, client: &K, held: impl Iterator<Item = &'a Resources>) -> bool {
        let mut sums = Quantities::new();
        held.for_each(|resources| add(&mut sums, resources));
        self.clients
            .get(client)
            .is_some_and(|known| known.allocated == sums)
    }

    fn change(&mut self, key: &K, change: impl FnOnce(&mut Client)) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        self.order.remove(&(client.rank, key.clone()));
        change(client);
        client.rank = (
            share(&client.allocated, &self.total).to_bits(),
            client.count,
        );
        if client.active {
            self.order.insert((client.rank, key.clone()));
        }
    }
}

fn share(allocated: &Quantities, total: &Quantities) -> f64 {
    let shares = allocated.iter().filter_map(|(name, amount)| {
        let total = *total.get(name)?;
        (total > 0).then(|| *amount as f64 / total as f64)
    });
    // Not `f64::max` over -inf: the share of a client without anything is +0, whose bits are the smallest.
    shares.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource_text::parse;

    fn sorter(total: &str, clients: &[&str]) -> Sorter<String> {
        let mut sorter = Sorter::default();
        sorter.add_total(&parse(total).unwrap());
        for client in clients {
            sorter.add(&(*client).to_string());
            sorter.set_active(&(*client).to_string(), true);
        }
        sorter
    }

    fn ranked(sorter: &mut Sorter<String>) -> String {
        sorter.refresh();
        sorter.ranked().cloned().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn least_dominant_share_goes_first() {
        let mut sorter = sorter("cpus:100;mem:100", &["a", "b"]);
        sorter.allocated(&"a".into(), &parse("cpus:5;mem:5").unwrap());
        sorter.allocated(&"b".into(), &parse("cpus:6;mem:6").unwrap());
        assert_eq!(ranked(&mut sorter), "a b");
        for name in ["c", "d"] {
            sorter.add(&name.to_string());
            sorter.set_active(&name.to_string(), true);
        }
        sorter.allocated(&"c".into(), &parse("cpus:1;mem:10").unwrap());
        assert_eq!(ranked(&mut sorter), "d a b c");
        sorter.remove(&"a".into());
        sorter.set_active(&"d".into(), false);
        assert_eq!(ranked(&mut sorter), "b c");
        assert!((sorter.share(&"c".into()) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn equal_shares_are_decided_by_count_then_name() {
        let mut sorter = sorter("cpus:10", &["b", "a"]);
        assert_eq!(ranked(&mut sorter), "a b");
        sorter.allocated(&"a".into(), &parse("cpus:1").unwrap());
        sorter.unallocated(&"a".into(), &parse("cpus:1").unwrap());
        assert_eq!(ranked(&mut sorter), "b a");
    }

    #[test]
    fn totals_change_the_order() {
        let mut sorter = sorter("cpus:10;mem:100", &["a", "b"]);
        sorter.allocated(&"a".into(), &parse("cpus:2").unwrap());
        sorter.allocated(&"b".into(), &parse("mem:10").unwrap());
        assert_eq!(ranked(&mut sorter), "b a");
        sorter.remove_total(&parse("mem:80").unwrap());
        assert_eq!(ranked(&mut sorter), "a b");
    }
}
