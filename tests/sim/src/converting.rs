//! Reservations and volumes: what schedulers make of their offers, and operators of what is free.
//!
//! Called by `launching`, `hearing` and `operator`. Invariants: an operation with an id ends once, and whatever becomes of
//! it, no amount is made or lost.

use masterd_core::{
    Call, Change, ChangeOrder, Convert, Operation, OperationUpdate, Order, ReconcileOperation,
};
use nesos_wire::operation::OperationState;
use nesos_wire::resource::{Disk, Entry, Reservation, Resources, Scalar, Terms, Value, Volume};
use nesos_wire::{AgentId, Uuid, resource_text};

use crate::world::World;

/// What a scheduler believes of one of its operations.
#[derive(Debug, Clone)]
pub(crate) struct OperationBelief {
    pub(crate) agent: AgentId,
    pub(crate) state: Option<OperationState>,
    end: Option<Uuid>,
}

impl World {
    /// Operations to put before the launches of an ACCEPT. What they leave of the offers stands in `left` afterwards.
    pub(crate) fn conversions(
        &mut self,
        scheduler: usize,
        agent: &AgentId,
        role: &str,
        left: &mut Resources,
    ) -> Vec<Operation> {
        let mut operations = Vec::new();
        if !self.laws.has_operations {
            return operations;
        }
        for _ in 0..self.rng.between(0, 2) {
            let can_share = self.schedulers[scheduler]
                .facts
                .is_capable("SHARED_RESOURCES");
            let Some((change, taken, made)) = self.draw_change(Some(role), can_share, left) else {
                continue;
            };
            left.subtract(&taken);
            // What is made of a volume that changes its size comes with the next offer.
            if !matches!(change, Change::Grow { .. } | Change::Shrink { .. }) {
                left.add(&made);
            }
            let id = self
                .rng
                .chance(60)
                .then(|| self.next_operation(scheduler, agent));
            let info = Vec::new();
            operations.push(Operation::Convert(Box::new(Convert {
                id,
                role: None,
                change,
                info,
                invalid: None,
            })));
        }
        operations
    }

    /// An operator's operation on some agent, on what it believes to be there.
    pub(crate) fn operator_change(&mut self, agent: AgentId) -> Option<Order> {
        let core = self.master.core.as_ref()?;
        let resources = core.agent(&agent)?.resources.clone();
        let (change, _, _) = self.draw_change(None, true, &resources)?;
        Some(Order::Change(Box::new(ChangeOrder {
            agent,
            principal: None,
            change,
            info: Vec::new(),
        })))
    }

    /// The news of an operation.
    pub(crate) fn operated(&mut self, scheduler: usize, update: OperationUpdate) {
        let (id, status) = (update.id, update.status);
        self.trace(&format!("scheduler {scheduler} < {id} {:?}", status.state));
        let acknowledges = self.is_healed || self.rng.chance(85);
        let Some(belief) = self.schedulers[scheduler].operations.get_mut(&id) else {
            return self.fail(format!("scheduler {scheduler} never asked for {id}"));
        };
        if let Some(uuid) = status.uuid {
            if belief.end.replace(uuid).is_some_and(|known| known != uuid) {
                return self.fail(format!("{id} of scheduler {scheduler} ends twice"));
            }
            if acknowledges && let Some(agent) = update.agent {
                let call = Call::AcknowledgeOperation {
                    agent,
                    id: id.clone(),
                    uuid,
                };
                self.call(scheduler, call);
            }
        }
        let Some(belief) = self.schedulers[scheduler].operations.get_mut(&id) else {
            return;
        };
        // The master's later ignorance does not undo an end that the agent told.
        if status.uuid.is_some() || belief.end.is_none() {
            belief.state = Some(status.state);
        }
    }

    /// Operations whose end the scheduler has not heard of.
    pub(crate) fn open_operations(
        &self,
        scheduler: usize,
    ) -> impl Iterator<Item = (&String, &OperationBelief)> {
        let is_over = |state: OperationState| {
            state.is_terminal() || (self.is_healed && state == OperationState::Unknown)
        };
        let all = self.schedulers[scheduler].operations.iter();
        all.filter(move |(_, belief)| !belief.state.is_some_and(is_over))
    }

    pub(crate) fn reconcile_operations(&mut self, scheduler: usize) {
        let ask = |(id, belief): (&String, &OperationBelief)| ReconcileOperation {
            id: id.clone(),
            agent: Some(belief.agent.clone()),
        };
        let asked: Vec<ReconcileOperation> = self.open_operations(scheduler).map(ask).collect();
        if !asked.is_empty() {
            self.call(scheduler, Call::ReconcileOperations(asked));
        }
    }

    fn next_operation(&mut self, scheduler: usize, agent: &AgentId) -> String {
        let known = &mut self.schedulers[scheduler];
        known.next_task += 1;
        let id = format!("o{}", known.next_task);
        let belief = OperationBelief {
            agent: agent.clone(),
            state: None,
            end: None,
        };
        known.operations.insert(id.clone(), belief);
        id
    }

