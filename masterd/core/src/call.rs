//! Scheduler calls as the core sees them, who carries each out, and why one is refused before it becomes an event.
//!
//! Not the protobuf: the daemon has parsed and syntactically validated it. What needs the master's state (does the task
//! fit the offer?) is judged here by the core and answered by status updates, never by HTTP status.

use std::collections::BTreeMap;

use nesos_wire::command::FrameworkFacts;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::MasterToAgent;
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{Command, Reason};
use nesos_wire::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId, Uuid};

use crate::master::Master;
use crate::operation::change::Change;

use crate::constraints::Constraints;

/// A call of a subscribed framework.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Use offers.
    Accept {
        /// All of one agent and one role.
        offers: Vec<OfferId>,
        /// In order; without any the offers are declined.
        operations: Vec<Operation>,
        /// How long not to offer the unused rest again, seconds; none: 5.
        refuse_seconds: Option<f64>,
    },
    /// Give offers back.
    Decline {
        /// Unknown ones are ignored.
        offers: Vec<OfferId>,
        /// How long not to offer the same again, seconds; none, negative or NaN: 5; at most 365 days.
        refuse_seconds: Option<f64>,
    },
    /// Say whether the framework will leave agents that will be maintained.
    AnswerInverseOffers {
        /// Unknown ones are ignored.
        offers: Vec<OfferId>,
        /// It will.
        accepts: bool,
        /// How long not to ask again, as in `Decline`.
        refuse_seconds: Option<f64>,
    },
    /// Forget the filters of these roles and offer again.
    Revive {
        /// Empty: all.
        roles: Vec<String>,
    },
    /// Send no offers for these roles until REVIVE.
    Suppress {
        /// Empty: all.
        roles: Vec<String>,
    },
    /// An update arrived and need not be sent again.
    Acknowledge {
        /// The status's agent.
        agent: AgentId,
        /// The status's task.
        task: TaskId,
        /// The status's uuid.
        uuid: Uuid,
    },
    /// End a task.
    Kill {
        /// Which.
        task: TaskId,
        /// If given and not the task's, the call is ignored.
        agent: Option<AgentId>,
        /// Overrides the task's grace period, milliseconds.
        grace_ms: Option<u32>,
    },
    /// Send the state of tasks.
    Reconcile {
        /// Empty: of all.
        tasks: Vec<ReconcileTask>,
    },
    /// An operation's end arrived and need not be sent again.
    AcknowledgeOperation {
        /// The status's agent.
        agent: AgentId,
        /// The framework's name for the operation.
        id: String,
        /// The status's uuid.
        uuid: Uuid,
    },
    /// Send the state of operations.
    ReconcileOperations(Vec<ReconcileOperation>),
    /// Wishes for resources, which no allocator goes by.
    Request,
    /// The framework is another one from now on. Ask [`Master::check_update`](crate::Master::check_update) first.
    UpdateFramework(Box<FrameworkUpdate>),
    /// The framework ends: all its tasks are killed.
    Teardown,
    /// To an executor, best effort.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// Content, unopened.
        data: Vec<u8>,
    },
    /// Ask an executor to end, best effort.
    ShutDownExecutor {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
    },
}

/// What to do with accepted offers.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Run tasks.
    Launch(Vec<LaunchTask>),
    /// Run all of these with one executor, or none.
    LaunchGroup {
        /// The executor.
        executor: Box<LaunchExecutor>,
        /// The tasks; none names an executor of its own.
        tasks: Vec<LaunchTask>,
    },
    /// Change resources.
    Convert(Box<Convert>),
    /// An operation that this master does not know, or that is wrong as a whole: it fails, the resources stay. The tasks, if
    /// it had any, get TASK_ERROR with this reason and sentence.
    Unsupported {
        /// Task ids in the operation, with the agent each one names.
        tasks: Vec<(TaskId, AgentId)>,
        /// Of the status.
        code: Reason,
        /// Why, for the status message.
        reason: String,
    },
}

/// RESERVE, CREATE or one of their likes, taken out of its protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct Convert {
    /// The framework's name for it; with one it is told what becomes of it.
    pub id: Option<String>,
    /// Role in its resources' `allocation_info`, if any is given; must be the offers'.
    pub role: Option<String>,
    /// What it wants.
    pub change: Change,
    /// Protobuf of the `Offer.Operation`.
    pub info: Vec<u8>,
    /// The daemon's validation of the protobuf found this wrong.
    pub invalid: Option<String>,
}

/// A `TaskInfo`, taken out of its protobuf. The core adds attempt, role, executor id and the framework's properties.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchTask {
    /// Its id.
    pub task: TaskId,
    /// The agent it names; must be the offers'.
    pub agent: AgentId,
    /// Display name.
    pub name: String,
    /// The executor that the framework brings; none: a command task, whose executor id is its task id.
    pub executor: Option<Box<LaunchExecutor>>,
    /// Role in its resources' `allocation_info`, if any is given; must be the offers'.
    pub role: Option<String>,
    /// What it uses.
    pub resources: Resources,
    /// Limits above the request; `None` inside: infinite.
    pub limits: BTreeMap<String, Option<Scalar>>,
    /// What to run.
    pub command: Command,
    /// SIGTERM to SIGKILL, milliseconds.
    pub kill_grace_ms: u32,
    /// How the agent is to check it.
    pub checks: Option<Box<nesos_wire::check::Checks>>,
    /// Protobuf of the `TaskInfo`.
    pub info: Vec<u8>,
    /// The daemon's validation of the protobuf found this wrong: the task gets TASK_ERROR with this sentence.
    pub invalid: Option<String>,
}

