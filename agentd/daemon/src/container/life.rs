//! One container from its beginning, or its adoption, to its last word.
//!
//! Runs as a local task of its own, one per container. Orders may come at any time. Invariant: `Finished` is told only after
//! the helper has said so or left its record; `Vanished` only when neither a helper nor a record is there.

use std::rc::Rc;
use std::time::Duration;

use agentd_core::{ContainerEvent, Finish};
use nesos_api::v1;
use nesos_wire::ContainerId;
use nesos_wire::executor::{ExitRecord, FromExecutor, Outcome};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::helper::{Connection, Helper};
use super::launch::{self, Request};
use super::{Context, Order, strays};

/// After an order to destroy, how long the helper may take before it is killed itself.
const DESTROY_LIMIT: Duration = Duration::from_secs(3);
/// How long the news of the helper's start waits for the news that the task runs.
const FIRST_WORD: Duration = Duration::from_millis(30);
/// How long a helper may take to end after its last word; it lingers half a second at most.
const REAP_LIMIT: Duration = Duration::from_secs(10);
/// How often a connection that breaks while the helper lives is made anew.
const MAX_RECONNECTS: usize = 10;

#[derive(Debug)]
pub(super) struct Life {
    context: Rc<Context>,
    container: ContainerId,
    orders: mpsc::Receiver<Order>,
    /// When a helper that was told to destroy its task is killed itself.
    destroy_at: Option<Instant>,
    /// The helper has said that the task runs.
    has_run: bool,
}

