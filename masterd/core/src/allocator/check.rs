//! The allocator's books, added up again: slow and complete.
//!
//! Called by the crate's `check` only.

use nesos_wire::AgentId;
use nesos_wire::resource::{Resources, Value};

use super::Allocator;

impl Allocator {
    pub(crate) fn allocated_on(&self, agent: &AgentId) -> Resources {
        let slot = self.agents.get(agent);
        slot.into_iter()
            .flat_map(|slot| slot.allocations.values())
            .fold(Resources::new(), |mut sum, held| {
                sum.add(held);
                sum
            })
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (role, sorter) in &self.clients {
            for framework in sorter.clients() {
                let slots = self.agents.values();
                let held = slots
                    .filter_map(|slot| slot.allocations.get(&(framework.clone(), role.clone())));
                if !sorter.holds(framework, held) {
                    found.push(format!(
                        "the sorter of role {role} is wrong about {framework}"
                    ));
                }
            }
        }
        for ((framework, role), held) in self.agents.values().flat_map(|slot| &slot.allocations) {
            let has_scalars = held
                .iter()
                .any(|(_, value)| matches!(value, Value::Scalar(_)));
            if has_scalars
                && !self
                    .clients
                    .get(role)
                    .is_some_and(|sorter| sorter.has_allocation(framework))
            {
                found.push(format!(
                    "{framework} has resources of role {role} that no sorter knows"
                ));
            }
        }
        found
    }
}
