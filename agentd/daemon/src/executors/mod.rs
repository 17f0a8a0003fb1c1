//! The streams of custom executors: from the core's events to records on their connections.
//!
//! Called by the loop (sender) and `http::executor` (body). Invariants: a queue is bounded in records and bytes; a reader
//! that lets it fill up is cut off; a number is never used twice.

pub(crate) mod convert;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use nesos_api::executor::Event;
use nesos_api::recordio;
use nesos_shell::http::media::Format;
use nesos_wire::ExecutorKey;
use tokio::sync::{Notify, mpsc};

/// Records an executor may be behind: all tasks of the agent at once, and what becomes of them.
const MAX_RECORDS: usize = 2 * agentd_core::MAX_TASKS;
/// Bytes an executor may be behind: the descriptions of all tasks of the agent.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What a connection carries, and how it is cut.
#[derive(Debug, Default)]
pub(crate) struct Control {
    cut: Notify,
    requests: Cell<u64>,
    is_lasting: Cell<bool>,
    stream: RefCell<Option<(ExecutorKey, u64)>>,
}

impl Control {
    /// Completes when the connection is to be closed at once.
    pub(crate) async fn was_cut(&self) {
        self.cut.notified().await;
    }

    /// A request has come.
    pub(crate) fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// An executor speaks on it, or a person listens: clients keep such connections for hours between calls, and fail when
    /// they are closed.
    pub(crate) fn set_lasting(&self) {
        self.is_lasting.set(true);
    }

    /// Whether it may last.
    pub(crate) fn is_lasting(&self) -> bool {
        self.is_lasting.get()
    }

    /// The stream that it carries or has carried last.
    pub(crate) fn stream(&self) -> Option<(ExecutorKey, u64)> {
        self.stream.borrow().clone()
    }
}

#[derive(Debug)]
struct Stream {
    records: mpsc::Sender<Bytes>,
    queued: Rc<Cell<usize>>,
    format: Format,
    connection: Rc<Control>,
}

/// All open streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    last: Cell<u64>,
    open: RefCell<BTreeMap<u64, Stream>>,
}

/// hyper's end of a stream: yields one record per chunk.
#[derive(Debug)]
pub(crate) struct Records {
    records: mpsc::Receiver<Bytes>,
    queued: Rc<Cell<usize>>,
}

impl Records {
    /// The next record; `None` when the stream was closed.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let record = self.records.poll_recv(context);
        if let Poll::Ready(Some(record)) = &record {
            self.queued
                .set(self.queued.get().saturating_sub(record.len()));
        }
        record
    }
}

impl Streams {
    /// A new stream on this connection, and its number.
    pub(crate) fn open(
        &self,
        executor: ExecutorKey,
        format: Format,
        connection: Rc<Control>,
    ) -> (u64, Records) {
        let number = self.last.get() + 1;
        self.last.set(number);
        let (sender, records) = mpsc::channel(MAX_RECORDS);
        let queued = Rc::new(Cell::new(0));
        *connection.stream.borrow_mut() = Some((executor, number));
        let stream = Stream {
            records: sender,
            queued: queued.clone(),
            format,
            connection,
        };
        self.open.borrow_mut().insert(number, stream);
        (number, Records { records, queued })
    }

    /// Says something; who does not read is cut off, and hears of it when the connection ends.
    pub(crate) fn tell(&self, number: u64, event: &Event) {
        let is_slow = {
            let open = self.open.borrow();
            let Some(stream) = open.get(&number) else {
                return;
            };
            let is_slow = !stream.push(event);
            if is_slow {
                tracing::warn!("an executor does not read its events, its connection is cut");
                stream.connection.cut.notify_one();
            }
            is_slow
        };
        if is_slow {
            self.close(number);
        }
    }

    /// Ends a stream after what was said.
    pub(crate) fn close(&self, number: u64) {
        self.open.borrow_mut().remove(&number);
    }

    /// Whether this stream is open.
    #[cfg(test)]
    fn is_open(&self, number: u64) -> bool {
        self.open.borrow().contains_key(&number)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }
}

impl Stream {
    /// `false`: the reader is gone or too slow.
    fn push(&self, event: &Event) -> bool {
        let bytes = match self.format {
            Format::Json => event.to_json(),
            Format::Protobuf => event.to_protobuf(),
        };
        let record: Bytes = recordio::encode(&bytes).into();
        let queued = self.queued.get();
        self.queued.set(queued + record.len());
        // One record always fits: an event larger than the bound must still be deliverable.
        (queued == 0 || queued + record.len() <= MAX_BYTES) && self.records.try_send(record).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesos_api::executor::EventMessage;
    use nesos_api::message::Bytes as Data;

    fn key() -> ExecutorKey {
        ExecutorKey {
            framework: nesos_wire::FrameworkId::new("f"),
            executor: nesos_wire::ExecutorId::new("e"),
        }
    }

    #[test]
    fn who_does_not_read_is_cut_off() {
        let streams = Streams::default();
        let control = Rc::new(Control::default());
        let (number, mut records) = streams.open(key(), Format::Protobuf, control.clone());
        let event = Event {
            message: Some(EventMessage {
                data: Data(vec![0; MAX_BYTES]),
            }),
            ..Event::default()
        };
        streams.tell(number, &event);
        assert!(streams.is_open(number), "one always fits");
        streams.tell(number, &event);
        assert!(!streams.is_open(number));
        assert_eq!(
            (streams.count(), control.stream().map(|(_, n)| n)),
            (0, Some(number))
        );
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(
            records.poll_next(&mut context),
            Poll::Ready(Some(_))
        ));
        assert!(matches!(records.poll_next(&mut context), Poll::Ready(None)));
        let (next, _records) = streams.open(key(), Format::Json, control);
        assert_ne!(next, number);
    }
}
