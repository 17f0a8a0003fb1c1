//! What a scheduler sends: `Call` and its members.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/scheduler/scheduler.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use crate::message::{Bytes, messages};
use crate::v1::*;

messages! {
    message Call {
        1 framework_id: optional FrameworkID;
        2 r#type: optional CallType;
        3 subscribe: optional CallSubscribe;
        4 accept: optional CallAccept;
        5 decline: optional CallDecline;
        13 accept_inverse_offers: optional CallAcceptInverseOffers;
        14 decline_inverse_offers: optional CallDeclineInverseOffers;
        15 revive: optional CallRevive;
        6 kill: optional CallKill;
        7 shutdown: optional CallShutdown;
        8 acknowledge: optional CallAcknowledge;
        17 acknowledge_operation_status: optional CallAcknowledgeOperationStatus;
        9 reconcile: optional CallReconcile;
        18 reconcile_operations: optional CallReconcileOperations;
        10 message: optional CallMessage;
        11 request: optional CallRequest;
        16 suppress: optional CallSuppress;
        19 update_framework: optional CallUpdateFramework;
    }

    enum CallType {
        0 Unknown = "UNKNOWN";
        1 Subscribe = "SUBSCRIBE";
        2 Teardown = "TEARDOWN";
        3 Accept = "ACCEPT";
        4 Decline = "DECLINE";
        13 AcceptInverseOffers = "ACCEPT_INVERSE_OFFERS";
        14 DeclineInverseOffers = "DECLINE_INVERSE_OFFERS";
        5 Revive = "REVIVE";
        6 Kill = "KILL";
        7 Shutdown = "SHUTDOWN";
        8 Acknowledge = "ACKNOWLEDGE";
        15 AcknowledgeOperationStatus = "ACKNOWLEDGE_OPERATION_STATUS";
        9 Reconcile = "RECONCILE";
        16 ReconcileOperations = "RECONCILE_OPERATIONS";
        10 Message = "MESSAGE";
        11 Request = "REQUEST";
        12 Suppress = "SUPPRESS";
        17 UpdateFramework = "UPDATE_FRAMEWORK";
    }

    message CallSubscribe {
        1 framework_info: required FrameworkInfo;
        2 suppressed_roles: repeated String;
        3 offer_constraints: optional OfferConstraints;
    }

    message CallAccept {
        1 offer_ids: repeated OfferID;
        2 operations: repeated OfferOperation;
        3 filters: optional Filters;
    }

    message CallDecline {
        1 offer_ids: repeated OfferID;
        2 filters: optional Filters;
    }

    message CallAcceptInverseOffers {
        1 inverse_offer_ids: repeated OfferID;
        2 filters: optional Filters;
    }

    message CallDeclineInverseOffers {
        1 inverse_offer_ids: repeated OfferID;
        2 filters: optional Filters;
    }

    message CallRevive {
        1 roles: repeated String;
    }

    message CallKill {
        1 task_id: required TaskID;
        2 agent_id: optional AgentID;
        3 kill_policy: optional KillPolicy;
    }

    message CallShutdown {
        1 executor_id: required ExecutorID;
        2 agent_id: required AgentID;
    }

    message CallAcknowledge {
        1 agent_id: required AgentID;
        2 task_id: required TaskID;
        3 uuid: required Bytes;
    }

    message CallAcknowledgeOperationStatus {
        1 agent_id: optional AgentID;
        2 resource_provider_id: optional ResourceProviderID;
        3 uuid: required Bytes;
        4 operation_id: required OperationID;
    }

    message CallReconcile {
        1 tasks: repeated CallReconcileTask;
    }

    message CallReconcileTask {
        1 task_id: required TaskID;
        2 agent_id: optional AgentID;
    }

    message CallReconcileOperations {
        1 operations: repeated CallReconcileOperationsOperation;
    }

    message CallReconcileOperationsOperation {
        1 operation_id: required OperationID;
        2 agent_id: optional AgentID;
        3 resource_provider_id: optional ResourceProviderID;
    }

    message CallMessage {
        1 agent_id: required AgentID;
        2 executor_id: required ExecutorID;
        3 data: required Bytes;
    }

    message CallRequest {
        1 requests: repeated Request;
    }

    message CallSuppress {
        1 roles: repeated String;
    }

    message CallUpdateFramework {
        1 framework_info: required FrameworkInfo;
        2 suppressed_roles: repeated String;
        3 offer_constraints: optional OfferConstraints;
    }

    message AttributeConstraint {
        1 selector: required AttributeConstraintSelector;
        2 predicate: required AttributeConstraintPredicate;
    }

    message AttributeConstraintSelector {
        1 pseudoattribute_type: optional AttributeConstraintSelectorPseudoattributeType;
        2 attribute_name: optional String;
    }

    enum AttributeConstraintSelectorPseudoattributeType {
        0 Unknown = "UNKNOWN";
        1 Hostname = "HOSTNAME";
        2 Region = "REGION";
        3 Zone = "ZONE";
    }

    message AttributeConstraintPredicate {
        1 exists: optional AttributeConstraintPredicateExists;
        2 not_exists: optional AttributeConstraintPredicateNotExists;
        3 text_equals: optional AttributeConstraintPredicateTextEquals;
        4 text_not_equals: optional AttributeConstraintPredicateTextNotEquals;
        5 text_matches: optional AttributeConstraintPredicateTextMatches;
        6 text_not_matches: optional AttributeConstraintPredicateTextNotMatches;
    }

    message AttributeConstraintPredicateExists {}

    message AttributeConstraintPredicateNotExists {}

    message AttributeConstraintPredicateTextEquals {
        1 value: required String;
    }

    message AttributeConstraintPredicateTextNotEquals {
        1 value: required String;
    }

    message AttributeConstraintPredicateTextMatches {
        1 regex: required String;
    }

    message AttributeConstraintPredicateTextNotMatches {
        1 regex: required String;
    }

    message OfferConstraints {
        1 role_constraints: map OfferConstraintsRoleConstraints;
    }

    message OfferConstraintsRoleConstraints {
        1 groups: repeated OfferConstraintsRoleConstraintsGroup;
    }

    message OfferConstraintsRoleConstraintsGroup {
        1 attribute_constraints: repeated AttributeConstraint;
    }
}
