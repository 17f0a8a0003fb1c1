//! Large answers about the cluster, made beside the engine: a view is taken in the engine's turn, everything else happens
//! on another thread.
//!
//! Not the answers' content (the handlers give that as a function of the view). Equal questions that wait together are
//! answered once, as Mesos batches them. Invariants: an answer shows one moment, not before its question was asked; at
//! most [`MAX_VIEWS`] moments are in memory as answers, and a reader that takes too long over one is cut off.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::{Response, StatusCode};
use masterd_core::{Master, View};
use serde::Serialize;
use tokio::sync::{Mutex, Notify, OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::answer::{self, Body};
use super::parts::Parts;
use super::pieces::Pieces;
use super::{App, Context, gzip};

/// Moments whose answers may be in memory at a time: what is the same in several of them is there once. Newcomers wait
/// until a reader is done or cut off.
const MAX_VIEWS: usize = 8;
/// How long rendered pieces are kept for the next question: pages and monitors ask every few seconds.
const KEEP: Duration = Duration::from_secs(10);
/// Sent at a time, if there is so much: what a connection holds of an answer that nobody else reads any more.
const MAX_TAKEN: usize = 256 * 1024;
/// More than this is not kept.
const MAX_KEPT: usize = 32 * 1024 * 1024;

/// What makes two questions equal: what is asked for, and its parameters.
pub(super) type Key = (&'static str, String);
/// Makes an answer: its text in parts.
type Render = Box<dyn FnOnce(&View, &mut Pieces) -> serde_json::Result<Vec<Bytes>> + Send>;
type Reply = oneshot::Sender<Result<Arc<Rendering>, String>>;

/// All questions under way.
#[derive(Debug)]
pub(crate) struct Reads {
    waiting: StdMutex<Waiting>,
    /// Something waits.
    asked: Notify,
    slots: Arc<Semaphore>,
    /// How long a reader may take over an answer.
    limit: Duration,
    /// Held by who looks at more than a view.
    turn: Mutex<()>,
    cut: Arc<AtomicU64>,
    shared: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    questions: BTreeMap<Key, (Render, Vec<Reply>)>,
    /// Somebody answers them.
    is_served: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} questions", self.questions.len())
    }
}

/// An answer, shared by all who asked for it.
#[derive(Debug)]
pub(super) struct Rendering {
    parts: Vec<Bytes>,
    packed: OnceCell<[Bytes; 1]>,
    /// Given back when the last reader is done.
    _slot: Arc<OwnedSemaphorePermit>,
}

/// One reader of an answer.
#[derive(Debug)]
pub(super) struct Reader {
    rendering: Arc<Rendering>,
    is_packed: bool,
    next: usize,
    until: Instant,
    cut: Arc<AtomicU64>,
}

impl Reads {
    /// Whose readers may take so long over an answer.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            waiting: StdMutex::default(),
            asked: Notify::new(),
            slots: Arc::new(Semaphore::new(MAX_VIEWS)),
            turn: Mutex::default(),
            cut: Arc::default(),
            shared: AtomicU64::new(0),
        }
    }

    /// How many questions were answered with what another one had asked for.
    pub(super) fn shared(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    /// How many readers left or were cut off before they had their whole answer.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The map is whole at any moment, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers with what `question` makes of the cluster as JSON.
pub(super) async fn json<T: Serialize>(
    context: &Context,
    key: Key,
    question: impl FnOnce(&View) -> T + Send + 'static,
) -> Response<Body> {
    let render = move |view: &View, _: &mut Pieces| {
        serde_json::to_vec(&question(view)).map(|text| vec![Bytes::from(text)])
    };
    parts(context, key, "application/json", render).await
}

/// Answers with the parts that `question` makes of the cluster.
pub(super) async fn parts(
    context: &Context,
    key: Key,
    media_type: &'static str,
    question: impl FnOnce(&View, &mut Pieces) -> serde_json::Result<Vec<Bytes>> + Send + 'static,
) -> Response<Body> {
    let (reply, answer) = oneshot::channel();
    let app = &context.app;
    {
        let mut waiting = app.reads.lock();
        let render = || (Box::new(question) as Render, Vec::new());
        let (_, replies) = waiting.questions.entry(key).or_insert_with(render);
        if !replies.is_empty() {
            app.reads.shared.fetch_add(1, Ordering::Relaxed);
        }
        replies.push(reply);
        if !std::mem::replace(&mut waiting.is_served, true) {
            tokio::spawn(serve(Arc::clone(app)));
        }
    }
    app.reads.asked.notify_one();
    match answer.await {
        Ok(Ok(rendering)) => {
            let reader = Reader {
                rendering,
                is_packed: false,
                next: 0,
                until: Instant::now() + app.reads.limit,
                cut: Arc::clone(&app.reads.cut),
            };
            answer::with_body(StatusCode::OK, media_type, Body::rendered(reader))
        }
        Ok(Err(reason)) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, reason),
        Err(_) => answer::stopping(),
    }
}

