//! A master driven event by event, its invariants checked after each.
//!
//! Used by the tests that scripts cannot say.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;

use masterd_core::{
    Call, Config, Event, LaunchTask, LinkId, Master, Operation, Ready, Registry, StreamId,
    Subscribe, check,
};
use nesos_base::time::Instant;
use nesos_wire::command::FrameworkFacts;
use nesos_wire::message::Hello;
use nesos_wire::task::Command;
use nesos_wire::version::CURRENT;
use nesos_wire::{AgentId, FrameworkId, MasterId, NodeId, OfferId, TaskId, Uuid, resource_text};

/// The master with its clock.
pub(crate) struct Bench {
    /// It.
    pub(crate) master: Master,
    /// What time it is.
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_secs(0);
        let mut master = Master::new(config, Registry::default(), now, 0.0);
        master.ready();
        Self { master, now }
    }

    pub(crate) fn step(&mut self, event: Event) -> Ready {
        self.master.step(event, self.now, 0.0);
        let ready = self.master.ready();
        assert_eq!(check::violations(&self.master), Vec::<String>::new());
        ready
    }

    pub(crate) fn hello(&mut self, link: u64, change: impl FnOnce(&mut Hello)) -> Ready {
        let mut hello = Hello {
            version: CURRENT,
            node: NodeId::new("node"),
            agent: None,
            boot_id: "boot".into(),
            hostname: "board".into(),
            ip: "10.0.0.1".into(),
            port: 5051,
            software: "0".into(),
            resources: resource_text::parse("cpus:8;mem:1024").unwrap(),
            attributes: Vec::new(),
            tasks: Vec::new(),
            operations: Vec::new(),
            executors: Vec::new(),
            domain: None,
        };
        change(&mut hello);
        let hello = Box::new(hello);
        self.step(Event::AgentHello {
            link: LinkId(link),
            hello,
        })
    }

    pub(crate) fn subscribe(&mut self, stream: u8, framework: Option<FrameworkId>) -> Ready {
        self.subscribe_as(stream, framework, |_| {})
    }

    /// The same with other facts.
    pub(crate) fn subscribe_as(
        &mut self,
        stream: u8,
        framework: Option<FrameworkId>,
        change: impl FnOnce(&mut FrameworkFacts),
    ) -> Ready {
        let mut facts = FrameworkFacts {
            name: "f".into(),
            user: "root".into(),
            roles: vec!["*".into()],
            principal: Some("p".into()),
            failover_timeout: 60.0,
            checkpoint: true,
            capabilities: Vec::new(),
        };
        change(&mut facts);
        self.step(Event::Subscribe(Box::new(Subscribe {
            stream: StreamId(Uuid([stream; 16])),
            framework,
            facts,
            info: vec![7; 10],
            suppressed_roles: Vec::new(),
            min_allocatable: BTreeMap::new(),
            constraints: Default::default(),
        })))
    }

    pub(crate) fn call(&mut self, stream: u8, call: Call) -> Ready {
        let (framework, stream) = (FrameworkId::new("m-0000"), StreamId(Uuid([stream; 16])));
        self.step(Event::Call {
            framework,
            stream,
            call,
        })
    }

    pub(crate) fn launch(&mut self, tasks: &[(&str, usize)]) -> Ready {
        let tasks = tasks.iter().map(|(id, size)| LaunchTask {
            checks: None,
            info: vec![0; *size],
            ..task(id)
        });
        self.call(
            1,
            Call::Accept {
                offers: vec![OfferId::new("m-O0")],
                operations: vec![Operation::Launch(tasks.collect())],
                refuse_seconds: None,
            },
        )
    }
}

/// A master's configuration.
pub(crate) fn config() -> Config {
    Config::new(MasterId::new("m"), "test")
}

/// A small task for the first agent.
pub(crate) fn task(id: &str) -> LaunchTask {
    LaunchTask {
        task: TaskId::new(id),
        agent: AgentId::new("m-S0"),
        name: id.into(),
        executor: None,
        role: None,
        resources: resource_text::parse("cpus:1;mem:32").unwrap(),
        limits: BTreeMap::new(),
        command: Command::default(),
        kill_grace_ms: 3000,
        checks: None,
        info: Vec::new(),
        invalid: None,
    }
}