/// An `ExecutorInfo`, taken out of its protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchExecutor {
    /// Its id.
    pub executor: ExecutorId,
    /// Custom or default.
    pub kind: ExecutorKind,
    /// Display name; may be empty.
    pub name: String,
    /// Where it comes from, in the framework's words; may be empty.
    pub source: String,
    /// Role in its resources' `allocation_info`, if any is given; must be the offers'.
    pub role: Option<String>,
    /// What it holds beside its tasks; may be nothing.
    pub resources: Resources,
    /// What to start.
    pub command: Command,
    /// From SHUTDOWN to SIGKILL, milliseconds; none: as the agent is configured.
    pub shutdown_grace_ms: Option<u32>,
    /// Protobuf of the `ExecutorInfo` with framework id and type, without allocation: equal bytes mean the same executor.
    pub info: Vec<u8>,
    /// The daemon's validation of the protobuf found this wrong.
    pub invalid: Option<String>,
}

/// What UPDATE_FRAMEWORK replaces.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameworkUpdate {
    /// What the core goes by.
    pub facts: FrameworkFacts,
    /// Protobuf of `FrameworkInfo` with its id set.
    pub info: Vec<u8>,
    /// Roles that want no offers from now on; all others want them.
    pub suppressed_roles: Vec<String>,
    /// As in [`Subscribe`](crate::Subscribe).
    pub min_allocatable: BTreeMap<String, Vec<Resources>>,
    /// From which agents it wants offers.
    pub constraints: Constraints,
}

/// One task of an explicit RECONCILE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileTask {
    /// Which.
    pub task: TaskId,
    /// Where the framework believes it to be.
    pub agent: Option<AgentId>,
}

/// One operation of RECONCILE_OPERATIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileOperation {
    /// The framework's name for it.
    pub id: String,
    /// Where the framework believes it to be.
    pub agent: Option<AgentId>,
}

/// Why a call is answered with an error status instead of 202; in the order in which Mesos checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// 400.
    #[error("Framework cannot be found")]
    UnknownFramework,
    /// 400.
    #[error("Authenticated principal does not match the framework's principal")]
    WrongPrincipal,
    /// 403.
    #[error("Framework is not subscribed")]
    NotSubscribed,
    /// 400.
    #[error("All non-subscribe calls should include the 'Mesos-Stream-Id' header")]
    MissingStreamId,
    /// 400.
    #[error(
        "The stream ID included in this request didn't match the stream ID currently associated with the framework"
    )]
    WrongStreamId,
    /// 400. UPDATE_FRAMEWORK asks for what cannot be.
    #[error("Not a valid framework update: {0}")]
    InvalidUpdate(String),
}

impl Master {
    pub(crate) fn call(&mut self, framework: &FrameworkId, call: Call) {
        self.note_call(framework, call.name());
        match call {
            Call::Accept {
                offers,
                operations,
                refuse_seconds,
            } => {
                self.accept(framework, &offers, operations, refuse_seconds);
            }
            Call::Decline {
                offers,
                refuse_seconds,
            } => self.decline(framework, &offers, refuse_seconds),
            Call::AnswerInverseOffers {
                offers,
                accepts,
                refuse_seconds,
            } => self.answer_inverse_offers(framework, &offers, accepts, refuse_seconds),
            Call::Revive { roles } => self.revive(framework, roles),
            Call::Suppress { roles } => self.suppress(framework, roles),
            Call::Acknowledge { agent, task, uuid } => {
                self.acknowledge(framework, &agent, task, uuid)
            }
            Call::Kill {
                task,
                agent,
                grace_ms,
            } => self.kill(framework, task, agent, grace_ms),
            Call::Reconcile { tasks } => self.reconcile(framework, tasks),
            Call::AcknowledgeOperation { agent, id, uuid } => {
                self.acknowledge_operation(framework, &agent, &id, uuid);
            }
            Call::ReconcileOperations(asked) => self.reconcile_operations(framework, asked),
            Call::Request => self.metrics.messages_resource_request += 1,
            Call::UpdateFramework(update) => self.update_framework(framework, *update),
            Call::Teardown => {
                self.metrics.messages_unregister_framework += 1;
                self.remove_framework(framework);
            }
            Call::Message {
                agent,
                executor,
                data,
            } => {
                self.metrics.messages_framework_to_executor += 1;
                let message = MasterToAgent::FrameworkMessage {
                    framework: framework.clone(),
                    executor,
                    data,
                };
                if self.send_agent(&agent, message) {
                    self.metrics.valid_framework_to_executor_messages += 1;
                } else {
                    self.metrics.invalid_framework_to_executor_messages += 1;
                }
            }
            Call::ShutDownExecutor { agent, executor } => {
                self.shut_executor_down(framework, &agent, executor);
            }
        }
    }
}

impl CallRefusal {
    /// The HTTP status that Mesos answers with.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NotSubscribed => 403,
            Self::UnknownFramework
            | Self::WrongPrincipal
            | Self::MissingStreamId
            | Self::WrongStreamId
            | Self::InvalidUpdate(_) => 400,
        }
    }
}
