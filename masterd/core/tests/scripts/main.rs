//! Golden scripts: each `tests/data/*.txt` holds commands and, indented below each, all that the master then does.
//!
//! Not a place for logic: the driver only translates. `UPDATE_EXPECT=1 cargo test -p masterd-core --test scripts` writes
//! the outputs anew; read the diff before you believe it. After every command the master's invariants are checked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod shares;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use masterd_core::{
    Answer, Call, Config, Event, FrameworkEvent, LaunchTask, LinkId, Master, Operation, Order,
    ReconcileTask, Registry, RequestId, StreamId, Subscribe, check,
};
use nesos_base::time::{Duration, Instant};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskReport, TaskUpdate};
use nesos_wire::resource::Resources;
use nesos_wire::task::{Source, TaskState, TaskStatus};
use nesos_wire::{
    AgentId, FrameworkId, MasterId, NodeId, OfferId, TaskId, TaskKey, Uuid, resource_text, version,
};

#[derive(Default)]
struct FakeAgent {
    id: Option<AgentId>,
    link: Option<LinkId>,
    resources: Resources,
    tasks: BTreeMap<TaskKey, TaskReport>,
}

#[derive(Default)]
struct FakeFramework {
    id: Option<FrameworkId>,
    stream: Option<StreamId>,
    unacknowledged: BTreeMap<TaskId, (AgentId, Uuid)>,
}

struct Script {
    master: Master,
    starts: u32,
    now: Instant,
    next: u64,
    agents: BTreeMap<String, FakeAgent>,
    frameworks: BTreeMap<String, FakeFramework>,
    is_mute: bool,
    removal_pause: Option<Duration>,
    offer_timeout: Option<Duration>,
    weights: BTreeMap<String, f64>,
    out: String,
}

fn config(start: u32) -> Config {
    Config::new(
        MasterId::new(if start == 0 {
            "m".to_owned()
        } else {
            format!("m{start}")
        }),
        "test",
    )
}

impl Script {
    fn new() -> Self {
        let now = Instant::from_secs(0);
        let mut script = Self {
            master: Master::new(config(0), Registry::default(), now, 0.0),
            starts: 0,
            now,
            next: 0,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            is_mute: false,
            removal_pause: None,
            offer_timeout: None,
            weights: BTreeMap::new(),
            out: String::new(),
        };
        script.master.ready();
        script
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        Uuid(bytes)
    }

    fn step(&mut self, event: Event) {
        self.master
            .step(event, self.now, self.now.as_millis() as f64 / 1000.0);
    }

    fn agent_name(&self, id: &AgentId) -> String {
        let found = self
            .agents
            .iter()
            .find(|(_, agent)| agent.id.as_ref() == Some(id));
        found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }

    fn framework_name(&self, stream: StreamId) -> String {
        let found = self
            .frameworks
            .iter()
            .find(|(_, framework)| framework.stream == Some(stream));
        found.map_or_else(|| "(old stream)".to_owned(), |(name, _)| name.clone())
    }

    fn say(&mut self, text: &str) {
        writeln!(self.out, "  {text}").unwrap();
    }

    /// Obeys one `Ready`, printing it; feeds pongs back.
    fn obey(&mut self) {
        let ready = self.master.ready();
        for command in ready.commands {
            let text = format!("{command:?}");
            let name = text.split(['(', ' ']).next().unwrap_or_default().to_owned();
            self.say(&format!("registry < {name}"));
        }
        let mut pongs = Vec::new();
        for (link, message) in ready.to_agents {
            if let Some(pong) = self.agent_hears(link, message) {
                pongs.push((link, pong));
            }
        }
        for (stream, event) in ready.to_frameworks {
            self.framework_hears(stream, event);
        }
        for (_, answer) in ready.answers {
            let text = match answer {
                Answer::Done => "done".to_owned(),
                Answer::NotFound(why)
                | Answer::Unavailable(why)
                | Answer::Conflict(why)
                | Answer::Invalid(why) => why,
                Answer::File(_) => "a file".to_owned(),
            };
            self.say(&format!("operator < {text}"));
        }
        for link in ready.close_links {
            let found = self
                .agents
                .iter_mut()
                .find(|(_, agent)| agent.link == Some(link));
            if let Some((name, agent)) = found {
                agent.link = None;
                let text = format!("{name} < (closed)");
                self.say(&text);
            }
        }
        for stream in ready.close_streams {
            let name = self.framework_name(stream);
            self.frameworks
                .values_mut()
                .filter(|f| f.stream == Some(stream))
                .for_each(|f| f.stream = None);
            self.say(&format!("{name} < (closed)"));
        }
        if !self.is_mute {
            for (link, message) in pongs {
                self.step(Event::AgentMessage { link, message });
            }
        }
        let broken = check::violations(&self.master);
        assert!(broken.is_empty(), "{}\n{broken:#?}", self.out);
    }

