//! Executors in scripts: how frameworks bring them, how agents say that they ended, and what either hears of them.
//!
//! Used by the driver beside it. Panics on a word that is none: scripts are part of the tests. An executor is written
//! `id(resources)`, or `id(resources)note` if it is to differ from one without the note; it is a default one in a group,
//! else a custom one.

use std::fmt::Write as _;

use masterd_core::{Call, Event, LaunchExecutor, LaunchTask, Operation};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, TaskReport};
use nesos_wire::task::{Command, TaskSpec, TaskState};
use nesos_wire::{AgentId, Attempt, ExecutorId, ExecutorKey, resource_text};

use super::{Script, words};

/// `id(resources)note`.
pub(crate) fn executor(word: &str, kind: ExecutorKind) -> LaunchExecutor {
    let (id, rest) = word.split_once('(').expect("id(resources)");
    let (resources, note) = rest.split_once(')').expect("id(resources)");
    LaunchExecutor {
        executor: ExecutorId::new(id),
        kind,
        name: id.into(),
        source: String::new(),
        role: note.strip_prefix('@').map(str::to_owned),
        resources: resource_text::parse(resources).unwrap(),
        command: Command::default(),
        shutdown_grace_ms: None,
        info: word.into(),
        invalid: (note == "bad").then(|| "the executor is bad".to_owned()),
    }
}

impl Script {
    /// Says whether the words are of these.
    pub(crate) fn run_executors(&mut self, words: &[&str]) -> bool {
        match words {
            ["accept-group", name, offer, executor, tasks @ ..] => {
                let call = self.accept_group(offer, executor, tasks);
                self.send_call(name, call);
            }
            ["shutdown", name, executor, agent] => {
                let agent = self.agents[*agent].id.clone().expect("registered");
                let executor = ExecutorId::new(*executor);
                self.send_call(name, Call::ShutDownExecutor { agent, executor });
            }
            ["message", name, executor, agent, text] => {
                let call = Call::Message {
                    agent: self.agents[*agent].id.clone().expect("registered"),
                    executor: ExecutorId::new(*executor),
                    data: text.as_bytes().to_vec(),
                };
                self.send_call(name, call);
            }
            ["say", agent, name, executor, text] => {
                let message = AgentToMaster::FrameworkMessage {
                    framework: self.frameworks[*name].id.clone().expect("subscribed"),
                    executor: ExecutorId::new(*executor),
                    data: text.as_bytes().to_vec(),
                };
                self.agent_says(agent, message);
            }
            ["ended", agent, name, executor, status] => {
                let key = self.executor_key(name, executor);
                let known = self.agents.get_mut(*agent).expect("known");
                let attempt = known.executors.remove(&key).map(|known| known.attempt);
                let message = AgentToMaster::ExecutorEnded {
                    key,
                    attempt: attempt.unwrap_or(Attempt(0)),
                    status: status.parse().unwrap(),
                };
                self.agent_says(agent, message);
            }
            ["ended-late", agent, name, executor] => {
                let message = AgentToMaster::ExecutorEnded {
                    key: self.executor_key(name, executor),
                    attempt: Attempt(0),
                    status: 0,
                };
                self.agent_says(agent, message);
            }
            ["forget-executor", agent, name, executor] => {
                let key = self.executor_key(name, executor);
                let known = self.agents.get_mut(*agent).expect("known");
                known.executors.remove(&key).expect("is there");
            }
            ["used", agent] => self.used(agent),
            ["role", role] => {
                let roles = self.master.roles();
                let used = resource_text::text(&roles[*role].allocated);
                self.say(&format!("{role} uses {used}"));
            }
            _ => return false,
        }
        true
    }

    fn used(&mut self, agent: &str) {
        let id = self.agents[agent].id.clone().expect("registered");
        let known = self.master.agent(&id).expect("known");
        let used = resource_text::text(&self.master.used_resources(known));
        let living = known.executors.values();
        let living = living.map(|known| format!(" {} for {}", known.key, known.role));
        let living: String = living.collect();
        self.say(&format!("used {used}; executors{living}"));
    }

    /// The agent takes tasks in, with the executor that holds them.
    pub(crate) fn agent_takes(
        &mut self,
        agent: &str,
        executor: Option<FrameworkExecutor>,
        tasks: Vec<TaskSpec>,
    ) -> String {
        let agent = self.agents.get_mut(agent).expect("known");
        let mut text = String::new();
        for spec in tasks {
            let resources = resource_text::text(&spec.resources);
            write!(text, " {}={resources}", spec.key.task).unwrap();
            let report = TaskReport {
                spec: spec.clone(),
                latest: TaskState::Staging,
                status: None,
            };
            agent.tasks.insert(spec.key, report);
        }
        if let Some(executor) = executor {
            agent.executors.insert(executor.key.clone(), executor);
        }
        text
    }

    fn accept_group(&self, offer: &str, word: &str, tasks: &[&str]) -> Call {
        let offers = self.offer_ids(offer);
        let mut known = self.master.offers();
        let offered = known.find(|offer| offers.contains(&offer.id));
        let agent = offered.map_or_else(|| AgentId::new("unknown"), |offer| offer.agent.clone());
        let tasks: Vec<LaunchTask> = tasks.iter().map(|word| words::task(word, &agent)).collect();
        let operation = Operation::LaunchGroup {
            executor: Box::new(executor(word, ExecutorKind::Default)),
            tasks,
        };
        Call::Accept {
            offers,
            operations: vec![operation],
            refuse_seconds: None,
        }
    }

    fn executor_key(&self, name: &str, executor: &str) -> ExecutorKey {
        ExecutorKey {
            framework: self.frameworks[name].id.clone().expect("subscribed"),
            executor: ExecutorId::new(executor),
        }
    }

    fn agent_says(&mut self, agent: &str, message: AgentToMaster) {
        let link = self.agents[agent].link.expect("connected");
        self.step(Event::AgentMessage { link, message });
    }
}
