//! Tests of the agent as a whole, and what they share: a master and a shell that do as they are told.

use nesos_base::time::{Duration, Instant};
use nesos_wire::executor::{ExitRecord, Outcome};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskUpdate, Welcome};
use nesos_wire::task::{Command, TaskSpec, TaskState};
use nesos_wire::{
    AgentId, Attempt, ContainerId, ExecutorId, FrameworkId, MasterId, NodeId, TaskId, TaskKey,
};
use nesos_wire::{resource_text, version};

use crate::checkpoint::Record;
use crate::{Action, Agent, Config, ContainerEvent, Event, Finish, LinkError, Moment, Ready, Seed};

mod damage;
mod executor_property;
mod executors;
mod lending;
mod lifecycle;
mod link;
mod networks;
mod operations;
mod pods;
mod probing;
mod property;
mod store;

/// A key of framework `f`.
pub(crate) fn key(task: &str) -> TaskKey {
    TaskKey {
        framework: FrameworkId::new("f"),
        task: TaskId::new(task),
    }
}

/// A partition-aware command task of 1 cpu and 32 MB.
pub(crate) fn spec(task: &str, attempt: u64) -> TaskSpec {
    TaskSpec {
        key: key(task),
        attempt: Attempt(attempt),
        name: task.into(),
        executor: ExecutorId::new(task),
        kind: Default::default(),
        role: "*".into(),
        resources: resource_text::parse("cpus:1;mem:32").expect("valid"),
        limits: Default::default(),
        command: Command {
            shell: true,
            value: "true".into(),
            ..Command::default()
        },
        kill_grace_ms: 3000,
        partition_aware: true,
        task_killing: true,
        checkpoint: true,
        checks: None,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

pub(crate) fn config() -> Config {
    Config {
        node: NodeId::new("node"),
        version: version::CURRENT,
        boot_id: "boot-1".into(),
        hostname: "board".into(),
        ip: String::new(),
        port: 5051,
        software: "0".into(),
        resources: resource_text::parse("cpus:4;mem:256").expect("valid"),
        attributes: Vec::new(),
        domain: None,
        executors: Default::default(),
    }
}

/// An agent with its disk: what was persisted survives `restart`.
pub(crate) struct Bench {
    pub(crate) agent: Agent,
    pub(crate) disk: Vec<Record>,
    pub(crate) disk_is_full: bool,
    pub(crate) sent: Vec<AgentToMaster>,
    pub(crate) actions: Vec<Action>,
    pub(crate) now: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) link: u64,
    starts: u8,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let now = Instant::from_secs(100);
        let agent = Agent::recover(config(), Seed([0; 16]), Vec::new(), moment(now));
        let mut bench = Self {
            agent,
            disk: Vec::new(),
            disk_is_full: false,
            sent: Vec::new(),
            actions: Vec::new(),
            now,
            deadline: None,
            link: 0,
            starts: 0,
        };
        bench.event(Event::Tick);
        bench
    }

    /// Connected and welcomed.
    pub(crate) fn live() -> Self {
        let mut bench = Self::new();
        bench.connect();
        bench
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.agent.step(event, moment(self.now));
        loop {
            self.agent.check().expect("invariants");
            let ready = self.agent.ready();
            self.deadline = ready.deadline;
            if ready.is_idle() {
                return;
            }
            self.obey(ready);
        }
    }

    fn obey(&mut self, ready: Ready) {
        if self.disk_is_full && !ready.persist.is_empty() {
            let event = Event::NotStored {
                ready: Box::new(ready),
                reason: "no space left".into(),
            };
            self.agent.step(event, moment(self.now));
            return;
        }
        self.disk.extend(ready.persist);
        self.link = ready
            .actions
            .iter()
            .fold(self.link, |link, action| match action {
                Action::Dial { link, .. } => *link,
                _ => link,
            });
        self.actions.extend(ready.actions);
        self.sent.extend(ready.send);
    }

    pub(crate) fn connect(&mut self) {
        self.event(Event::LinkUp { link: self.link });
        self.message(MasterToAgent::Welcome(welcome()));
    }

    pub(crate) fn disconnect(&mut self) {
        self.event(Event::LinkDown {
            link: self.link,
            error: LinkError::Failed("cut".into()),
        });
    }

    /// Time passes up to the next dial; the link comes up again.
    pub(crate) fn reconnect(&mut self) {
        self.disconnect();
        self.pass(Duration::from_secs(20));
        self.connect();
    }

    /// The process starts again with what is on disk.
    pub(crate) fn restart(&mut self, config: Config) {
        self.starts += 1;
        self.actions.clear();
        self.sent.clear();
        self.agent = Agent::recover(
            config,
            Seed([self.starts; 16]),
            self.disk.clone(),
            moment(self.now),
        );
        self.event(Event::Tick);
    }

    pub(crate) fn message(&mut self, message: MasterToAgent) {
        self.event(Event::Message {
            link: self.link,
            message,
        });
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline < end) {
            self.now = deadline.max(self.now + Duration::from_micros(1));
            self.event(Event::Tick);
        }
        self.now = end;
        self.event(Event::Tick);
    }

    pub(crate) fn launch(&mut self, spec: TaskSpec) {
        self.message(MasterToAgent::Launch { tasks: vec![spec] });
    }

    pub(crate) fn container(&self, task: &str) -> ContainerId {
        let view = self
            .agent
            .tasks()
            .find(|view| view.spec.key == key(task))
            .expect("known task");
        view.container.expect("has a container").clone()
    }

    pub(crate) fn container_event(&mut self, task: &str, event: ContainerEvent) {
        let container = self.container(task);
        self.event(Event::Container { container, event });
    }

    pub(crate) fn run(&mut self, task: &str) {
        self.launch(spec(task, 1));
        self.container_event(task, ContainerEvent::Started);
        self.container_event(task, ContainerEvent::Running);
    }

    pub(crate) fn finish(&mut self, task: &str, outcome: Outcome) {
        self.container_event(task, finished(outcome));
    }

    /// All updates sent so far.
    pub(crate) fn updates(&self) -> Vec<&TaskUpdate> {
        self.sent
            .iter()
            .filter_map(|message| match message {
                AgentToMaster::Update(update) => Some(update),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn last_update(&self) -> TaskUpdate {
        (*self.updates().last().expect("an update was sent")).clone()
    }

    pub(crate) fn hello(&self) -> Hello {
        let hello = self.sent.iter().rev().find_map(|message| match message {
            AgentToMaster::Hello(hello) => Some(hello.clone()),
            _ => None,
        });
        hello.expect("a hello was sent")
    }

    pub(crate) fn acknowledge(&mut self, update: &TaskUpdate) {
        let uuid = update.status.uuid.expect("wants an acknowledgement");
        self.message(MasterToAgent::Acknowledge {
            key: update.key.clone(),
            uuid,
        });
    }

    /// Acknowledges whatever is in flight until nothing is; the states in order.
    pub(crate) fn drain(&mut self, task: &str) -> Vec<TaskState> {
        let mut states = Vec::new();
        while self.agent.tasks().any(|view| view.spec.key == key(task)) {
            let Some(update) = self
                .updates()
                .into_iter()
                .rev()
                .find(|update| update.key == key(task))
                .cloned()
            else {
                break;
            };
            self.sent.clear();
            states.push(update.status.state);
            self.acknowledge(&update);
        }
        states
    }
}

pub(crate) fn moment(now: Instant) -> Moment {
    Moment {
        now,
        unix: now.as_secs() as f64,
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        agent: AgentId::new("m-S1"),
        master: MasterId::new("m"),
        cluster: "test".into(),
        silence_limit_ms: 3_600_000,
        kill: Vec::new(),
        time: 0.0,
    }
}

pub(crate) fn finished(outcome: Outcome) -> ContainerEvent {
    let record = ExitRecord {
        outcome,
        kill_requested: false,
        at_ms: 0,
    };
    ContainerEvent::Finished(Finish {
        record,
        limitation: None,
    })
}
