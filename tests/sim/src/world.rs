//! The world: its clock, what is going to happen, and the run from seed to verdict.
//!
//! The actors (master, boards, schedulers, network, faults) are in their own modules as further `impl World` blocks.
//! Invariant: events happen in order of time and, at equal times, in the order in which they were planned.

use std::collections::{BTreeMap, BTreeSet};

use masterd_core::RequestId;
use nesos_base::time::{Duration, Instant};
use nesos_wire::message::TaskUpdate;
use nesos_wire::task::TaskState;
use nesos_wire::{AgentId, Attempt, ContainerId, FrameworkId, TaskKey, Uuid};

use crate::board::Board;
use crate::container::Container;
use crate::laws::Laws;
use crate::master::MasterNode;
use crate::mutant::Mutant;
use crate::net::Conn;
use crate::planned::Planned;
use crate::plot::{Hour, Plot, Victim};
use crate::program::Program;
use crate::refusals::Refusals;
use crate::rng::Rng;
use crate::scheduler::Scheduler;
use crate::upgrade::Mixed;

/// How long faults go on.
const FAULTS: Duration = Duration::from_secs(240);
/// How long after the healing everything may take to come to an end. Longer than an agent's longest pause between two
/// repetitions of an update (10 min), twice.
const HEALING: Duration = Duration::from_secs(1800);
/// Most steps of a run: a bound against livelock, ten times what runs take.
const MAX_STEPS: u64 = 400_000;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Hash over everything that happened.
    pub trace: u64,
    /// How many steps it took.
    pub steps: u64,
    /// How many tasks were launched in containers.
    pub launches: usize,
    /// How a plot was carried out: who was killed, and when.
    pub strikes: Vec<(Victim, Hour)>,
    /// How often daemons of different versions met.
    pub mixed: Mixed,
    /// What was wrong; none: nothing.
    pub failure: Option<String>,
}

/// The cluster.
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) mixed: Mixed,
    pub(crate) rng: Rng,
    pub(crate) laws: Laws,
    pub(crate) now: Instant,
    planned: BTreeMap<(Instant, u64), Planned>,
    next_plan: u64,
    pub(crate) master: MasterNode,
    pub(crate) boards: Vec<Board>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// Custom executors, by container.
    pub(crate) programs: BTreeMap<ContainerId, Program>,
    /// Streams of theirs that there ever were.
    pub(crate) next_stream: u64,
    pub(crate) conns: Vec<Conn>,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) is_healed: bool,
    /// Every launch of a container that ever was.
    pub(crate) launched: BTreeSet<(TaskKey, Attempt)>,
    /// Frameworks that have ended as far as anybody was told.
    pub(crate) removed: BTreeSet<FrameworkId>,
    /// What each framework acknowledged.
    pub(crate) acknowledged: BTreeMap<FrameworkId, BTreeSet<Uuid>>,
    /// Every status with a uuid that an agent sent.
    pub(crate) said: BTreeMap<Uuid, (TaskKey, TaskState)>,
    /// What frameworks refused.
    pub(crate) refusals: Refusals,
    /// Orders that the present master has still to answer.
    pub(crate) pending: BTreeSet<RequestId>,
    pub(crate) next_request: u64,
    /// Which board each agent id was given to.
    pub(crate) board_of: BTreeMap<AgentId, usize>,
    pub(crate) failure: Option<String>,
    /// What is to be killed, and when.
    pub(crate) plot: Option<Plot>,
    /// What is broken on purpose.
    pub(crate) mutant: Option<Mutant>,
    /// What that needs to be broken with.
    pub(crate) last_update: Option<TaskUpdate>,
    trace: u64,
    pub(crate) steps: u64,
    is_printing: bool,
}

/// Runs one seed to its end.
pub fn run(seed: u64, is_printing: bool) -> Outcome {
    World::new(seed, is_printing).run()
}

/// Runs one seed whose only faults are those of the plot: this one is killed at this point, or (none) anybody at any.
pub fn run_plot(seed: u64, cell: Option<(Victim, Hour)>, is_printing: bool) -> Outcome {
    let mut world = World::new(seed, is_printing);
    world.plot = Some(Plot::new(cell));
    world.run()
}

/// Runs one seed with one thing broken.
pub fn run_mutant(seed: u64, mutant: Mutant, is_printing: bool) -> Outcome {
    let mut world = World::new(seed, is_printing);
    world.mutant = Some(mutant);
    world.run()
}

impl World {
    fn new(seed: u64, is_printing: bool) -> Self {
        let mut rng = Rng::new(seed);
        let laws = Laws::draw(&mut rng);
        let boards = (0..rng.between(1, 5) as usize)
            .map(|index| Board::new(index, &laws, &mut rng))
            .collect();
        let schedulers = (0..rng.between(1, 5) as usize)
            .map(|index| Scheduler::new(index, &laws, &mut rng))
            .collect();
        let master = MasterNode::new(&mut rng);
        Self {
            seed,
            mixed: Mixed::default(),
            rng,
            laws,
            now: Instant::from_secs(1),
            planned: BTreeMap::new(),
            next_plan: 0,
            master,
            boards,
            containers: BTreeMap::new(),
            programs: BTreeMap::new(),
            next_stream: 0,
            conns: Vec::new(),
            schedulers,
            is_healed: false,
            launched: BTreeSet::new(),
            removed: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            said: BTreeMap::new(),
            refusals: Refusals::default(),
            pending: BTreeSet::new(),
            next_request: 0,
            board_of: BTreeMap::new(),
            failure: None,
            plot: None,
            mutant: None,
            last_update: None,
            trace: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            is_printing,
        }
    }

