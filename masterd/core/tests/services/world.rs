//! A master with its built-in schedulers, and boards that run what they are told, in virtual time.
//!
//! Used by the tests beside it. Not here: what is lost between master and board other than with their link (tests/sim has that). Invariant:
//! nothing leaves the master before its commands are in `registry`, which is all that a crash leaves.

use std::collections::{BTreeMap, VecDeque};

use masterd_core::builtin::jobs::JobFacts;
use masterd_core::builtin::{
    Backoff, Builtin, Change, FRAMEWORK, Moment, Need, PortNeed, ServiceFacts, Told, Wish,
};
use masterd_core::{
    Call, Config, Event, LaunchTask, LinkId, Master, Operation, Registry, StreamId, Subscribe,
    check,
};
use nesos_base::time::{Duration, Instant};
use nesos_wire::builtin::ServiceRecord;
use nesos_wire::command::FrameworkFacts;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskReport, TaskUpdate};
use nesos_wire::resource::Scalar;
use nesos_wire::task::{Command, Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::version::CURRENT;
use nesos_wire::{AgentId, FrameworkId, MasterId, NodeId, TaskId, TaskKey, Uuid, resource_text};

const STREAM: StreamId = StreamId(Uuid([0xff; 16]));

/// A task on a board.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    spec: TaskSpec,
    state: TaskState,
    /// Not acknowledged, oldest first.
    updates: VecDeque<TaskStatus>,
    told: Option<TaskStatus>,
}

/// A board.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) link: Option<LinkId>,
    agent: Option<AgentId>,
    boot: u64,
    pub(crate) tasks: BTreeMap<TaskKey, Running>,
}

/// See the module.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) registry: Registry,
    pub(crate) master: Master,
    pub(crate) builtin: Builtin,
    pub(crate) boards: Vec<Board>,
    /// Definitions' facts, by their text.
    pub(crate) facts: BTreeMap<Vec<u8>, ServiceFacts>,
    jobs: BTreeMap<String, JobFacts>,
    pub(crate) told: Vec<Told>,
    /// Whether what is launched becomes running by itself.
    pub(crate) starts: bool,
    next_link: u64,
    next_uuid: u64,
    deployments: u64,
    masters: u64,
}

impl World {
    pub(crate) fn new(boards: usize) -> Self {
        let now = Instant::from_secs(0);
        let registry = Registry::default();
        let (master, builtin) = begin(&registry, (&BTreeMap::new(), &BTreeMap::new()), 0, now);
        let mut world = Self {
            now,
            registry,
            master,
            builtin,
            boards: Vec::new(),
            facts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            told: Vec::new(),
            starts: true,
            next_link: 0,
            next_uuid: 0,
            deployments: 0,
            masters: 0,
        };
        world.boards.resize_with(boards, Board::default);
        (0..boards).for_each(|board| world.connect(board));
        world
    }

    pub(crate) fn moment(&self) -> Moment {
        // As if the clock had been set once.
        Moment::new(self.now, 1.7e9 + self.now.as_secs() as f64)
    }

    /// kill -9 and a start with what the registry has.
    pub(crate) fn crash_master(&mut self) {
        self.masters += 1;
        let (master, builtin) = begin(
            &self.registry,
            (&self.facts, &self.jobs),
            self.masters,
            self.now,
        );
        (self.master, self.builtin) = (master, builtin);
        self.boards.iter_mut().for_each(|board| board.link = None);
        self.settle();
    }

    pub(crate) fn connect(&mut self, board: usize) {
        if self.boards[board].link.is_some() {
            return;
        }
        self.next_link += 1;
        let link = LinkId(self.next_link);
        let known = &mut self.boards[board];
        known.link = Some(link);
        let tasks = known.tasks.values().map(|task| TaskReport {
            spec: task.spec.clone(),
            latest: task.state,
            status: task.told.clone(),
        });
        let hello = Hello {
            version: CURRENT,
            node: NodeId::new(format!("node{board}")),
            agent: known.agent.clone(),
            boot_id: format!("boot{}", known.boot),
            hostname: format!("board{board}"),
            ip: "10.0.0.1".into(),
            port: 5051,
            software: "0".into(),
            resources: resource_text::parse("cpus:4;mem:1024;ports:[31000-31009]").unwrap(),
            attributes: Vec::new(),
            tasks: tasks.collect(),
            operations: Vec::new(),
            executors: Vec::new(),
            domain: None,
        };
        let hello = Box::new(hello);
        self.event(Event::AgentHello { link, hello });
        let keys: Vec<TaskKey> = self.boards[board].tasks.keys().cloned().collect();
        keys.iter().for_each(|key| self.say(board, key));
    }

    pub(crate) fn disconnect(&mut self, board: usize) {
        if let Some(link) = self.boards[board].link.take() {
            self.event(Event::AgentClosed { link });
        }
    }

    /// It comes back without its tasks.
    pub(crate) fn reboot(&mut self, board: usize) {
        self.disconnect(board);
        self.boards[board].boot += 1;
        self.boards[board].tasks.clear();
    }