impl Life {
    pub(super) fn new(
        context: Rc<Context>,
        container: ContainerId,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            context,
            container,
            orders,
            destroy_at: None,
            has_run: false,
        }
    }

    /// Makes the container and stays with it.
    pub(super) async fn launch(mut self, request: Request) {
        let context = self.context.clone();
        let container = self.container.clone();
        let launched = tokio::select! {
            biased;
            launched = launch::launch(&context, &container, request) => launched.map_err(|error| error.to_string()),
            _ = self.orders.recv() => Err("the launch was given up".to_string()),
        };
        let word = match launched {
            Ok(helper) => {
                self.tell_network().await;
                self.watch(helper, true).await
            }
            Err(message) => ContainerEvent::LaunchFailed { message },
        };
        self.end(word).await;
    }

    /// Finds what became of a container of an earlier agentd, and stays with it.
    pub(super) async fn adopt(mut self, rebooted: bool) {
        let helper = Helper::of(self.context.run_directory(&self.container));
        let word = match (helper.exit_record(), rebooted) {
            (Some(record), _) => self.finished(record),
            (None, true) => ContainerEvent::Vanished,
            (None, false) => self.watch(helper, false).await,
        };
        self.end(word).await;
    }

    /// Ends a container that no task speaks of.
    pub(super) async fn bury(mut self) {
        let directory = self.context.run_directory(&self.container);
        self.watch(Helper::of(directory.clone()), false).await;
        self.clean_up().await;
        if let Err(error) = std::fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", directory.display());
        }
    }

    /// Its statuses say which addresses it has.
    async fn tell_network(&self) {
        let Some(network) = self.context.isolators.network(&self.container) else {
            return;
        };
        let container_status = v1::ContainerStatus {
            network_infos: vec![network],
            ..v1::ContainerStatus::default()
        };
        let status = v1::TaskStatus {
            container_status: Some(Box::new(container_status)),
            ..v1::TaskStatus::default()
        };
        let status = status.to_protobuf();
        let event = ContainerEvent::Networked { status };
        self.context.tell(&self.container, event).await;
    }

    async fn watch(&mut self, mut helper: Helper, is_new: bool) -> ContainerEvent {
        let mut word = None;
        for _ in 0..MAX_RECONNECTS {
            let Some(connection) = helper.connect().await else {
                break;
            };
            if let Some(pid) = helper.pid() {
                let container = self.container.clone();
                self.context.isolators.runs(&container, pid);
                self.context.helpers.borrow_mut().insert(container, pid);
            }
            word = self.converse(connection, &mut helper, is_new).await;
            if word.is_some() {
                break;
            }
        }
        self.context.helpers.borrow_mut().remove(&self.container);
        // A helper that is gone, or has closed ten connections, says nothing more; its record may.
        if word.is_none() && helper.exit_record().is_none() {
            helper.kill_process();
        }
        let word = word.or_else(|| helper.exit_record());
        let words = helper.take_words();
        if word.is_none() && self.context.isolators.cgroups().is_none() {
            strays::end(&self.container).await;
        }
        tokio::task::spawn_local(helper.reap(REAP_LIMIT));
        match word {
            Some(record) => self.finished(record),
            None if is_new && !self.has_run => {
                let text: String = words.unwrap_or_default().trim().chars().take(300).collect();
                let text = if text.is_empty() {
                    "it left no message; is the disk full?"
                } else {
                    &text
                };
                ContainerEvent::LaunchFailed {
                    message: format!("the executor helper ended without a record: {text}"),
                }
            }
            None => ContainerEvent::Vanished,
        }
    }

    /// Listens and passes orders on until the helper's last word, or the end of the connection.
    async fn converse(
        &mut self,
        mut connection: Connection,
        helper: &mut Helper,
        is_new: bool,
    ) -> Option<ExitRecord> {
        let mut first = None;
        let mut is_over = false;
        if is_new {
            // "Started" and "running" mostly come together, and then cost one write to the disk instead of two.
            first = timeout(FIRST_WORD, connection.next()).await.ok().flatten();
            self.context
                .tell(&self.container, ContainerEvent::Started)
                .await;
        }
        loop {
            let destroy_at = self.destroy_at;
            let next = async {
                match first.take() {
                    Some(word) => Some(word),
                    None => connection.next().await,
                }
            };
            tokio::select! {
                biased;
                word = next => match word? {
                    FromExecutor::Running { .. } => {
                        self.has_run = true;
                        helper.forget_words();
                        self.context.tell(&self.container, ContainerEvent::Running).await;
                    }
                    FromExecutor::Exited(record) => return Some(record),
                    // Said on connections of their own.
                    FromExecutor::BesideRuns
                    | FromExecutor::BesideEnded(_)
                    | FromExecutor::Terminal => {}
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Kill(grace_ms) => connection.kill(grace_ms).await,
                    Order::Signal(number) => connection.signal(number).await,
                    Order::Destroy => {
                        connection.kill(0).await;
                        self.destroy_at.get_or_insert(Instant::now() + DESTROY_LIMIT);
                    }
                },
                () = self.context.isolators.disk_exceeded(&self.container), if !is_over => {
                    is_over = true;
                    connection.kill(0).await;
                    self.destroy_at.get_or_insert(Instant::now() + DESTROY_LIMIT);
                }
                () = sleep_until(destroy_at) => {
                    self.destroy_at = None;
                    if let Some(cgroups) = self.context.isolators.cgroups() {
                        cgroups.kill(&self.container);
                    }
                    helper.kill_process();
                }
            }
        }
    }

    fn finished(&self, record: ExitRecord) -> ContainerEvent {
        let has_run = !matches!(record.outcome, Outcome::NotStarted(_) | Outcome::Exit(0));
        let limitation = has_run
            .then(|| self.context.isolators.limitation(&self.container))
            .flatten();
        ContainerEvent::Finished(Finish { record, limitation })
    }

    async fn end(self, word: ContainerEvent) {
        self.clean_up().await;
        self.context.tell(&self.container, word).await;
    }

    async fn clean_up(&self) {
        self.context.end_inside(&self.container).await;
        self.context.isolators.clean_up(&self.container).await;
        if let Some(images) = &self.context.images {
            images.release(&self.container);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
