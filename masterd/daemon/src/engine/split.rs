//! Messages that are too large for one frame.
//!
//! Called by the loop for whatever it sends to agents. Only launches can be: one ACCEPT may hold any number of tasks.

use nesos_wire::frame::FrameError;
use nesos_wire::message::MasterToAgent;

use crate::link::{Outbox, OutboxError};

/// Sends a launch of many large tasks in as many messages as it takes: one ACCEPT may hold more than fits a frame.
pub(super) fn push_split(outbox: &Outbox, message: &MasterToAgent) -> Result<(), OutboxError> {
    match (outbox.push(message), message) {
        (Err(OutboxError::Frame(FrameError::TooLarge { .. })), MasterToAgent::Launch { tasks })
            if tasks.len() > 1 =>
        {
            let (first, second) = tasks.split_at(tasks.len() / 2);
            push_split(
                outbox,
                &MasterToAgent::Launch {
                    tasks: first.to_vec(),
                },
            )?;
            push_split(
                outbox,
                &MasterToAgent::Launch {
                    tasks: second.to_vec(),
                },
            )
        }
        (result, _) => result,
    }
}
