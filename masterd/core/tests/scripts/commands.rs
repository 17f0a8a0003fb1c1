//! The lines of a script that are not indented: what happens to the master.
//!
//! Used by the driver beside it; quota and weights stand in `shares`, machines in
//! `maintenance`. Panics on a line that is none: scripts are part of
//! the tests.

use masterd_core::{
    Call, Event, LaunchTask, LinkId, Operation, Order, ReconcileTask, RequestId, StreamId,
    Subscribe,
};
use nesos_base::time::Duration;
use nesos_wire::message::{AgentToMaster, Hello, TaskUpdate};
use nesos_wire::resource::Terms;
use nesos_wire::task::{Source, TaskStatus};
use nesos_wire::{AgentId, NodeId, OfferId, TaskId, TaskKey, resource_text, version};

use super::{Script, words};

impl Script {
    pub(crate) fn run(&mut self, line: &str) {
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
            ["lend", name, text] => self.lend(name, text),
            ["goodbye", name] => {
                let agent = self.agents.get_mut(*name).expect("known");
                agent.tasks.clear();
                agent.executors.clear();
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
            ["update", agent, framework, task, state] => {
                self.update(agent, framework, task, state, state);
            }
            ["update", agent, framework, task, state, latest] => {
                self.update(agent, framework, task, state, latest);
            }
            ["unreachable-since", name, task] => self.unreachable_since(name, task),
            ["advance", seconds] => self.advance(seconds.parse().unwrap()),
            ["restart"] => self.restart(),
            ["share", name, role] => {
                let framework = self.frameworks[*name].id.clone().expect("subscribed");
                let share = self.master.dominant_share(role, &framework);
                self.say(&format!("{share:.3}"));
            }
            words
                if self.run_upkeep(words)
                    || self.run_executors(words)
                    || self.run_shares(words)
                    || self.run_maintenance(words) => {}
            [call, name, rest @ ..] => self.call(call, name, rest),
            _ => panic!("unknown command: {line}"),
        }
        self.obey();
    }

    /// What operators decide about agents, and the flags that need another master. Says whether the words are of these.
    /// What an agent lends from now on; `-`: nothing.
    fn lend(&mut self, name: &str, text: &str) {
        let plain = resource_text::parse(text.trim_matches('-')).unwrap();
        let terms = Terms {
            is_revocable: true,
            ..Terms::default()
        };
        let entries = plain.entries().iter();
        let resources = entries.map(|entry| entry.under(terms.clone())).collect();
        let link = self.agents[name].link.expect("connected");
        let message = AgentToMaster::Lent { resources };
        self.step(Event::AgentMessage { link, message });
    }

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

    pub(crate) fn order(&mut self, order: Order) {
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
            executors: agent.executors.values().cloned().collect(),
            domain: None,
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

    /// The agent sends a status while `latest` is the newest state it knows.
    fn update(&mut self, agent: &str, framework: &str, task: &str, state: &str, latest: &str) {
        let uuid = self.uuid();
        let framework = self.frameworks[framework].id.clone().expect("subscribed");
        let key = TaskKey {
            framework,
            task: TaskId::new(task),
        };
        let (state, latest) = (words::state(state), words::state(latest));
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
            check: None,
            data: Vec::new(),
            unreachable_time: None,
            extra: Vec::new(),
        };
        if let Some(report) = agent.tasks.get_mut(&key) {
            report.latest = latest;
            report.status = Some(status.clone());
        }
        let link = agent.link.expect("connected");
        let update = TaskUpdate {
            key,
            status,
            latest,
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
            "accept-inverse" => self.answer_inverse(true, &rest, refuse),
            "decline-inverse" => self.answer_inverse(false, &rest, refuse),
            "accept" => self.accept(&rest, refuse),
            "revive" => Call::Revive { roles: texts() },
            "suppress" => Call::Suppress { roles: texts() },
            "kill" => {
                let ReconcileTask { task, agent } = self.reconcile(rest[0]);
                Call::Kill {
                    task,
                    agent,
                    grace_ms: None,
                }
            }
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
        self.send_call(name, call);
    }

    pub(crate) fn send_call(&mut self, name: &str, call: Call) {
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

    /// Since when the master says that a task's agent is unreachable.
    fn unreachable_since(&mut self, name: &str, task: &str) {
        let framework = self.frameworks[name].id.clone().expect("subscribed");
        let task = TaskId::new(task);
        let known = self.master.find_task(&TaskKey { framework, task });
        let since = known.and_then(|task| task.statuses().last()?.unreachable_time);
        self.say(&format!("{since:?}"));
    }

    pub(crate) fn offer_ids(&self, text: &str) -> Vec<OfferId> {
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
}
