//! Work that may be long, in turn with everything else: handshakes, whose arithmetic takes a millisecond a step and more on a board.
//!
//! All of masterd's tasks share a thread and have their turns one after the other. When all agents come back at once, hundreds of
//! handshakes would stand between a leader and its next heartbeat, and it would be deposed. Called by the server. Invariant: in one
//! round of turns at most [`STEPS`] of them are taken; the others wait in the order in which they came.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Steps of handshakes in one round of turns: a few milliseconds, and on a slow board not half of a heartbeat's.
const STEPS: usize = 4;

/// Who may take a step.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<Semaphore>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STEPS)))
    }
}

impl Pace {
    /// Does the work step by step.
    pub(crate) async fn keep<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            // Never closed.
            let step = Arc::clone(&self.0).acquire_owned().await;
            let polled = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
            let done = polled.await;
            // tokio wakes up who yields once it has asked the kernel what has come, before which all others have their turns.
            tokio::spawn(async move {
                yield_now().await;
                drop(step);
            });
            if let Poll::Ready(output) = done {
                return output;
            }
            woken().await;
        }
    }
}

/// Waits until the task is woken.
async fn woken() {
    let mut has_waited = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut has_waited, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const WORKERS: usize = 50;
    const EACH: usize = 3;

    async fn work(steps: Arc<AtomicUsize>) {
        for _ in 0..EACH {
            steps.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    }

    #[test]
    fn no_round_has_more_than_so_many_steps_and_all_of_them_come() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let steps = Arc::new(AtomicUsize::new(0));
        runtime.unwrap().block_on(async {
            let pace = Pace::default();
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| (pace.clone(), work(Arc::clone(&steps))))
                .map(|(pace, work)| tokio::spawn(async move { pace.keep(work).await }))
                .collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                let before = steps.load(Ordering::Relaxed);
                yield_now().await;
                let taken = steps.load(Ordering::Relaxed) - before;
                assert!(taken <= STEPS, "{taken}");
            }
        });
        assert_eq!(steps.load(Ordering::Relaxed), WORKERS * EACH);
    }
}
