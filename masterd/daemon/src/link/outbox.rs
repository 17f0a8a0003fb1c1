//! The outgoing queue of one agent's link, between the engine and the link's task.
//!
//! tokio's channels keep 1.5 KB even when empty; of these there are ten thousand, nearly always empty. Called by `link`,
//! which creates both ends and reads, and by the engine, which writes. Invariant: at most [`MAX_MESSAGES`] and
//! [`MAX_BYTES`] wait; whoever has more to say must cut the link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use nesos_wire::frame::{self, FrameError};
use nesos_wire::message::MasterToAgent;

/// Messages an agent may be behind.
const MAX_MESSAGES: usize = 1024;
/// Bytes an agent may be behind. The largest ACCEPT has 8 MB, and a task's command travels twice: as sent and taken apart.
const MAX_BYTES: usize = 24 * 1024 * 1024;

/// Why nothing more can be sent on a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    /// The agent does not read.
    #[error("the agent is {MAX_MESSAGES} messages or {MAX_BYTES} bytes behind")]
    Full,
    /// The link has ended; its `Closed` is on the way.
    #[error("the link has ended")]
    Closed,
    /// The message is too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The engine's end. Dropping it closes the link after everything was sent.
#[derive(Debug)]
pub(crate) struct Outbox(Arc<Mutex<Queue>>);

/// The link's end.
#[derive(Debug)]
pub(super) struct Outgoing(Arc<Mutex<Queue>>);

/// What the link is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this.
    Frame(Vec<u8>),
    /// Nothing more will come: end in order.
    End,
    /// End at once.
    Cut,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// Bytes in `frames`, and of the frame that is being sent.
    bytes: usize,
    is_cut: bool,
    /// One of the ends is gone.
    is_closed: bool,
    waker: Option<Waker>,
}

/// A queue's two ends.
pub(super) fn outbox() -> (Outbox, Outgoing) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (Outbox(Arc::clone(&queue)), Outgoing(queue))
}

impl Outbox {
    /// Queues a message.
    pub(crate) fn push(&self, message: &MasterToAgent) -> Result<(), OutboxError> {
        let bytes = frame::encode(message)?;
        let mut queue = lock(&self.0);
        if queue.is_closed {
            return Err(OutboxError::Closed);
        }
        if queue.frames.len() >= MAX_MESSAGES || queue.bytes + bytes.len() > MAX_BYTES {
            return Err(OutboxError::Full);
        }
        queue.bytes += bytes.len();
        queue.frames.push_back(bytes);
        wake(queue);
        Ok(())
    }

    /// Closes the link at once.
    pub(crate) fn cut(&self) {
        let mut queue = lock(&self.0);
        queue.is_cut = true;
        wake(queue);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.is_closed = true;
        wake(queue);
    }
}

impl Outgoing {
    /// Ready when the link is to be closed at once.
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut queue = lock(&self.0);
        if queue.is_cut {
            return Poll::Ready(());
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A frame of so many bytes has left.
    pub(super) fn sent(&self, bytes: usize) {
        lock(&self.0).bytes -= bytes;
    }

    /// What comes next.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut queue = lock(&self.0);
        if queue.is_cut {
            return Poll::Ready(Next::Cut);
        }
        if let Some(frame) = queue.frames.pop_front() {
            if queue.frames.is_empty() {
                // Most links say nothing for long.
                queue.frames = VecDeque::new();
            }
            return Poll::Ready(Next::Frame(frame));
        }
        if queue.is_closed {
            return Poll::Ready(Next::End);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.is_closed = true;
        queue.frames = VecDeque::new();
    }
}

/// Wakes the link's task, after the lock is given back.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What is behind the lock is valid at any moment, so a panic elsewhere does not spoil it.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PING: MasterToAgent = MasterToAgent::Ping { sequence: 7 };

    /// What `next` is right now.
    fn next(outgoing: &Outgoing) -> Poll<Next> {
        outgoing.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_queued_leaves_in_order_and_before_the_end() {
        let (outbox, outgoing) = outbox();
        assert_eq!(next(&outgoing), Poll::Pending);
        for sequence in 0..3 {
            outbox.push(&MasterToAgent::Ping { sequence }).unwrap();
        }
        drop(outbox);
        for sequence in 0..3 {
            let frame = frame::encode(&MasterToAgent::Ping { sequence }).unwrap();
            assert_eq!(next(&outgoing), Poll::Ready(Next::Frame(frame)));
        }
        assert_eq!(next(&outgoing), Poll::Ready(Next::End));
    }

    #[test]
    fn a_cut_overtakes_what_is_queued() {
        let (outbox, outgoing) = outbox();
        outbox.push(&PING).unwrap();
        outbox.cut();
        assert_eq!(next(&outgoing), Poll::Ready(Next::Cut));
    }

    #[test]
    fn a_queue_takes_so_many_messages_and_bytes_and_no_more() {
        let (outbox, outgoing) = outbox();
        for _ in 0..MAX_MESSAGES {
            outbox.push(&PING).unwrap();
        }
        assert!(matches!(outbox.push(&PING), Err(OutboxError::Full)));
        let Poll::Ready(Next::Frame(frame)) = next(&outgoing) else {
            panic!("nothing queued")
        };
        // What is being sent still counts.
        lock(&outbox.0).bytes = MAX_BYTES;
        assert!(matches!(outbox.push(&PING), Err(OutboxError::Full)));
        outgoing.sent(frame.len());
        outbox.push(&PING).unwrap();
        drop(outgoing);
        assert!(matches!(outbox.push(&PING), Err(OutboxError::Closed)));
    }

    #[test]
    fn the_waiting_task_is_woken_for_a_message_a_cut_and_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let (outbox, outgoing) = outbox();
            let next = || std::future::poll_fn(|cx| outgoing.poll_next(cx));
            let was_cut = std::future::poll_fn(|cx| outgoing.poll_cut(cx));
            let (is_pushed, ()) = tokio::join!(next(), async {
                tokio::task::yield_now().await;
                outbox.push(&PING).unwrap();
            });
            assert!(matches!(is_pushed, Next::Frame(_)));
            tokio::join!(was_cut, async {
                tokio::task::yield_now().await;
                outbox.cut();
            });
            lock(&outbox.0).is_cut = false;
            let (end, ()) = tokio::join!(next(), async move {
                tokio::task::yield_now().await;
                drop(outbox);
            });
            assert_eq!(end, Next::End);
        });
    }
}