    fn run(mut self) -> Outcome {
        self.plan(Duration::from_ticks(0), Planned::MasterStart);
        for board in 0..self.boards.len() {
            let after = self.rng.millis(0, 2000);
            self.plan(after, Planned::BoardStart { board });
        }
        for scheduler in 0..self.schedulers.len() {
            let after = self.rng.millis(0, 5000);
            self.plan(after, Planned::SchedulerStart { scheduler });
        }
        if self.plot.is_none() {
            self.plan_fault();
        }
        self.plan_operator();
        self.plan(FAULTS, Planned::Heal);
        let limit = self.now + FAULTS + HEALING;
        while self.failure.is_none() {
            let Some(((at, _), planned)) = self.planned.pop_first() else {
                break;
            };
            self.now = self.now.max(at);
            self.steps += 1;
            if self.is_healed && self.steps.is_multiple_of(64) && self.is_settled() {
                break;
            }
            if at > limit || self.steps > MAX_STEPS {
                self.failure = Some(format!(
                    "not settled {} steps after the start:\n{}",
                    self.steps,
                    self.unsettled()
                ));
                break;
            }
            self.happen(planned);
            self.strike();
            // Without faults little can go wrong any more, and most of a run's time is this.
            if !self.is_healed || self.steps.is_multiple_of(8) {
                self.check();
            }
        }
        Outcome {
            trace: self.trace,
            steps: self.steps,
            launches: self.launched.len(),
            strikes: self.plot.map(|plot| plot.strikes).unwrap_or_default(),
            mixed: self.mixed,
            failure: self.failure,
        }
    }

    pub(crate) fn plan(&mut self, after: Duration, planned: Planned) {
        self.plan_at(self.now + after, planned);
    }

    pub(crate) fn plan_at(&mut self, at: Instant, planned: Planned) {
        self.next_plan += 1;
        self.planned
            .insert((at.max(self.now), self.next_plan), planned);
    }

    /// Seconds since 1970: a clock that is right.
    pub(crate) fn wall(&self) -> f64 {
        1_700_000_000.0 + self.now.as_micros() as f64 / 1e6
    }

    /// Notes a line of the trace: all lines together decide whether two runs were equal.
    pub(crate) fn trace(&mut self, line: &str) {
        let time = self.now.as_micros();
        for byte in time.to_le_bytes().iter().chain(line.as_bytes()) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.is_printing {
            println!("{:>12.6} {line}", time as f64 / 1e6);
        }
    }

    pub(crate) fn fail(&mut self, what: String) {
        let time = self.now.as_micros() as f64 / 1e6;
        self.failure
            .get_or_insert(format!("at {time:.6} s: {what}"));
    }

    fn happen(&mut self, planned: Planned) {
        match planned {
            Planned::MasterTick { generation } => self.master_tick(generation),
            Planned::MasterReady { generation } => self.master_ready(generation),
            Planned::MasterStart => self.master_start(),
            Planned::BoardTick { board, generation } => self.board_tick(board, generation),
            Planned::BoardStart { board } => self.board_start(board),
            Planned::Dial {
                board,
                generation,
                link,
            } => self.dial_arrives(board, generation, link),
            Planned::DialFailed {
                board,
                generation,
                link,
            } => self.dial_failed(board, generation, link),
            Planned::ToMaster { conn, frame } => self.master_hears(conn, frame),
            Planned::ToBoard { conn, frame } => self.board_hears(conn, frame),
            Planned::ContainerStarts { container } => self.container_starts(&container),
            Planned::ContainerRuns { container } => self.container_runs(&container),
            Planned::ContainerEnds { container, exit } => self.container_ends(&container, exit),
            Planned::Program { container, step } => self.program_step(&container, step),
            Planned::Probed {
                board,
                generation,
                container,
                kind,
            } => self.probed(board, generation, container, kind),
            Planned::Subscribe {
                scheduler,
                subscribe,
            } => self.subscribe_arrives(scheduler, *subscribe),
            Planned::Call {
                scheduler,
                framework,
                stream,
                call,
            } => {
                self.call_arrives(scheduler, framework, stream, *call);
            }
            Planned::ToScheduler {
                scheduler,
                stream,
                event,
            } => self.scheduler_hears(scheduler, stream, *event),
            Planned::StreamEnds { scheduler, stream } => self.stream_ends(scheduler, stream),
            Planned::StreamGone { stream, generation } => self.stream_gone(stream, generation),
            Planned::Think { scheduler } => self.think(scheduler),
            Planned::SchedulerStart { scheduler } => self.scheduler_start(scheduler),
            Planned::Operate => self.operate(),
            Planned::BoardWipe { board } => self.board_wipe(board),
            Planned::Fault(fault) => self.fault(fault),
            Planned::Heal => self.heal(),
            Planned::Look { board, generation } => self.look(board, generation),
        }
    }
}
