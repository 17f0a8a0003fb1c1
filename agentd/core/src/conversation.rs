//! What is said on the link: the greeting, the master's messages, and what a lost link means for what was sent.
//!
//! Called by `agent`. Invariants: after a link is lost nothing of it is left in the outbox, and every stream starts again with
//! its head; work that crossed a greeting on its way is not taken, for the master has counted it as dropped.

use nesos_base::time::Duration;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::masters::MAX_MASTERS;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, Welcome};
use nesos_wire::{TaskKey, Uuid};

use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Level, LinkError};
use crate::stream::Acknowledged;
use crate::task::Task;

impl Agent {
    pub(crate) fn link_up(&mut self, link: u64) {
        if self.link.is_current(link) && self.link.up(self.moment.now) {
            self.greet();
        }
    }

    /// Says all there is to say, at the beginning of a link or when the master must hear it anew.
    pub(crate) fn greet(&mut self) {
        let hello = Hello {
            version: self.config.version,
            node: self.config.node.clone(),
            agent: self.id.clone(),
            boot_id: self.config.boot_id.clone(),
            hostname: self.config.hostname.clone(),
            ip: self.config.ip.clone(),
            port: self.config.port,
            software: self.config.software.clone(),
            resources: self.total(),
            attributes: self.config.attributes.clone(),
            domain: self.config.domain.clone(),
            tasks: self.tasks.values().map(Task::report).collect(),
            operations: self.operations().cloned().collect(),
            executors: self.executors().map(|view| view.spec.clone()).collect(),
        };
        self.out.send.push(AgentToMaster::Hello(hello));
        self.operations.greeted(self.moment.now);
        self.greeted_with_lent();
        self.link.greeted();
    }

    pub(crate) fn link_down(&mut self, link: u64, error: &LinkError) {
        if !self.link.is_current(link) {
            return;
        }
        let random = self.rng.next_u32();
        let pause = match error {
            LinkError::Failed(_) => self.link.failed(self.moment.now, random),
            LinkError::Refused(_) => self.link.refused(self.moment.now, random),
        };
        self.lost_link(format!(
            "no link to the master: {error}; next try in {} ms",
            pause.as_millis()
        ));
    }

    /// Whatever was handed out for the old link will not arrive: streams start again with their heads.
    pub(crate) fn lost_link(&mut self, text: String) {
        self.out.send.clear();
        self.pause_streams();
        self.note(Level::Warn, text);
    }

    fn pause_streams(&mut self) {
        self.tasks.change_all(|task| task.stream.pause());
        self.operations.pause();
    }

    pub(crate) fn hang_up(&mut self) {
        let link = self.link.number();
        self.out.actions.push(Action::HangUp { link });
    }

    pub(crate) fn message(&mut self, message: MasterToAgent) {
        if self.link.is_behind() && is_new_work(&message) {
            // It crossed a greeting that could not tell of it, and by which the master takes it for dropped.
            return;
        }
        match message {
            MasterToAgent::Welcome(welcome) => self.welcome(welcome),
            MasterToAgent::Refused { reason } => self.refused(&reason),
            MasterToAgent::Redirect { leader } => self.redirected(leader),
            MasterToAgent::Ping { sequence } => {
                self.out.send.push(AgentToMaster::Pong { sequence })
            }
            MasterToAgent::Launch { tasks } => self.launch(tasks),
            MasterToAgent::Kill { key, grace_ms } => self.kill(&key, grace_ms),
            MasterToAgent::Acknowledge { key, uuid } => self.acknowledge(&key, uuid),
            MasterToAgent::Apply(spec) => self.apply(spec),
            MasterToAgent::AcknowledgeOperation { uuid } => self.acknowledge_operation(uuid),
            MasterToAgent::ShutdownFramework { framework } => self.shutdown_framework(&framework),
            MasterToAgent::FrameworkMessage {
                framework,
                executor,
                data,
            } => {
                self.message_to_executor(framework, executor, data);
            }
            MasterToAgent::LaunchExecutor {
                executor,
                start,
                tasks,
                group,
            } => {
                self.launch_executor(*executor, start, tasks, group);
            }
            MasterToAgent::ShutdownExecutor { key } => self.shutdown_executor(&key),
            MasterToAgent::Masters { addresses } => self.told_masters(addresses),
            MasterToAgent::CallBack { token } => {
                self.out.actions.push(Action::CallBack { token });
            }
            MasterToAgent::ReadFile {
                request,
                key,
                path,
                offset,
                length,
            } => {
                let container = self.tasks.get(&key).and_then(|task| task.container.clone());
                let link = self.link.number();
                self.out.actions.push(Action::ReadFile {
                    link,
                    request,
                    key,
                    container,
                    path,
                    offset,
                    length,
                });
            }
        }
    }

    fn told_masters(&mut self, mut addresses: Vec<String>) {
        addresses.truncate(MAX_MASTERS);
        if self.link.masters() != addresses {
            let record = Record::Masters {
                addresses: addresses.clone(),
            };
            self.out.persist.push(record);
            self.link.know_masters(addresses);
        }
    }

    fn refused(&mut self, reason: &str) {
        self.hang_up();
        let random = self.rng.next_u32();
        let pause = self.link.refused(self.moment.now, random);
        self.lost_link(format!(
            "the master refused this agent: {reason}; next try in {} s",
            pause.as_secs()
        ));
    }

    fn redirected(&mut self, leader: String) {
        self.hang_up();
        let random = self.rng.next_u32();
        let text = format!("another master leads: {leader}");
        self.link.redirected(self.moment.now, leader, random);
        self.lost_link(text);
    }

    fn welcome(&mut self, welcome: Welcome) {
        let silence = Duration::from_millis(u64::from(welcome.silence_limit_ms));
        self.link.welcomed(self.moment.now, silence);
        if self.id.as_ref() != Some(&welcome.agent) {
            self.out.persist.push(Record::Admitted {
                agent: welcome.agent.clone(),
            });
            self.id = Some(welcome.agent.clone());
        }
        self.out
            .actions
            .push(Action::MasterTime { unix: welcome.time });
        let text = format!(
            "registered as {} in cluster {} with master {}",
            welcome.agent, welcome.cluster, welcome.master
        );
        self.note(Level::Info, text);
        for key in welcome.kill {
            self.silence(&key);
        }
    }

    fn acknowledge(&mut self, key: &TaskKey, uuid: Uuid) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let outcome = task.stream.acknowledge(uuid);
        if outcome != Acknowledged::Ignored && task.spec.kind == ExecutorKind::Custom {
            task.ties.saw(uuid);
        }
        if outcome != Acknowledged::Ignored && task.is_stored {
            self.out.persist.push(Record::Acknowledged {
                key: key.clone(),
                uuid,
            });
        }
        if outcome == Acknowledged::Closed {
            self.drop_task(key);
        }
    }
}

/// Whether the message gives the agent something that it has not had before.
fn is_new_work(message: &MasterToAgent) -> bool {
    matches!(
        message,
        MasterToAgent::Launch { .. }
            | MasterToAgent::LaunchExecutor { .. }
            | MasterToAgent::Apply(_)
    )
}
