//! A board: the agent's shell with its disk, and the containers that outlive the agent's process.
//!
//! Invariant: `persist` is on the disk before `actions` and `send` of the same `Ready`, or nothing of it is done.

use std::collections::BTreeSet;

use agentd_core::checkpoint::Record;
use agentd_core::{Action, Agent, Config, Event, Moment, Ready, Seed};
use nesos_base::time::{Duration, Instant};
use nesos_wire::domain::Domain;
use nesos_wire::message::FileError;
use nesos_wire::resource::{Entry, Resources, Scalar, Terms, Value};
use nesos_wire::resource_text;
use nesos_wire::{ContainerId, NodeId, Uuid};

use crate::container::Stage;
use crate::laws::Laws;
use crate::mutant::{Mutant, spoil_resources};
use crate::planned::Planned;
use crate::rng::Rng;
use crate::suiting::domain;
use crate::upgrade;
use crate::world::World;

/// A board.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) index: usize,
    pub(crate) resources: Resources,
    domain: Option<Domain>,
    pub(crate) agent: Option<Agent>,
    /// How many agent processes there have been.
    pub(crate) generation: u64,
    pub(crate) conn: Option<usize>,
    pub(crate) partitioned_until: Instant,
    pub(crate) disk_full_until: Instant,
    /// An operator gave it up; it is not yet erased.
    pub(crate) is_gone: bool,
    /// Its machine was taken down for maintenance once: frameworks were told that its tasks are over.
    pub(crate) was_down: bool,
    is_stopping: bool,
    boot: u32,
    disk: Vec<Record>,
    /// How many records of `disk` a loss of power leaves for certain.
    synced: usize,
    /// Statuses of which the disk says that they were acknowledged.
    pub(crate) closed: BTreeSet<Uuid>,
    deadline: Option<Instant>,
}

impl Board {
    pub(crate) fn new(index: usize, laws: &Laws, rng: &mut Rng) -> Self {
        Self {
            index,
            resources: draw_resources(laws, rng),
            domain: laws.has_domains.then(|| domain(rng.chance(50))),
            agent: None,
            generation: 0,
            conn: None,
            partitioned_until: Instant::from_secs(0),
            disk_full_until: Instant::from_secs(0),
            is_gone: false,
            was_down: false,
            is_stopping: false,
            boot: 1,
            disk: Vec::new(),
            synced: 0,
            closed: BTreeSet::new(),
            deadline: None,
        }
    }

    /// The last records are lost; what they said was acknowledged may be told again.
    fn forget_after(&mut self, records: usize) {
        for record in self.disk.drain(records..) {
            if let Record::Acknowledged { uuid, .. } = record {
                self.closed.remove(&uuid);
            }
        }
    }
}

impl World {
    pub(crate) fn board_start(&mut self, board: usize) {
        if self.boards[board].agent.is_some() {
            return;
        }
        let seed = Seed(self.rng.bytes());
        // Not under reservations: a board whose configuration no longer holds what was made of it does not start.
        let may_change = !self.laws.has_operations;
        if may_change && !self.is_healed && self.rng.once_in(12) {
            // Somebody changed its configuration, or put the card into another board.
            self.boards[board].resources = draw_resources(&self.laws, &mut self.rng);
        }
        let (moment, mutant, seed_of_run) = (self.moment(), self.mutant, self.seed);
        let known = &mut self.boards[board];
        known.generation += 1;
        known.deadline = None;
        let mut resources = known.resources.clone();
        spoil_resources(mutant, &mut resources);
        let config = Config {
            node: NodeId::new(format!("node{board}")),
            version: upgrade::window(seed_of_run, 1 + board as u64, known.generation).current,
            boot_id: format!("boot{}", known.boot),
            hostname: format!("board{board}"),
            ip: "10.0.0.1".into(),
            port: 5051,
            software: "0".into(),
            resources,
            attributes: Vec::new(),
            domain: known.domain.clone(),
            executors: Default::default(),
        };
        known.agent = Some(Agent::recover(config, seed, known.disk.clone(), moment));
        let generation = known.generation;
        self.trace(&format!("board {board} starts agent {generation}"));
        self.bury_strangers(board);
        self.plan_look(board);
        self.board_event(board, Event::Tick);
    }