    /// A change of some of `there`, what it takes and what it makes. Sometimes it asks for what is not there.
    fn draw_change(
        &mut self,
        role: Option<&str>,
        can_share: bool,
        there: &Resources,
    ) -> Option<(Change, Resources, Resources)> {
        let made: Vec<Entry> = there
            .entries()
            .iter()
            .filter(|entry| entry.is_made() && role.is_none_or(|role| entry.owner() == Some(role)))
            .cloned()
            .collect();
        let pick = self.rng.next() as usize;
        let picked = (!made.is_empty()).then(|| made[pick % made.len()].clone());
        match (picked, self.rng.chance(50)) {
            (Some(entry), true) if entry.terms().volume().is_some() && self.rng.chance(50) => {
                self.draw_resize(&entry, there)
            }
            (Some(entry), true) if entry.terms().volume().is_some() => {
                let taken = one(entry.clone());
                Some((
                    Change::Destroy(taken.clone()),
                    taken,
                    one(entry.under(plain_disk(&entry))),
                ))
            }
            (Some(entry), true) if entry.name() == "disk" => {
                let mut terms = entry.terms().clone();
                terms.disk = Some(Disk {
                    source: None,
                    volume: Some(Volume {
                        id: format!("v{}", self.rng.between(1, 12)),
                        principal: None,
                        container_path: "data".into(),
                        is_read_only: false,
                    }),
                });
                terms.is_shared = can_share && self.rng.chance(40);
                let volume = one(entry.under(terms));
                Some((Change::Create(volume.clone()), one(entry), volume))
            }
            (Some(entry), true) => {
                let mut terms = entry.terms().clone();
                terms.reservations.pop();
                let taken = one(entry.clone());
                Some((
                    Change::Unreserve(taken.clone()),
                    taken,
                    one(entry.under(terms)),
                ))
            }
            _ => self.draw_reservation(role),
        }
    }

    /// GROW_VOLUME by disk of the same reservation, or SHRINK_VOLUME; of a shared volume neither is allowed.
    fn draw_resize(
        &mut self,
        volume: &Entry,
        there: &Resources,
    ) -> Option<(Change, Resources, Resources)> {
        let sized = |entry: &Entry, amount: i64| {
            let terms = entry.terms().clone();
            Entry::new(entry.name(), terms, Value::Scalar(Scalar(amount)))
        };
        let size = volume.scalar().0;
        let plain = volume.under(plain_disk(volume));
        let mut entries = there.entries().iter();
        let more = entries.find(|entry| entry.terms() == plain.terms() && entry.name() == "disk");
        if let Some(more) = more.filter(|_| self.rng.chance(60)) {
            let addition = sized(more, self.rng.between(1, more.scalar().0 as u64) as i64);
            let made = one(sized(volume, size + addition.scalar().0));
            let change = Change::Grow {
                volume: one(volume.clone()),
                addition: one(addition.clone()),
            };
            let mut taken = one(volume.clone());
            taken.put(addition);
            return Some((change, taken, made));
        }
        // Sometimes by all of it, which is refused.
        let subtract = self.rng.between(1, size as u64) as i64;
        let mut made = one(sized(volume, size - subtract));
        made.put(sized(&plain, subtract));
        let change = Change::Shrink {
            volume: one(volume.clone()),
            subtract: Scalar(subtract),
        };
        Some((change, one(volume.clone()), made))
    }

    fn draw_reservation(&mut self, role: Option<&str>) -> Option<(Change, Resources, Resources)> {
        let drawn = ["a", "b", "eng", "eng/dev"][self.rng.between(0, 3) as usize];
        let role = role.unwrap_or(drawn);
        if role == "*" {
            return None;
        }
        let text = match self.rng.between(0, 2) {
            0 => format!("cpus:0.{}", self.rng.between(1, 9)),
            1 => format!("mem:{}", self.rng.between(8, 200)),
            _ => format!("disk:{}", self.rng.between(10, 300)),
        };
        let plain = resource_text::parse(&text).ok()?;
        let reserve = |entry: &Entry| {
            entry.under(Terms {
                reservations: vec![Reservation::dynamic(role, None)],
                ..Terms::default()
            })
        };
        let resources: Resources = plain.entries().iter().map(reserve).collect();
        let change = Change::Reserve {
            source: Resources::new(),
            resources: resources.clone(),
        };
        Some((change, plain, resources))
    }
}

/// Scalars by name, whatever their terms: what operations neither make nor lose.
pub(crate) fn amounts(resources: &Resources) -> Vec<(String, i64)> {
    let mut sums: Vec<(String, i64)> = Vec::new();
    for entry in resources.entries() {
        let Value::Scalar(amount) = entry.value() else {
            continue;
        };
        match sums.iter_mut().find(|(name, _)| name == entry.name()) {
            Some((_, sum)) => *sum += amount.0,
            None => sums.push((entry.name().to_owned(), amount.0)),
        }
    }
    sums.sort();
    sums
}

fn one(entry: Entry) -> Resources {
    [entry].into_iter().collect()
}

fn plain_disk(entry: &Entry) -> Terms {
    Terms {
        disk: None,
        is_shared: false,
        ..entry.terms().clone()
    }
}
