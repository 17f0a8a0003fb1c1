//! What must hold after every step, and what must hold in the end.
//!
//! The cores check their own memory; here it is compared with what really exists: containers, disks, what schedulers
//! were told. Each sentence is a bug in a core (or in the simulation).

use std::collections::BTreeSet;

use agentd_core::Agent;
use agentd_core::checkpoint::Record;
use masterd_core::Master;
use masterd_core::check::violations;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Entry, Resources};
use nesos_wire::{ContainerId, FrameworkId, resource_text};

use crate::board::Board;
use crate::container::{Container, Stage};
use crate::converting::amounts;
use crate::program::Program;
use crate::world::World;

impl World {
    pub(crate) fn check(&mut self) {
        if let Some(core) = &self.master.core {
            let broken = violations(core);
            if !broken.is_empty() {
                return self.fail(format!("master: {}", broken.join("; ")));
            }
        }
        let mut keys = BTreeSet::new();
        let mut found = self.check_amounts();
        for board in &self.boards {
            for container in self.alive_on(board.index).into_values() {
                // Executors of one name may run on several boards.
                let is_custom = container.spec.kind == ExecutorKind::Custom;
                let place = is_custom.then_some(board.index);
                if !keys.insert((&container.spec.key, place)) {
                    found = Some(format!(
                        "{} runs twice at the same time",
                        container.spec.key
                    ));
                }
            }
        }
        for spec in self.programs.values().flat_map(Program::living) {
            if !keys.insert((&spec.key, None)) {
                found = Some(format!("{} runs twice at the same time", spec.key));
            }
        }
        if let Some(found) = found {
            self.fail(found);
        }
    }

    /// Whatever is reserved or made a volume, there is as much of everything as the board has.
    fn check_amounts(&self) -> Option<String> {
        if !self.laws.has_operations {
            return None;
        }
        for board in &self.boards {
            let configured = amounts(&board.resources);
            let agent = board.agent.as_ref();
            if agent.is_some_and(|agent| amounts(&agent.resources()) != configured) {
                return Some(format!("board {} has made or lost something", board.index));
            }
            let ids = self.board_of.iter().filter(|(_, of)| **of == board.index);
            let core = self.master.core.iter();
            let known = core.flat_map(|core| ids.clone().filter_map(|(id, _)| core.agent(id)));
            for agent in known.filter(|agent| agent.registered_time.is_some()) {
                let lent = |entry: &Entry| self.laws.has_lending && entry.terms().is_revocable;
                if amounts(&agent.resources.filter(|entry| !lent(entry))) != configured {
                    return Some(format!(
                        "the master makes or loses something of {}: {:?}",
                        agent.id, agent.resources
                    ));
                }
            }
        }
        None
    }

    /// Once all is quiet master and agent agree on what is reserved for whom.
    fn disagreement(&self, board: &Board, agent: &Agent) -> Option<String> {
        let core = self.master.core.as_ref()?;
        let id = agent.id()?;
        let known = core.agent(id)?;
        let total = board.total();
        (known.resources != total).then(|| {
            format!(
                "board {} has {}, the master says {}",
                board.index,
                resource_text::text(&total),
                resource_text::text(&known.resources)
            )
        })
    }

    /// What a container gets beside what it had `before` was free: no other container that is alive on the board has it.
    /// The others may have more than there is, if the board has come back with less.
    pub(crate) fn check_commitment(
        &mut self,
        board: usize,
        container: &ContainerId,
        before: &Resources,
    ) {
        let Some(agent) = self.boards[board].agent.as_ref() else {
            return;
        };
        // Of what is shared each may have all.
        let single = |resources: &Resources| resources.filter(|entry| !entry.is_shared());
        let total = self.boards[board].total();
        let mut free = single(&total);
        let mut more = Resources::new();
        let mut lines = Vec::new();
        for (id, alive) in self.alive_on(board) {
            let resources = single(&alive.spec.resources);
            lines.push(format!(
                "{} has {}",
                alive.spec.key,
                resource_text::text(&resources)
            ));
            if id == container {
                more = resources;
                more.subtract(before);
                free.subtract(before);
            } else {
                free.subtract(&resources);
            }
        }
        if !free.contains(&more) {
            lines.push(format!(
                "{container} gets {}, the agent counts {} of {}",
                resource_text::text(&more),
                resource_text::text(&agent.used()),
                resource_text::text(&total)
            ));
            self.fail(format!(
                "board {board} is over-committed: {}",
                lines.join("; ")
            ));
        }
    }

