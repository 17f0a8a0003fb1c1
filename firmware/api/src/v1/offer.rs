//! Offers and the operations that accept them.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name.
//! Used by the daemons and the command line through the module above. Invariant: a published number never changes.

use super::*;
use crate::message::messages;

messages! {
    message Offer {
        1 id: required OfferID;
        2 framework_id: required FrameworkID;
        3 agent_id: required AgentID;
        4 hostname: required String;
        8 url: optional URL;
        11 domain: optional DomainInfo;
        5 resources: repeated Resource;
        7 attributes: repeated Attribute;
        6 executor_ids: repeated ExecutorID;
        9 unavailability: optional Unavailability;
        10 allocation_info: optional ResourceAllocationInfo;
    }

    message OfferOperation {
        1 r#type: optional OfferOperationType;
        12 id: optional OperationID;
        2 launch: optional OfferOperationLaunch;
        7 launch_group: optional Box<OfferOperationLaunchGroup>;
        3 reserve: optional OfferOperationReserve;
        4 unreserve: optional OfferOperationUnreserve;
        5 create: optional OfferOperationCreate;
        6 destroy: optional OfferOperationDestroy;
        13 grow_volume: optional Box<OfferOperationGrowVolume>;
        14 shrink_volume: optional Box<OfferOperationShrinkVolume>;
        15 create_disk: optional Box<OfferOperationCreateDisk>;
        16 destroy_disk: optional Box<OfferOperationDestroyDisk>;
    }

    enum OfferOperationType {
        0 Unknown = "UNKNOWN";
        1 Launch = "LAUNCH";
        6 LaunchGroup = "LAUNCH_GROUP";
        2 Reserve = "RESERVE";
        3 Unreserve = "UNRESERVE";
        4 Create = "CREATE";
        5 Destroy = "DESTROY";
        11 GrowVolume = "GROW_VOLUME";
        12 ShrinkVolume = "SHRINK_VOLUME";
        13 CreateDisk = "CREATE_DISK";
        14 DestroyDisk = "DESTROY_DISK";
    }

    message OfferOperationLaunch {
        1 task_infos: repeated TaskInfo;
    }

    message OfferOperationLaunchGroup {
        1 executor: required ExecutorInfo;
        2 task_group: required TaskGroupInfo;
    }

    message OfferOperationReserve {
        2 source: repeated Resource;
        1 resources: repeated Resource;
    }

    message OfferOperationUnreserve {
        1 resources: repeated Resource;
    }

    message OfferOperationCreate {
        1 volumes: repeated Resource;
    }

    message OfferOperationDestroy {
        1 volumes: repeated Resource;
    }

    message OfferOperationGrowVolume {
        1 volume: required Resource;
        2 addition: required Resource;
    }

    message OfferOperationShrinkVolume {
        1 volume: required Resource;
        2 subtract: required ValueScalar;
    }

    message OfferOperationCreateDisk {
        1 source: required Resource;
        2 target_type: required ResourceDiskInfoSourceType;
        3 target_profile: optional String;
    }

    message OfferOperationDestroyDisk {
        1 source: required Resource;
    }

    message InverseOffer {
        1 id: required OfferID;
        2 url: optional URL;
        3 framework_id: required FrameworkID;
        4 agent_id: optional AgentID;
        5 unavailability: required Unavailability;
        6 resources: repeated Resource;
    }

    message Filters {
        1 refuse_seconds: optional f64 = 5.0;
    }
}
