//! The way to the master: a bounded mailbox for events, another for questions about its state.
//!
//! Not the loop itself (`run`). Called by links and HTTP handlers; a full mailbox makes them wait, and with them their
//! peers. Invariant: whoever asks gets an answer or `None` when masterd is stopping, never silence.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use masterd_core::builtin::{Builtin, Moment, Told};
use masterd_core::{Answer, Call, CallRefusal, LinkId, Master, Order, StreamId};
use nesos_wire::message::{AgentToMaster, Hello};
use nesos_wire::{AgentId, FrameworkId, TaskKey, Uuid};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::callbacks::Callbacks;
use crate::convert::subscribe::Subscription;
use crate::link::Outbox;
use crate::replica::{Replica, Standing};

mod asked;
mod builtin;
mod lead;
mod log;
mod outgoing;
mod run;
mod split;
mod stream;
mod times;
mod watchers;

use asked::Question;
use builtin::{Look, Operate};
pub(crate) use run::Runner;
pub(crate) use stream::{StreamBody, StreamSender, channel as stream_channel};
pub(crate) use times::Times;
pub(crate) use watchers::Watching;

/// Events waiting for the master: a second's worth of a busy cluster; more would only hide that it cannot keep up.
const MAX_INPUTS: usize = 1024;
/// Questions waiting: each holds up an HTTP connection, of which there are not many more.
const MAX_QUERIES: usize = 64;

/// A question, answered between two events.
enum Query {
    /// About the state of the master, if this one leads.
    Master(Question),
    /// About the built-in schedulers, if this master leads.
    Look(Look),
    /// To hear what they tell from now on.
    Listen(oneshot::Sender<broadcast::Receiver<Arc<Told>>>),
    /// About this master's part in the group, or an operator's wish about it.
    Replica(Box<dyn FnOnce(&mut Replica) + Send>),
}

/// An event on its way into a full mailbox.
pub(crate) type Sending = Pin<Box<dyn Future<Output = bool> + Send>>;

/// An event together with what its answer needs.
#[derive(Debug)]
pub(crate) enum Input {
    /// An agent said hello on a new link.
    Hello {
        /// Which link.
        link: LinkId,
        /// What it said.
        hello: Box<Hello>,
        /// Where answers go.
        outbox: Outbox,
    },
    /// A later message.
    Message {
        /// Which link.
        link: LinkId,
        /// What it said.
        message: AgentToMaster,
    },
    /// The link is gone.
    Closed(LinkId),
    /// A scheduler subscribes.
    Subscribe {
        /// Its new stream.
        stream: StreamId,
        /// What it said.
        subscription: Box<Subscription>,
        /// Where events go.
        sender: StreamSender,
    },
    /// An operator watches.
    Watch {
        /// The new stream.
        stream: StreamId,
        /// Where events go.
        sender: StreamSender,
        /// Where the state goes that they start from.
        first: oneshot::Sender<Bytes>,
    },
    /// The stream is gone.
    StreamClosed(StreamId),
    /// Another scheduler call.
    Call {
        /// Who.
        framework: FrameworkId,
        /// The header.
        stream: Option<StreamId>,
        /// The authenticated principal.
        principal: Option<String>,
        /// What.
        call: Call,
        /// Whether it was taken.
        reply: oneshot::Sender<Result<(), CallRefusal>>,
    },
    /// An operator's request.
    Operator {
        /// What.
        request: Request,
        /// Its answer.
        reply: oneshot::Sender<Answer>,
    },
    /// An operator changes services or jobs.
    Operate(Operation),
}

/// A change of what the built-in schedulers do.
pub(crate) struct Operation(Operate);

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operation")
    }
}

/// What operators ask for.
#[derive(Debug)]
pub(crate) enum Request {
    /// End a framework.
    Teardown(FrameworkId),
    /// End a task.
    Kill {
        /// Which.
        key: TaskKey,
        /// Milliseconds.
        grace_ms: Option<u32>,
    },
    /// Read a file of a sandbox.
    ReadFile {
        /// Whose.
        key: TaskKey,
        /// Relative to the sandbox.
        path: String,
        /// First byte.
        offset: u64,
        /// At most this many.
        length: u32,
    },
    /// Have an agent dial once more.
    CallBack {
        /// Which.
        agent: AgentId,
        /// What its connection is to begin with.
        token: Uuid,
    },
    /// Change something for longer.
    Order(Order),
}

/// The way to the master.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    inputs: mpsc::Sender<Input>,
    queries: mpsc::Sender<Query>,
    /// Counts of those who watch.
    pub(crate) watching: Arc<Watching>,
    /// How long its work takes.
    pub(crate) times: Arc<Times>,
    /// Connections that agents were asked for.
    pub(crate) callbacks: Arc<Callbacks>,
    standing: watch::Receiver<Standing>,
}

