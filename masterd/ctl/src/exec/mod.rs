//! `nesos exec`: a command beside a task, with this terminal. And `nesos attach`.
//!
//! Speaks to the agent through the master, which must let this peer write (`--api_access`). Called by `main`. Invariant: the
//! terminal is as before when it returns, and the command does not outlive it.

pub(crate) mod attach;
mod speak;

use std::io::{self, Write};
use std::os::fd::AsFd;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use nesos_api::operator::agent::{ProcessIO, ProcessIODataType};
use nesos_api::recordio::Decoder;
use serde_json::{Value, json};

use crate::args::ExecArgs;
use crate::cluster;
use crate::failure::{Failure, REFUSED};
use crate::http::{Client, HttpError, segment};
use crate::raw::Raw;

const RECORDIO: HeaderValue = HeaderValue::from_static("application/recordio");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");
/// What a shell says of a command that a signal has ended: this, and the signal's number.
const SIGNALLED: i64 = 128;

/// Why nothing was run, or how it broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// The task has no container.
    #[error("task {task} does not run ({state})")]
    NotRunning {
        /// Its id.
        task: String,
        /// Its state.
        state: String,
    },
    /// This terminal.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// `nesos exec`.
pub(crate) async fn exec(client: &Client, args: &ExecArgs) -> Result<u8, Failure> {
    let task = running(client, &args.task).await?;
    let path = path(&task);
    let name = format!("exec-{}-{}", std::process::id(), unique());
    let id = json!({"value": name, "parent": task.container});
    let answer = listen(client, &path, &launch(args, &id)).await?;
    let stdin = io::stdin();
    let _raw = match args.tty {
        true => Some(Raw::new(&stdin).map_err(ExecError::Terminal)?),
        false => None,
    };
    let input = tokio::spawn(speak::attach(
        speak::Agent::of(client, &path),
        id.clone(),
        speak::Manner {
            is_interactive: args.interactive,
            has_tty: args.tty,
            leave: None,
        },
    ));
    let shown = show(answer).await;
    input.abort();
    shown?;
    Ok(ended(client, &path, &id).await?)
}

/// A task that has a container.
async fn running(client: &Client, name: &str) -> Result<cluster::Task, Failure> {
    let task = cluster::find_task(client, name).await?;
    if task.container.is_null() || task.is_over() {
        return Err(ExecError::NotRunning {
            task: task.id,
            state: task.state,
        }
        .into());
    }
    Ok(task)
}

/// Where its agent answers.
fn path(task: &cluster::Task) -> String {
    format!("/nesos/v1/agents/{}/api/v1", segment(&task.agent))
}

/// A call that is answered with what a container writes.
async fn listen(
    client: &Client,
    path: &str,
    call: &Value,
) -> Result<Response<Incoming>, HttpError> {
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, JSON),
        (ACCEPT, RECORDIO),
        (MESSAGE_ACCEPT, JSON),
    ]);
    client
        .stream(path, &headers, call.to_string().into_bytes())
        .await
}

/// The call that begins the session.
fn launch(args: &ExecArgs, id: &Value) -> Value {
    let mut command = match args.command.as_slice() {
        [text] => json!({ "value": text }),
        all => json!({"shell": false, "value": all[0], "arguments": all}),
    };
    if let Some(user) = &args.user {
        command["user"] = json!(user);
    }
    let mut launch = json!({"container_id": id});
    if args.tty {
        let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
        command["environment"] = json!({"variables": [{"name": "TERM", "value": term}]});
        launch["container"] = json!({"type": "MESOS", "tty_info": speak::tty_info()});
    }
    launch["command"] = command;
    json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": launch})
}

/// Prints what comes, to the end.
async fn show(answer: Response<Incoming>) -> Result<(), ExecError> {
    let (mut body, mut decoder) = (answer.into_body(), Decoder::default());
    // A broken stream is an end like any other: how the command ended is asked for.
    while let Some(Ok(frame)) = body.frame().await {
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        decoder.push(piece);
        while let Ok(Some(record)) = decoder.next_record() {
            let data = ProcessIO::from_json(&record).ok().and_then(|io| io.data);
            let Some((data, bytes)) = data.and_then(|data| Some((data.r#type, data.data?.0)))
            else {
                continue;
            };
            if data == Some(ProcessIODataType::Stderr) {
                io::stderr().write_all(&bytes)?;
            } else {
                let mut out = io::stdout().lock();
                out.write_all(&bytes)?;
                out.flush()?;
            }
        }
    }
    Ok(())
}

/// The command's exit code, as a shell would tell it.
async fn ended(client: &Client, path: &str, id: &Value) -> Result<u8, HttpError> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ACCEPT, JSON)]);
    let call = |kind: &str, member: &str| {
        json!({"type": kind, member: {"container_id": id}})
            .to_string()
            .into_bytes()
    };
    let wait = call("WAIT_NESTED_CONTAINER", "wait_nested_container");
    let answer = client.post(path, &headers, wait).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let status = answer["wait_nested_container"]["exit_status"].as_i64();
    let remove = call("REMOVE_NESTED_CONTAINER", "remove_nested_container");
    // Else it is forgotten when others need the room.
    let _ = client.post(path, &headers, remove).await;
    let Some(status) = status else {
        eprintln!("nesos: the command is over; how it has ended was not heard of");
        return Ok(REFUSED);
    };
    let code = match status & 0x7f {
        0 => (status >> 8) & 0xff,
        number => SIGNALLED + number,
    };
    Ok(u8::try_from(code).unwrap_or(REFUSED))
}

/// Rows and columns of this terminal.
fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout().as_fd()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Differs from one call to the next.
fn unique() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos())
}
