//! Operators who watch the cluster: the streams of SUBSCRIBE calls of the operator API.
//!
//! Owned by the loop. Not the queue of one stream (`stream`) nor the shape of events (`convert`). Invariants: an event is
//! encoded once per form, whoever reads it; a watcher gets the snapshot first and then everything that happens after it,
//! or is cut off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use masterd_core::{HEARTBEAT_SECONDS, Master, News, StreamId, View};
use nesos_api::operator::master::{Event, EventType};
use nesos_api::recordio;
use nesos_base::time::{Duration, Instant};
use tokio::sync::{Mutex, oneshot};

use super::StreamSender;
use super::asked::Delivery;
use crate::convert::event::Format;
use crate::convert::news;

/// Counts for metrics.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    open: AtomicU64,
    cut: AtomicU64,
}

impl Watching {
    /// How many watch now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were cut off because they read too slowly or made room.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }
}

/// All who watch, oldest first.
#[derive(Debug)]
pub(super) struct Watchers {
    /// At a time; one more takes the place of the oldest.
    most: usize,
    open: VecDeque<(StreamId, StreamSender)>,
    heartbeat_at: Option<Instant>,
    counts: Arc<Watching>,
    /// Whose snapshot is being made.
    turn: Arc<Mutex<()>>,
}

impl Watchers {
    /// Nobody yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: VecDeque::new(),
            heartbeat_at: None,
            counts: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// Counts there from now on.
    pub(super) fn count_in(&mut self, counts: &Arc<Watching>) {
        self.counts = Arc::clone(counts);
    }

    /// When the next heartbeat is due.
    pub(super) fn heartbeat_at(&self) -> Option<Instant> {
        self.heartbeat_at
    }

    /// Whether anybody watches.
    pub(super) fn are_there(&self) -> bool {
        !self.open.is_empty()
    }

    /// A new watcher: a heartbeat at once, and the snapshot by what is returned.
    pub(super) fn add(
        &mut self,
        master: &Master,
        stream: StreamId,
        sender: StreamSender,
        first: oneshot::Sender<Bytes>,
        now: Instant,
    ) -> Delivery {
        while self.open.len() >= self.most {
            if let Some((oldest, sender)) = self.open.pop_front() {
                sender.cut();
                self.note_cut(oldest, "makes room for a newer one");
            }
        }
        let show = show(master.view(), sender.format, first, Arc::clone(&self.turn));
        if sender.push(record(&heartbeat(), sender.format)) {
            self.open.push_back((stream, sender));
        }
        self.heartbeat_at
            .get_or_insert(now + Duration::from_secs(HEARTBEAT_SECONDS));
        self.count();
        Box::new(|| drop(tokio::spawn(show)))
    }

    /// The stream's reader is gone. `false`: it was none of these.
    pub(super) fn remove(&mut self, stream: StreamId) -> bool {
        let before = self.open.len();
        self.open.retain(|(open, _)| *open != stream);
        self.count();
        self.open.len() < before
    }

    /// Sends what happened.
    pub(super) fn tell(&mut self, master: &Master, happened: &[News]) {
        for news in happened {
            if let Some(event) = news::event(master, news) {
                self.send(&event);
            }
        }
    }

    /// Sends a heartbeat if it is due.
    pub(super) fn beat(&mut self, now: Instant) {
        if self.heartbeat_at.is_none_or(|at| now < at) {
            return;
        }
        self.send(&heartbeat());
        let next = now + Duration::from_secs(HEARTBEAT_SECONDS);
        self.heartbeat_at = self.are_there().then_some(next);
    }

    fn send(&mut self, event: &Event) {
        let (mut json, mut protobuf) = (None, None);
        let mut slow = Vec::new();
        self.open.retain(|(stream, sender)| {
            let known = match sender.format {
                Format::Json => &mut json,
                Format::Protobuf => &mut protobuf,
            };
            let bytes: &Bytes = known.get_or_insert_with(|| record(event, sender.format));
            let has_room = sender.push(bytes.clone());
            if !has_room {
                sender.cut();
                slow.push(*stream);
            }
            has_room
        });
        for stream in slow {
            self.note_cut(stream, "is gone or reads too slowly");
        }
        self.count();
    }

    fn note_cut(&self, stream: StreamId, why: &str) {
        self.counts.cut.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("cut stream {} of an operator: it {why}", stream.0);
    }

    fn count(&mut self) {
        if !self.are_there() {
            self.heartbeat_at = None;
        }
        let open = self.open.len() as u64;
        self.counts.open.store(open, Ordering::Relaxed);
    }
}

/// Makes the snapshot on another thread, one at a time: each is as large as the cluster. Ends when its reader has gone, so
/// that no more wait than connections are open.
async fn show(view: View, format: Format, mut first: oneshot::Sender<Bytes>, turn: Arc<Mutex<()>>) {
    let _turn = tokio::select! {
        () = first.closed() => return,
        turn = turn.lock() => turn,
    };
    let making = move || record(&news::subscribed(&view), format);
    if let Ok(snapshot) = tokio::task::spawn_blocking(making).await {
        // The reader may have gone meanwhile.
        let _ = first.send(snapshot);
    }
}

fn heartbeat() -> Event {
    Event {
        r#type: Some(EventType::Heartbeat),
        ..Event::default()
    }
}

fn record(event: &Event, format: Format) -> Bytes {
    let bytes = match format {
        Format::Json => event.to_json(),
        Format::Protobuf => event.to_protobuf(),
    };
    recordio::encode(&bytes).into()
}
