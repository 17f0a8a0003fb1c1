//! Identifiers as types, so that an agent id cannot be passed where a task id is meant.
//!
//! Not a registry: uniqueness is the business of whoever allots an id. Invariant: a value made by `parse` obeys Mesos's
//! id grammar (non-empty, at most 255 bytes, not `.` or `..`, no control characters, no `/` or `\`). Clones share memory, and an
//! id is one word: a master has millions of them.

use core::fmt;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

/// Longest id in bytes (Mesos: an id becomes a directory name, and NAME_MAX is 255).
pub const MAX_ID_LEN: usize = 255;

/// Why a text is not an id. Says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{kind} must not be empty")]
    Empty { kind: &'static str },
    /// The text has more than [`MAX_ID_LEN`] bytes.
    #[error("{kind} has {len} bytes, at most {MAX_ID_LEN} are allowed")]
    TooLong { kind: &'static str, len: usize },
    /// The text is `.` or `..`.
    #[error("{kind} must not be '.' or '..'")]
    Dots { kind: &'static str },
    /// The text holds a character that cannot stand in a path component.
    #[error("{kind} contains the forbidden character {character:?}")]
    Character { kind: &'static str, character: char },
}

fn validate(kind: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > MAX_ID_LEN {
        return Err(IdError::TooLong {
            kind,
            len: text.len(),
        });
    }
    if text == "." || text == ".." {
        return Err(IdError::Dots { kind });
    }
    match text
        .chars()
        .find(|c| c.is_control() || *c == '/' || *c == '\\')
    {
        Some(character) => Err(IdError::Character { kind, character }),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ArcStr);

        impl $name {
            /// Checks `text` against Mesos's id grammar.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                validate(stringify!($name), text)?;
                Ok(Self(text.into()))
            }

            /// Wraps a text that is known to obey the grammar (made by Nesos itself).
            pub fn new(text: impl Into<ArcStr>) -> Self {
                Self(text.into())
            }

            /// The text, not copied: for an id of another kind that reads the same.
            pub fn to_shared(&self) -> ArcStr {
                ArcStr::clone(&self.0)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// One master process's life: prefix of the ids it allots (`<master>-S1`, `<master>-0001`, `<master>-O1`).
    MasterId
    /// A board's identity, stable over reboots and re-flashing: derived from its silicon.
    NodeId
    /// A board as frameworks see it; allotted once per [`NodeId`] and kept in the registry.
    AgentId
    /// A framework.
    FrameworkId
    /// A task; unique within its framework.
    TaskId
    /// An executor; unique within its framework and agent.
    ExecutorId
    /// An offer.
    OfferId
    /// A container on one agent: one run of one executor.
    ContainerId
    /// A persistent volume; unique per agent and role.
    PersistenceId
}

/// A task's full name: task ids are unique only within their framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey {
    /// The owner.
    pub framework: FrameworkId,
    /// The framework's name for the task.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

/// An executor's full name on its agent: executor ids are unique only within their framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutorKey {
    /// The owner.
    pub framework: FrameworkId,
    /// The framework's name for the executor.
    pub executor: ExecutorId,
}

impl fmt::Display for ExecutorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.executor)
    }
}

/// Which launch of a task id this is: task ids may be used again after a terminal state.
///
/// Made by the master from its start count (high 32 bits) and a counter, so later launches have greater numbers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Attempt(pub u64);

/// A status update's identity: 16 bytes, a version 4 UUID for those that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Sets the version and variant bits of RFC 9562 version 4 on 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn grammar_is_mesoss() {
        assert!(TaskId::parse("a:b.c d").is_ok());
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb"] {
            assert!(TaskId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TaskId::parse(&"x".repeat(255)).is_ok());
        assert!(TaskId::parse(&"x".repeat(256)).is_err());
    }

    #[test]
    fn uuid_prints_as_rfc_9562() {
        let uuid = Uuid::from_random([0xff; 16]);
        assert_eq!(uuid.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