/// The receiving ends, for [`Runner`].
#[derive(Debug)]
pub(crate) struct Mailbox {
    inputs: mpsc::Receiver<Input>,
    queries: mpsc::Receiver<Query>,
    watching: Arc<Watching>,
    times: Arc<Times>,
    standing: watch::Sender<Standing>,
}

impl Engine {
    /// A mailbox and the way to it.
    pub(crate) fn new() -> (Self, Mailbox) {
        let (inputs, input_receiver) = mpsc::channel(MAX_INPUTS);
        let (queries, query_receiver) = mpsc::channel(MAX_QUERIES);
        let watching = Arc::new(Watching::default());
        let times = Arc::new(Times::default());
        let (tell, standing) = watch::channel(Standing::Follows { leader: None });
        (
            Self {
                inputs,
                queries,
                watching: Arc::clone(&watching),
                times: Arc::clone(&times),
                callbacks: Arc::default(),
                standing,
            },
            Mailbox {
                inputs: input_receiver,
                queries: query_receiver,
                watching,
                times,
                standing: tell,
            },
        )
    }

    /// Whether this master leads, or who does.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// To be woken when that changes.
    pub(crate) fn follow_standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Hands an event in; waits while the mailbox is full. `false`: masterd is stopping.
    pub(crate) async fn send(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }

    /// Hands an event in at once if there is room. `Err`: what to wait for, which says the same as [`send`](Self::send).
    pub(crate) fn send_now(&self, input: Input) -> Result<bool, Sending> {
        match self.inputs.try_send(input) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Full(input)) => {
                let inputs = self.inputs.clone();
                Err(Box::pin(async move { inputs.send(input).await.is_ok() }))
            }
        }
    }

    /// Events and questions that wait now.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let events = self.inputs.max_capacity() - self.inputs.capacity();
        let questions = self.queries.max_capacity() - self.queries.capacity();
        (events, questions)
    }

    /// Reads from the master's state; what is read is agreed on when this returns, and not older than the question. `None`: this
    /// master does not lead, or is stopping.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Master) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let query: Question = Box::new(move |master| {
            let answer = question(master);
            // The asker may have given up meanwhile; that is its own affair.
            Box::new(move || drop(reply.send(answer)))
        });
        self.queries.send(Query::Master(query)).await.ok()?;
        answer.await.ok()
    }

    /// Reads from the state of the built-in schedulers, as [`query`](Self::query) does from the master's.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Builtin, &Master, Moment) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |builtin, master, moment| {
            let answer = question(builtin, master, moment);
            Box::new(move || drop(reply.send(answer)))
        });
        self.queries.send(Query::Look(look)).await.ok()?;
        answer.await.ok()
    }

    /// Changes what the built-in schedulers do; what is answered is agreed on. `None`: this master does not lead, or is stopping.
    pub(crate) async fn operate<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Builtin, Moment) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let operate: Operate = Box::new(move |builtin, moment| {
            let answer = change(builtin, moment);
            Box::new(move || drop(reply.send(answer)))
        });
        let input = Input::Operate(Operation(operate));
        self.inputs.send(input).await.ok()?;
        answer.await.ok()
    }

    /// To hear what the built-in schedulers tell; it ends with the leadership. `None`: this master does not lead, or is stopping.
    pub(crate) async fn listen(&self) -> Option<broadcast::Receiver<Arc<Told>>> {
        let (reply, answer) = oneshot::channel();
        self.queries.send(Query::Listen(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Asks or tells this master's part in the group. `None`: it is stopping.
    pub(crate) async fn replica<T: Send + 'static>(
        &self,
        wish: impl FnOnce(&mut Replica) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let query = Box::new(move |replica: &mut Replica| drop(reply.send(wish(replica))));
        self.queries.send(Query::Replica(query)).await.ok()?;
        answer.await.ok()
    }

    /// Makes a scheduler call.
    pub(crate) async fn call(
        &self,
        framework: FrameworkId,
        stream: Option<StreamId>,
        principal: Option<String>,
        call: Call,
    ) -> Option<Result<(), CallRefusal>> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Call {
                framework,
                stream,
                principal,
                call,
                reply,
            })
            .await
            .ok()?;
        answer.await.ok()
    }

    /// Makes an operator's request.
    pub(crate) async fn operator(&self, request: Request) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Operator { request, reply })
            .await
            .ok()?;
        answer.await.ok()
    }

    /// Says that a stream is gone, from where one cannot wait (a destructor).
    fn stream_closed(&self, stream: StreamId) {
        if let Err(mpsc::error::TrySendError::Full(input)) =
            self.inputs.try_send(Input::StreamClosed(stream))
        {
            let inputs = self.inputs.clone();
            tokio::spawn(async move { inputs.send(input).await });
        }
    }
}
