//! ATTACH_CONTAINER_OUTPUT and ATTACH_CONTAINER_INPUT for what is no session: tasks, executors and operators' own containers
//! that are on terminals.
//!
//! Called by `mod` and `input` when the access rule was asked and no session has the id. As in Mesos there is nothing to attach
//! to in a container that was launched without a terminal.

use hyper::StatusCode;
use nesos_api::v1;
use nesos_shell::http::Refusal;
use tokio::sync::mpsc;

use super::super::Context;
use super::super::containers;
use super::asked::text;
use super::unknown;
use crate::container::terminal::{Attached, attach};
use crate::sessions::terminal::{Typist, show};
use crate::sessions::{Input, Piece};

/// What is written from now on.
pub(super) async fn listen(
    context: &Context,
    id: &v1::ContainerID,
) -> Result<mpsc::Receiver<Piece>, Refusal> {
    let attached = reach(context, id, true).await?;
    let output = attached.output.map(show).transpose();
    let output = output.map_err(|error| failed(id, &error))?;
    // `attach` has seen to it.
    output.ok_or_else(|| failed(id, &"nothing to listen to"))
}

/// A place at its keyboard.
pub(super) async fn sit_down(
    context: &Context,
    id: &v1::ContainerID,
) -> Result<(Typist, Input), Refusal> {
    let keyboard = context.app.sessions.keyboards.take(text(id));
    let keyboard = keyboard.ok_or_else(|| {
        let sentence = "Somebody else is attached to the container's input";
        Refusal::new(StatusCode::CONFLICT, sentence)
    })?;
    let attached = reach(context, id, false).await?;
    Typist::new(attached, keyboard).map_err(|error| failed(id, &error))
}

async fn reach(context: &Context, id: &v1::ContainerID, listen: bool) -> Result<Attached, Refusal> {
    let found = containers::around(context, id).map_err(|_| unknown(id))?;
    let directory = context.app.view.run_directory(&found.container);
    let attached = attach(&directory, listen).await;
    attached.map_err(|error| failed(id, &error))
}

fn failed(id: &v1::ContainerID, why: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("Failed to attach to container {}: {why}", text(id)),
    )
}
