//! Dominant-resource fairness over the tree of roles: who has least of what it has most of.
//!
//! Roles are nodes, siblings are compared by the totals of their subtrees divided by their weights; a role with clients
//! and child roles competes with its children as a leaf named `.` of weight 1. Each role ranks its clients (frameworks)
//! by the same measure without weights. Order, as in Mesos: share ascending, then number of allocations so far, then
//! path. Called by the allocator. Invariant: in a node whose `epoch` is the tree's, `children_order` holds exactly the
//! children with an active client below them and `clients_order` exactly the active clients, under their current keys;
//! changes of one client move one key per level, changes of everything (totals, weights, members) start a new epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::bits::Bits;
use super::quantities::{Names, Quantities};

/// Share (bits of a non-negative float, which order as it does), number of allocations, place by name, number.
pub(super) type Key = (u64, u64, u32, u32);

/// What one competitor has.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) allocated: Quantities,
    count: u64,
    key: Key,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) parent: u32,
    /// The ancestor below the root, or itself.
    pub(super) top: u32,
    children: BTreeMap<String, u32>,
    /// Its own clients' sum: the virtual leaf.
    own: Held,
    /// Its own and all below it.
    pub(super) subtree: Held,
    weight: f64,
    active_below: u32,
    /// Clients by framework rank are ordered at the start of an epoch.
    pub(super) clients: BTreeSet<u32>,
    pub(super) active: Bits,
    pub(super) active_clients: u32,
    children_order: BTreeSet<Key>,
    clients_order: BTreeSet<Key>,
    epoch: u64,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) node: u32,
    pub(super) held: Held,
    /// Place of its framework's id among all frameworks.
    pub(super) rank: u32,
    pub(super) is_active: bool,
}

/// Where a walk through the roles is: nodes from the root, with the child last visited.
pub(super) type Cursor = Vec<(u32, Option<Key>)>;

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    pub(super) clients: Vec<Client>,
    free_clients: Vec<u32>,
    weights: BTreeMap<String, f64>,
    pub(super) totals: Quantities,
    epoch: u64,
}

