//! Questions that people ask of an agent: files of a task's sandbox, or a connection of their own.
//!
//! The daemon keeps the asker, the core only where the question went. Called by `Master::step` and `agents`. Invariant: each
//! question is answered once, by the agent, by its time, or by the end of its link.

use nesos_base::time::Duration;
use nesos_wire::message::{FileChunk, FileError, MasterToAgent};
use nesos_wire::{AgentId, TaskKey, Uuid};

use crate::event::{LinkId, RequestId};
use crate::master::Master;
use crate::ready::Answer;
use crate::state::Agent;
use crate::timers::Timer;

/// How long an operator's question to an agent may take. A read of 64 KB takes milliseconds, a busy SD card seconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

impl Master {
    pub(crate) fn read_file(
        &mut self,
        request: RequestId,
        key: TaskKey,
        path: String,
        offset: u64,
        length: u32,
    ) {
        let Some(agent) = self.find_task(&key).map(|task| task.agent.clone()) else {
            self.answer(
                request,
                Answer::NotFound(format!("No task found with ID {key}")),
            );
            return;
        };
        let Some(link) = self.agents.get(&agent).and_then(Agent::link) else {
            self.answer(
                request,
                Answer::Unavailable(format!("The agent of this task, {agent}, is not connected")),
            );
            return;
        };
        self.requests.insert(request, link);
        self.timers
            .arm(self.now + REQUEST_LIMIT, Timer::Request(request));
        let message = MasterToAgent::ReadFile {
            request: request.0,
            key,
            path,
            offset,
            length,
        };
        self.out.to_agents.push((link, message));
    }

    /// Asks an agent to dial once more.
    pub(crate) fn call_back(&mut self, request: RequestId, agent: &AgentId, token: Uuid) {
        let answer = match self.agents.get(agent) {
            None => Answer::NotFound(format!("No agent found with ID {agent}")),
            Some(known) => match known.link() {
                None => Answer::Unavailable(format!("The agent {agent} is not connected")),
                Some(link) => {
                    let message = MasterToAgent::CallBack { token };
                    self.out.to_agents.push((link, message));
                    Answer::Done
                }
            },
        };
        self.answer(request, answer);
    }

    /// An agent's answer; only to what was asked on its link.
    pub(crate) fn file_read(
        &mut self,
        link: LinkId,
        request: RequestId,
        result: Result<FileChunk, FileError>,
    ) {
        if self.requests.get(&request) == Some(&link) {
            self.requests.remove(&request);
            self.answer(request, Answer::File(result));
        }
    }

    pub(crate) fn request_due(&mut self, request: RequestId) {
        if self.requests.remove(&request).is_some() {
            self.answer(
                request,
                Answer::Unavailable("The agent did not answer in time".to_owned()),
            );
        }
    }

    /// Questions that went out on a link which is gone.
    pub(crate) fn fail_requests(&mut self, link: LinkId) {
        let lost: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, on)| **on == link)
            .map(|(id, _)| *id)
            .collect();
        for request in lost {
            self.requests.remove(&request);
            self.answer(
                request,
                Answer::Unavailable("The agent's link broke".to_owned()),
            );
        }
    }
}