    /// A task changes by itself.
    pub(crate) fn turn(&mut self, board: usize, key: &TaskKey, state: TaskState) {
        self.turn_as(board, key, state, None);
    }

    /// The same, with what its health check found.
    pub(crate) fn turn_as(
        &mut self,
        board: usize,
        key: &TaskKey,
        state: TaskState,
        healthy: Option<bool>,
    ) {
        self.next_uuid += 1;
        let uuid = Uuid(u128::from(self.next_uuid).to_be_bytes());
        let agent = self.boards[board].agent.clone();
        let Some(task) = self.boards[board].tasks.get_mut(key) else {
            return;
        };
        if task.state.is_terminal() {
            return;
        }
        task.state = state;
        task.updates.push_back(TaskStatus {
            state,
            source: Source::Executor,
            reason: None,
            message: String::new(),
            timestamp: 0.0,
            uuid: Some(uuid),
            agent,
            executor: None,
            container: None,
            healthy,
            check: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        });
        if task.updates.len() == 1 {
            self.say(board, key);
        }
    }

    /// All that runs, with the board.
    pub(crate) fn running(&self) -> Vec<(usize, TaskKey)> {
        let boards = self.boards.iter().enumerate();
        let all = boards.flat_map(|(at, board)| {
            let tasks = board.tasks.iter();
            let tasks = tasks.filter(|(_, task)| !task.state.is_terminal());
            tasks.map(move |(key, _)| (at, key.clone()))
        });
        all.collect()
    }

    /// Lets time pass, second by second.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.event(Event::Tick);
        }
    }

    /// An operator puts a service.
    pub(crate) fn put(&mut self, id: &str, facts: ServiceFacts, replaces: bool) -> bool {
        let definition = format!("{id} {} {:?}", self.now.as_secs(), facts.instances).into_bytes();
        self.facts.insert(definition.clone(), facts.clone());
        let change = Change {
            id: id.to_owned(),
            definition,
            facts,
            is_new: false,
            replaces,
        };
        self.deployments += 1;
        let deployment = format!("d{}", self.deployments);
        let moment = self.moment();
        let put = self
            .builtin
            .put_services(vec![change], &deployment, true, moment);
        self.settle();
        put.is_ok()
    }

    pub(crate) fn put_job(&mut self, name: &str, facts: JobFacts) {
        self.jobs.insert(name.to_owned(), facts.clone());
        let moment = self.moment();
        let jobs = self.builtin.operate_jobs(moment);
        jobs.put(name, Vec::new(), facts, moment.wall).unwrap();
        self.settle();
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.deployments += 1;
        let deployment = format!("d{}", self.deployments);
        let moment = self.moment();
        let removed = self
            .builtin
            .remove_services(&[id.to_owned()], &deployment, true, moment);
        assert!(removed.is_ok());
        self.settle();
    }

    /// Brings everything as far as it goes without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            let moment = self.moment();
            self.builtin.tick(moment);
            let wishes = self.builtin.take_wishes();
            wishes.into_iter().for_each(|wish| self.carry_out(wish));
            let ready = self.master.ready();
            assert_eq!(check::violations(&self.master), Vec::<String>::new());
            self.told.extend(self.builtin.take_told());
            if ready.is_idle() {
                let due = self.builtin.deadline();
                assert!(
                    due.is_none_or(|due| due > self.now),
                    "it has nothing to do and does not rest"
                );
                return;
            }
            for command in &ready.commands {
                self.registry.apply(command);
            }
            for (link, message) in ready.to_agents {
                let mut boards = self.boards.iter();
                if let Some(board) = boards.position(|board| board.link == Some(link)) {
                    self.board_hears(board, message);
                }
            }
            for (stream, event) in ready.to_frameworks {
                assert_eq!(stream, STREAM);
                let moment = self.moment();
                self.builtin.hear(event, &self.master, moment);
            }
        }
        panic!("it never comes to rest");
    }

    fn event(&mut self, event: Event) {
        let moment = self.moment();
        self.master
            .step(event, self.now, moment.wall as f64 / 1000.0);
        self.settle();
    }

    fn step(&mut self, event: Event) {
        let moment = self.moment();
        self.master
            .step(event, self.now, moment.wall as f64 / 1000.0);
    }

    fn call(&mut self, call: Call) {
        self.step(Event::Call {
            framework: FrameworkId::new(FRAMEWORK),
            stream: STREAM,
            call,
        });
    }

    fn carry_out(&mut self, wish: Wish) {
        match wish {
            Wish::Subscribe => self.step(subscribe()),
            Wish::Keep(command) => self.step(Event::Keep(command)),
            Wish::Call(call) => self.call(call),
            Wish::Launch { offer, launches } => {
                let tasks = launches.into_iter().map(|launch| LaunchTask {
                    task: launch.task.clone(),
                    agent: launch.agent,
                    name: launch.task.to_string(),
                    executor: None,
                    role: None,
                    resources: launch.resources,
                    limits: BTreeMap::new(),
                    command: Command::default(),
                    kill_grace_ms: 3000,
                    checks: None,
                    info: Vec::new(),
                    invalid: None,
                });
                self.call(Call::Accept {
                    offers: vec![offer],
                    operations: vec![Operation::Launch(tasks.collect())],
                    refuse_seconds: None,
                });
            }
        }
    }

    fn board_hears(&mut self, board: usize, message: MasterToAgent) {
        match message {
            MasterToAgent::Welcome(welcome) => self.boards[board].agent = Some(welcome.agent),
            MasterToAgent::Launch { tasks } => {
                for spec in tasks {
                    let key = spec.key.clone();
                    let running = Running {
                        spec,
                        state: TaskState::Staging,
                        updates: VecDeque::new(),
                        told: None,
                    };
                    self.boards[board]
                        .tasks
                        .entry(key.clone())
                        .or_insert(running);
                    if self.starts {
                        self.turn(board, &key, TaskState::Running);
                    }
                }
            }
            MasterToAgent::Kill { key, .. } => self.turn(board, &key, TaskState::Killed),
            MasterToAgent::Acknowledge { key, uuid } => {
                let Some(task) = self.boards[board].tasks.get_mut(&key) else {
                    return;
                };
                if task
                    .updates
                    .front()
                    .is_some_and(|head| head.uuid == Some(uuid))
                {
                    task.updates.pop_front();
                }
                if task.updates.is_empty() && task.state.is_terminal() {
                    self.boards[board].tasks.remove(&key);
                } else {
                    self.say(board, &key);
                }
            }
            MasterToAgent::Ping { sequence } => {
                self.board_says(board, AgentToMaster::Pong { sequence });
            }
            _ => {}
        }
    }

    /// Sends the head of a task's updates.
    fn say(&mut self, board: usize, key: &TaskKey) {
        let Some(task) = self.boards[board].tasks.get_mut(key) else {
            return;
        };
        let Some(status) = task.updates.front().cloned() else {
            return;
        };
        task.told = Some(status.clone());
        let update = TaskUpdate {
            key: key.clone(),
            status,
            latest: task.state,
        };
        self.board_says(board, AgentToMaster::Update(update));
    }

    fn board_says(&mut self, board: usize, message: AgentToMaster) {
        if let Some(link) = self.boards[board].link {
            self.step(Event::AgentMessage { link, message });
        }
    }
}

