//! Who comes first: keeps the tree's sums and orders, and walks through them.
//!
//! Called by the allocator. Before a run [`Tree::refresh`] brings every order up to date; during it
//! [`Tree::settle`] moves the client that got something. Between runs changes are only noted: thousands of declines
//! cost one new key per framework. Invariant: after `refresh` every order holds exactly those with active clients, under
//! their current keys.

use super::quantities::{Names, Quantities, Scale};
use super::ranking::{Key, Walk};
use super::tree::{Held, ROOT, Tree};

/// Where a walk through the roles is: one level of the tree each.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    levels: Vec<(u32, Walk)>,
    depth: usize,
    /// The only role of a walk that has no more.
    single: Option<u32>,
}

/// What changes on the way from a client to the top of its role.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) amount: &'a Quantities,
    pub(super) kind: Kind,
    /// Whether its role's own clients' sum changes too, and the subtrees' sums of how many roles, from its own up.
    pub(super) reach: (bool, usize),
}

/// How a sum changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is more, and that counts as an allocation.
    Allocated,
    /// There is more.
    Added,
    /// There is less.
    Removed,
}

/// All the way up.
pub(super) const ALL: (bool, usize) = (true, usize::MAX);

impl Change<'_> {
    fn apply(&self, held: &mut Held) {
        match self.kind {
            Kind::Removed => held.allocated.subtract(self.amount),
            Kind::Added | Kind::Allocated => held.allocated.add(self.amount),
        }
        held.count += u64::from(self.kind == Kind::Allocated);
    }
}

impl Tree {
    /// Changes sums; the client's place changes at the next refresh, or with `move_client`.
    pub(super) fn change(&mut self, at: u32, change: Change<'_>) {
        let client = &mut self.clients[at as usize];
        change.apply(&mut client.held);
        if !std::mem::replace(&mut client.is_moved, true) {
            self.moved_clients.push(at);
        }
        let mut node = client.node;
        let (has_own, mut levels) = change.reach;
        if has_own {
            change.apply(&mut self.nodes[node as usize].own);
        }
        while node != ROOT && levels > 0 {
            let changed = &mut self.nodes[node as usize];
            change.apply(&mut changed.subtree);
            node = changed.parent;
            levels -= 1;
        }
    }

    /// Brings every order up to date.
    pub(super) fn refresh(&mut self, names: &Names) {
        let is_outdated = std::mem::take(&mut self.is_outdated);
        if is_outdated {
            self.scale = names.scale(&self.totals);
        }
        for at in std::mem::take(&mut self.outdated_nodes) {
            self.nodes[at as usize].is_outdated = false;
            self.refill(at);
            self.rekey(at);
        }
        if is_outdated {
            (0..self.nodes.len() as u32).for_each(|at| self.rekey(at));
        }
        self.settle();
    }

    /// Moves those that have more or less than their keys say.
    pub(super) fn settle(&mut self) {
        while let Some(client) = self.moved_clients.pop() {
            self.move_client(client);
        }
    }

    /// Starts a walk through a role with active clients below it and all that is below it, or through all roles.
    pub(super) fn start(&self, cursor: &mut Cursor, at: u32) {
        cursor.depth = 0;
        cursor.single = None;
        if at != ROOT && self.nodes[at as usize].children.is_empty() {
            cursor.single = Some(at);
        } else {
            self.enter(cursor, at);
        }
    }

    /// Top-level roles with active clients, by name.
    pub(super) fn tops(&self) -> &[u32] {
        self.nodes[ROOT as usize].children_order.numbers()
    }

    /// The next role with active clients, the most deserving first. Every role comes once.
    pub(super) fn next_role(&self, cursor: &mut Cursor) -> Option<u32> {
        if cursor.single.is_some() {
            return cursor.single.take();
        }
        while cursor.depth > 0 {
            let (at, walk) = &mut cursor.levels[cursor.depth - 1];
            let order = &self.nodes[*at as usize].children_order;
            match order.next(walk) {
                None => cursor.depth -= 1,
                Some(place) => {
                    let child = order.number(place);
                    if child == *at || self.nodes[child as usize].children.is_empty() {
                        return Some(child);
                    }
                    self.enter(cursor, child);
                }
            }
        }
        None
    }

