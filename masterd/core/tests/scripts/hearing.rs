//! What the master does, as the indented lines of a script, and what agents and frameworks remember of it.
//!
//! Used by the driver beside it after every command. Invariant: everything in a `Ready` is printed, except heartbeats and pings.

use std::fmt::Write as _;

use masterd_core::{Answer, Event, FrameworkEvent, LinkId, Offer, StreamId, check};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::resource_text;

use super::{Script, maintenance};

impl Script {
    /// Obeys one `Ready`, printing it; feeds pongs back.
    pub(crate) fn obey(&mut self) {
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
                format!("LAUNCH{}", self.agent_takes(&name, None, tasks))
            }
            MasterToAgent::LaunchExecutor {
                executor,
                start,
                tasks,
                group,
            } => {
                let verb = if group { "LAUNCH_GROUP" } else { "LAUNCH" };
                let how = if start { "new" } else { "living" };
                let id = executor.key.executor.clone();
                let tasks = self.agent_takes(&name, Some(*executor), tasks);
                format!("{verb} with {how} {id}:{tasks}")
            }
            MasterToAgent::ShutdownExecutor { key } => format!("SHUTDOWN {}", key.executor),
            MasterToAgent::FrameworkMessage { executor, data, .. } => {
                format!("MESSAGE of {} bytes for {executor}", data.len())
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
                    agent.executors.retain(|key, _| key.framework != framework);
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
            FrameworkEvent::Offers(offers) => self.offers_text(offers),
            FrameworkEvent::Rescind(id) => format!("RESCIND {id}"),
            FrameworkEvent::InverseOffers(offers) => {
                let mut text = "INVERSE_OFFERS".to_owned();
                for offer in offers {
                    let agent = self.agent_name(&offer.agent);
                    let when = maintenance::span(&offer.unavailability);
                    write!(text, " {} on {agent} away {when}", offer.id).unwrap();
                }
                text
            }
            FrameworkEvent::RescindInverseOffer(id) => format!("RESCIND_INVERSE_OFFER {id}"),
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
            FrameworkEvent::Failure { agent, executor } => {
                let ended = executor.map(|e| format!(" {} {}", e.executor, e.status));
                let ended = ended.unwrap_or_default();
                format!("FAILURE {}{ended}", self.agent_name(&agent))
            }
            FrameworkEvent::Error(message) => format!("ERROR {message}"),
        };
        self.say(&format!("{name} < {text}"));
    }

    fn offers_text(&self, offers: Vec<Offer>) -> String {
        let mut text = "OFFERS".to_owned();
        for offer in offers {
            let agent = self.agent_name(&offer.agent);
            let what = resource_text::text(&offer.resources);
            write!(text, " {} on {agent} for {}: {what}", offer.id, offer.role).unwrap();
            for id in offer.executors {
                write!(text, " (executor {id})").unwrap();
            }
            if let Some(unavailability) = offer.unavailability {
                write!(text, " (away {})", maintenance::span(&unavailability)).unwrap();
            }
        }
        text
    }
}
