//! Dominant-resource fairness over the tree of roles: who has least of what it has most of.
//!
//! Roles are nodes, siblings are compared by the totals of their subtrees divided by their weights; a role with clients
//! and child roles competes with its children as a leaf named `.` of weight 1. Each role ranks its clients (frameworks)
//! by the same measure without weights. Order, as in Mesos: share ascending, then number of allocations so far, then
//! path. Called by the allocator; the shape of the tree is kept in `roles`, the order in `order`. Invariant: `subtree` is
//! the sum of what the clients of a role and of all roles below it hold.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::quantities::{Quantities, Scale};
use super::ranking::Ranking;

/// What one competitor has.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) allocated: Quantities,
    pub(super) count: u64,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) parent: u32,
    /// The ancestor below the root, or itself.
    pub(super) top: u32,
    pub(super) children: BTreeMap<String, u32>,
    /// Its own clients' sum: the virtual leaf.
    pub(super) own: Held,
    /// Its own and all below it.
    pub(super) subtree: Held,
    /// What of that is neither reserved nor revocable; kept at the top only.
    pub(super) common: Quantities,
    pub(super) weight: f64,
    pub(super) active_below: u32,
    pub(super) clients: Bits,
    pub(super) client_count: u32,
    pub(super) active_clients: u32,
    /// Active clients, equals by framework id.
    pub(super) clients_order: Ranking,
    /// Children with an active client below, and itself as the virtual leaf.
    pub(super) children_order: Ranking,
    /// In the parent's `children_order`, and in its own.
    pub(super) place: u32,
    pub(super) own_place: u32,
    /// Members of an order changed.
    pub(super) is_outdated: bool,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) node: u32,
    pub(super) held: Held,
    /// Place of its framework's id among all frameworks.
    pub(super) rank: u32,
    /// In its role's `clients_order`.
    pub(super) place: u32,
    /// On so many agents it holds something.
    pub(super) agents: u32,
    pub(super) is_active: bool,
    /// Its keys are older than what it holds.
    pub(super) is_moved: bool,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) free_nodes: Vec<u32>,
    pub(super) clients: Vec<Client>,
    pub(super) free_clients: Vec<u32>,
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) totals: Quantities,
    pub(super) scale: Scale,
    /// Every key is older than the totals, a weight or a rank.
    pub(super) is_outdated: bool,
    pub(super) outdated_nodes: Vec<u32>,
    pub(super) moved_clients: Vec<u32>,
}

pub(super) const ROOT: u32 = 0;

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
            scale: Scale::default(),
            is_outdated: true,
            outdated_nodes: Vec::new(),
            moved_clients: Vec::new(),
        }
    }

    pub(super) fn set_weight(&mut self, role: &str, weight: f64) {
        if weight == 1.0 {
            self.weights.remove(role);
        } else {
            self.weights.insert(role.to_owned(), weight);
        }
        if let Some(node) = self.find(role) {
            self.nodes[node as usize].weight = weight;
            self.is_outdated = true;
        }
    }

    /// Sorted paths of all roles with clients.
    pub(super) fn roles(&self) -> std::collections::BTreeSet<&str> {
        let with_clients = self.nodes.iter().filter(|node| node.client_count > 0);
        with_clients.map(|node| node.path.as_str()).collect()
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
            if node.client_count > 0 || !node.children.is_empty() || is_kept(&node.path) {
                return;
            }
            let node = std::mem::take(&mut self.nodes[at as usize]);
            let name = node.path.rsplit('/').next().unwrap_or_default();
            self.nodes[node.parent as usize].children.remove(name);
            self.outdated_nodes.retain(|known| *known != at);
            self.free_nodes.push(at);
            self.outdate(node.parent);
            at = node.parent;
        }
    }

    pub(super) fn add_client(&mut self, role: &str) -> u32 {
        let node = self.ensure(role);
        let client = Client {
            node,
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
        self.nodes[node as usize].client_count += 1;
        at
    }

    /// Takes out a client that has nothing.
    pub(super) fn remove_client(&mut self, at: u32) {
        self.set_active(at, false);
        let node = self.clients[at as usize].node;
        self.nodes[node as usize].clients.remove(at);
        self.nodes[node as usize].client_count -= 1;
        self.free_clients.push(at);
        if self.clients[at as usize].is_moved {
            // It cannot be moved any more; all above it can be ranked anew.
            self.moved_clients.retain(|known| *known != at);
            let mut above = node;
            self.outdate(above);
            while above != ROOT {
                above = self.nodes[above as usize].parent;
                self.outdate(above);
            }
        }
    }

    pub(super) fn set_active(&mut self, at: u32, is_active: bool) {
        let client = &mut self.clients[at as usize];
        if client.is_active == is_active {
            return;
        }
        client.is_active = is_active;
        let mut node = client.node;
        let own = &mut self.nodes[node as usize];
        own.active_clients = step(own.active_clients, is_active);
        self.outdate(node);
        loop {
            let below = &mut self.nodes[node as usize].active_below;
            *below = step(*below, is_active);
            if node == ROOT {
                return;
            }
            let has_turned = *below == u32::from(is_active);
            node = self.nodes[node as usize].parent;
            if has_turned {
                self.outdate(node);
            }
        }
    }

    /// The role's orders are made anew at the next refresh.
    pub(super) fn outdate(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if !std::mem::replace(&mut node.is_outdated, true) {
            self.outdated_nodes.push(at);
        }
    }

    /// Whether a node is this one or below it.
    pub(super) fn is_within(&self, mut node: u32, ancestor: u32) -> bool {
        while node != ancestor {
            if node == ROOT {
                return false;
            }
            node = self.nodes[node as usize].parent;
        }
        true
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
        self.outdate(parent);
        at
    }
}

fn step(count: u32, is_up: bool) -> u32 {
    if is_up { count + 1 } else { count - 1 }
}
