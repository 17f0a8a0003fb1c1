//! The calls that `nesos run` makes as a framework, and posting them.
//!
//! Called by the module above, which decides when. Invariant: a call goes out on the stream that stands, or not at all.

use nesos_api::scheduler::{Call, CallAccept, CallDecline, CallKill, CallType};
use nesos_api::v1::{
    Filters, Offer, OfferID, OfferOperation, OfferOperationLaunch, OfferOperationType, TaskID,
    TaskInfo,
};

use super::Scheduler;
use crate::http::HttpError;
use crate::run::RunError;

/// How long an offer that does not fit is not shown again: short, since other tasks end.
const REFUSE_UNFIT: f64 = 5.0;
/// How long offers are not wanted while the task runs; SUPPRESS says the same, this covers those under way.
const REFUSE_DONE: f64 = 600.0;

impl Scheduler<'_> {
    pub(super) async fn accept(&mut self, offer: Offer, task: TaskInfo) -> Result<(), RunError> {
        self.agent = Some(offer.agent_id);
        self.node = offer.hostname;
        self.progress
            .borrow_mut()
            .step(&format!("starting {} on {}", self.job.task_id, self.node));
        let launch = OfferOperation {
            r#type: Some(OfferOperationType::Launch),
            launch: Some(OfferOperationLaunch {
                task_infos: vec![task],
            }),
            ..OfferOperation::default()
        };
        let accept = CallAccept {
            offer_ids: vec![offer.id],
            operations: vec![launch],
            filters: Some(refuse(REFUSE_DONE)),
        };
        self.post(&Call {
            accept: Some(accept),
            ..self.call(CallType::Accept)
        })
        .await?;
        self.post(&self.call(CallType::Suppress)).await
    }

    pub(super) async fn decline(&self, offer_ids: Vec<OfferID>) -> Result<(), RunError> {
        let seconds = if self.agent.is_some() {
            REFUSE_DONE
        } else {
            REFUSE_UNFIT
        };
        let decline = CallDecline {
            offer_ids,
            filters: Some(refuse(seconds)),
        };
        self.post(&Call {
            decline: Some(decline),
            ..self.call(CallType::Decline)
        })
        .await
    }

    pub(super) async fn kill(&self) -> Result<(), RunError> {
        let kill = CallKill {
            task_id: self.task_id(),
            agent_id: self.agent.clone(),
            ..CallKill::default()
        };
        self.post(&Call {
            kill: Some(kill),
            ..self.call(CallType::Kill)
        })
        .await
    }

    pub(super) async fn post(&self, call: &Call) -> Result<(), RunError> {
        match &self.stream {
            Some(stream) => Ok(stream.post(self.client, call).await?),
            None => Err(HttpError::Unreachable {
                master: self.client.master(),
                reason: "not subscribed".to_owned(),
            }
            .into()),
        }
    }

    pub(super) fn call(&self, kind: CallType) -> Call {
        Call {
            framework_id: self.framework.clone(),
            r#type: Some(kind),
            ..Call::default()
        }
    }

    pub(super) fn task_id(&self) -> TaskID {
        TaskID {
            value: self.job.task_id.clone(),
        }
    }
}

fn refuse(seconds: f64) -> Filters {
    Filters {
        refuse_seconds: Some(seconds),
    }
}
