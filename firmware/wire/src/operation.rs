//! Operations on resources as master and agent speak of them: RESERVE, CREATE and their likes, each boiled down to what it
//! takes and what it makes of it.
//!
//! Not the public `Offer.Operation`: its protobuf bytes travel unopened in [`OperationSpec::info`]. Called by the cores.
//! Invariant: whoever applies an operation needs to know nothing but [`OperationSpec::consumed`] and
//! [`OperationSpec::converted`].

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::id::{FrameworkId, Uuid};
use crate::resource::Resources;

/// Which operation it is, for those who show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The names are Mesos's; mesos.proto documents them.
pub enum OperationKind {
    Reserve,
    Unreserve,
    Create,
    Destroy,
    GrowVolume,
    ShrinkVolume,
}

/// How far an operation is; the discriminants are Mesos's `OperationState` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum OperationState {
    Pending = 1,
    Finished = 2,
    Failed = 3,
    Error = 4,
    Dropped = 5,
    Unreachable = 6,
    GoneByOperator = 7,
    Recovering = 8,
    Unknown = 9,
}

impl OperationState {
    /// Whether nothing more will become of it.
    pub fn is_terminal(self) -> bool {
        use OperationState::*;
        matches!(self, Finished | Failed | Error | Dropped | GoneByOperator)
    }
}

/// An operation; kept by the agent until its end has been acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationSpec {
    /// Its identity between master and agent.
    pub uuid: Uuid,
    /// Whose; `None`: an operator's.
    pub framework: Option<FrameworkId>,
    /// The framework's name for it; without one the framework wants to hear nothing.
    pub id: Option<String>,
    /// What it is.
    pub kind: OperationKind,
    /// What it takes out of the agent's resources.
    pub consumed: Resources,
    /// What it puts there instead.
    pub converted: Resources,
    /// Protobuf of the public `Offer.Operation`, for whoever shows it.
    #[serde(with = "serde_bytes")]
    pub info: Vec<u8>,
}

/// One status of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// The state.
    pub state: OperationState,
    /// A sentence for people; may be empty.
    pub message: String,
    /// Present if it must be acknowledged.
    pub uuid: Option<Uuid>,
}

/// An operation and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// The operation.
    pub spec: OperationSpec,
    /// Its newest status.
    pub status: OperationStatus,
}
