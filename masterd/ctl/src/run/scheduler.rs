//! The framework half of `nesos run`: subscribe, take one offer, follow one task to its end, survive masters.
//!
//! Called by `run`. Invariant: every update with a uuid is acknowledged, the last one when the output has been read, and
//! every offer is answered.

use std::cell::RefCell;
use std::time::Duration;

use nesos_api::scheduler::{
    Call, CallAcknowledge, CallReconcile, CallReconcileTask, CallSubscribe, CallType, Event,
};
use nesos_api::v1::{AgentID, FrameworkID, Offer, TaskState, TaskStatus};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ending::Ending;
use super::job::{FAILOVER_SECONDS, Job};
use super::stream::EventStream;
use super::{RunError, Stage};
use crate::http::Client;
use crate::output::Progress;
use crate::signals::Stop;

mod calls;

/// Pause between attempts to reach a lost master: it restarts within a second or two.
const RETRY: Duration = Duration::from_millis(400);
/// How long a master may be "not ready yet" at the first contact. Seconds.
const FIRST_CONTACT_SECONDS: u64 = 10;
/// Launches that got lost before the agent had them (offer withdrawn, agent gone) and are tried again.
const MAX_DROPS: u32 = 5;

/// The framework.
pub(super) struct Scheduler<'a> {
    client: &'a Client,
    job: &'a Job,
    stage: &'a watch::Sender<Stage>,
    progress: &'a RefCell<Progress>,
    framework: Option<FrameworkID>,
    stream: Option<EventStream>,
    /// Where the task was sent, until it is known to have been dropped on the way.
    agent: Option<AgentID>,
    node: String,
    drops: u32,
    interrupted: bool,
    last_acknowledgement: Option<Call>,
}

impl<'a> Scheduler<'a> {
    /// Nothing has happened yet.
    pub(super) fn new(
        client: &'a Client,
        job: &'a Job,
        stage: &'a watch::Sender<Stage>,
        progress: &'a RefCell<Progress>,
    ) -> Self {
        Self {
            client,
            job,
            stage,
            progress,
            framework: None,
            stream: None,
            agent: None,
            node: String::new(),
            drops: 0,
            interrupted: false,
            last_acknowledgement: None,
        }
    }