    /// kill -9 of agentd, or (`is_power`) of the whole board.
    pub(crate) fn board_crash(&mut self, board: usize, is_power: bool) {
        if self.boards[board].agent.take().is_none() {
            return;
        }
        self.trace(&format!(
            "board {board} crashes{}",
            if is_power { " with its power" } else { "" }
        ));
        if let Some(conn) = self.boards[board].conn {
            self.board_closes(conn, is_power);
        }
        // A launch under way dies with agentd, unless its helper was there already.
        let here: Vec<ContainerId> = self
            .containers
            .iter()
            .filter(|(_, c)| c.board == board)
            .map(|(id, _)| id.clone())
            .collect();
        for id in here {
            let luck = self.rng.chance(50);
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            container.watcher = None;
            let is_lost = match container.stage {
                Stage::Launching => is_power || luck,
                Stage::Starting | Stage::Running => is_power,
                Stage::Ended(_) => false,
            };
            if is_lost {
                self.containers.remove(&id);
            }
        }
        self.programs_lose_agent(board);
        if is_power {
            self.boards[board].boot += 1;
            let (synced, written) = (self.boards[board].synced, self.boards[board].disk.len());
            let left = self.rng.between(synced as u64, written as u64) as usize;
            self.boards[board].forget_after(left);
        }
        let after = self.rng.millis(100, 60_000);
        self.plan(after, Planned::BoardStart { board });
    }

    /// The board loses its power, its card is erased: what joins next is a new agent.
    pub(crate) fn board_wipe(&mut self, board: usize) {
        if !std::mem::replace(&mut self.boards[board].is_gone, false) {
            return;
        }
        self.board_crash(board, true);
        self.trace(&format!("board {board} is erased"));
        self.boards[board].forget_after(0);
        self.boards[board].synced = 0;
        self.containers
            .retain(|_, container| container.board != board);
        self.programs_lose_agent(board);
    }

    pub(crate) fn board_tick(&mut self, board: usize, generation: u64) {
        let known = &mut self.boards[board];
        if known.generation == generation
            && known.deadline.is_some_and(|deadline| deadline <= self.now)
        {
            known.deadline = None;
            self.board_event(board, Event::Tick);
        }
    }

    pub(crate) fn board_event(&mut self, board: usize, event: Event) {
        let moment = self.moment();
        let Some(agent) = &mut self.boards[board].agent else {
            return;
        };
        agent.step(event, moment);
        loop {
            let Some(agent) = &mut self.boards[board].agent else {
                return;
            };
            if let Err(broken) = agent.check() {
                return self.fail(format!("board {board}: {broken}"));
            }
            let ready = agent.ready();
            if ready.is_idle() {
                self.arm_board(board, ready.deadline);
                return;
            }
            self.obey_board(board, ready);
        }
    }

    fn arm_board(&mut self, board: usize, deadline: Option<Instant>) {
        let known = &mut self.boards[board];
        if let Some(deadline) = deadline
            && known
                .deadline
                .is_none_or(|armed| deadline < armed || armed <= self.now)
        {
            // A deadline in the past means "soon".
            let deadline = deadline.max(self.now + Duration::from_micros(1));
            known.deadline = Some(deadline);
            let generation = known.generation;
            self.plan_at(deadline, Planned::BoardTick { board, generation });
        }
    }

