//! The allocator's books, added up again: slow and complete.
//!
//! Called by the crate's `check` and by the golden scripts. Each sentence is a bug.

use nesos_wire::AgentId;
use nesos_wire::resource::Resources;

use super::Allocator;
use super::quantities::Quantities;

impl Allocator {
    /// All that is allocated on an agent.
    pub fn allocated_on(&self, agent: &AgentId) -> Resources {
        let slot = self.slots.find(agent).map(|at| self.slots.get(at));
        let held = slot.into_iter().flat_map(|slot| slot.allocations.values());
        held.fold(Resources::new(), |mut sum, held| {
            sum.add(held);
            sum
        })
    }

    /// Every broken invariant, as a sentence.
    pub fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for known in self.frameworks.values() {
            for (role, client) in &known.clients {
                let framework = &self.identities[*client as usize].framework;
                let held = self
                    .slots
                    .iter()
                    .filter_map(|slot| slot.allocations.get(client));
                let sum = held.fold(Quantities::default(), |mut sum, held| {
                    sum.add(&self.sums(held));
                    sum
                });
                if self.tree.clients[*client as usize].held.allocated != sum {
                    found.push(format!(
                        "the tree is wrong about {framework} in role {role}"
                    ));
                }
            }
        }
        let mut free = Quantities::default();
        for slot in self.slots.iter() {
            let mut available = slot.total.clone();
            slot.allocations
                .values()
                .for_each(|held| available.subtract(held));
            if available != slot.available {
                found.push(format!("agent {}: available is wrong", slot.id));
            }
            free.add(&self.sums(&available));
        }
        if free != self.slots.free {
            found.push("the headroom is wrong".to_owned());
        }
        for (role, _) in self.quotas() {
            if !self.is_consumption_right(role) {
                found.push(format!("the consumption of role {role} is wrong"));
            }
        }
        found
    }

    fn sums(&self, resources: &Resources) -> Quantities {
        let mut sums = Quantities::default();
        for (name, _) in resources.iter() {
            if let Some(at) = self.names.find(name) {
                sums.set(at, resources.scalar(name).0);
            }
        }
        sums
    }
}
