//! The queue between the master and one scheduler's stream, and the HTTP body that empties it.
//!
//! Called by the engine (sender) and hyper (body). Invariants: the queue is bounded in records and bytes, a reader that
//! lets it fill up is cut off, and a body that is dropped tells the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use masterd_core::StreamId;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use crate::convert::event::Format;
use crate::gate::Control;

/// Records a scheduler may be behind: a burst of updates of a thousand tasks.
const MAX_RECORDS: usize = 2048;
/// Bytes a scheduler may be behind: memory of the board, times the number of schedulers.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The engine's end.
#[derive(Debug)]
pub(crate) struct StreamSender {
    records: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    connection: Arc<Control>,
    /// In which form events go out.
    pub(crate) format: Format,
}

/// hyper's end: yields one record per chunk.
#[derive(Debug)]
pub(crate) struct StreamBody {
    /// What comes before all records, while it is being made.
    first: Option<oneshot::Receiver<Bytes>>,
    records: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
    stream: StreamId,
    engine: Engine,
}

/// Both ends of a new stream on this connection.
pub(crate) fn channel(
    stream: StreamId,
    format: Format,
    connection: Arc<Control>,
    engine: Engine,
) -> (StreamSender, StreamBody) {
    let (sender, receiver) = mpsc::channel(MAX_RECORDS);
    let queued = Arc::new(AtomicUsize::new(0));
    let body = StreamBody {
        first: None,
        records: receiver,
        queued: Arc::clone(&queued),
        stream,
        engine,
    };
    (
        StreamSender {
            records: sender,
            queued,
            connection,
            format,
        },
        body,
    )
}

impl StreamSender {
    /// Queues a record. `false`: the reader is gone or too slow.
    pub(crate) fn push(&self, record: Bytes) -> bool {
        let len = record.len();
        let queued = self.queued.fetch_add(len, Ordering::Relaxed);
        // One record always fits: an event larger than the bound must still be deliverable.
        (queued == 0 || queued + len <= MAX_BYTES) && self.records.try_send(record).is_ok()
    }

    /// Closes the connection at once, whatever is still queued.
    pub(crate) fn cut(&self) {
        self.connection.cut();
    }
}

impl StreamBody {
    /// Begins with what comes from there; without it the stream ends.
    pub(crate) fn begin_with(&mut self, first: oneshot::Receiver<Bytes>) {
        self.first = Some(first);
    }

    /// The next record; `None` when the engine has ended the stream.
    pub(crate) fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = &mut self.first {
            let record = ready!(Pin::new(first).poll(context));
            self.first = None;
            return Poll::Ready(record.ok());
        }
        let record = Pin::new(&mut self.records).get_mut().poll_recv(context);
        if let Poll::Ready(Some(record)) = &record {
            self.queued.fetch_sub(record.len(), Ordering::Relaxed);
        }
        record
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.engine.stream_closed(self.stream);
    }
}