    fn obey_board(&mut self, board: usize, ready: Ready) {
        let moment = self.moment();
        let is_full = self.boards[board].disk_full_until > self.now;
        if is_full && !ready.persist.is_empty() {
            if let Some(agent) = &mut self.boards[board].agent {
                let event = Event::NotStored {
                    ready: Box::new(ready),
                    reason: "no space left".into(),
                };
                agent.step(event, moment);
            }
            return;
        }
        if !ready.persist.is_empty() {
            let is_synced = ready.persist.iter().any(Record::must_sync);
            for record in ready.persist {
                self.check_record(board, &record);
                if let Record::Acknowledged { uuid, .. } = &record {
                    self.boards[board].closed.insert(*uuid);
                }
                self.boards[board].disk.push(record);
            }
            if is_synced {
                self.boards[board].synced = self.boards[board].disk.len();
            }
            if !self.is_healed && self.rng.once_in(150) {
                let is_power = self.rng.once_in(4);
                return self.board_crash(board, is_power);
            }
        }
        for action in ready.actions {
            self.act(board, action);
        }
        for message in ready.send {
            for message in self.spoil_message(message) {
                self.board_sends(board, message);
            }
        }
        if std::mem::take(&mut self.boards[board].is_stopping) {
            // Started again by whoever stopped it; its tasks are gone by its own doing.
            self.board_crash(board, false);
            return;
        }
        if let Some(agent) = &self.boards[board].agent
            && self.boards[board].disk.len() > 400
        {
            let snapshot = agent.snapshot();
            let known = &mut self.boards[board];
            (known.synced, known.disk) = (snapshot.len(), snapshot);
        }
    }

    fn act(&mut self, board: usize, action: Action) {
        match action {
            Action::Dial { link, .. } => self.dial(board, link),
            Action::HangUp { .. } => {
                if let Some(conn) = self.boards[board].conn {
                    self.board_closes(conn, false);
                }
            }
            Action::Launch {
                container, spec, ..
            } => {
                if self.is(Mutant::LaunchesTwice) {
                    self.launch(board, container.clone(), (*spec).clone());
                }
                self.launch(board, container, *spec);
            }
            Action::Adopt { container, .. } => self.adopt(board, container),
            Action::Kill {
                container,
                grace_ms,
            } => self.kill_container(&container, u64::from(grace_ms)),
            Action::Destroy { container } => self.kill_container(&container, 0),
            Action::Release { container, .. } => {
                if self
                    .containers
                    .get(&container)
                    .is_some_and(|known| !matches!(known.stage, Stage::Ended(_)))
                {
                    self.fail(format!(
                        "board {board} releases {container}, which is alive"
                    ));
                }
                if !self.is(Mutant::LeavesRemains) {
                    self.containers.remove(&container);
                }
            }
            Action::ReadFile { link, request, .. } => {
                let event = Event::FileRead {
                    link,
                    request,
                    result: Err(FileError::NotFound),
                };
                if let Some(agent) = &mut self.boards[board].agent {
                    agent.step(
                        event,
                        Moment {
                            now: self.now,
                            unix: 0.0,
                        },
                    );
                }
            }
            Action::Probe {
                container, kind, ..
            } => self.probe(board, container, kind),
            Action::Resize { container, spec } => {
                if !self.is(Mutant::KeepsSizes) {
                    self.resize(board, &container, *spec);
                }
            }
            Action::TellExecutor { stream, event } => self.tell_program(stream, event),
            Action::CloseExecutor { stream } => self.close_program(stream),
            Action::MasterTime { .. }
            | Action::CallBack { .. }
            | Action::CreateVolume { .. }
            | Action::RemoveVolume { .. } => {}
            Action::Stop => self.boards[board].is_stopping = true,
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            unix: self.wall(),
        }
    }
}

fn draw_resources(laws: &Laws, rng: &mut Rng) -> Resources {
    let (cpus, mem) = (rng.between(1, 4), rng.between(1, 8) * 128);
    let text = format!("cpus:{cpus};mem:{mem};disk:1000;ports:[31000-31009]");
    let mut resources = resource_text::parse(&text).unwrap_or_default();
    if laws.has_gpus && rng.chance(40) {
        resources.add(&resource_text::parse("gpus:1").unwrap_or_default());
    }
    // As in Mesos what is configured and what is lent are not told apart.
    if rng.chance(20) && !laws.has_lending {
        let terms = Terms {
            is_revocable: true,
            ..Terms::default()
        };
        resources.put(Entry::new("cpus", terms, Value::Scalar(Scalar(1500))));
    }
    resources
}
