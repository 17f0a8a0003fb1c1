//! What a scheduler receives: `Event` and its members.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/scheduler/scheduler.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::v1::*;

messages! {
    message Event {
        1 r#type: optional EventType;
        2 subscribed: optional EventSubscribed;
        3 offers: optional EventOffers;
        9 inverse_offers: optional EventInverseOffers;
        4 rescind: optional EventRescind;
        10 rescind_inverse_offer: optional EventRescindInverseOffer;
        5 update: optional EventUpdate;
        11 update_operation_status: optional EventUpdateOperationStatus;
        6 message: optional EventMessage;
        7 failure: optional EventFailure;
        8 error: optional EventError;
    }

    enum EventType {
        0 Unknown = "UNKNOWN";
        1 Subscribed = "SUBSCRIBED";
        2 Offers = "OFFERS";
        9 InverseOffers = "INVERSE_OFFERS";
        3 Rescind = "RESCIND";
        10 RescindInverseOffer = "RESCIND_INVERSE_OFFER";
        4 Update = "UPDATE";
        11 UpdateOperationStatus = "UPDATE_OPERATION_STATUS";
        5 Message = "MESSAGE";
        6 Failure = "FAILURE";
        7 Error = "ERROR";
        8 Heartbeat = "HEARTBEAT";
    }

    message EventSubscribed {
        1 framework_id: required FrameworkID;
        2 heartbeat_interval_seconds: optional f64;
        3 master_info: optional MasterInfo;
    }

    message EventOffers {
        1 offers: repeated Offer;
    }

    message EventInverseOffers {
        1 inverse_offers: repeated InverseOffer;
    }

    message EventRescind {
        1 offer_id: required OfferID;
    }

    message EventRescindInverseOffer {
        1 inverse_offer_id: required OfferID;
    }

    message EventUpdate {
        1 status: required TaskStatus;
    }

    message EventUpdateOperationStatus {
        1 status: required OperationStatus;
    }

    message EventMessage {
        1 agent_id: required AgentID;
        2 executor_id: required ExecutorID;
        3 data: required Bytes;
    }

    message EventFailure {
        1 agent_id: optional AgentID;
        2 executor_id: optional ExecutorID;
        3 status: optional i32;
    }

    message EventError {
        1 message: required String;
    }
}
