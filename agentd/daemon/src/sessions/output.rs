//! What a session's command writes, from its files to the records of those who listen.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use nesos_api::message::Bytes as Data;
use nesos_api::operator::agent as api;
use nesos_api::{recordio, v1};
use nesos_shell::http::media::Format;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Piece, Session};

/// Most bytes of one piece.
pub(super) const MAX_PIECE: usize = 16 * 1024;
/// Pause between two signs of life on a stream (Mesos's `--http_heartbeat_interval`).
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Passes on what comes, to the end. A terminal ends with an error, when its program has closed it.
pub(super) async fn pump(session: Rc<Session>, mut source: pipe::Receiver, is_error: bool) {
    let mut buffer = vec![0; MAX_PIECE];
    while let Ok(length) = source.read(&mut buffer).await
        && length > 0
    {
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        session.tell(Piece { is_error, bytes }).await;
    }
}

/// hyper's end: one record per chunk, and signs of life.
#[derive(Debug)]
pub(crate) struct Output {
    pieces: mpsc::Receiver<Piece>,
    format: Format,
    heartbeat: Interval,
    /// The session ends with this answer.
    owned: Option<Rc<Session>>,
}

impl Output {
    pub(crate) fn new(
        pieces: mpsc::Receiver<Piece>,
        format: Format,
        owned: Option<Rc<Session>>,
    ) -> Self {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pieces,
            format,
            heartbeat,
            owned,
        }
    }

    /// The next record; `None` when the session has ended.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(piece) = self.pieces.poll_recv(context) {
            return Poll::Ready(piece.map(|piece| self.record(&data(piece))));
        }
        match self.heartbeat.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(self.record(&heartbeat()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn record(&self, io: &api::ProcessIO) -> Bytes {
        let bytes = match self.format {
            Format::Json => io.to_json(),
            Format::Protobuf => io.to_protobuf(),
        };
        recordio::encode(&bytes).into()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(session) = &self.owned {
            session.abandon();
        }
    }
}

fn data(piece: Piece) -> api::ProcessIO {
    let kind = if piece.is_error {
        api::ProcessIODataType::Stderr
    } else {
        api::ProcessIODataType::Stdout
    };
    api::ProcessIO {
        r#type: Some(api::ProcessIOType::Data),
        data: Some(api::ProcessIOData {
            r#type: Some(kind),
            data: Some(Data(piece.bytes.to_vec())),
        }),
        ..api::ProcessIO::default()
    }
}

fn heartbeat() -> api::ProcessIO {
    let interval = v1::DurationInfo {
        nanoseconds: HEARTBEAT.as_nanos() as i64,
    };
    api::ProcessIO {
        r#type: Some(api::ProcessIOType::Control),
        control: Some(api::ProcessIOControl {
            r#type: Some(api::ProcessIOControlType::Heartbeat),
            heartbeat: Some(api::ProcessIOControlHeartbeat {
                interval: Some(interval),
            }),
            ..api::ProcessIOControl::default()
        }),
        ..api::ProcessIO::default()
    }
}
