//! `nesos exec`: a command beside a task, with this terminal.
//!
//! Speaks to the agent's own HTTP server, so that every key stroke takes one hop: the agent must be reachable from here, and
//! must let this peer write (`--api_access`). Called by `main`. Invariant: the terminal is as before when it returns, and the
//! command does not outlive it.

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
use crate::failure::{Failure, REFUSED, UNREACHABLE};
use crate::http::{Client, HttpError};
use crate::raw::Raw;

/// Where operators post.
const PATH: &str = "/api/v1";
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
    /// Nobody answers at the agent.
    #[error("the agent at {agent}, on which the task runs, cannot be reached from here: {reason}")]
    Agent {
        /// Its address.
        agent: String,
        /// What the network said.
        reason: String,
    },
    /// The agent will not.
    #[error("the agent at {agent} refused: {reason}")]
    Refused {
        /// Its address.
        agent: String,
        /// Its sentence.
        reason: String,
    },
    /// This terminal.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

impl ExecError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Agent { .. } => UNREACHABLE,
            Self::NotRunning { .. } | Self::Refused { .. } | Self::Terminal(_) => REFUSED,
        }
    }

    fn of(agent: &str) -> impl Fn(HttpError) -> Self {
        move |error| match error {
            HttpError::Unreachable { reason, .. } => Self::Agent {
                agent: agent.into(),
                reason,
            },
            HttpError::Refused { status, text, .. } => Self::Refused {
                agent: agent.into(),
                reason: format!("{status}: {text}"),
            },
            HttpError::Answer { reason, .. } => Self::Refused {
                agent: agent.into(),
                reason,
            },
        }
    }
}

/// `nesos exec`.
pub(crate) async fn exec(client: &Client, args: &ExecArgs) -> Result<u8, Failure> {
    let task = cluster::find_task(client, &args.task).await?;
    if task.container.is_null() || task.is_over() {
        return Err(ExecError::NotRunning {
            task: task.id,
            state: task.state,
        }
        .into());
    }
    let nodes = cluster::nodes(client).await?;
    let node = nodes.iter().find(|node| node.agent == task.agent);
    let address = node.map(|node| node.address.clone()).unwrap_or_default();
    let agent = client.at(&address);
    let name = format!("exec-{}-{}", std::process::id(), unique());
    let id = json!({"value": name, "parent": task.container});
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, JSON),
        (ACCEPT, RECORDIO),
        (MESSAGE_ACCEPT, JSON),
    ]);
    let call = launch(args, &id).to_string().into_bytes();
    let fail = ExecError::of(&address);
    let answer = agent.stream(PATH, &headers, call).await.map_err(&fail)?;
    let stdin = io::stdin();
    let _raw = match args.tty {
        true => Some(Raw::new(&stdin).map_err(ExecError::Terminal)?),
        false => None,
    };
    let input = tokio::spawn(speak::attach(
        speak::Agent {
            address: address.clone(),
            login: agent.authorization().cloned(),
        },
        id.clone(),
        args.interactive,
        args.tty,
    ));
    let shown = show(answer).await;
    input.abort();
    shown?;
    let code = ended(&agent, &id).await.map_err(&fail)?;
    Ok(code)
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
async fn ended(agent: &Client, id: &Value) -> Result<u8, HttpError> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ACCEPT, JSON)]);
    let call = |kind: &str, member: &str| {
        json!({"type": kind, member: {"container_id": id}})
            .to_string()
            .into_bytes()
    };
    let wait = call("WAIT_NESTED_CONTAINER", "wait_nested_container");
    let answer = agent.post(PATH, &headers, wait).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let status = answer["wait_nested_container"]["exit_status"].as_i64();
    let remove = call("REMOVE_NESTED_CONTAINER", "remove_nested_container");
    // Else it is forgotten when others need the room.
    let _ = agent.post(PATH, &headers, remove).await;
    let status = status.unwrap_or(-1);
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
