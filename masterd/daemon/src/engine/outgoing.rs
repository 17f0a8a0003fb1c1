//! What leaves the master: messages to agents, events to frameworks, answers to operators.
//!
//! Called by `lead`, when the group has agreed on what they tell. Invariant: who does not take what it is told is cut off, and the
//! master hears of that.

use masterd_core::{Event, FrameworkEvent, LinkId, Ready, StreamId};
use nesos_wire::message::MasterToAgent;

use super::builtin;
use super::lead::Lead;
use super::split::push_split;
use crate::convert::event;
use crate::replica::Replica;

impl Lead {
    /// Tells agents where else masters are, when that has changed.
    pub(super) fn tell_masters(&mut self, replica: &Replica) {
        let masters = replica.registry().masters();
        let masters: Vec<String> = masters.map(|master| master.address.clone()).collect();
        if masters == self.masters {
            return;
        }
        self.masters = masters;
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.tell_masters_to(link);
        }
    }

    /// A master alone has nothing to tell.
    fn tell_masters_to(&mut self, link: LinkId) {
        if self.masters.len() > 1 {
            let addresses = self.masters.clone();
            self.send_agent(link, &MasterToAgent::Masters { addresses });
        }
    }

    pub(super) fn carry_out(&mut self, ready: Ready) {
        for (link, message) in ready.to_agents {
            self.send_agent(link, &message);
            if let MasterToAgent::Welcome(_) = message {
                self.tell_masters_to(link);
            }
        }
        for (stream, event) in ready.to_frameworks {
            self.send_framework(stream, event);
        }
        self.watchers.tell(&self.master, &ready.news);
        self.master.watch(self.watchers.are_there());
        for (request, answer) in ready.answers {
            if let Some(reply) = self.waiting.remove(&request) {
                // The asker may have hung up.
                let _ = reply.send(answer);
            }
        }
        // Dropping the sending ends lets what is queued go out first.
        for link in ready.close_links {
            self.links.remove(&link);
        }
        for stream in ready.close_streams {
            self.streams.remove(&stream);
        }
    }

    fn send_agent(&mut self, link: LinkId, message: &MasterToAgent) {
        match message {
            MasterToAgent::Welcome(welcome) => {
                if let Some(agent) = self.master.agent(&welcome.agent) {
                    tracing::info!(
                        "agent {}, node {} at {}, is registered (link {})",
                        agent.id,
                        agent.node,
                        agent.ip,
                        link.0
                    );
                }
            }
            MasterToAgent::Refused { reason } => {
                tracing::warn!("refused the agent on link {}: {reason}", link.0)
            }
            _ => {}
        }
        let Some(outbox) = self.links.get(&link) else {
            return;
        };
        if let Err(reason) = push_split(outbox, message) {
            tracing::warn!("cut agent link {}: {reason}", link.0);
            outbox.cut();
            self.links.remove(&link);
            self.step(Event::AgentClosed { link });
        }
    }

    fn send_framework(&mut self, id: StreamId, event: FrameworkEvent) {
        if id == builtin::STREAM {
            return self.builtin_hears(event);
        }
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let public = event::public(event, stream.refined, || {
            self.about.master_info(self.master.id())
        });
        if !stream
            .sender
            .push(event::record(&public, stream.sender.format))
        {
            tracing::warn!(
                "cut stream {} of a framework: it is gone or reads too slowly",
                id.0
            );
            stream.sender.cut();
            self.streams.remove(&id);
            self.step(Event::StreamClosed { stream: id });
        }
    }
}
