//! A photograph of the master, for those who show much of it and must not hold up its next step.
//!
//! Called by the shell inside a step's pause; read on any thread afterwards. Taking one costs a pointer for each 64
//! agents, tasks and offers. Not the allocator's state: what reads that (active filters, dominant shares) asks the master
//! itself. Invariant: what can be read from a view is what could be read from the master when it was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use nesos_wire::AgentId;

use crate::allocator::{Allocator, Settings};
use crate::master::Master;
use crate::ready::Ready;
use crate::shelf::Block;
use crate::state::Agent;
use crate::timers::Timers;

/// The photograph: everything that a [`Master`] lends out, nothing that could change it.
#[derive(Debug)]
pub struct View(Master);

impl View {
    /// All admitted agents in pieces that stay the same as long as nothing in them changes.
    pub fn agent_blocks(&self) -> impl Iterator<Item = Block<AgentId, Agent>> {
        self.0.agents.blocks()
    }
}

impl Deref for View {
    type Target = Master;

    fn deref(&self) -> &Master {
        &self.0
    }
}

impl Master {
    /// All that can be read, as it is now.
    pub fn view(&self) -> View {
        View(Master {
            config: self.config.clone(),
            registry: self.registry.clone(),
            agents: self.agents.clone(),
            frameworks: self.frameworks.clone(),
            completed: self.completed.clone(),
            offers: self.offers.clone(),
            inverse_offers: self.inverse_offers.clone(),
            maintained: self.maintained.clone(),
            inverse_due: BTreeSet::new(),
            offer_deadlines: BTreeMap::new(),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            draining: BTreeSet::new(),
            removal_allowed_at: self.removal_allowed_at,
            allocator: Allocator::new(&Settings::default()),
            kinds: Default::default(),
            timers: Timers::default(),
            metrics: self.metrics.clone(),
            tallies: self.tallies.clone(),
            calls_by_principal: self.calls_by_principal.clone(),
            is_watched: false,
            now: self.now,
            wall: self.wall,
            start_time: self.start_time,
            next_agent: self.next_agent,
            next_framework: self.next_framework,
            next_offer: self.next_offer,
            next_attempt: self.next_attempt,
            out: Ready::default(),
        })
    }
}
