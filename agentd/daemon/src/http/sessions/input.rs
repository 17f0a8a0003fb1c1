//! ATTACH_CONTAINER_INPUT: what is typed, to the session or the terminal it is meant for.
//!
//! Called by `operator`. Invariant: it is taken record by record, as fast as the command reads.

use std::rc::Rc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use nesos_api::operator::agent as api;
use nesos_api::operator::agent::CallType;
use nesos_api::recordio::Decoder;
use nesos_api::v1;
use nesos_shell::http::Refusal;
use nesos_shell::http::media::Format;

use super::super::Context;
use super::super::answer::{self, Body};
use super::super::operator::{RECORDIO, member, parse};
use super::{find, terminal};
use crate::container::terminal::window;
use crate::sessions::terminal::Typist;
use crate::sessions::{Input, Session};

/// Whom it is meant for.
enum Meant {
    Session(Rc<Session>),
    Terminal(Typist),
}

impl Meant {
    async fn find(context: &Context, id: &v1::ContainerID) -> Result<(Self, Input), Refusal> {
        let Ok(session) = find(context, id) else {
            let (typist, input) = terminal::sit_down(context, id).await?;
            return Ok((Self::Terminal(typist), input));
        };
        let input = session.take_input().ok_or_else(|| {
            Refusal::bad("The container has ended, or somebody else is attached to its input")
        })?;
        Ok((Self::Session(session), input))
    }

    fn resize(&self, (rows, columns): (u16, u16)) {
        match self {
            Self::Session(session) => session.resize(rows, columns),
            Self::Terminal(typist) => typist.resize(rows, columns),
        }
    }

    async fn ended(&self) {
        match self {
            Self::Session(session) => drop(session.ended().await),
            Self::Terminal(typist) => typist.ended().await,
        }
    }
}

/// ATTACH_CONTAINER_INPUT: its first record, and then what comes.
pub(crate) async fn attach_input(
    context: &Context,
    headers: &HeaderMap,
    mut body: Incoming,
    format: Format,
) -> Result<Response<Body>, Refusal> {
    context.may_write(headers)?;
    context.control.set_lasting();
    let mut decoder = Decoder::default();
    let first = next(&mut body, &mut decoder, format).await?;
    let first =
        first.ok_or_else(|| Refusal::bad("Failed to decode the body: it holds no whole record"))?;
    let id = match (first.r#type, first.container_id) {
        (Some(api::CallAttachContainerInputType::ContainerId), Some(id)) => id,
        _ => {
            return Err(Refusal::bad(
                "Expecting 'attach_container_input.type' to be CONTAINER_ID in the first record",
            ));
        }
    };
    let (meant, mut input) = Meant::find(context, &id).await?;
    let pass = async {
        while let Some(record) = next(&mut body, &mut decoder, format).await? {
            let (kind, io) = (record.r#type, record.process_io);
            let (Some(api::CallAttachContainerInputType::ProcessIo), Some(io)) = (kind, io) else {
                return Err(Refusal::bad(
                    "Expecting 'process_io' in every record but the first",
                ));
            };
            if let Some(tty) = io.control.and_then(|control| control.tty_info) {
                meant.resize(window(&tty));
            }
            if let Some(data) = io.data {
                let bytes = data.data.map(|data| data.0).unwrap_or_default();
                if input.write(&bytes).await.is_err() {
                    break;
                }
            }
        }
        Ok(())
    };
    let passed = tokio::select! {
        passed = pass => passed,
        () = meant.ended() => Ok(()),
    };
    if let Meant::Session(session) = meant
        && !session.has_ended()
    {
        session.give_input(input);
    }
    passed.map(|()| answer::empty())
}

async fn next(
    body: &mut Incoming,
    decoder: &mut Decoder,
    format: Format,
) -> Result<Option<api::CallAttachContainerInput>, Refusal> {
    let broken =
        |error: &dyn std::fmt::Display| Refusal::bad(format!("Failed to decode the body: {error}"));
    loop {
        if let Some(record) = decoder.next_record().map_err(|error| broken(&error))? {
            let call = parse(&record, format)?;
            if call.r#type != Some(CallType::AttachContainerInput) {
                return Err(Refusal::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    format!(
                        "Streaming 'Content-Type' {RECORDIO} is not supported for {} call",
                        call.r#type
                            .map_or("UNKNOWN".into(), |kind| kind.to_string())
                    ),
                ));
            }
            return member(call.attach_container_input, "attach_container_input").map(Some);
        }
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    decoder.push(piece);
                }
            }
        }
    }
}
