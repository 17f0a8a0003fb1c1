//! The master's shell: obeys the real core, keeps its registry on a simulated disk, crashes between the two.
//!
//! Invariant: nothing of a `Ready` leaves before its commands are on the disk, as the core demands.

use std::collections::BTreeMap;

use masterd_core::{Config, Event, LinkId, Master, Ready, Registry, StreamId};
use nesos_base::time::{Duration, Instant};
use nesos_wire::MasterId;
use nesos_wire::command::Command;

use crate::fairness;
use crate::mutant::{Mutant, spoil_config, spoil_event, spoil_order, spoil_ready};
use crate::net::Frame;
use crate::planned::Planned;
use crate::rng::Rng;
use crate::suiting;
use crate::upgrade;
use crate::world::World;

/// The master process and its disk.
#[derive(Debug, Default)]
pub(crate) struct MasterNode {
    pub(crate) core: Option<Master>,
    /// How many processes there have been.
    pub(crate) generation: u64,
    pub(crate) next_link: u64,
    pub(crate) links: BTreeMap<LinkId, usize>,
    /// Open streams and the scheduler at the other end.
    pub(crate) streams: BTreeMap<StreamId, usize>,
    disk: BTreeMap<String, Vec<u8>>,
    durable: Registry,
    deadline: Option<Instant>,
    is_gathering: bool,
    offer_timeout: Option<Duration>,
    removal_pause: Option<Duration>,
}

impl MasterNode {
    /// A machine whose flags stay the same over all its processes.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            offer_timeout: rng.chance(50).then(|| rng.millis(5000, 60_000)),
            removal_pause: rng.chance(30).then(|| rng.millis(5000, 60_000)),
            ..Self::default()
        }
    }
}

impl World {
    pub(crate) fn master_start(&mut self) {
        if self.master.core.is_some() {
            return;
        }
        self.master.generation += 1;
        let generation = self.master.generation;
        self.trace(&format!("master {generation} starts"));
        let records = self
            .master
            .disk
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        let registry = match Registry::load(records) {
            Ok(registry) => registry,
            Err(error) => return self.fail(error.to_string()),
        };
        if registry != self.master.durable {
            self.fail("the registry that was loaded is not the one that was written".into());
        }
        let mut config = Config::new(MasterId::new(format!("m{generation}")), "sim");
        self.refusals
            .begin(self.now, registry.quotas().next().is_some());
        config.versions = upgrade::window(self.seed, 0, generation);
        spoil_config(self.mutant, &mut config);
        config.framework_recovery_timeout = Duration::from_secs(120);
        config.allocator_recovery_timeout = fairness::RECOVERY;
        config.domain = self.laws.has_domains.then(|| suiting::domain(true));
        config.offer_timeout = self.master.offer_timeout;
        config.agent_removal_pause = self.master.removal_pause;
        self.master.core = Some(Master::new(config, registry, self.now, self.wall()));
        self.master.deadline = None;
        self.master.is_gathering = false;
        self.master_ready(generation);
    }

    /// kill -9: links and streams are reset by the kernel, what was not sent is gone.
    pub(crate) fn master_crash(&mut self) {
        if self.master.core.take().is_none() {
            return;
        }
        self.trace("master crashes");
        self.pending.clear();
        let conns: Vec<usize> = self.master.links.values().copied().collect();
        for conn in conns {
            self.master_closes(conn);
        }
        self.master.links.clear();
        for (stream, scheduler) in std::mem::take(&mut self.master.streams) {
            let after = self.rng.latency();
            self.plan_stream_end(scheduler, stream, after);
        }
        let after = self.rng.millis(100, 20_000);
        self.plan(after, Planned::MasterStart);
    }

    pub(crate) fn master_event(&mut self, event: Event) {
        let (now, wall) = (self.now, self.wall());
        let Some(core) = &mut self.master.core else {
            return;
        };
        // What is due comes first in any case.
        core.step(Event::Tick, now, wall);
        self.refusals.before(core, &event, now);
        core.step(spoil_event(self.mutant, event), now, wall);
        self.refusals.after(core, now);
        let generation = self.master.generation;
        if self.master.is_gathering {
            return;
        }
        if self.rng.chance(30) {
            self.master.is_gathering = true;
            let after = Duration::from_micros(self.rng.between(1, 3000));
            self.plan(after, Planned::MasterReady { generation });
        } else {
            self.master_ready(generation);
        }
    }

    pub(crate) fn master_tick(&mut self, generation: u64) {
        let is_due = self
            .master
            .deadline
            .is_some_and(|deadline| deadline <= self.now);
        if generation == self.master.generation && is_due {
            self.master.deadline = None;
            self.master_event(Event::Tick);
        }
    }