    /// An agent forgets a status only if its framework has seen it, or will never ask.
    pub(crate) fn check_record(&mut self, board: usize, record: &Record) {
        let Record::Acknowledged { key, uuid } = record else {
            return;
        };
        // One that was given up, or taken down, forgets whatever it is told to forget.
        if self.boards[board].is_gone || self.boards[board].was_down {
            return;
        }
        let is_seen = self
            .acknowledged
            .get(&key.framework)
            .is_some_and(|seen| seen.contains(uuid));
        if !is_seen && !self.removed.contains(&key.framework) {
            self.fail(format!(
                "board {board} forgets a status of {key} that was never acknowledged"
            ));
        }
    }

    /// Whether everything has come to its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// What has not, one per line.
    pub(crate) fn unsettled(&self) -> String {
        let mut lines: Vec<String> = self.waiting().into_iter().collect();
        for board in &self.boards {
            match &board.agent {
                None => lines.push(format!("board {} is down", board.index)),
                Some(agent) => {
                    lines.extend(self.disagreement(board, agent));
                    let tasks = agent
                        .tasks()
                        .filter(|task| !self.is_abandoned(&task.spec.key.framework));
                    lines.extend(tasks.map(|task| {
                        format!("board {}: {} {:?}", board.index, task.spec.key, task.latest)
                    }));
                }
            }
        }
        for container in self.awaited() {
            lines.push(format!("container of {} is alive", container.spec.key));
        }
        lines.extend(self.remains());
        lines.extend(
            self.pending
                .iter()
                .map(|request| format!("{request:?} is not answered")),
        );
        match &self.master.core {
            None => lines.push("the master is down".into()),
            Some(core) => {
                for framework in core
                    .frameworks()
                    .filter(|framework| !self.is_abandoned(&framework.id))
                {
                    let tasks = framework
                        .tasks
                        .values()
                        .chain(framework.unreachable.values());
                    lines.extend(
                        tasks.map(|task| format!("master: {} {:?}", task.key(), task.state)),
                    );
                }
                lines.extend(self.idling(core));
                if !core.schedule().windows().is_empty() {
                    lines.push("machines are scheduled for maintenance".into());
                }
                // What an abandoned framework never acknowledges keeps its agent draining.
                let is_held = |agent: &masterd_core::Agent| {
                    let mut tasks = agent.tasks.iter();
                    tasks.any(|key| self.is_abandoned(&key.framework))
                };
                let passive = core
                    .agents()
                    .filter(|agent| core.upkeep(&agent.id).deactivated && !is_held(agent));
                lines.extend(
                    passive.map(|agent| format!("master: agent {} is deactivated", agent.id)),
                );
                let away = core.agents().filter(|agent| !agent.is_connected());
                lines.extend(
                    away.map(|agent| {
                        format!("master: agent {} is {:?}", agent.id, agent.condition)
                    }),
                );
            }
        }
        lines.join("\n")
    }

    /// Containers that have ended and that their agents do not know any more, and have not removed.
    fn remains(&self) -> impl Iterator<Item = String> + '_ {
        let ended = self.containers.iter();
        let ended = ended.filter(|(_, known)| matches!(known.stage, Stage::Ended(_)));
        let left = ended.filter(|(id, known)| {
            let agent = self.boards[known.board].agent.as_ref();
            agent.is_some_and(|agent| {
                let mut of_tasks = agent.tasks().filter_map(|view| view.container);
                !of_tasks.any(|own| own == *id)
                    && !agent.executors().any(|view| view.container == *id)
            })
        });
        left.map(|(id, known)| format!("container {id} of {} is left", known.spec.key))
    }

    /// Containers that must end. Nobody ends the executors of an abandoned framework before it ends.
    fn awaited(&self) -> impl Iterator<Item = &Container> {
        self.containers.values().filter(|container| {
            let is_custom = container.spec.kind == ExecutorKind::Custom;
            let is_over = matches!(container.stage, Stage::Ended(_));
            let is_left = is_custom && self.is_abandoned(&container.spec.key.framework);
            !is_over && !is_left
        })
    }

    /// A default executor ends with its last task, others when their frameworks say so.
    fn idling<'a>(&'a self, core: &'a Master) -> impl Iterator<Item = String> + 'a {
        let living = core.executors();
        let claimed = living.filter(|(_, known)| !self.is_abandoned(&known.key.framework));
        claimed.map(|(agent, known)| format!("master: executor {} on {}", known.key, agent.id))
    }

    /// No scheduler claims this framework any more (its TEARDOWN was lost), and its failover timeout is still running.
    fn is_abandoned(&self, id: &FrameworkId) -> bool {
        let known = self
            .master
            .core
            .as_ref()
            .and_then(|core| core.framework(id));
        let is_claimed = self
            .schedulers
            .iter()
            .any(|scheduler| scheduler.id.as_ref() == Some(id));
        known.is_some_and(|framework| !framework.is_connected()) && !is_claimed
    }
}
