//! The loop that owns the master: events in, `Ready`s obeyed.
//!
//! Started by `main`, runs until it is told to stop. Invariant: nothing of a `Ready` leaves before its commands are on
//! disk. When the disk refuses, no further event is taken in, what is held back is tried again, and only questions are
//! answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use masterd_core::{
    Answer, Call, CallRefusal, Event, FrameworkEvent, LinkId, Master, Ready, RequestId, StreamId,
    Subscribe,
};
use nesos_api::v1;
use nesos_base::time::Instant;
use nesos_shell::clock::Clock;
use nesos_wire::command::Command;
use nesos_wire::message::MasterToAgent;
use tokio::sync::oneshot;

use super::split::push_split;
use super::watch::Watchers;
use super::{Input, Mailbox, Request, StreamSender, Times, log};
use crate::about::About;
use crate::convert::event;
use crate::convert::subscribe::Subscription;
use crate::link::Outbox;
use crate::store::Store;

/// Most events taken in before the core's wishes are carried out: offers are made once per batch.
const BATCH: usize = 256;
/// How long to wait before a refused write is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Capability of frameworks that know reservations as a stack.
const REFINED: &str = "RESERVATION_REFINEMENT";
/// Owner of the master, the registry and all outgoing queues.
#[derive(Debug)]
pub(crate) struct Runner {
    master: Master,
    store: Store,
    clock: Clock,
    about: About,
    links: BTreeMap<LinkId, Outbox>,
    streams: BTreeMap<StreamId, Stream>,
    watchers: Watchers,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    /// Readys whose commands are not on disk yet.
    held: VecDeque<Ready>,
    deadline: Option<Instant>,
    times: Arc<Times>,
    /// When the oldest event came that the master has not answered.
    since: Option<std::time::Instant>,
}

#[derive(Debug)]
struct Stream {
    sender: StreamSender,
    /// The framework has RESERVATION_REFINEMENT.
    refined: bool,
}

impl Runner {
    /// A master that begins to lead with the store's registry.
    pub(crate) fn new(
        config: masterd_core::Config,
        store: Store,
        clock: Clock,
        about: About,
        max_watchers: usize,
    ) -> Self {
        let master = Master::new(config, store.registry().clone(), clock.now(), Clock::wall());
        Self {
            master,
            store,
            clock,
            about,
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            watchers: Watchers::new(max_watchers),
            waiting: BTreeMap::new(),
            next_request: 0,
            held: VecDeque::new(),
            deadline: None,
            times: Arc::default(),
            since: None,
        }
    }

    /// Runs until `stop` completes.
    pub(crate) async fn run(mut self, mut mailbox: Mailbox, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        self.watchers.count_in(&mailbox.watching);
        self.times = Arc::clone(&mailbox.times);
        self.times.fetch.note(self.store.fetched());
        self.settle();
        loop {
            let is_stuck = !self.held.is_empty();
            let due = [self.deadline, self.watchers.heartbeat_at()];
            let due = due.into_iter().flatten().min();
            let due = due.map(|deadline| self.clock.deadline(deadline));
            let retry = tokio::time::Instant::now() + RETRY;
            tokio::select! {
                () = &mut stop => break,
                Some(query) = mailbox.queries.recv() => query(&self.master),
                Some(input) = mailbox.inputs.recv(), if !is_stuck => {
                    self.since = Some(std::time::Instant::now());
                    self.take(input);
                    for _ in 1..BATCH {
                        let Ok(input) = mailbox.inputs.try_recv() else { break };
                        self.take(input);
                    }
                    self.settle();
                }
                () = tokio::time::sleep_until(due.unwrap_or(retry)), if !is_stuck && due.is_some() => {
                    self.step(Event::Tick);
                    self.watchers.beat(self.clock.now());
                    self.master.watch(self.watchers.are_there());
                    self.settle();
                }
                () = tokio::time::sleep_until(retry), if is_stuck => self.settle(),
            }
        }
    }

