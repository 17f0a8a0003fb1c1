//! Who takes part: frameworks, masters and agents.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::messages;

messages! {
    message FrameworkInfo {
        1 user: required String;
        2 name: required String;
        3 id: optional FrameworkID;
        4 failover_timeout: optional f64 = 0.0;
        5 checkpoint: optional bool = false;
        6 role: optional String;
        12 roles: repeated String;
        7 hostname: optional String;
        8 principal: optional String;
        9 webui_url: optional String;
        10 capabilities: repeated FrameworkInfoCapability;
        11 labels: optional Labels;
        13 offer_filters: map OfferFilters;
    }

    message FrameworkInfoCapability {
        1 r#type: optional FrameworkInfoCapabilityType;
    }

    enum FrameworkInfoCapabilityType {
        0 Unknown = "UNKNOWN";
        1 RevocableResources = "REVOCABLE_RESOURCES";
        2 TaskKillingState = "TASK_KILLING_STATE";
        3 GpuResources = "GPU_RESOURCES";
        4 SharedResources = "SHARED_RESOURCES";
        5 PartitionAware = "PARTITION_AWARE";
        6 MultiRole = "MULTI_ROLE";
        7 ReservationRefinement = "RESERVATION_REFINEMENT";
        8 RegionAware = "REGION_AWARE";
    }

    message OfferFilters {
        1 min_allocatable_resources: optional OfferFiltersMinAllocatableResources;
    }

    message OfferFiltersResourceQuantities {
        1 quantities: map ValueScalar;
    }

    message OfferFiltersMinAllocatableResources {
        1 quantities: repeated OfferFiltersResourceQuantities;
    }

    message MasterInfo {
        1 id: required String;
        2 ip: required u32;
        3 port: required u32;
        4 pid: optional String;
        5 hostname: optional String;
        6 version: optional String;
        7 address: optional Address;
        8 domain: optional DomainInfo;
        9 capabilities: repeated MasterInfoCapability;
    }

    message MasterInfoCapability {
        1 r#type: optional MasterInfoCapabilityType;
    }

    enum MasterInfoCapabilityType {
        0 Unknown = "UNKNOWN";
        1 AgentUpdate = "AGENT_UPDATE";
        2 AgentDraining = "AGENT_DRAINING";
        3 QuotaV2 = "QUOTA_V2";
    }

    message AgentInfo {
        1 hostname: required String;
        8 port: optional i32 = 5051;
        3 resources: repeated Resource;
        5 attributes: repeated Attribute;
        6 id: optional AgentID;
        10 domain: optional DomainInfo;
    }

    message AgentInfoCapability {
        1 r#type: optional AgentInfoCapabilityType;
    }

    enum AgentInfoCapabilityType {
        0 Unknown = "UNKNOWN";
        1 MultiRole = "MULTI_ROLE";
        2 HierarchicalRole = "HIERARCHICAL_ROLE";
        3 ReservationRefinement = "RESERVATION_REFINEMENT";
        4 ResourceProvider = "RESOURCE_PROVIDER";
        5 ResizeVolume = "RESIZE_VOLUME";
        6 AgentOperationFeedback = "AGENT_OPERATION_FEEDBACK";
        7 AgentDraining = "AGENT_DRAINING";
        8 TaskResourceLimits = "TASK_RESOURCE_LIMITS";
    }

    enum DrainState {
        0 Unknown = "UNKNOWN";
        1 Draining = "DRAINING";
        2 Drained = "DRAINED";
    }

    message DrainConfig {
        1 max_grace_period: optional DurationInfo;
        2 mark_gone: optional bool = false;
    }

    message DrainInfo {
        1 state: required DrainState;
        2 config: required DrainConfig;
    }
}
