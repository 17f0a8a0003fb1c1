//! A master while it leads: events in, `Ready`s obeyed.
//!
//! Made and dropped by the loop (`run`) as the leadership comes and goes; agents, frameworks and operators that were with it
//! are cut off with it. Invariant: nothing of a `Ready` leaves before its commands, and those of all earlier ones, are
//! applied by the group, which is after they are durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use masterd_core::builtin::{Moment, Told};
use masterd_core::{
    Answer, Call, CallRefusal, Event, LinkId, Master, Ready, RequestId, StreamId, Subscribe,
};
use nesos_api::v1;
use nesos_base::time::Instant;
use nesos_shell::clock::Clock;
use tokio::sync::oneshot;

use super::asked::{Asked, Question};
use super::builtin::Host;
use super::run::Shared;
use super::watchers::Watchers;
use super::{Input, Operation, Request, StreamSender, Times, log};
use crate::about::About;
use crate::convert::subscribe::Subscription;
use crate::link::Outbox;
use crate::replica::Replica;

/// Capability of frameworks that know reservations as a stack.
const REFINED: &str = "RESERVATION_REFINEMENT";
/// Readys that wait to be agreed on; more only says that the disk or the others cannot keep up.
const MAX_HELD: usize = 1024;

/// Owner of the master and all outgoing queues.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) master: Master,
    /// Of the leadership.
    term: u64,
    pub(super) clock: Clock,
    pub(super) about: About,
    pub(super) links: BTreeMap<LinkId, Outbox>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) watchers: Watchers,
    pub(super) waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    pub(super) host: Host,
    held: VecDeque<Held>,
    /// How many Readys were held and are carried out.
    carried_out: u64,
    asked: Asked,
    deadline: Option<Instant>,
    times: Arc<Times>,
    /// When the oldest event came that the master has not answered.
    since: Option<std::time::Instant>,
    /// Other masters' addresses, as agents were told last.
    pub(super) masters: Vec<String>,
}

/// A Ready that waits.
#[derive(Debug)]
struct Held {
    ready: Ready,
    /// By the built-in schedulers.
    told: Vec<Told>,
    begin: std::time::Instant,
    /// Where its commands stand in the log; `None`: they are not proposed yet.
    place: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) sender: StreamSender,
    /// The framework has RESERVATION_REFINEMENT.
    pub(super) refined: bool,
}

impl Lead {
    /// A master that begins to lead in this term with the group's registry.
    pub(super) fn new(
        config: masterd_core::Config,
        replica: &Replica,
        term: u64,
        clock: Clock,
        about: About,
        shared: Shared,
    ) -> Self {
        let registry = replica.registry().clone();
        let mut watchers = Watchers::new(shared.max_watchers);
        watchers.count_in(&shared.watching);
        let (now, wall) = (clock.now(), Clock::wall());
        let master = Master::new(config, registry, now, wall);
        let host = Host::new(master.registry(), Moment::new(now, wall));
        Self {
            master,
            host,
            term,
            clock,
            about,
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            watchers,
            waiting: BTreeMap::new(),
            next_request: 0,
            held: VecDeque::new(),
            carried_out: 0,
            asked: Asked::default(),
            deadline: None,
            times: shared.times,
            since: None,
            masters: Vec::new(),
        }
    }

    /// In which term it leads.
    pub(super) fn term(&self) -> u64 {
        self.term
    }

    /// Answers a question about the master as it is now, once that is the group's. Nothing is agreed on while the disk of a
    /// master alone refuses; then people want to know all the more what there is.
    pub(super) fn ask(&mut self, question: Question, replica: &mut Replica) {
        let deliver = question(&self.master);
        let after = self.carried_out + self.held.len() as u64;
        self.asked.keep(after, replica.confirm(), deliver);
    }

    /// Whether no further question is to be taken in for the moment.
    pub(super) fn is_asked_enough(&self) -> bool {
        self.asked.is_full()
    }

    /// Whether all that was wanted is carried out.
    pub(super) fn is_settled(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether no further event is to be taken in for the moment.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= MAX_HELD
    }

    /// When [`tick`](Self::tick) is due at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = [
            self.deadline,
            self.watchers.heartbeat_at(),
            self.host.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        self.step(Event::Tick);
        self.watchers.beat(self.clock.now());
        self.master.watch(self.watchers.are_there());
    }

    /// The first event of a batch has come.
    pub(super) fn begin_batch(&mut self) {
        self.since = Some(std::time::Instant::now());
    }

    pub(super) fn step(&mut self, event: Event) {
        self.master.step(event, self.clock.now(), Clock::wall());
    }

    /// Takes in an event.
    pub(super) fn take(&mut self, input: Input, replica: &mut Replica) {
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
                self.settle(replica);
                let now = self.clock.now();
                let show = self.watchers.add(&self.master, stream, sender, first, now);
                self.ask(Box::new(|_| show), replica);
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
            Input::Operate(Operation(operate)) => self.operate(operate, replica),
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

    /// Carries out what the core wants, as far as the group has agreed on it.
    pub(super) fn settle(&mut self, replica: &mut Replica) {
        loop {
            let told = self.pump();
            let ready = self.times.ready(&mut self.master, self.since.take());
            self.deadline = ready.deadline;
            let is_idle = ready.is_idle() && told.is_empty();
            if !is_idle {
                self.held.push_back(Held {
                    ready,
                    told,
                    begin: std::time::Instant::now(),
                    place: None,
                });
            }
            self.propose(replica);
            if !self.carry_out_agreed(replica) && is_idle {
                break;
            }
        }
    }

    /// Answers questions whose answers are the group's by now.
    pub(super) fn answer(&mut self, replica: &Replica) {
        match replica.is_refused() && replica.is_alone() {
            false => self.asked.deliver(self.carried_out, replica.confirmed()),
            true => self.asked.deliver(u64::MAX, u64::MAX),
        }
    }

    /// Proposes what is not, in order; the rest later, if raft has enough for now.
    fn propose(&mut self, replica: &mut Replica) {
        let mut place = replica.applied();
        for held in &mut self.held {
            place = match held.place {
                Some(place) => place,
                None if held.ready.commands.is_empty() => place,
                None => match replica.propose(&held.ready.commands) {
                    Ok(place) => place,
                    Err(_) => return,
                },
            };
            held.place = Some(place);
        }
    }

    /// Whether anything was carried out.
    fn carry_out_agreed(&mut self, replica: &Replica) -> bool {
        let mut has_any = false;
        while let Some(held) = self.held.front()
            && held.place.is_some_and(|place| place <= replica.applied())
            && let Some(held) = self.held.pop_front()
        {
            has_any = true;
            self.carried_out += 1;
            if !held.ready.commands.is_empty() {
                self.times.store.note(held.begin.elapsed());
                held.ready.commands.iter().for_each(log::command);
            }
            self.host.tell(held.told);
            self.carry_out(held.ready);
        }
        let waiting = self.held.iter().map(|held| held.ready.commands.len());
        self.times.registry(waiting.sum(), replica.size());
        has_any
    }
}
