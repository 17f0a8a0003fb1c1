//! What this side says to the command: keys, the end of input, and the size of the window.
//!
//! Called by `exec` and `attach`, as something that ends with them. Invariant: no more than [`MAX_RECORDS`] pieces wait for a command that does
//! not read.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use nesos_api::message::Bytes as Data;
use nesos_api::operator::agent as api;
use nesos_api::recordio;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{JSON, RECORDIO, window};
use crate::http::Client;

/// Pieces that wait to be sent.
const MAX_RECORDS: usize = 16;
/// How long the last keys may take before this side leaves.
const LAST_KEYS: Duration = Duration::from_secs(2);
/// Most bytes of one piece.
const MAX_PIECE: usize = 16 * 1024;

/// Where to speak, and as whom.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) master: String,
    pub(super) path: String,
    pub(super) login: Option<HeaderValue>,
}

impl Agent {
    pub(super) fn of(client: &Client, path: &str) -> Self {
        Self {
            master: client.master(),
            path: path.to_owned(),
            login: client.authorization().cloned(),
        }
    }
}

/// How is spoken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Standard input is passed on.
    pub(super) is_interactive: bool,
    /// The other side is a terminal.
    pub(super) has_tty: bool,
    /// The key that ends it, and is not passed on. The terminal that one can leave was there before: it is told this window's
    /// size first.
    pub(super) leave: Option<u8>,
}

/// Why nothing more is said.
#[derive(Debug)]
pub(super) enum End {
    /// The key to leave was pressed.
    Left,
    /// There is nothing more to say, or nobody to say it to.
    OfInput,
    /// Nobody listens, for this reason.
    Refused(String),
}

/// The body of a request that goes on.
struct Records(mpsc::Receiver<Bytes>);

impl Body for Records {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let record = self.0.poll_recv(context);
        record.map(|record| record.map(|record| Ok(Frame::data(record))))
    }
}

/// This terminal's size as a `TTYInfo`.
pub(super) fn tty_info() -> Value {
    match window() {
        Some((rows, columns)) => json!({"window_size": {"rows": rows, "columns": columns}}),
        None => json!({}),
    }
}

/// Passes on what is typed, or says at once that nothing comes. Ends with the connection.
pub(super) async fn attach(agent: Agent, id: Value, manner: Manner) -> End {
    let (sender, records) = mpsc::channel(MAX_RECORDS);
    let first = json!({"type": "ATTACH_CONTAINER_INPUT",
        "attach_container_input": {"type": "CONTAINER_ID", "container_id": id}});
    // There is room for the first one.
    let _ = sender.try_send(recordio::encode(first.to_string().as_bytes()).into());
    let mut post = pin!(post(&agent, records));
    let left = tokio::select! {
        left = read(sender, manner) => left,
        refused = &mut post => return heard(refused),
    };
    if left {
        // What was typed before is to arrive.
        let _ = tokio::time::timeout(LAST_KEYS, post).await;
        return End::Left;
    }
    heard(post.await)
}

/// Failures of a connection show in the answer of the session.
fn heard<E>(refused: Result<Option<String>, E>) -> End {
    match refused {
        Ok(Some(why)) => End::Refused(why),
        _ => End::OfInput,
    }
}

async fn post(
    agent: &Agent,
    records: mpsc::Receiver<Bytes>,
) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(agent.master.as_str()).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::post(agent.path.as_str())
        .header(HOST, agent.master.as_str())
        .header(CONTENT_TYPE, RECORDIO)
        .header(HeaderName::from_static("message-content-type"), JSON)
        .header(ACCEPT, JSON);
    if let Some(login) = &agent.login {
        request = request.header(AUTHORIZATION, login);
    }
    let answer = sender.send_request(request.body(Records(records))?);
    let whole = async {
        let answer = answer.await?;
        if answer.status().is_success() {
            return Ok(None);
        }
        let why = Limited::new(answer.into_body(), MAX_PIECE)
            .collect()
            .await?;
        Ok(Some(String::from_utf8_lossy(&why.to_bytes()).into_owned()))
    };
    let mut whole = pin!(whole);
    tokio::select! {
        answer = &mut whole => answer,
        // It stays open behind an answer, but ends before one that does not come.
        _ = connection => whole.await,
    }
}

/// Whether the key to leave was pressed.
async fn read(records: mpsc::Sender<Bytes>, manner: Manner) -> bool {
    if !manner.is_interactive {
        say(&records, &data(&[])).await;
        return false;
    }
    let Ok(mut resized) = signal(SignalKind::window_change()) else {
        return false;
    };
    if let (Some(_), Some((rows, columns))) = (manner.leave, window()) {
        say(&records, &resize(rows, columns)).await;
    }
    let (mut keys, mut buffer) = (tokio::io::stdin(), vec![0; MAX_PIECE]);
    loop {
        tokio::select! {
            length = keys.read(&mut buffer) => {
                let typed = &buffer[..length.unwrap_or(0)];
                let leave = typed.iter().position(|key| Some(*key) == manner.leave);
                let before = &typed[..leave.unwrap_or(typed.len())];
                if leave.is_none() || !before.is_empty() {
                    say(&records, &data(before)).await;
                }
                if leave.is_some() || typed.is_empty() {
                    return leave.is_some();
                }
            }
            _ = resized.recv(), if manner.has_tty => {
                if let Some((rows, columns)) = window() {
                    say(&records, &resize(rows, columns)).await;
                }
            }
        }
    }
}

async fn say(records: &mpsc::Sender<Bytes>, io: &api::ProcessIO) {
    let call = api::Call {
        r#type: Some(api::CallType::AttachContainerInput),
        attach_container_input: Some(api::CallAttachContainerInput {
            r#type: Some(api::CallAttachContainerInputType::ProcessIo),
            process_io: Some(io.clone()),
            ..Default::default()
        }),
        ..api::Call::default()
    };
    // Fails only when the connection is gone.
    let _ = records.send(recordio::encode(&call.to_json()).into()).await;
}

fn data(bytes: &[u8]) -> api::ProcessIO {
    api::ProcessIO {
        r#type: Some(api::ProcessIOType::Data),
        data: Some(api::ProcessIOData {
            r#type: Some(api::ProcessIODataType::Stdin),
            data: Some(Data(bytes.to_vec())),
        }),
        ..api::ProcessIO::default()
    }
}

fn resize(rows: u16, columns: u16) -> api::ProcessIO {
    let window_size = nesos_api::v1::TTYInfoWindowSize {
        rows: rows.into(),
        columns: columns.into(),
    };
    api::ProcessIO {
        r#type: Some(api::ProcessIOType::Control),
        control: Some(api::ProcessIOControl {
            r#type: Some(api::ProcessIOControlType::TtyInfo),
            tty_info: Some(nesos_api::v1::TTYInfo {
                window_size: Some(window_size),
            }),
            ..api::ProcessIOControl::default()
        }),
        ..api::ProcessIO::default()
    }
}