/// A service of so many instances, each with a tenth of a cpu and a port.
pub(crate) fn facts(instances: u32) -> ServiceFacts {
    ServiceFacts {
        instances,
        need: Need {
            scalars: vec![("cpus".into(), Scalar::from_f64(0.1).unwrap())],
            ports: vec![PortNeed::Any],
            takes_unreserved: true,
            ..Need::default()
        },
        min_healthy: 1.0,
        max_over: 1.0,
        backoff: Backoff {
            first: Duration::from_secs(1),
            factor: 1.5,
            most: Duration::from_secs(60),
        },
        inactive_after: Some(Duration::from_secs(0)),
        expunge_after: Some(Duration::from_secs(0)),
        ..ServiceFacts::default()
    }
}

/// The id of a service's task begins like this.
pub(crate) fn is_of(task: &TaskId, service: &str) -> bool {
    let flat = service.trim_start_matches('/').replace('/', "_");
    task.as_str().split('.').next() == Some(flat.as_str())
}

fn begin(
    registry: &Registry,
    (facts, jobs): (
        &BTreeMap<Vec<u8>, ServiceFacts>,
        &BTreeMap<String, JobFacts>,
    ),
    number: u64,
    now: Instant,
) -> (Master, Builtin) {
    let mut config = Config::new(MasterId::new(format!("m{number}")), "test");
    config.framework_recovery_timeout = Duration::from_secs(3600);
    let moment = Moment::new(now, 1.7e9 + now.as_secs() as f64);
    let wall = moment.wall as f64 / 1000.0;
    let master = Master::new(config, registry.clone(), now, wall);
    let read = |record: &ServiceRecord| {
        let definition = &record.versions.last().unwrap().definition;
        (record.clone(), facts[definition].clone())
    };
    let services = registry.services().map(read).collect();
    let jobs = registry
        .jobs()
        .map(|record| (record.clone(), jobs[&record.name].clone()));
    let jobs = jobs.collect();
    let builtin = Builtin::new(services, jobs, master.registry(), moment);
    (master, builtin)
}

fn subscribe() -> Event {
    let capabilities = [
        "PARTITION_AWARE",
        "RESERVATION_REFINEMENT",
        "TASK_KILLING_STATE",
    ];
    Event::Subscribe(Box::new(Subscribe {
        stream: STREAM,
        framework: Some(FrameworkId::new(FRAMEWORK)),
        facts: FrameworkFacts {
            name: FRAMEWORK.into(),
            user: "root".into(),
            roles: vec!["*".into()],
            principal: None,
            failover_timeout: 604_800.0,
            checkpoint: true,
            capabilities: capabilities.map(str::to_owned).to_vec(),
        },
        info: vec![7],
        suppressed_roles: Vec::new(),
        min_allocatable: BTreeMap::new(),
        constraints: Default::default(),
    }))
}
