//! The names of the crate `protobuf` that the crate `raft` uses, so that neither a protobuf library nor its compiler is needed.
//!
//! Called by `raft` and implemented by our `raft-proto` for its messages, in postcard. Not protobuf: what these functions
//! write is read by Nesos only. Invariant: a message that was written is read back equal.

use std::fmt;

/// A message could not be read or written.
#[derive(Debug)]
pub struct ProtobufError(pub postcard::Error);

impl fmt::Display for ProtobufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of the raft log: {}", self.0)
    }
}

impl std::error::Error for ProtobufError {}

/// What raft does with messages itself, beside their fields.
pub trait Message: Sized {
    /// About how many bytes the message has when it is written; raft bounds what it sends by the sum.
    fn compute_size(&self) -> u32;

    /// The message as bytes.
    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError>;

    /// The message becomes the one that these bytes are. No bytes are the default, as in protobuf: raft leaves a joint
    /// configuration with an empty change.
    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError>;
}