    pub(crate) fn master_ready(&mut self, generation: u64) {
        if generation != self.master.generation {
            return;
        }
        self.master.is_gathering = false;
        let Some(core) = &mut self.master.core else {
            return;
        };
        let mut ready = core.ready();
        spoil_ready(self.mutant, core, &mut ready);
        let deadline = ready.deadline;
        // What lies idle now still will a few steps later.
        let is_thorough = self.steps.is_multiple_of(16);
        let complaint = fairness::complaint(core, &ready, &self.refusals, self.now, is_thorough);
        if let Some(complaint) = complaint {
            return self.fail(complaint);
        }
        if !ready.commands.is_empty() {
            let is_fragile = !self.is_healed;
            if is_fragile && self.rng.once_in(60) {
                return self.master_crash();
            }
            self.persist(&ready.commands);
            if is_fragile && self.rng.once_in(60) {
                return self.master_crash();
            }
        }
        self.send_all(ready);
        if let Some(deadline) = deadline
            && self.master.deadline.is_none_or(|known| deadline < known)
        {
            self.master.deadline = Some(deadline);
            self.plan_at(deadline, Planned::MasterTick { generation });
        }
    }

    fn persist(&mut self, commands: &[Command]) {
        for command in commands {
            self.trace(&format!("registry < {}", short(command)));
            self.note(command);
            for change in self.master.durable.apply(command) {
                if self.is(Mutant::LosesRegistry) {
                    continue;
                }
                match change.value {
                    Some(value) => self.master.disk.insert(change.key, value),
                    None => self.master.disk.remove(&change.key),
                };
            }
        }
    }

    /// What the world has to know of a decision that stands.
    fn note(&mut self, command: &Command) {
        match command {
            Command::RemoveFramework { framework } => {
                self.removed.insert(framework.clone());
            }
            Command::AdmitAgent(record) => {
                let digits = record.node.as_str().strip_prefix("node");
                if let Some(board) = digits.and_then(|digits| digits.parse().ok()) {
                    self.board_of.insert(record.agent.clone(), board);
                }
            }
            Command::MarkGone { agent, .. } => {
                if let Some(board) = self.board_of.get(agent).copied() {
                    self.boards[board].is_gone = true;
                    let after = self.rng.millis(100, 60_000);
                    self.plan(after, Planned::BoardWipe { board });
                }
            }
            Command::StartMaintenance { machines } => {
                for machine in machines {
                    let digits = machine.hostname.strip_prefix("board");
                    if let Some(board) = digits.and_then(|digits| digits.parse::<usize>().ok()) {
                        self.boards[board].was_down = true;
                    }
                }
            }
            _ => {}
        }
    }

    fn send_all(&mut self, ready: Ready) {
        for (link, mut message) in ready.to_agents {
            spoil_order(self.mutant, &mut message);
            if let Some(conn) = self.master.links.get(&link).copied() {
                self.send_down(conn, Frame::Data(Box::new(message)));
            }
        }
        for (stream, event) in ready.to_frameworks {
            self.send_event(stream, event);
        }
        for (request, answer) in ready.answers {
            match self.mutant {
                Some(Mutant::SwallowsAnswers) => continue,
                Some(Mutant::AnswersTwice) => self.operator_hears(request, &answer),
                _ => {}
            }
            self.operator_hears(request, &answer);
        }
        for link in ready.close_links {
            if let Some(conn) = self.master.links.get(&link).copied() {
                self.master_closes(conn);
            }
        }
        for stream in ready.close_streams {
            if let Some(scheduler) = self.master.streams.remove(&stream) {
                let after = self.rng.latency();
                self.plan_stream_end(scheduler, stream, after);
            }
        }
    }
}

fn short(command: &Command) -> String {
    match command {
        Command::MasterStarted { start } => format!("start {start}"),
        Command::AdmitAgent(record) => format!("admit {}", record.agent),
        Command::MarkUnreachable { agent, .. } => format!("unreachable {agent}"),
        Command::MarkReachable { agent } => format!("reachable {agent}"),
        Command::RemoveAgent { agent } => format!("remove {agent}"),
        Command::PutFramework(record) => format!("framework {}", record.framework),
        Command::RemoveFramework { framework } => format!("remove {framework}"),
        Command::SetUpkeep { agent, .. } => format!("upkeep {agent}"),
        Command::MarkGone { agent, .. } => format!("gone {agent}"),
        Command::SetQuotas(quotas) => format!("quota of {} roles", quotas.len()),
        Command::SetWeights(weights) => format!("weights of {} roles", weights.len()),
        Command::SetSchedule { windows } => format!("schedule of {} windows", windows.len()),
        Command::StartMaintenance { machines } => format!("down {machines:?}"),
        Command::StopMaintenance { machines } => format!("up {machines:?}"),
        Command::PutMaster(master) => format!("master {:016x}", master.number),
        Command::RemoveMaster { number } => format!("no master {number:016x}"),
        Command::PutMasterVersion { number, version } => {
            format!("master {number:016x} speaks {}", version.0)
        }
        Command::PutService(record) => format!("service {}", record.id),
        Command::RemoveService { id } => format!("no service {id}"),
        Command::PutInstance(record) => format!("instance {}", record.task),
        Command::RemoveInstance { task } => format!("no instance {task}"),
        Command::PutJob(record) => format!("job {}", record.name),
        Command::RemoveJob { name } => format!("no job {name}"),
    }
}
