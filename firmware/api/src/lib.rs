//! The public HTTP types of Nesos: the Mesos v1 messages, each a plain struct with a JSON and a protobuf form.
//!
//! Holds data and its encodings, nothing else: no HTTP, no validation beyond what the formats demand, no state. Used by
//! masterd, agentd, the `nesos` command and tests. Invariants: no input panics or takes unbounded memory; names, numbers
//! and defaults are those of Mesos 1.11.
//!
//! * [`v1`]: the shared messages (`TaskInfo`, `Offer`, `Resource`, ...).
//! * [`scheduler`], [`executor`]: `Call` and `Event` of each API; [`operator`]: `Call`, `Response`, `Event` of master and agent.
//! * [`recordio`]: how event streams are framed.
//! * [`resources`]: from the public list of resources to the bags of `nesos-wire`, and back; [`tasks`]: the same for statuses and tasks, one way.
//! * [`legacy`]: what `/state`, `/slaves`, `/frameworks` and `/tasks` answer.
//! * [`chronos`]: definitions of jobs, and what their clients are shown.
//! * [`marathon`]: definitions of services, and what their clients are shown.
//!
//! Fields: `required` is a plain value, `optional` an `Option`, `repeated` a `Vec`, a map a `BTreeMap`. Optional fields
//! with a default in Mesos have a method of the same name that answers it. Nested names are joined
//! (`Offer.Operation.Launch` is [`v1::OfferOperationLaunch`]); enumeration values drop their common prefix
//! (`TASK_RUNNING` is [`v1::TaskState::Running`]) and print their wire name.
//!
//! ```
//! use nesos_api::scheduler::{Call, CallType, Event, EventRescind, EventType};
//! use nesos_api::v1::OfferID;
//!
//! let call = Call::from_json(br#"{"type":"DECLINE","framework_id":{"value":"f"},
//!     "decline":{"offer_ids":[{"value":"o1"}],"filters":{}}}"#)?;
//! assert_eq!(call.r#type, Some(CallType::Decline));
//! let decline = call.decline.as_ref().unwrap();
//! assert_eq!(decline.offer_ids[0].value, "o1");
//! assert_eq!(decline.filters.as_ref().unwrap().refuse_seconds(), 5.0);
//! assert_eq!(Call::from_protobuf(&call.to_protobuf())?, call);
//!
//! let event = Event {
//!     r#type: Some(EventType::Rescind),
//!     rescind: Some(EventRescind { offer_id: OfferID::from("o1") }),
//!     ..Event::default()
//! };
//! assert_eq!(event.to_json(), br#"{"type":"RESCIND","rescind":{"offer_id":{"value":"o1"}}}"#);
//!
//! let error = Call::from_json(br#"{"accept":{"operations":[{"launch":{"task_infos":[{"name":"t",
//!     "task_id":{"value":"t"}}]}}]}}"#).unwrap_err();
//! assert_eq!(error.to_string(), "accept.operations[0].launch.task_infos[0].agent_id: required field is missing");
//! # Ok::<(), nesos_api::Error>(())
//! ```

pub mod chronos;
pub mod domain;
mod error;
pub mod executor;
pub mod json;
pub mod legacy;
pub mod marathon;
pub mod message;
pub mod operations;
pub mod operator;
pub mod protobuf;
pub mod recordio;
pub mod resources;
pub mod scheduler;
pub mod tasks;
pub mod v1;

/// The Mesos release whose API this is. Digits and dots only: clients take it apart with `int()`.
pub const MESOS_VERSION: &str = "1.11.0";

/// What agents of this software can do.
pub const AGENT_CAPABILITIES: [v1::AgentInfoCapabilityType; 7] = [
    v1::AgentInfoCapabilityType::MultiRole,
    v1::AgentInfoCapabilityType::HierarchicalRole,
    v1::AgentInfoCapabilityType::ReservationRefinement,
    v1::AgentInfoCapabilityType::ResizeVolume,
    v1::AgentInfoCapabilityType::AgentOperationFeedback,
    v1::AgentInfoCapabilityType::AgentDraining,
    v1::AgentInfoCapabilityType::TaskResourceLimits,
];

pub use error::{Error, MAX_DECODED_BYTES, MAX_DEPTH, MAX_ENCODED_BYTES};
