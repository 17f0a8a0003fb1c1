//! The operator: drains, deactivates, maintains and gives up agents, ends frameworks, and cleans up after the faults.
//!
//! Not the HTTP calls (masterd's tests). Invariants: each order gets exactly one answer from the master that got it; once
//! everything heals the operator only makes agents active again, so that the cluster comes to rest whole.

use std::collections::BTreeSet;

use masterd_core::schedule::Mode;
use masterd_core::{Answer, Event, Order, RequestId};
use nesos_wire::command::{QuotaRecord, WeightRecord};
use nesos_wire::maintenance::{MachineId, Unavailability, Window};
use nesos_wire::resource::Scalar;
use nesos_wire::{AgentId, FrameworkId};

use crate::planned::Planned;
use crate::world::World;

/// Roles that get weights.
const ROLES: [&str; 5] = ["a", "b", "eng", "eng/dev", "*"];

impl World {
    pub(crate) fn plan_operator(&mut self) {
        let after = self.rng.millis(1000, 20_000);
        self.plan(after, Planned::Operate);
    }

    pub(crate) fn operate(&mut self) {
        self.plan_operator();
        if self.is_healed {
            return self.clean_up();
        }
        let Some(agent) = self.any_agent() else {
            return;
        };
        if self.rng.chance(20) {
            return self.change_shares(agent);
        }
        match self.rng.between(0, 99) {
            0..20 => {
                let order = Order::Drain {
                    agent,
                    max_grace_ns: self.rng.chance(50).then_some(500_000_000),
                    mark_gone: self.rng.chance(15),
                };
                self.order(order);
            }
            20..35 => self.order(Order::Deactivate(agent)),
            35..75 => self.order(Order::Reactivate(agent)),
            75..78 => self.order(Order::MarkGone(agent)),
            78..84 => {
                if let Some(framework) = self.any_framework() {
                    let request = self.next_request();
                    self.trace(&format!("operator > teardown {framework}"));
                    self.master_event(Event::Teardown { request, framework });
                }
            }
            84..92 => self.schedule(),
            92..94 => self.machines(Mode::Draining, Order::StartMaintenance),
            94..99 => self.machines(Mode::Down, Order::StopMaintenance),
            _ => {}
        }
    }

    /// Schedules some machines for maintenance, and those that are down again.
    fn schedule(&mut self) {
        let mut machines: BTreeSet<MachineId> = BTreeSet::new();
        if let Some(core) = &self.master.core {
            machines.extend(core.schedule().machines(Mode::Down).cloned());
            let agents = core.agents().map(|agent| agent.machine());
            machines.extend(agents.filter(|_| self.rng.chance(30)));
        }
        let windows = machines.into_iter().map(|machine| Window {
            machines: vec![machine],
            unavailability: Unavailability {
                start_ns: self.rng.between(1, 3) as i64,
                duration_ns: None,
            },
        });
        let windows = windows.collect();
        self.order(Order::SetSchedule(windows));
    }

    /// Gives an order about one of the machines in this mode, or about all once everything heals.
    fn machines(&mut self, mode: Mode, order: fn(Vec<MachineId>) -> Order) {
        let Some(core) = &self.master.core else {
            return;
        };
        let mut machines: Vec<MachineId> = core.schedule().machines(mode).cloned().collect();
        if !self.is_healed && !machines.is_empty() {
            let at = self.rng.next() as usize % machines.len();
            machines = vec![machines.swap_remove(at)];
        }
        if !machines.is_empty() {
            self.order(order(machines));
        }
    }

    /// Every order is answered once, and by no other master than the one it was given to.
    pub(crate) fn operator_hears(&mut self, request: RequestId, answer: &Answer) {
        self.trace(&format!("operator < {answer:?}"));
        if !self.pending.remove(&request) {
            self.fail(format!("{request:?} is answered twice: {answer:?}"));
        }
    }

    /// Quota, weights or reservations, if there are such in this run.
    fn change_shares(&mut self, agent: AgentId) {
        match self.rng.between(0, 2) {
            0 if self.laws.has_quota => {
                let order = self.draw_quota();
                self.order(order);
            }
            1 if self.laws.has_weights => {
                let role = ROLES[self.rng.between(0, 4) as usize].to_owned();
                let weight = [0.5, 1.0, 2.0, 3.0][self.rng.between(0, 3) as usize];
                self.order(Order::UpdateWeights(vec![WeightRecord { role, weight }]));
            }
            2 if self.laws.has_operations => {
                if let Some(order) = self.operator_change(agent) {
                    self.order(order);
                }
            }
            _ => {}
        }
    }

    fn draw_quota(&mut self) -> Order {
        let role = ["a", "b", "eng", "*"][self.rng.between(0, 3) as usize].to_owned();
        let amounts = |cpus: u64, mem: u64| {
            [("cpus", cpus), ("mem", mem * 128)]
                .map(|(name, amount)| (name.to_owned(), Scalar(amount as i64 * 1000)))
                .into_iter()
                .collect()
        };
        let mut quota = QuotaRecord {
            role,
            ..QuotaRecord::default()
        };
        if self.rng.chance(50) {
            quota.guarantees = amounts(self.rng.between(0, 3), self.rng.between(0, 4));
        }
        if self.rng.chance(50) {
            quota.limits = amounts(self.rng.between(3, 6), self.rng.between(4, 8));
        }
        Order::UpdateQuota(vec![quota], self.rng.chance(60))
    }

    fn clean_up(&mut self) {
        let away: Vec<AgentId> = self
            .master
            .core
            .iter()
            .flat_map(|core| core.agents())
            .map(|agent| agent.id.clone())
            .filter(|id| {
                let core = self.master.core.as_ref();
                core.is_some_and(|core| core.upkeep(id).deactivated)
            })
            .collect();
        for agent in away {
            self.order(Order::Reactivate(agent));
        }
        self.machines(Mode::Down, Order::StopMaintenance);
        let core = self.master.core.as_ref();
        if core.is_some_and(|core| !core.schedule().windows().is_empty()) {
            self.order(Order::SetSchedule(Vec::new()));
        }
    }

    fn order(&mut self, order: Order) {
        if self.master.core.is_none() {
            return;
        }
        let request = self.next_request();
        self.trace(&format!("operator > {order:?}"));
        self.master_event(Event::Order { request, order });
    }

    fn next_request(&mut self) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.pending.insert(request);
        request
    }

    fn any_agent(&mut self) -> Option<AgentId> {
        let core = self.master.core.as_ref()?;
        let all: Vec<AgentId> = core.agents().map(|agent| agent.id.clone()).collect();
        let at = self.rng.next() as usize;
        (!all.is_empty()).then(|| all[at % all.len()].clone())
    }

    fn any_framework(&mut self) -> Option<FrameworkId> {
        let core = self.master.core.as_ref()?;
        let all: Vec<FrameworkId> = core.frameworks().map(|known| known.id.clone()).collect();
        let at = self.rng.next() as usize;
        (!all.is_empty()).then(|| all[at % all.len()].clone())
    }
}