    fn step(&mut self, event: Event) {
        self.master.step(event, self.clock.now(), Clock::wall());
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Hello {
                link,
                hello,
                outbox,
            } => {
                self.links.insert(link, outbox);
                self.step(Event::AgentHello { link, hello });
            }
            Input::Message { link, message } => self.step(Event::AgentMessage { link, message }),
            Input::Closed(link) => {
                self.links.remove(&link);
                self.step(Event::AgentClosed { link });
            }
            Input::Subscribe {
                stream,
                subscription,
                sender,
            } => self.subscribe(stream, *subscription, sender),
            Input::Watch {
                stream,
                sender,
                first,
            } => {
                // What happened before is in the snapshot, so it must not come as an event too.
                self.settle();
                let now = self.clock.now();
                self.watchers.add(&self.master, stream, sender, first, now);
                self.master.watch(self.watchers.are_there());
            }
            Input::StreamClosed(stream) if self.watchers.remove(stream) => {
                self.master.watch(self.watchers.are_there());
            }
            Input::StreamClosed(stream) => {
                self.streams.remove(&stream);
                self.step(Event::StreamClosed { stream });
            }
            Input::Call {
                framework,
                stream,
                principal,
                call,
                reply,
            } => {
                let mut verdict = self
                    .master
                    .check_call(&framework, stream, principal.as_deref());
                if let (Ok(()), Call::UpdateFramework(update)) = (&verdict, &call) {
                    verdict = self.master.check_update(&framework, update);
                }
                self.note_capabilities(stream, &verdict, &call);
                if let (Ok(()), Some(stream)) = (&verdict, stream) {
                    self.step(Event::Call {
                        framework,
                        stream,
                        call,
                    });
                }
                // A caller that hung up has its call carried out all the same, as in Mesos.
                let _ = reply.send(verdict);
            }
            Input::Operator { request, reply } => self.operator(request, reply),
        }
    }

    fn operator(&mut self, request: Request, reply: oneshot::Sender<Answer>) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.waiting.insert(id, reply);
        self.step(match request {
            Request::Teardown(framework) => Event::Teardown {
                request: id,
                framework,
            },
            Request::Kill { key, grace_ms } => Event::KillTask {
                request: id,
                key,
                grace_ms,
            },
            Request::ReadFile {
                key,
                path,
                offset,
                length,
            } => Event::ReadFile {
                request: id,
                key,
                path,
                offset,
                length,
            },
            Request::CallBack { agent, token } => Event::CallBack {
                request: id,
                agent,
                token,
            },
            Request::Order(order) => Event::Order { request: id, order },
        });
    }

    /// An accepted UPDATE_FRAMEWORK may change the form of the resources that its stream shows.
    fn note_capabilities(
        &mut self,
        stream: Option<StreamId>,
        verdict: &Result<(), CallRefusal>,
        call: &Call,
    ) {
        let stream = stream.and_then(|id| self.streams.get_mut(&id));
        if let (Some(stream), Ok(()), Call::UpdateFramework(update)) = (stream, verdict, call) {
            stream.refined = update.facts.is_capable(REFINED);
        }
    }

    fn subscribe(&mut self, stream: StreamId, subscription: Subscription, sender: StreamSender) {
        let Subscription {
            framework,
            mut info,
            facts,
            suppressed_roles,
            min_allocatable,
            constraints,
        } = subscription;
        let id = framework
            .clone()
            .unwrap_or_else(|| self.master.next_framework_id());
        info.id = Some(v1::FrameworkID::from(id.as_str()));
        // The core keeps these as they were; what is shown must say the same. Of an orphan nothing is known.
        let known = self.master.framework(&id).map(|known| &known.facts);
        if let Some(known) = known.filter(|known| !known.user.is_empty()) {
            info.user.clone_from(&known.user);
            info.checkpoint = Some(known.checkpoint);
        }
        let refined = facts.is_capable(REFINED);
        self.streams.insert(stream, Stream { sender, refined });
        let info = info.to_protobuf();
        let subscribe = Subscribe {
            stream,
            framework,
            facts,
            info,
            suppressed_roles,
            min_allocatable,
            constraints,
        };
        self.step(Event::Subscribe(Box::new(subscribe)));
    }

    /// Carries out what the core wants until it wants nothing more, or the disk refuses.
    fn settle(&mut self) {
        loop {
            let ready = self.times.ready(&mut self.master, self.since.take());
            self.deadline = ready.deadline;
            if !ready.is_idle() {
                self.held.push_back(ready);
            }
            if self.held.is_empty() || !self.flush() {
                return;
            }
        }
    }

    /// Persists and carries out what is held. `false`: the disk refused.
    fn flush(&mut self) -> bool {
        let commands: Vec<Command> = self
            .held
            .iter()
            .flat_map(|ready| ready.commands.iter().cloned())
            .collect();
        let start = std::time::Instant::now();
        if let Err(error) = self.store.persist(&commands) {
            self.times.registry(commands.len(), self.store.size());
            tracing::error!(
                "{error}; no event is handled until this works, trying again every {RETRY:?}"
            );
            return false;
        }
        if !commands.is_empty() {
            self.times.store.note(start.elapsed());
            self.times.registry(0, self.store.size());
        }
        commands.iter().for_each(log::command);
        while let Some(ready) = self.held.pop_front() {
            self.carry_out(ready);
        }
        true
    }

    fn carry_out(&mut self, ready: Ready) {
        for (link, message) in ready.to_agents {
            self.send_agent(link, &message);
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