    /// Plays until the task has ended.
    pub(super) async fn play(&mut self) -> Result<Ending, RunError> {
        let mut stop = Stop::new().map_err(RunError::Signals)?;
        loop {
            let Some(mut stream) = self.stream.take() else {
                tokio::select! {
                    connected = self.connect() => connected?,
                    () = stop.asked() => if self.interrupt() { return Ok(self.end(TaskState::Killed, String::new())) }
                }
                continue;
            };
            // Put back before anything else: calls need it, and a cancelled read has lost nothing.
            let event = tokio::select! {
                event = stream.next() => Some(event),
                () = stop.asked() => None,
            };
            self.stream = Some(stream);
            let done = match event {
                Some(Ok(event)) => self.on_event(event).await,
                Some(Err(reason)) => {
                    self.progress
                        .borrow_mut()
                        .now(&format!("{reason}; looking for the master"));
                    self.stream = None;
                    Ok(None)
                }
                None if self.interrupt() => Ok(Some(self.end(TaskState::Killed, String::new()))),
                None => self.kill().await.map(|()| None),
            };
            match done {
                Ok(Some(ending)) => return Ok(ending),
                Ok(None) => {}
                // The call may or may not have arrived: subscribe again, then reconcile.
                Err(RunError::Http(error)) if error.is_temporary() => self.stream = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Acknowledges the end and says goodbye, so that the master keeps nothing of this run. A master that is away forgets
    /// it by the timeout.
    pub(super) async fn tear_down(&mut self) {
        let calls = [
            self.last_acknowledgement.take(),
            self.framework
                .is_some()
                .then(|| self.call(CallType::Teardown)),
        ];
        let Some(stream) = self.stream.take() else {
            return;
        };
        for call in calls.into_iter().flatten() {
            if let Err(error) = stream.post(self.client, &call).await {
                self.progress
                    .borrow()
                    .note(&format!("say goodbye: {error}"));
                return;
            }
        }
    }

    async fn connect(&mut self) -> Result<(), RunError> {
        let mut info = self.job.framework();
        info.principal = self.client.principal().map(str::to_owned);
        info.id = self.framework.clone();
        let subscribe = CallSubscribe {
            framework_info: info,
            ..CallSubscribe::default()
        };
        let call = Call {
            subscribe: Some(subscribe),
            ..self.call(CallType::Subscribe)
        };
        let begin = Instant::now();
        loop {
            let error = match EventStream::subscribe(self.client, &call).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) => error,
            };
            let known = self.framework.is_some();
            let worth_it = if known {
                error.is_temporary()
            } else {
                error.is_temporary() && error.status().is_some()
            };
            let limit = if known {
                FAILOVER_SECONDS
            } else {
                FIRST_CONTACT_SECONDS
            };
            if !worth_it {
                return Err(error.into());
            }
            if begin.elapsed() > Duration::from_secs(limit) {
                return Err(match known {
                    true => RunError::MasterAway {
                        task: self.job.task_id.clone(),
                        seconds: limit,
                        source: error,
                    },
                    false => error.into(),
                });
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<Option<Ending>, RunError> {
        if let Some(subscribed) = event.subscribed {
            self.framework = Some(subscribed.framework_id);
            if let (Some(stream), Some(seconds)) =
                (&mut self.stream, subscribed.heartbeat_interval_seconds)
            {
                stream.set_heartbeat(seconds);
            }
            self.after_subscribing().await?;
        } else if let Some(offers) = event.offers {
            self.on_offers(offers.offers).await?;
        } else if let Some(update) = event.update {
            return self.on_update(update.status).await;
        } else if let Some(error) = event.error {
            return Err(RunError::Ended(error.message));
        }
        Ok(None)
    }

    /// A new subscription of a run that has a task already: ask what became of it.
    async fn after_subscribing(&mut self) -> Result<(), RunError> {
        let Some(agent) = self.agent.clone() else {
            return Ok(());
        };
        let task = CallReconcileTask {
            task_id: self.task_id(),
            agent_id: Some(agent),
        };
        let call = Call {
            reconcile: Some(CallReconcile { tasks: vec![task] }),
            ..self.call(CallType::Reconcile)
        };
        self.post(&call).await?;
        self.post(&self.call(CallType::Suppress)).await?;
        if self.interrupted {
            self.kill().await
        } else {
            Ok(())
        }
    }

    async fn on_offers(&mut self, offers: Vec<Offer>) -> Result<(), RunError> {
        let mut unfit = Vec::new();
        for offer in offers {
            match self
                .job
                .task_on(&offer)
                .filter(|_| self.agent.is_none() && !self.interrupted)
            {
                Some(task) => self.accept(offer, task).await?,
                None => unfit.push(offer.id),
            }
        }
        if unfit.is_empty() {
            Ok(())
        } else {
            self.decline(unfit).await
        }
    }

    async fn on_update(&mut self, status: TaskStatus) -> Result<Option<Ending>, RunError> {
        let is_last = is_terminal(status.state) && status.task_id == self.task_id();
        if let (Some(uuid), Some(agent_id)) = (status.uuid.clone(), status.agent_id.clone()) {
            let acknowledge = CallAcknowledge {
                agent_id,
                task_id: status.task_id.clone(),
                uuid,
            };
            let call = Call {
                acknowledge: Some(acknowledge),
                ..self.call(CallType::Acknowledge)
            };
            if is_last {
                // The agent may forget the task once this is acknowledged, and its output is still to be read.
                self.last_acknowledgement = Some(call);
            } else {
                self.post(&call).await?;
            }
        }
        if status.task_id != self.task_id() {
            return Ok(None);
        }
        let message = status.message.clone().unwrap_or_default();
        match status.state {
            TaskState::Dropped
                if self.drops < MAX_DROPS
                    && self.stage.borrow().is_waiting()
                    && !self.interrupted =>
            {
                self.drops += 1;
                self.agent = None;
                self.progress.borrow_mut().now(&format!(
                    "the launch did not arrive ({message}); trying again"
                ));
                self.post(&self.call(CallType::Revive)).await?;
            }
            TaskState::Staging => {}
            TaskState::Unknown => self
                .progress
                .borrow()
                .note("the master does not know the task yet"),
            TaskState::Unreachable => {
                self.progress.borrow().note(&format!(
                    "{} is unreachable; waiting for it to come back",
                    self.node
                ));
            }
            state if is_terminal(state) => {
                self.launched();
                return Ok(Some(self.end(state, message)));
            }
            _ => self.launched(),
        }
        Ok(None)
    }

    /// The agent has the task: its files can be read.
    fn launched(&self) {
        if let Some(framework) = &self.framework
            && self.stage.borrow().is_waiting()
        {
            self.progress
                .borrow_mut()
                .step(&format!("{} runs on {}", self.job.task_id, self.node));
            let sandbox = Some((framework.value.clone(), self.job.task_id.clone()));
            self.stage.send_modify(|stage| stage.sandbox = sandbox);
        }
    }

    fn end(&self, state: TaskState, message: String) -> Ending {
        self.stage.send_modify(|stage| stage.ended = true);
        Ending {
            state,
            message,
            node: self.node.clone(),
            interrupted: self.interrupted,
        }
    }

    /// Ctrl-C. Whether that is all there is to do: nothing runs, or the person insists.
    fn interrupt(&mut self) -> bool {
        let insists = std::mem::replace(&mut self.interrupted, true);
        if self.agent.is_some() && !insists {
            self.progress
                .borrow()
                .note("killing the task; Ctrl-C again leaves it to the master");
            return false;
        }
        true
    }
}

fn is_terminal(state: TaskState) -> bool {
    use TaskState::{Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Lost};
    matches!(
        state,
        Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator
    )
}