    /// Call before anybody gets something during a walk that goes on after that.
    pub(super) fn detach(&self, cursor: &mut Cursor) {
        for (at, walk) in &mut cursor.levels[..cursor.depth] {
            self.nodes[*at as usize].children_order.detach(walk);
        }
    }

    /// What a role is compared with its siblings by.
    pub(super) fn role_key(&self, at: u32) -> Key {
        let node = &self.nodes[at as usize];
        key(&self.scale, &node.subtree, node.weight)
    }

    fn enter(&self, cursor: &mut Cursor, at: u32) {
        if cursor.levels.len() == cursor.depth {
            cursor.levels.push((at, Walk::default()));
        }
        let level = &mut cursor.levels[cursor.depth];
        level.0 = at;
        level.1.restart();
        cursor.depth += 1;
    }

    /// Puts a client, its role and all above it where they belong by now.
    fn move_client(&mut self, at: u32) {
        let client = &mut self.clients[at as usize];
        client.is_moved = false;
        let mut node = client.node;
        let own = &mut self.nodes[node as usize];
        if client.is_active && own.clients_order.len() > 1 {
            let fresh = key(&self.scale, &client.held, 1.0);
            own.clients_order.update(client.place, fresh);
        }
        if own.active_clients > 0 && own.children_order.len() > 1 {
            let fresh = key(&self.scale, &own.own, 1.0);
            own.children_order.update(own.own_place, fresh);
        }
        while node != ROOT {
            let changed = &self.nodes[node as usize];
            let (parent, place) = (changed.parent, changed.place);
            let is_in = changed.active_below > 0;
            if is_in && self.nodes[parent as usize].children_order.len() > 1 {
                let fresh = self.role_key(node);
                let order = &mut self.nodes[parent as usize].children_order;
                order.update(place, fresh);
            }
            node = parent;
        }
    }

    /// Who stands in the node's orders.
    fn refill(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let mut clients: Vec<(u32, u32)> = node
            .clients
            .iter()
            .filter(|client| self.clients[*client as usize].is_active)
            .map(|client| (self.clients[client as usize].rank, client))
            .collect();
        clients.sort_unstable();
        for (place, (_, client)) in (0u32..).zip(&clients) {
            self.clients[*client as usize].place = place;
        }
        let node = &self.nodes[at as usize];
        let mut children: Vec<(&str, u32)> = node
            .children
            .iter()
            .filter(|(_, child)| self.nodes[**child as usize].active_below > 0)
            .map(|(name, child)| (name.as_str(), *child))
            .collect();
        if !node.children.is_empty() && node.active_clients > 0 {
            children.push((".", at));
            children.sort_unstable();
        }
        let children: Vec<u32> = children.into_iter().map(|(_, child)| child).collect();
        for (place, child) in (0u32..).zip(&children) {
            let node = &mut self.nodes[*child as usize];
            if *child == at {
                node.own_place = place;
            } else {
                node.place = place;
            }
        }
        let unset = super::ranking::NOBODY;
        let node = &mut self.nodes[at as usize];
        node.clients_order
            .fill(clients.iter().map(|(_, client)| (*client, unset)));
        node.children_order
            .fill(children.iter().map(|child| (*child, unset)));
    }

    /// Fresh keys for all in the node's orders.
    fn rekey(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        let (clients, scale) = (&self.clients, &self.scale);
        node.clients_order
            .rekey(|client| key(scale, &clients[client as usize].held, 1.0));
        let mut order = std::mem::take(&mut node.children_order);
        order.rekey(|child| {
            if child == at {
                key(&self.scale, &self.nodes[at as usize].own, 1.0)
            } else {
                self.role_key(child)
            }
        });
        self.nodes[at as usize].children_order = order;
    }
}

fn key(scale: &Scale, held: &Held, weight: f64) -> Key {
    let share = scale.share(&held.allocated) / weight;
    Key::new(share.to_bits(), held.count)
}