const ROOT: u32 = 0;

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node {
                weight: 1.0,
                ..Node::default()
            }],
            free_nodes: Vec::new(),
            clients: Vec::new(),
            free_clients: Vec::new(),
            weights: BTreeMap::new(),
            totals: Quantities::default(),
            epoch: 1,
        }
    }

    /// Everything is ranked anew at the next run.
    pub(super) fn outdate(&mut self) {
        self.epoch += 1;
    }

    pub(super) fn set_weight(&mut self, role: &str, weight: f64) {
        if weight == 1.0 {
            self.weights.remove(role);
        } else {
            self.weights.insert(role.to_owned(), weight);
        }
        if let Some(node) = self.find(role) {
            self.nodes[node as usize].weight = weight;
        }
        self.outdate();
    }

    pub(super) fn find(&self, role: &str) -> Option<u32> {
        role.split('/').try_fold(ROOT, |node, name| {
            self.nodes[node as usize].children.get(name).copied()
        })
    }

    /// The role's node, made if there is none.
    pub(super) fn ensure(&mut self, role: &str) -> u32 {
        let mut node = ROOT;
        for name in role.split('/') {
            node = match self.nodes[node as usize].children.get(name) {
                Some(child) => *child,
                None => self.add_child(node, name),
            };
        }
        node
    }

    /// Drops the role's node and its ancestors as far as nothing needs them.
    pub(super) fn collapse(&mut self, mut at: u32, is_kept: impl Fn(&str) -> bool) {
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if !node.clients.is_empty() || !node.children.is_empty() || is_kept(&node.path) {
                return;
            }
            let node = std::mem::take(&mut self.nodes[at as usize]);
            let name = node.path.rsplit('/').next().unwrap_or_default();
            self.nodes[node.parent as usize].children.remove(name);
            self.free_nodes.push(at);
            self.outdate();
            at = node.parent;
        }
    }

    pub(super) fn add_client(&mut self, role: &str, rank: u32) -> u32 {
        let node = self.ensure(role);
        let client = Client {
            node,
            rank,
            ..Client::default()
        };
        let at = match self.free_clients.pop() {
            Some(at) => {
                self.clients[at as usize] = client;
                at
            }
            None => {
                self.clients.push(client);
                self.clients.len() as u32 - 1
            }
        };
        self.nodes[node as usize].clients.insert(at);
        self.outdate();
        at
    }

    /// Takes out a client that has nothing.
    pub(super) fn remove_client(&mut self, at: u32) {
        self.set_active(at, false);
        let node = self.clients[at as usize].node;
        self.nodes[node as usize].clients.remove(&at);
        self.free_clients.push(at);
        self.outdate();
    }

    pub(super) fn set_active(&mut self, at: u32, is_active: bool) {
        let client = &mut self.clients[at as usize];
        if client.is_active == is_active {
            return;
        }
        client.is_active = is_active;
        let mut node = client.node;
        let own = &mut self.nodes[node as usize];
        if is_active {
            own.active.insert(at);
            own.active_clients += 1;
        } else {
            own.active.remove(at);
            own.active_clients -= 1;
        }
        loop {
            let below = &mut self.nodes[node as usize].active_below;
            *below = if is_active { *below + 1 } else { *below - 1 };
            if node == ROOT {
                break;
            }
            node = self.nodes[node as usize].parent;
        }
        // Activity changes with subscriptions and SUPPRESS, which are rare next to allocations.
        self.outdate();
    }

    pub(super) fn allocated(&mut self, names: &Names, client: u32, amount: &Quantities) {
        self.change(names, client, |held| {
            held.allocated.add(amount);
            held.count += 1;
        });
    }

    pub(super) fn unallocated(&mut self, names: &Names, client: u32, amount: &Quantities) {
        self.change(names, client, |held| held.allocated.subtract(amount));
    }

    /// Brings every order up to date. Call before a walk; changes of clients during a walk keep it so.
    pub(super) fn refresh(&mut self, names: &Names) {
        for at in 0..self.nodes.len() as u32 {
            if self.nodes[at as usize].epoch != self.epoch {
                self.rebuild(names, at);
            }
        }
    }

    /// The next role with active clients, the most deserving first.
    pub(super) fn next_role(&self, cursor: &mut Cursor) -> Option<u32> {
        loop {
            let (at, last) = cursor.last_mut()?;
            let node = &self.nodes[*at as usize];
            let Some(key) = after(&node.children_order, *last) else {
                cursor.pop();
                continue;
            };
            *last = Some(key);
            let child = key.3;
            if child == *at || self.nodes[child as usize].children.is_empty() {
                return Some(child);
            }
            cursor.push((child, None));
        }
    }

    pub(super) fn start(&self, cursor: &mut Cursor) {
        cursor.clear();
        cursor.push((ROOT, None));
    }

    /// Active clients of a role after `last`, the most deserving first.
    pub(super) fn clients_after(&self, node: u32, last: Option<Key>) -> impl Iterator<Item = Key> {
        let order = &self.nodes[node as usize].clients_order;
        let from = last.map_or(Unbounded, Excluded);
        order.range((from, Unbounded)).copied()
    }

    pub(super) fn key(&self, client: u32) -> Key {
        self.clients[client as usize].held.key
    }

    /// Sorted paths of all roles with clients.
    pub(super) fn roles(&self) -> BTreeSet<&str> {
        let with_clients = self.nodes.iter().filter(|node| !node.clients.is_empty());
        with_clients.map(|node| node.path.as_str()).collect()
    }

    fn add_child(&mut self, parent: u32, name: &str) -> u32 {
        let above = &self.nodes[parent as usize];
        let path = if parent == ROOT {
            name.to_owned()
        } else {
            format!("{}/{name}", above.path)
        };
        let top = above.top;
        let weight = self.weights.get(&path).copied().unwrap_or(1.0);
        let at = self.free_nodes.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() as u32 - 1
        });
        self.nodes[at as usize] = Node {
            path,
            parent,
            top: if parent == ROOT { at } else { top },
            weight,
            ..Node::default()
        };
        self.nodes[parent as usize]
            .children
            .insert(name.to_owned(), at);
        self.outdate();
        at
    }

    /// Changes what a client, and so its role and all above it, have; their keys move along.
    fn change(&mut self, names: &Names, at: u32, change: impl Fn(&mut Held)) {
        let client = &mut self.clients[at as usize];
        change(&mut client.held);
        let fresh = key(
            names.share(&client.held.allocated, &self.totals),
            &client.held,
        );
        let old = std::mem::replace(&mut client.held.key, fresh);
        let mut node = client.node;
        let is_active = client.is_active;
        let own = &mut self.nodes[node as usize];
        if is_active && own.epoch == self.epoch {
            own.clients_order.remove(&old);
            own.clients_order.insert(fresh);
        }
        change(&mut own.own);
        let fresh = key(names.share(&own.own.allocated, &self.totals), &own.own);
        let old = std::mem::replace(&mut own.own.key, fresh);
        if own.epoch == self.epoch && own.children_order.remove(&old) {
            own.children_order.insert(fresh);
        }
        while node != ROOT {
            let changed = &mut self.nodes[node as usize];
            change(&mut changed.subtree);
            let share = names.share(&changed.subtree.allocated, &self.totals) / changed.weight;
            let fresh = key(share, &changed.subtree);
            let old = std::mem::replace(&mut changed.subtree.key, fresh);
            node = changed.parent;
            let parent = &mut self.nodes[node as usize];
            if parent.epoch == self.epoch && parent.children_order.remove(&old) {
                parent.children_order.insert(fresh);
            }
        }
    }

    fn rebuild(&mut self, names: &Names, at: u32) {
        let mut clients: Vec<u32> = self.nodes[at as usize].clients.iter().copied().collect();
        clients.sort_unstable_by_key(|client| self.clients[*client as usize].rank);
        let mut clients_order = Vec::new();
        for client in clients {
            let known = &mut self.clients[client as usize];
            let share = names.share(&known.held.allocated, &self.totals);
            known.held.key = (share.to_bits(), known.held.count, known.rank, client);
            if known.is_active {
                clients_order.push(known.held.key);
            }
        }
        let children: Vec<(String, u32)> = {
            let node = &self.nodes[at as usize];
            let mut children: Vec<_> = node
                .children
                .iter()
                .map(|(name, child)| (name.clone(), *child))
                .collect();
            if !children.is_empty() && node.active_clients > 0 {
                children.push((".".to_owned(), at));
                children.sort();
            }
            children
        };
        let mut children_order = Vec::new();
        for (tie, (_, child)) in (0u32..).zip(children) {
            let is_virtual = child == at;
            let node = &mut self.nodes[child as usize];
            let is_active = is_virtual || node.active_below > 0;
            let weight = if is_virtual { 1.0 } else { node.weight };
            let held = if is_virtual {
                &mut node.own
            } else {
                &mut node.subtree
            };
            let share = names.share(&held.allocated, &self.totals) / weight;
            held.key = (share.to_bits(), held.count, tie, child);
            if is_active {
                children_order.push(held.key);
            }
        }
        let node = &mut self.nodes[at as usize];
        node.clients_order = clients_order.into_iter().collect();
        node.children_order = children_order.into_iter().collect();
        node.epoch = self.epoch;
    }
}

fn key(share: f64, held: &Held) -> Key {
    (share.to_bits(), held.count, held.key.2, held.key.3)
}

fn after(order: &BTreeSet<Key>, last: Option<Key>) -> Option<Key> {
    let from = last.map_or(Unbounded, Excluded);
    order.range((from, Unbounded)).next().copied()
}
