//! Why a message could not be read.
//!
//! Not about HTTP: the daemons turn this into a status code and the text of its body. Made by `json` and `protobuf`.
//! Invariant: the text names the field by its full path, so that a framework's author finds it.

use crate::message::{Field, Label};
use std::fmt::Write as _;

/// Bound of the text that a decoder accepts, in bytes: far above any sensible call, far below a small board's memory.
pub const MAX_ENCODED_BYTES: usize = 16 << 20;

/// Bound of the memory that one decoded message may take, in bytes. Two bytes of input can ask for a struct of a
/// kilobyte, so the input's size alone bounds nothing.
pub const MAX_DECODED_BYTES: usize = 32 << 20;

/// Bound of nested messages in protobuf, as in Google's reader. (JSON: 127, kept by `serde_json`.)
pub const MAX_DEPTH: usize = 100;

/// Bound of the missing fields that one error names.
const MAX_NAMED: usize = 8;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no JSON, or not an object.
    #[error("{0}")]
    Json(String),
    /// The bytes are no protobuf message.
    #[error("malformed protobuf in {path}: {reason}")]
    Protobuf {
        /// Where, as in `accept.operations[0]`; `message` for the outermost.
        path: String,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A field's value does not fit.
    #[error("{path}: {reason}")]
    Field {
        /// Which field, as in `accept.operations[0].type`.
        path: String,
        /// Why it does not fit.
        reason: String,
    },
    /// Required fields are missing; the text names the first few.
    #[error("{0}: required field is missing")]
    Missing(String),
    /// The message exceeds [`MAX_ENCODED_BYTES`] or [`MAX_DECODED_BYTES`].
    #[error("message is too large: more than {limit} bytes {what}")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
        /// What was counted.
        what: &'static str,
    },
}

/// What both readers keep while they go down into a message.
#[derive(Debug)]
pub(crate) struct Reading {
    path: Vec<Step>,
    missing: Vec<String>,
    budget: usize,
}

/// One step of a path.
#[derive(Debug)]
pub(crate) enum Step {
    Field(&'static str),
    Index(usize),
    Key(String),
}

impl Reading {
    /// A new reader of `input` bytes.
    pub(crate) fn new(input: usize) -> Result<Self, Error> {
        if input > MAX_ENCODED_BYTES {
            return Err(Error::TooLarge {
                limit: MAX_ENCODED_BYTES,
                what: "of text",
            });
        }
        Ok(Self {
            path: Vec::new(),
            missing: Vec::new(),
            budget: MAX_DECODED_BYTES,
        })
    }

    pub(crate) fn enter(&mut self, step: Step) {
        self.path.push(step);
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// Counts memory that the message is about to take.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        match self.budget.checked_sub(bytes) {
            Some(rest) => self.budget = rest,
            None => {
                return Err(Error::TooLarge {
                    limit: MAX_DECODED_BYTES,
                    what: "when decoded",
                });
            }
        }
        Ok(())
    }

    /// Notes the required fields of the current message that are not in `seen`, which has one bit per field.
    pub(crate) fn missing(&mut self, fields: &[Field], seen: u128) {
        for (index, field) in fields.iter().enumerate() {
            let absent = field.label == Label::Required && seen & (1 << index) == 0;
            if absent && self.missing.len() < MAX_NAMED {
                self.path.push(Step::Field(field.name));
                let path = self.path();
                self.path.pop();
                self.missing.push(path);
            }
        }
    }

    /// The current place, as in `accept.operations[0].type`.
    pub(crate) fn path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            // Writing to a String does not fail.
            let _ = match step {
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) => write!(text, "[{key:?}]"),
            };
        }
        text
    }

    pub(crate) fn field_error(&self, reason: impl Into<String>) -> Error {
        Error::Field {
            path: self.path(),
            reason: reason.into(),
        }
    }

    /// The end: fails if a required field was missing anywhere.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.missing.is_empty() {
            Ok(())
        } else {
            Err(Error::Missing(self.missing.join(", ")))
        }
    }
}