/// What `make` makes, on another thread, of what `look` sees in the engine's turn: for what needs more than a view. One at
/// a time, so that one moment is in memory however many ask. `None`: masterd is stopping.
pub(super) async fn beside<S: Send + 'static, T: Send + 'static>(
    app: &App,
    look: impl FnOnce(&Master) -> S + Send + 'static,
    make: impl FnOnce(S) -> T + Send + 'static,
) -> Option<T> {
    let _turn = app.reads.turn.lock().await;
    let seen = app.engine.query(look).await?;
    tokio::task::spawn_blocking(move || make(seen)).await.ok()
}

/// Answers questions until none has come for a while.
async fn serve(app: Arc<App>) {
    let reads = &app.reads;
    let mut pieces = Pieces::default();
    loop {
        let asked = tokio::time::timeout(KEEP, reads.asked.notified()).await;
        if asked.is_err() && !pieces.is_empty() {
            pieces = Pieces::default();
            continue;
        }
        let Ok(slot) = Arc::clone(&reads.slots).acquire_owned().await else {
            return;
        };
        let questions = {
            let mut waiting = reads.lock();
            if waiting.questions.is_empty() && asked.is_err() {
                waiting.is_served = false;
                return;
            }
            std::mem::take(&mut waiting.questions)
        };
        if questions.is_empty() {
            continue;
        }
        // Taken after the questions: whoever asks from now on gets a later one.
        let Some(view) = app.engine.query(Master::view).await else {
            reads.lock().is_served = false;
            return;
        };
        let answering = tokio::task::spawn_blocking(move || {
            answer_all(&view, questions, &Arc::new(slot), &mut pieces);
            pieces
        });
        pieces = answering.await.unwrap_or_default();
    }
}

/// Answers what waits, from one view. On a thread of its own.
fn answer_all(
    view: &View,
    questions: BTreeMap<Key, (Render, Vec<Reply>)>,
    slot: &Arc<OwnedSemaphorePermit>,
    pieces: &mut Pieces,
) {
    for (render, replies) in questions.into_values() {
        if replies.iter().all(oneshot::Sender::is_closed) {
            continue;
        }
        let rendering = render(view, pieces).map_err(|error| error.to_string());
        let rendering = rendering.map(|parts| {
            Arc::new(Rendering {
                parts,
                packed: OnceCell::new(),
                _slot: Arc::clone(slot),
            })
        });
        for reply in replies {
            // The asker may have hung up.
            let _ = reply.send(rendering.clone());
        }
    }
    if pieces.len() > MAX_KEPT {
        *pieces = Pieces::default();
    }
}

impl Reader {
    /// Whether gzip is worth it.
    pub(super) fn len(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }

    /// From now on reads the compressed form; made once for all who want it.
    pub(super) async fn pack(&mut self) -> std::io::Result<()> {
        let rendering = Arc::clone(&self.rendering);
        let packed = || async {
            let parts = rendering.parts.clone();
            let packing = tokio::task::spawn_blocking(move || gzip::pack(&parts));
            let packed = packing.await.map_err(std::io::Error::other)??;
            Ok::<_, std::io::Error>([Bytes::from(packed)])
        };
        rendering.packed.get_or_try_init(packed).await?;
        self.is_packed = true;
        Ok(())
    }

    /// When it is to have been read; the connection sees to that.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The next parts.
    pub(super) fn take(&mut self) -> Option<Parts> {
        if self.next >= self.parts().len() {
            return None;
        }
        let mut taken = Parts::default();
        while let Some(part) = self.parts().get(self.next)
            && taken.remaining() < MAX_TAKEN
        {
            taken.push(part.clone());
            self.next += 1;
        }
        Some(taken)
    }

    /// What is still to be sent.
    pub(super) fn left(&self) -> usize {
        let left = self.parts().get(self.next..).unwrap_or_default();
        left.iter().map(Bytes::len).sum()
    }

    fn parts(&self) -> &[Bytes] {
        match self.rendering.packed.get() {
            Some(packed) if self.is_packed => packed,
            _ => &self.rendering.parts,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // HEAD takes nothing of it.
        if self.next > 0 && self.next < self.parts().len() {
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}