    fn agent_hears(&mut self, link: LinkId, message: MasterToAgent) -> Option<AgentToMaster> {
        let name = self
            .agents
            .iter()
            .find(|(_, agent)| agent.link == Some(link))
            .map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| "(old link)".to_owned());
        let text = match message {
            MasterToAgent::Ping { sequence } => return Some(AgentToMaster::Pong { sequence }),
            MasterToAgent::Welcome(welcome) => {
                let agent = self.agents.get_mut(&name).expect("known");
                agent.id = Some(welcome.agent.clone());
                for key in &welcome.kill {
                    agent.tasks.remove(key);
                }
                let kill: Vec<_> = welcome.kill.iter().map(|key| key.task.as_str()).collect();
                let kill = if kill.is_empty() {
                    String::new()
                } else {
                    format!(" kill {kill:?}")
                };
                format!("WELCOME {}{kill}", welcome.agent)
            }
            MasterToAgent::Launch { tasks } => {
                let mut text = "LAUNCH".to_owned();
                for spec in tasks {
                    write!(
                        text,
                        " {}={}",
                        spec.key.task,
                        resource_text::text(&spec.resources)
                    )
                    .unwrap();
                    let agent = self.agents.get_mut(&name).expect("known");
                    let report = TaskReport {
                        spec: spec.clone(),
                        latest: TaskState::Staging,
                        status: None,
                    };
                    agent.tasks.insert(spec.key, report);
                }
                text
            }
            MasterToAgent::Kill { key, grace_ms } => {
                let grace = grace_ms.map(|ms| format!(" within {ms} ms"));
                format!("KILL {}{}", key.task, grace.unwrap_or_default())
            }
            MasterToAgent::Refused { reason } => format!("REFUSED {reason}"),
            MasterToAgent::Acknowledge { key, .. } => {
                if let Some(agent) = self.agents.get_mut(&name)
                    && agent
                        .tasks
                        .get(&key)
                        .is_some_and(|task| task.latest.is_terminal())
                {
                    agent.tasks.remove(&key);
                }
                format!("ACKNOWLEDGE {}", key.task)
            }
            MasterToAgent::ShutdownFramework { framework } => {
                if let Some(agent) = self.agents.get_mut(&name) {
                    agent.tasks.retain(|key, _| key.framework != framework);
                }
                format!("SHUTDOWN_FRAMEWORK {framework}")
            }
            other => format!("{other:?}"),
        };
        self.say(&format!("{name} < {text}"));
        None
    }

    fn framework_hears(&mut self, stream: StreamId, event: FrameworkEvent) {
        let name = self.framework_name(stream);
        let text = match event {
            FrameworkEvent::Heartbeat => return,
            FrameworkEvent::Subscribed { framework, .. } => {
                self.frameworks.get_mut(&name).expect("known").id = Some(framework.clone());
                format!("SUBSCRIBED {framework}")
            }
            FrameworkEvent::Offers(offers) => {
                let mut text = "OFFERS".to_owned();
                for offer in offers {
                    let agent = self.agent_name(&offer.agent);
                    let what = resource_text::text(&offer.resources);
                    write!(text, " {} on {agent} for {}: {what}", offer.id, offer.role).unwrap();
                }
                text
            }
            FrameworkEvent::Rescind(id) => format!("RESCIND {id}"),
            FrameworkEvent::Update { key, status } => {
                if let (Some(uuid), Some(agent)) = (status.uuid, status.agent.clone()) {
                    let framework = self.frameworks.get_mut(&name).expect("known");
                    framework
                        .unacknowledged
                        .insert(key.task.clone(), (agent, uuid));
                }
                let uuid = if status.uuid.is_some() {
                    ""
                } else {
                    " (no uuid)"
                };
                let reason = status
                    .reason
                    .map(|reason| format!(" {reason:?}"))
                    .unwrap_or_default();
                let message = if status.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", status.message)
                };
                format!(
                    "UPDATE {} {:?} by {:?}{reason}{uuid}{message}",
                    key.task, status.state, status.source
                )
            }
            FrameworkEvent::Operation(update) => {
                format!("OPERATION {} {:?}", update.id, update.status.state)
            }
            FrameworkEvent::Message { data, .. } => format!("MESSAGE of {} bytes", data.len()),
            FrameworkEvent::Failure { agent } => format!("FAILURE {}", self.agent_name(&agent)),
            FrameworkEvent::Error(message) => format!("ERROR {message}"),
        };
        self.say(&format!("{name} < {text}"));
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["agent", name, rest @ ..] => self.agent(name, rest),
            ["close", name] => {
                let link = self
                    .agents
                    .get_mut(*name)
                    .and_then(|agent| agent.link.take())
                    .expect("connected");
                self.step(Event::AgentClosed { link });
            }
            ["goodbye", name] => {
                let agent = self.agents.get_mut(*name).expect("known");
                agent.tasks.clear();
                let link = agent.link.expect("connected");
                self.step(Event::AgentMessage {
                    link,
                    message: AgentToMaster::Goodbye,
                });
            }
            ["forget", name, task] => {
                let agent = self.agents.get_mut(*name).expect("known");
                agent.tasks.retain(|key, _| key.task.as_str() != *task);
            }
            ["mute"] => self.is_mute = true,
            ["subscribe", name, rest @ ..] => self.subscribe(name, rest),
            ["disconnect", name] => {
                let stream = self
                    .frameworks
                    .get_mut(*name)
                    .and_then(|f| f.stream.take())
                    .expect("connected");
                self.step(Event::StreamClosed { stream });
            }
            ["operator-teardown", name] => {
                let framework = self.frameworks[*name].id.clone().expect("subscribed");
                let request = RequestId(self.number());
                self.step(Event::Teardown { request, framework });
            }
            ["update", agent, framework, task, state] => self.update(agent, framework, task, state),
            ["advance", seconds] => self.advance(seconds.parse().unwrap()),
            ["restart"] => self.restart(),
            ["share", name, role] => {
                let framework = self.frameworks[*name].id.clone().expect("subscribed");
                let share = self.master.dominant_share(role, &framework);
                self.say(&format!("{share:.3}"));
            }
            words if self.run_upkeep(words) || self.run_shares(words) => {}
            [call, name, rest @ ..] => self.call(call, name, rest),
            _ => panic!("unknown command: {line}"),
        }
        self.obey();
    }

    /// What operators decide about agents, and the flags that need another master. Says whether the words are of these.
    fn run_upkeep(&mut self, words: &[&str]) -> bool {
        let seconds = |text: &str| Some(Duration::from_secs(text.parse().unwrap()));
        match words {
            ["drain", agent, rest @ ..] => {
                let grace = rest.iter().find_map(|word| word.strip_prefix("grace="));
                let order = Order::Drain {
                    agent: self.agent_id(agent),
                    max_grace_ns: grace
                        .map(|seconds| seconds.parse::<u64>().unwrap() * 1_000_000_000),
                    mark_gone: rest.contains(&"gone"),
                };
                self.order(order);
            }
            ["deactivate", agent] => self.order(Order::Deactivate(self.agent_id(agent))),
            ["reactivate", agent] => self.order(Order::Reactivate(self.agent_id(agent))),
            ["mark-gone", agent] => self.order(Order::MarkGone(self.agent_id(agent))),
            ["offer-timeout", text] => {
                self.offer_timeout = seconds(text);
                self.restart();
            }
            ["removal-pause", text] => {
                self.removal_pause = seconds(text);
                self.restart();
            }
            _ => return false,
        }
        true
    }

    fn order(&mut self, order: Order) {
        let request = RequestId(self.number());
        self.step(Event::Order { request, order });
    }

    fn agent_id(&self, name: &str) -> AgentId {
        let known = self.agents.get(name).and_then(|agent| agent.id.clone());
        known.unwrap_or_else(|| AgentId::new(name))
    }

    fn agent(&mut self, name: &str, rest: &[&str]) {
        let link = LinkId(self.number());
        let agent = self.agents.entry(name.to_owned()).or_default();
        if let Some(text) = rest.first() {
            agent.resources = resource_text::parse(text).unwrap();
        }
        agent.link = Some(link);
        let hello = Hello {
            version: version::CURRENT,
            node: NodeId::new(format!("node-{name}")),
            agent: agent.id.clone(),
            boot_id: "boot".into(),
            hostname: name.into(),
            ip: "127.0.0.1".into(),
            port: 5051,
            software: "0".into(),
            resources: agent.resources.clone(),
            attributes: rest
                .get(1)
                .map(|text| resource_text::parse_attributes(text).unwrap())
                .unwrap_or_default(),
            tasks: agent.tasks.values().cloned().collect(),
            operations: Vec::new(),
        };
        self.step(Event::AgentHello {
            link,
            hello: Box::new(hello),
        });
    }

    fn subscribe(&mut self, name: &str, rest: &[&str]) {
        let stream = StreamId(self.uuid());
        let update = words::framework(name, rest);
        let framework = self.frameworks.entry(name.to_owned()).or_default();
        framework.stream = Some(stream);
        let subscribe = Subscribe {
            stream,
            framework: framework.id.clone(),
            facts: update.facts,
            info: update.info,
            suppressed_roles: update.suppressed_roles,
            min_allocatable: update.min_allocatable,
            constraints: update.constraints,
        };
        self.step(Event::Subscribe(Box::new(subscribe)));
    }

    fn update(&mut self, agent: &str, framework: &str, task: &str, state: &str) {
        let uuid = self.uuid();
        let framework = self.frameworks[framework].id.clone().expect("subscribed");
        let key = TaskKey {
            framework,
            task: TaskId::new(task),
        };
        let state = match state {
            "STARTING" => TaskState::Starting,
            "RUNNING" => TaskState::Running,
            "FINISHED" => TaskState::Finished,
            "FAILED" => TaskState::Failed,
            "KILLED" => TaskState::Killed,
            _ => panic!("unknown state {state}"),
        };
        let agent = self.agents.get_mut(agent).expect("known");
        let status = TaskStatus {
            state,
            source: Source::Executor,
            reason: None,
            message: String::new(),
            timestamp: 0.0,
            uuid: Some(uuid),
            agent: agent.id.clone(),
            executor: None,
            container: None,
            healthy: None,
            data: Vec::new(),
            unreachable_time: None,
        };
        if let Some(report) = agent.tasks.get_mut(&key) {
            report.latest = state;
            report.status = Some(status.clone());
        }
        let link = agent.link.expect("connected");
        let update = TaskUpdate {
            key,
            status,
            latest: state,
        };
        self.step(Event::AgentMessage {
            link,
            message: AgentToMaster::Update(update),
        });
    }

    fn call(&mut self, call: &str, name: &str, rest: &[&str]) {
        let refuse = rest
            .iter()
            .find_map(|word| word.strip_prefix("refuse="))
            .map(|text| text.parse().unwrap());
        let rest: Vec<&str> = rest
            .iter()
            .copied()
            .filter(|word| !word.starts_with("refuse="))
            .collect();
        let texts = || {
            rest.iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let call = match call {
            "decline" => Call::Decline {
                offers: self.offer_ids(rest[0]),
                refuse_seconds: refuse,
            },
            "accept" => self.accept(&rest, refuse),
            "revive" => Call::Revive { roles: texts() },
            "suppress" => Call::Suppress { roles: texts() },
            "kill" => Call::Kill {
                task: TaskId::new(rest[0]),
                agent: None,
                grace_ms: None,
            },
            "teardown" => Call::Teardown,
            "update-framework" => Call::UpdateFramework(Box::new(words::framework(name, &rest))),
            "reconcile" => Call::Reconcile {
                tasks: rest.iter().map(|word| self.reconcile(word)).collect(),
            },
            "ack" => {
                let task = TaskId::new(rest[0]);
                let framework = self.frameworks.get_mut(name).expect("known");
                let (agent, uuid) = framework
                    .unacknowledged
                    .remove(&task)
                    .expect("an update with uuid");
                Call::Acknowledge { agent, task, uuid }
            }
            _ => panic!("unknown command {call}"),
        };
        let known = &self.frameworks[name];
        let (framework, stream) = (
            known.id.clone().expect("subscribed"),
            known.stream.expect("connected"),
        );
        self.master
            .check_call(&framework, Some(stream), None)
            .expect("valid call");
        if let Call::UpdateFramework(update) = &call
            && let Err(refusal) = self.master.check_update(&framework, update)
        {
            self.say(&refusal.to_string());
            return;
        }
        self.step(Event::Call {
            framework,
            stream,
            call,
        });
    }

    fn offer_ids(&self, text: &str) -> Vec<OfferId> {
        text.split(',')
            .map(|id| OfferId::new(format!("{}-{id}", self.master.id())))
            .collect()
    }

    fn reconcile(&self, word: &str) -> ReconcileTask {
        match word.split_once('@') {
            Some((task, agent)) => {
                let id = self.agents.get(agent).and_then(|agent| agent.id.clone());
                ReconcileTask {
                    task: TaskId::new(task),
                    agent: Some(id.unwrap_or_else(|| AgentId::new(agent))),
                }
            }
            None => ReconcileTask {
                task: TaskId::new(word),
                agent: None,
            },
        }
    }

    fn accept(&self, rest: &[&str], refuse_seconds: Option<f64>) -> Call {
        let offers = self.offer_ids(rest[0]);
        let offered = self
            .master
            .offers()
            .find(|offer| offers.contains(&offer.id));
        let agent = offered.map_or_else(|| AgentId::new("unknown"), |offer| offer.agent.clone());
        let tasks: Vec<LaunchTask> = rest[1..]
            .iter()
            .map(|word| words::task(word, &agent))
            .collect();
        let operations = if tasks.is_empty() {
            Vec::new()
        } else {
            vec![Operation::Launch(tasks)]
        };
        Call::Accept {
            offers,
            operations,
            refuse_seconds,
        }
    }

    /// Lets time pass, ticking at every deadline.
    fn advance(&mut self, seconds: f64) {
        let end = self.now + Duration::from_millis((seconds * 1000.0) as u64);
        loop {
            let deadline = self.master.ready();
            assert!(deadline.is_idle(), "obeyed before: {deadline:?}");
            match deadline.deadline.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.step(Event::Tick);
            self.obey();
        }
        self.now = end;
        self.step(Event::Tick);
    }

    fn restart(&mut self) {
        self.starts += 1;
        let registry = self.master.registry().clone();
        let mut config = config(self.starts);
        config.agent_removal_pause = self.removal_pause;
        config.offer_timeout = self.offer_timeout;
        config.weights = self.weights.clone();
        self.master = Master::new(config, registry, self.now, self.now.as_secs() as f64);
        self.agents.values_mut().for_each(|agent| agent.link = None);
        self.frameworks
            .values_mut()
            .for_each(|framework| framework.stream = None);
    }
}

#[test]
fn scripts_print_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty());
    let is_update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let mut script = Script::new();
        for line in expected.lines().filter(|line| !line.starts_with("  ")) {
            script.out.push_str(line);
            script.out.push('\n');
            if line.starts_with("---") {
                let out = std::mem::take(&mut script.out);
                script = Script::new();
                script.out = out;
            } else if !line.is_empty() && !line.starts_with('#') {
                script.run(line);
            }
        }
        if is_update {
            std::fs::write(&path, script.out).unwrap();
        } else {
            assert_eq!(
                script.out,
                expected,
                "{} differs; UPDATE_EXPECT=1 writes it anew",
                path.display()
            );
        }
    }
}
